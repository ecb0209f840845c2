//! `cargo +nightly fuzz run --features libfuzzer gguf`: see `gabion_fuzz::targets::gguf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gabion_fuzz::targets::gguf::run(bytes);
});
