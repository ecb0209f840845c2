//! Elementwise maths: one struct per arity over the tables of `gabion_tensor` (`exp`, `add`, `lt`).

use gabion_tensor::{BinaryFn, CompareFn, DType, HostTensor, TensorType, UnaryFn};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::sample::{Sample, Sampler};
