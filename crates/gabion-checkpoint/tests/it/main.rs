//! Tests of the whole crate: files that are right, files that lie, and files that were damaged at random.

mod folders;
mod gguf;
mod load_report;
mod mutations;
mod safetensors;
mod sample;
mod sharded;
mod tokenizers;
