//! Fuzz targets as plain functions, with their seeds, and the mutations of the driver that runs them
//! where there is no libFuzzer.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml -- all 60          every target, a minute in all
//! cargo run --release --manifest-path fuzz/Cargo.toml -- gguf 600        one target
//! cargo run --release --manifest-path fuzz/Cargo.toml -- repro gguf FILE one input
//! cargo +nightly fuzz run --features libfuzzer gguf                      with coverage
//! ```
//!
//! A target takes any bytes. It panics if the code under test breaks a law (and the code under test
//! must not panic itself); otherwise it returns a number that says what happened. The driver keeps
//! inputs that make something new happen.

pub mod driver;
pub mod mutate;
pub mod outcome;
pub mod random;
pub mod targets;

use mutate::Form;

/// Code under test with what is known of its input.
#[derive(Clone, Copy)]
pub struct Target {
    /// The word on the command line, and the name of the libFuzzer target.
    pub name: &'static str,
    /// Runs one input. Equal numbers: the same happened.
    pub run: fn(&[u8]) -> u64,
    /// Valid inputs, made by code.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What inputs look like, to be damaged in ways that get past the first check.
    pub form: Form,
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    targets::graph_text::TARGET,
    targets::plan_text::TARGET,
    targets::safetensors::TARGET,
    targets::gguf::TARGET,
    targets::passes::TARGET,
];
