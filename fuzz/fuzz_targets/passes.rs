//! `cargo +nightly fuzz run --features libfuzzer passes`: see `gabion_fuzz::targets::passes`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gabion_fuzz::targets::passes::run(bytes);
});
