//! `slice`: parts of axes by numpy's rules, on fixed and symbolic sizes. The builder's indexing is
//! in `indexing.rs`.

mod axis;

pub use axis::AxisSlice;

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
