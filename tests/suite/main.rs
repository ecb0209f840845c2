//! The test binary: one module per subject. `cargo test -p gabion-tests --test suite SUBJECT` runs one.

mod conformance;
mod determinism;
mod docs;
mod end_to_end;
mod explain;
mod filetests;
mod gguf_numbers;
mod golden;
mod ir_diff;
mod ir_eval;
mod ir_hash;
mod ir_json;
mod ir_laws;
mod ir_samples;
mod ir_text;
mod ir_verify;
mod ir_written;
mod large_graphs;
mod models;
mod origins;
mod packing;
mod pass_laws;
mod random_graph;
mod running;
mod snapshots;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_path_buf()
}
