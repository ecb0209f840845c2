//! `cargo +nightly fuzz run --features libfuzzer safetensors`: see `gabion_fuzz::targets::safetensors`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gabion_fuzz::targets::safetensors::run(bytes);
});
