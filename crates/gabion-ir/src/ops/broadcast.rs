//! `broadcast`: repeats sizes of 1 and adds axes in front, by numpy's rule.

use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::{Builder, TensorValue};
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::broadcasting::{broadcast_positions, require_broadcasts_to};
use crate::ops::reshape::require_sizes;
use crate::ops::strides::{pick, unit_shape};
use crate::sample::{Sample, Sampler};

/// Repeats `x` to `shape`: aligned at the last axis, each size of `x` is 1 or already there.
/// Any dtype; a block format keeps its last axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broadcast {
    /// The new shape.
    pub shape: Vec<Dim>,
}

impl OpDef for Broadcast {
    const NAME: &'static str = "broadcast";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        require_sizes(&self.shape)?;
        require_broadcasts_to(0, &x.shape, &self.shape, cx)?;
        if x.dtype.is_block() && x.shape.last() != self.shape.last() {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when stretching the last axis",
                x.dtype,
            ));
        }
        Ok(smallvec![TensorType::new(
            x.dtype,
            self.shape.iter().cloned().collect::<Shape>()
        )])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let shape = cx.shape(0)?;
        let mut units = shape.to_vec();
        if let Some(last) = units.last_mut() {
            *last /= args[0].dtype().block_elems();
        }
        let from = broadcast_positions(&unit_shape(&args[0]), &units)?;
        Ok(smallvec![pick(&args[0], &shape, from)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 4);
        let shape = s.shape(rank, 5);
        let mut from = shape[s.size(0, rank)..].to_vec();
        for size in &mut from {
            if s.one_in(3) {
                *size = 1;
            }
        }
        let dtype = s.choose(&DType::PLAIN);
        let x = s.tensor_with_specials(dtype, &from);
        Sample::new(
            Broadcast {
                shape: shape.into_iter().map(Dim::from).collect(),
            },
            vec![x],
        )
    }
}

impl Builder {
    /// Joins values of one shape along a new axis: axis `axis` of the result.
    #[track_caller]
    pub fn stack<'g>(&'g self, values: &[TensorValue<'g>], axis: i64) -> TensorValue<'g> {
        let Some(first) = values.first() else {
            return self.poison("stack", "expected at least 1 value, found 0".to_owned());
        };
        let axis = match normalize_axis(axis, first.rank() + 1) {
            Ok(axis) => axis as i64,
            Err(error) => return self.poison("stack", error.message),
        };
        let rows: Vec<TensorValue<'g>> = values.iter().map(|v| v.unsqueeze(axis)).collect();
        self.concat(&rows, axis)
    }
}

impl<'g> TensorValue<'g> {
    /// Repeats the value to `shape`; see [`Broadcast`].
    #[track_caller]
    pub fn broadcast_to<D: Into<Dim>>(self, shape: impl IntoIterator<Item = D>) -> TensorValue<'g> {
        let shape = shape.into_iter().map(Into::into).collect();
        self.builder().apply1(Broadcast { shape }, &[self])
    }

    /// As [`TensorValue::broadcast_to`], where `-1` keeps the size that the value has there.
    #[track_caller]
    pub fn expand<D: Into<Dim>>(self, shape: impl IntoIterator<Item = D>) -> TensorValue<'g> {
        let mut shape: Vec<Dim> = shape.into_iter().map(Into::into).collect();
        let own = self.shape();
        let lead = shape.len().saturating_sub(own.rank());
        for (stated, dim) in shape.iter_mut().skip(lead).zip(own.iter()) {
            if *stated == Dim::fixed(-1) {
                *stated = dim.clone();
            }
        }
        self.broadcast_to(shape)
    }

    /// Repeats the whole value `repeats[i]` times along axis `i`, one number per axis.
    #[track_caller]
    pub fn tile<D: Into<Dim>>(self, repeats: impl IntoIterator<Item = D>) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let repeats: Vec<Dim> = repeats.into_iter().map(Into::into).collect();
        let own = self.shape();
        if repeats.len() != own.rank() {
            let message = format!(
                "expected one number per axis of {own}, found {}",
                repeats.len()
            );
            return self.builder().poison("tile", message);
        }
        let pairs = || repeats.iter().zip(own.iter());
        self.reshape(pairs().flat_map(|(_, d)| [Dim::fixed(1), d.clone()]))
            .broadcast_to(pairs().flat_map(|(r, d)| [r.clone(), d.clone()]))
            .reshape(pairs().map(|(r, d)| r * d))
    }

    /// Repeats each element `n` times along `axis`: `[a, b]` becomes `[a, a, b, b]`.
    #[track_caller]
    pub fn repeat_interleave(self, n: impl Into<Dim>, axis: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let (n, own) = (n.into(), self.shape());
        let axis = match normalize_axis(axis, own.rank()) {
            Ok(axis) => axis,
            Err(error) => return self.builder().poison("repeat_interleave", error.message),
        };
        let mut wide = own.to_vec();
        wide.insert(axis + 1, n.clone());
        let mut joined = own.to_vec();
        joined[axis] = &joined[axis] * &n;
        self.unsqueeze(axis as i64 + 1)
            .broadcast_to(wide)
            .reshape(joined)
    }
}
