//! `cargo +nightly fuzz run --features libfuzzer graph_text`: see `gabion_fuzz::targets::graph_text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gabion_fuzz::targets::graph_text::run(bytes);
});
