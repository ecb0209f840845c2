//! The graph IR of Gabion: values with symbolic shapes, one file per operator, a builder whose
//! code reads like the maths, a text form, a verifier and a plain reference evaluator.
//!
//! This crate does no IO, starts no threads, uses no SIMD and no `unsafe`. It knows weight *names
//! and types*, never weight data; [`eval`] is handed the data by the caller.
//!
//! ```
//! use gabion_ir::Builder;
//! use gabion_tensor::{DType, TensorType};
//!
//! let b = Builder::new("qkv");
//! let x = b.input("x", "f32[tokens, 8]".parse().unwrap());
//! let q = b.weight("q_proj.weight", "f32[8, 8]".parse().unwrap());
//! let k = b.weight("k_proj.weight", "f32[4, 8]".parse().unwrap());
//! let w = b.concat(&[q, k], 0);
//! b.output("y", x.matmul_t(w));
//! let graph = b.finish().unwrap();
//! assert!(graph.to_text().contains("concat"));
//! # let _: TensorType = TensorType::new(DType::F32, [1, 2]);
//! ```

pub mod builder;
pub mod diagnostics;
pub mod diff;
pub mod eval;
pub mod graph;
pub mod hash;
pub mod json;
pub mod op;
pub mod ops;
pub mod origins;
pub mod sample;
pub mod text;
pub mod verify;

pub use builder::{Builder, TensorValue};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use graph::{Graph, InputDecl, Node, NodeId, OutputDecl, SourceLoc, Use, Value};
pub use op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
pub use ops::Op;
pub use origins::Origins;
pub use sample::{Sample, Sampler};
