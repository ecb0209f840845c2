//! `cargo +nightly fuzz run --features libfuzzer plan_text`: see `gabion_fuzz::targets::plan_text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gabion_fuzz::targets::plan_text::run(bytes);
});
