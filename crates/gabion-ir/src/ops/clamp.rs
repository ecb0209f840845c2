//! `clamp`: limits values to a range.

use gabion_tensor::{BinaryFn, DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::float::Float;
use crate::ops::lanes::Lanes;
use crate::ops::requirements::number;
use crate::ops::{Binary, Constant};
use crate::sample::{Sample, Sampler};

/// `max(x, min)`, then `min(.., max)`: NaN stays NaN, and where the bounds cross, `max` wins.
/// Floats and integers; the result has the type of `x`. The bounds are rounded to a float dtype
/// and must be values of an integer dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clamp {
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Float>,
    /// The largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Float>,
}

impl Clamp {
    fn bounds(&self) -> [(BinaryFn, Option<Float>, &'static str); 2] {
        [
            (BinaryFn::Max, self.min, "min"),
            (BinaryFn::Min, self.max, "max"),
        ]
    }
}

impl OpDef for Clamp {
    const NAME: &'static str = "clamp";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        number(0, x)?;
        if self.min.is_none() && self.max.is_none() {
            return Err(TypeError::new(
                "expected `min`, `max` or both, found neither",
            ));
        }
        for (_, bound, name) in self.bounds() {
            let Some(Float(bound)) = bound else { continue };
            if bound.is_nan() {
                return Err(TypeError::new(format!(
                    "{name}: expected a number, found nan"
                )));
            }
            Constant::scalar(x.dtype, bound).map_err(|e| TypeError::new(format!("{name}: {e}")))?;
        }
        Ok(smallvec![x.clone()])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let mut x = args[0].clone();
        for (func, bound, _) in self.bounds() {
            let Some(Float(bound)) = bound else { continue };
            let limit = Lanes::read(&HostTensor::scalar(bound).cast(x.dtype())?, x.dtype())?;
            let out = match (Lanes::read(&x, x.dtype())?, limit) {
                (Lanes::F32(v), Lanes::F32(l)) => {
                    Lanes::F32(limited(v, |a| func.eval_f32(a, l[0]))?)
                }
                (Lanes::F64(v), Lanes::F64(l)) => {
                    Lanes::F64(limited(v, |a| func.eval_f64(a, l[0]))?)
                }
                (Lanes::I64(v), Lanes::I64(l)) => {
                    Lanes::I64(limited(v, |a| func.eval_i64(a, l[0]))?)
                }
                (Lanes::U64(v), Lanes::U64(l)) => {
                    Lanes::U64(limited(v, |a| func.eval_u64(a, l[0]))?)
                }
                (other, _) => other,
            };
            x = out.into_tensor(x.dtype(), x.shape())?;
        }
        Ok(smallvec![x])
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let mut x = args[0];
        for (func, bound, _) in self.bounds() {
            if let Some(Float(bound)) = bound {
                let bound = x.builder().scalar(x.dtype(), bound);
                x = x.builder().apply1(Binary { func }, &[x, bound]);
            }
        }
        Some(vec![x])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let dtypes: Vec<DType> = DType::PLAIN.into_iter().filter(|d| !d.is_bool()).collect();
        let (dtype, rank) = (s.choose(&dtypes), s.size(0, 3));
        let shape = s.shape(rank, 9);
        let mut bound = |low: i64| {
            let value = s.int(low, low + 3) as f64;
            (!s.one_in(4)).then_some(Float(if dtype.is_float() { value + 0.3 } else { value }))
        };
        let low = if dtype.is_unsigned_int() { 0 } else { -3 };
        let (min, mut max) = (bound(low), bound(2));
        if min.is_none() && max.is_none() {
            max = Some(Float(1.0));
        }
        Sample::new(
            Clamp { min, max },
            vec![s.tensor_with_specials(dtype, &shape)],
        )
    }
}

fn limited<T, E>(values: Vec<T>, f: impl Fn(T) -> Result<T, E>) -> Result<Vec<T>, E> {
    values.into_iter().map(f).collect()
}

impl<'g> TensorValue<'g> {
    /// Limits the values to a range, of which one end may be open; see [`Clamp`].
    #[track_caller]
    pub fn clamp(
        self,
        min: impl Into<Option<f64>>,
        max: impl Into<Option<f64>>,
    ) -> TensorValue<'g> {
        let op = Clamp {
            min: min.into().map(Float),
            max: max.into().map(Float),
        };
        self.builder().apply1(op, &[self])
    }
}
