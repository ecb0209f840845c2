//! Tests of the whole crate: files that are right, files that lie, and files that were damaged at random.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

mod conversion;
mod folders;
mod gguf;
mod load_report;
mod mutations;
mod safetensors;
mod sample;
mod sharded;
mod tokenizers;
