//! The executor through its public face: small plans by hand, every kernel against plain loops.
#![allow(clippy::unwrap_used, reason = "tests")]

mod attention;
mod elementwise;
mod indexing;
mod layout;
mod llama;
mod matmul;
mod plans;
mod rows;
mod session;
