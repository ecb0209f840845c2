//! `slice`: parts of axes by numpy's rules, on fixed and symbolic sizes. The builder's indexing is
//! in `indexing.rs`.

use gabion_tensor::{DType, Dim, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::strides::{pick, positions, strides, unit_shape};
use crate::sample::{Sample, Sampler};

/// Takes `start..stop` in steps along some axes, as Python's `x[start:stop:step]`: bounds outside
/// the axis are clamped, a bound that is a negative *number* counts from the end. A symbolic bound
/// is taken as it is and clamped to the axis. Any dtype; a block format is not cut along its last
/// axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The cut axes, each at most once; the others stay whole.
    pub axes: Vec<AxisSlice>,
}

/// What a [`Slice`] takes of one axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisSlice {
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// The first index; none: the first one, or the last one if the step is negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Dim>,
    /// The index to stop before; none: the end that the step leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Dim>,
    /// The distance of indices, not 0.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub step: i64,
}

fn one() -> i64 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_one(step: &i64) -> bool {
    *step == 1
}

/// A bound as the dims whose minimum (upper side) or maximum (lower side) it is.
///
/// `low..=high` are the smallest and the largest place of the axis that a bound may have.
fn bound(bound: &Dim, size: &Dim, limit: &Dim, upper: bool) -> Vec<Dim> {
    match bound.as_fixed() {
        Some(back) if back < 0 && upper => vec![size + bound],
        Some(back) if back < 0 => vec![size + bound, limit.clone()],
        Some(_) if !upper => vec![bound.clone()],
        _ if !upper && bound.range().0.is_some_and(|least| least >= 0) => vec![bound.clone()],
        _ => vec![bound.clone(), limit.clone()],
    }
}

impl AxisSlice {
    /// The whole axis.
    pub fn all(axis: i64) -> Self {
        Self {
            axis,
            start: None,
            stop: None,
            step: 1,
        }
    }

    /// The number of indices taken of an axis of `size`: exact for every value of the symbols.
    ///
    /// With bounds clamped to the axis the span is `min(stop, size) - max(start, 0)`, at least 0;
    /// written as the minimum of all differences it needs no clamping. Going down, the places run
    /// from `size - 1` to `-1`, and start and stop swap roles.
    fn length(&self, size: &Dim) -> Result<Dim, TypeError> {
        let zero = Dim::fixed(0);
        let down = self.step < 0;
        let (first, last) = if down {
            (Dim::fixed(-1), size - &Dim::fixed(1))
        } else {
            (zero.clone(), size.clone())
        };
        let (low, high) = if down {
            (&self.stop, &self.start)
        } else {
            (&self.start, &self.stop)
        };
        let highs = high
            .as_ref()
            .map_or(vec![last.clone()], |b| bound(b, size, &last, true));
        let lows = low
            .as_ref()
            .map_or(vec![first.clone()], |b| bound(b, size, &first, false));
        let differences = highs.iter().flat_map(|h| lows.iter().map(move |l| h - l));
        let span = differences
            .reduce(|a, b| Dim::min(&a, &b))
            .unwrap_or(zero.clone());
        let span = if span.range().0.is_some_and(|least| least >= 0) {
            span
        } else {
            Dim::max(&span, &zero)
        };
        let step = i64::try_from(self.step.unsigned_abs()).map_err(|_| {
            TypeError::new(format!(
                "axis {}: step {} is out of range",
                self.axis, self.step
            ))
        })?;
        Ok(if step == 1 {
            span
        } else {
            span.ceil_div(&Dim::fixed(step))?
        })
    }

    /// The first index taken of an axis of `size`, clamped to the axis.
    fn first(&self, size: i64, cx: &EvalCx<'_>) -> Result<i64, EvalError> {
        let (least, most) = if self.step < 0 {
            (-1, size - 1)
        } else {
            (0, size)
        };
        Ok(match &self.start {
            None if self.step < 0 => most,
            None => 0,
            Some(start) => {
                let from_end = start.as_fixed().is_some_and(|s| s < 0);
                let start = cx.dim(start)?;
                let start = if from_end {
                    start.saturating_add(size)
                } else {
                    start
                };
                start.clamp(least, most)
            }
        })
    }
}

impl OpDef for Slice {
    const NAME: &'static str = "slice";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        let rank = x.shape.rank();
        let mut shape = x.shape.clone();
        let mut seen = vec![false; rank];
        for part in &self.axes {
            let axis = normalize_axis(part.axis, rank)?;
            if std::mem::replace(&mut seen[axis], true) {
                return Err(TypeError::new(format!("axis {axis} is cut twice")));
            }
            if part.step == 0 {
                return Err(TypeError::new(format!(
                    "axis {axis}: expected a step other than 0, found 0"
                )));
            }
            if x.dtype.is_block() && axis + 1 == rank {
                return Err(TypeError::dtype(
                    0,
                    "a plain dtype when cutting the last axis",
                    x.dtype,
                ));
            }
            shape[axis] = cx.relations().simplify(&part.length(&x.shape[axis])?);
        }
        Ok(smallvec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let shape = cx.shape(0)?;
        let mut strides = strides(&unit_shape(x));
        let mut begin = 0;
        for part in &self.axes {
            let axis =
                normalize_axis(part.axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
            begin += part.first(x.shape()[axis] as i64, cx)? as isize * strides[axis];
            // With at most one index the step is never taken, and could overflow.
            strides[axis] *= if shape[axis] > 1 {
                part.step as isize
            } else {
                1
            };
        }
        let mut units = shape.to_vec();
        if let Some(last) = units.last_mut() {
            *last /= x.dtype().block_elems();
        }
        Ok(smallvec![pick(
            x,
            &shape,
            positions(&units, &strides, begin)
        )?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 4);
        let shape = s.shape(rank, 7);
        let dtype = s.choose(&DType::PLAIN);
        let mut axes = Vec::new();
        for axis in 0..rank as i64 {
            if s.one_in(4) {
                continue;
            }
            let mut bound = || (!s.one_in(4)).then(|| Dim::fixed(s.int(-9, 9)));
            let (start, stop) = (bound(), bound());
            let axis = if s.one_in(3) {
                axis - rank as i64
            } else {
                axis
            };
            axes.push(AxisSlice {
                axis,
                start,
                stop,
                step: s.choose(&[1, 1, 2, 3, -1, -2, 10, -10]),
            });
        }
        Sample::new(Slice { axes }, vec![s.tensor_with_specials(dtype, &shape)])
    }
}
