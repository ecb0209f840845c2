//! `softmax` and `log_softmax` over one axis.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, normalize_axis,
    operands,
};
use crate::ops::ReduceFn;
use crate::ops::lanes::from_f64;
use crate::ops::requirements::{float, wide};
use crate::ops::strides::around;
use crate::sample::{Sample, Sampler};

/// `e^(x - m) / sum(e^(x - m))` along `axis`, where `m` is the largest element. Floats; the result
/// has the type of `x`, computed wider and rounded once. A line of nothing but `-inf` gives NaN.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// The axis; negative counts from the back.
    pub axis: i64,
}

/// `x - m - log(sum(e^(x - m)))` along `axis`, where `m` is the largest element. As [`Softmax`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSoftmax {
    /// The axis; negative counts from the back.
    pub axis: i64,
}

fn infer(axis: i64, args: &[TensorType]) -> Result<Results, TypeError> {
    let [x] = operands(args)?;
    float(0, x)?;
    normalize_axis(axis, x.shape.rank())?;
    Ok(smallvec![x.clone()])
}

/// Replaces each line along the axis by `f(element - m, sum of e^(element - m))`.
fn eval(axis: i64, x: &HostTensor, f: impl Fn(f64, f64) -> f64) -> Result<HostTensors, EvalError> {
    let axis = normalize_axis(axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
    let (outer, size, inner) = around(x.shape(), axis);
    let mut values = x.to_f64_vec()?;
    for line in (0..outer).flat_map(|o| (0..inner).map(move |r| o * size * inner + r)) {
        let places = || (0..size).map(|i| line + i * inner);
        let largest = places().fold(f64::NEG_INFINITY, |m, i| {
            if values[i] > m || values[i].is_nan() {
                values[i]
            } else {
                m
            }
        });
        let sum: f64 = places().map(|i| libm::exp(values[i] - largest)).sum();
        for i in places() {
            values[i] = f(values[i] - largest, sum);
        }
    }
    Ok(smallvec![from_f64(x.dtype(), x.shape(), values)?])
}

fn sample(s: &mut Sampler) -> (i64, HostTensor) {
    let rank = s.size(1, 3);
    let shape = s.shape(rank, 17);
    let dtype = s.choose(&[DType::F32, DType::F32, DType::F16, DType::BF16, DType::F64]);
    let axis = s.int(-(rank as i64), rank as i64 - 1);
    let x = if s.one_in(4) {
        s.tensor_with_specials(dtype, &shape)
    } else {
        s.tensor_in(dtype, &shape, -20.0, 20.0)
    };
    (axis, x)
}

/// `x` in the wide dtype, less its largest element along the axis.
fn shifted<'g>(x: TensorValue<'g>, axis: i64) -> TensorValue<'g> {
    let x = x.cast(wide(x.dtype()));
    x - x.reduce(ReduceFn::Max, &[axis], true)
}

impl OpDef for Softmax {
    const NAME: &'static str = "softmax";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        infer(self.axis, args)
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        eval(self.axis, &args[0], |shifted, sum| libm::exp(shifted) / sum)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let powers = shifted(args[0], self.axis).exp();
        let sum = powers.reduce(ReduceFn::Sum, &[self.axis], true);
        Some(vec![(powers / sum).cast(args[0].dtype())])
    }

    fn tolerance(&self) -> Tolerance {
        // An f32 exponential of a rounded difference of up to 40, and an f32 sum.
        Tolerance::Norm(5e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (axis, x) = sample(s);
        Sample::new(Softmax { axis }, vec![x])
    }
}

impl OpDef for LogSoftmax {
    const NAME: &'static str = "log_softmax";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        infer(self.axis, args)
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        eval(self.axis, &args[0], |shifted, sum| shifted - libm::log(sum))
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let shifted = shifted(args[0], self.axis);
        let sum = shifted.exp().reduce(ReduceFn::Sum, &[self.axis], true);
        Some(vec![(shifted - sum.log()).cast(args[0].dtype())])
    }

    fn tolerance(&self) -> Tolerance {
        // As softmax; a line that is nearly one-hot holds values near 0 beside large ones.
        Tolerance::Norm(5e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (axis, x) = sample(s);
        Sample::new(LogSoftmax { axis }, vec![x])
    }
}

impl<'g> TensorValue<'g> {
    /// Softmax along `axis`; see [`Softmax`].
    #[track_caller]
    pub fn softmax(self, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(Softmax { axis }, &[self])
    }

    /// The logarithm of the softmax along `axis`; see [`LogSoftmax`].
    #[track_caller]
    pub fn log_softmax(self, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(LogSoftmax { axis }, &[self])
    }
}
