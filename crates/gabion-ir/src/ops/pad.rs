//! `pad`: a border of one value.

use gabion_tensor::{Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::Constant;
use crate::ops::float::Float;
use crate::ops::requirements::plain;
use crate::ops::strides::{positions, strides};
use crate::sample::{Sample, Sampler};

/// Adds `low[i]` elements before and `high[i]` after axis `i` of `x`, all of one value. Any plain
/// dtype, which must hold the value (0 and 1 for bool). Negative sizes are refused: `slice` cuts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Elements before each axis.
    pub low: Vec<Dim>,
    /// Elements after each axis.
    pub high: Vec<Dim>,
    /// The value of the border.
    pub value: Float,
}

impl Pad {
    fn fill(&self, dtype: DType) -> Result<HostTensor, String> {
        if dtype.is_bool() && ![0.0, 1.0].contains(&self.value.0) {
            return Err(format!("bool cannot hold {}", self.value));
        }
        Ok(Constant::scalar(dtype, self.value.0)?.value().clone())
    }
}

impl OpDef for Pad {
    const NAME: &'static str = "pad";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        plain(0, x)?;
        let rank = x.shape.rank();
        for (name, sizes) in [("low", &self.low), ("high", &self.high)] {
            if sizes.len() != rank {
                return Err(TypeError::new(format!(
                    "{name}: expected one size per axis of {x}, found {}",
                    sizes.len()
                )));
            }
            for (axis, size) in sizes.iter().enumerate() {
                let (lhs, rhs) = (Dim::ZERO, size.clone());
                let why = format!("{name}[{axis}] is at least 0 (`slice` cuts)");
                cx.require(
                    Constraint {
                        lhs,
                        relation: Relation::Le,
                        rhs,
                    },
                    &why,
                )?;
            }
        }
        self.fill(x.dtype)
            .map_err(|e| TypeError::new(format!("value: {e}")))?;
        let mut shape = x.shape.clone();
        for axis in 0..rank {
            shape[axis] = &self.low[axis] + &shape[axis] + &self.high[axis];
        }
        Ok(smallvec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (x, shape) = (&args[0], cx.shape(0)?);
        let fill = self.fill(x.dtype()).map_err(EvalError::Value)?;
        let unit = x.dtype().block_bytes();
        let mut bytes = fill.bytes().repeat(shape.iter().product());
        let strides = strides(&shape);
        let mut begin = 0;
        for (low, stride) in self.low.iter().zip(&strides) {
            begin += cx.dim(low)? as isize * stride;
        }
        for (from, to) in positions(x.shape(), &strides, begin)
            .into_iter()
            .enumerate()
        {
            bytes[to * unit..(to + 1) * unit]
                .copy_from_slice(&x.bytes()[from * unit..(from + 1) * unit]);
        }
        Ok(smallvec![HostTensor::new(x.dtype(), &shape, bytes)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (dtype, rank) = (s.choose(&DType::PLAIN), s.size(0, 3));
        let shape = s.shape(rank, 5);
        let mut sizes = || (0..rank).map(|_| Dim::from(s.size(0, 3))).collect();
        let (low, high) = (sizes(), sizes());
        let value = match dtype {
            _ if dtype.is_float() => s.choose(&[0.0, -0.0, 1.5, f64::NEG_INFINITY, f64::NAN]),
            _ if dtype.is_bool() => s.choose(&[0.0, 1.0]),
            _ => s.int(0, 100) as f64,
        };
        Sample::new(
            Pad {
                low,
                high,
                value: Float(value),
            },
            vec![s.tensor_with_specials(dtype, &shape)],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// Adds a border to one axis; see [`Pad`].
    #[track_caller]
    pub fn pad(
        self,
        axis: i64,
        low: impl Into<Dim>,
        high: impl Into<Dim>,
        value: f64,
    ) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let rank = self.rank();
        let axis = match normalize_axis(axis, rank) {
            Ok(axis) => axis,
            Err(error) => return self.builder().poison(Pad::NAME, error.message),
        };
        let at = |size: Dim| {
            (0..rank)
                .map(|a| if a == axis { size.clone() } else { Dim::ZERO })
                .collect()
        };
        let op = Pad {
            low: at(low.into()),
            high: at(high.into()),
            value: Float(value),
        };
        self.builder().apply1(op, &[self])
    }
}
