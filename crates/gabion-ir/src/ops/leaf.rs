//! Leaves: `input`, `weight` and `constant`. Their types are stated, not inferred.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::sample::{Sample, Sampler};

/// `input`: a value that the caller binds by name. A donated input may be overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The name callers bind.
    pub name: Arc<str>,
    /// The caller gives the memory away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub donated: bool,
}

/// `weight`: a tensor that the checkpoint holds under this name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// The full name in the checkpoint; not empty.
    pub name: Arc<str>,
}

fn declared(word: &str, args: &[TensorType], cx: &InferCx<'_>) -> Result<Results, TypeError> {
    operands::<0>(args)?;
    match cx.declared() {
        Some([ty]) => Ok(smallvec![ty.clone()]),
        _ => Err(TypeError::new(format!(
            "`{word}` needs its type stated: `= {word} {{..}} : f32[..]`"
        ))),
    }
}

fn unbound(kind: &'static str, name: &str) -> EvalError {
    EvalError::Binding {
        kind,
        name: name.to_owned(),
        problem: "has no value".to_owned(),
    }
}

impl OpDef for Input {
    const NAME: &'static str = "input";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        declared(Self::NAME, args, cx)
    }

    fn eval(&self, _: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Err(unbound("input", &self.name))
    }

    fn sample(s: &mut Sampler) -> Sample {
        Constant::sample(s)
    }
}

impl OpDef for Weight {
    const NAME: &'static str = "weight";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        if self.name.is_empty() {
            return Err(TypeError::new("a weight needs a name, found \"\""));
        }
        declared(Self::NAME, args, cx)
    }

    fn eval(&self, _: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Err(unbound("weight", &self.name))
    }

    fn sample(s: &mut Sampler) -> Sample {
        Constant::sample(s)
    }
}

/// `constant`: a tensor stored in the graph. In the text form: dtype, shape and one number per
/// element, or a single number that fills the shape.
#[derive(Clone, Debug)]
pub struct Constant {
    value: HostTensor,
}

impl Constant {
    /// A constant of any plain dtype. Every NaN becomes the one NaN that the text form has.
    pub fn new(value: HostTensor) -> Self {
        Self {
            value: with_one_nan(value),
        }
    }

    /// A scalar of `dtype`.
    ///
    /// # Errors
    /// A message if the dtype cannot hold the value.
    pub fn scalar(dtype: DType, value: f64) -> Result<Self, String> {
        let exact_integer = value.fract() == 0.0 && value.abs() < 9.0e15;
        if dtype.is_block() || (!dtype.is_float() && !exact_integer) {
            return Err(format!("{dtype} cannot hold {value}"));
        }
        let tensor = HostTensor::scalar(value)
            .cast(dtype)
            .map_err(|e| e.to_string())?;
        let back = tensor.to_f64_vec().map_err(|e| e.to_string())?[0];
        if !dtype.is_float() && back != value {
            return Err(format!("{dtype} cannot hold {value}"));
        }
        if dtype.is_float() && value.is_finite() && !back.is_finite() {
            return Err(format!("{value} overflows {dtype}"));
        }
        Ok(Self { value: tensor })
    }

    /// The tensor.
    pub fn value(&self) -> &HostTensor {
        &self.value
    }
}

/// Payloads and signs of NaN mean nothing, and text has one word for them all.
fn with_one_nan(value: HostTensor) -> HostTensor {
    if !value.dtype().is_float() {
        return value;
    }
    let Ok(numbers) = value.to_f64_vec() else {
        return value;
    };
    if !numbers.iter().any(|n| n.is_nan()) {
        return value;
    }
    let canonical: Vec<f64> = numbers
        .into_iter()
        .map(|n| if n.is_nan() { f64::NAN } else { n })
        .collect();
    // Floats go through f64 and back unchanged.
    HostTensor::from_slice(value.shape(), &canonical)
        .and_then(|wide| wide.cast(value.dtype()))
        .unwrap_or(value)
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.value.bitwise_eq(&other.value)
    }
}

impl Eq for Constant {}

impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.dtype().hash(state);
        self.value.shape().hash(state);
        self.value.bytes().hash(state);
    }
}

impl OpDef for Constant {
    const NAME: &'static str = "constant";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        operands::<0>(args)?;
        Ok(smallvec![TensorType::new(
            self.value.dtype(),
            self.value.shape()
        )])
    }

    fn eval(&self, _: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Ok(smallvec![self.value.clone()])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 3);
        let shape = s.shape(rank, 5);
        let dtype = s.choose(&DType::PLAIN);
        let value = s.tensor_with_specials(dtype, &shape);
        Sample::new(Constant::new(value), Vec::new())
    }
}
