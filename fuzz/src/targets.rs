//! One file per target: its seeds, and the laws that every input must keep.

pub mod gguf;
pub mod graph_text;
pub mod graphs;
pub mod passes;
pub mod plan_text;
pub mod safetensors;
