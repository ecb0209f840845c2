//! Data types, symbolic dimensions, shapes, host tensors and number formats.
//!
//! This crate is the ground floor: it knows numbers and sizes, and nothing of graphs, files or executors.
//!
//! - [`DType`] and [`Format`] say how numbers are stored; [`Format`] also encodes and decodes them.
//! - [`Dim`] is a size that may hold symbols; [`Relations`] is what is known about them; [`Guard`] is what is checked at run time.
//! - [`Shape`] and [`TensorType`] describe tensors; [`HostTensor`] holds one in memory.
//! - [`UnaryFn`], [`BinaryFn`] and [`CompareFn`] are the one table of scalar maths.

mod serde_text;

mod bindings;
mod bytes;
mod cast;
mod constraint;
mod dim;
mod dtype;
mod element;
mod format;
mod guard;
mod host_tensor;
mod mapping;
pub mod program;
mod relations;
mod scalar;
mod shape;
mod tensor_error;
mod tensor_type;

pub use bindings::{Bindings, Symbol};
pub use bytes::{AlignedBuf, Bytes, BytesRangeError};
pub use cast::{bf16_to_f32, f32_to_bf16, f64_to_bf16, f64_to_f16};
pub use constraint::{Constraint, Relation};
pub use dim::{Dim, DimError};
pub use dtype::{DType, UnknownDType};
pub use element::{Bool, Element};
pub use format::{BlockFormat, Format, FormatError, UnknownBlockFormat};
pub use guard::{Guard, GuardError};
pub use host_tensor::HostTensor;
pub use program::{MapInstr, MapOp, MapProgram};
pub use relations::{Proof, Relations, RelationsError};
pub use scalar::{BinaryFn, CompareFn, ScalarError, UnaryFn, UnknownFn};
pub use shape::{Shape, ShapeError};
pub use tensor_error::TensorError;
pub use tensor_type::{TensorType, TensorTypeError, TypeTextError};

pub use half::{bf16, f16};
