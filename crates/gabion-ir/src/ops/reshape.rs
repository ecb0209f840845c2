//! `reshape`: the same elements in the same order under another shape.

use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::sample::{Sample, Sampler};

/// Gives `x` another shape with as many elements. Any dtype; a block format keeps its last axis.
///
/// The counts must be provably equal, or a run-time guard is made. The wildcard `-1` exists in
/// [`TensorValue::reshape`] only: the stored shape is explicit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// The new shape.
    pub shape: Vec<Dim>,
}

/// Refuses sizes that are negative numbers.
pub(crate) fn require_sizes(shape: &[Dim]) -> Result<(), TypeError> {
    match shape
        .iter()
        .position(|d| d.as_fixed().is_some_and(|n| n < 0))
    {
        Some(axis) => Err(TypeError::new(format!(
            "axis {axis}: a size is at least 0, found {}",
            shape[axis]
        ))),
        None => Ok(()),
    }
}

impl OpDef for Reshape {
    const NAME: &'static str = "reshape";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        require_sizes(&self.shape)?;
        let shape: Shape = self.shape.iter().cloned().collect();
        if x.dtype.is_block() && x.shape.last() != shape.last() {
            return Err(TypeError::new(format!(
                "operand 0: blocks lie along the last axis, so {} keeps its last size, found {x} to {shape}",
                x.dtype
            )));
        }
        let why = format!(
            "reshape of {} to {shape}: element counts are equal",
            x.shape
        );
        cx.require_eq(&x.shape.numel(), &shape.numel(), &why)?;
        Ok(smallvec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Ok(smallvec![args[0].reshape(&cx.shape(0)?)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 3);
        let mut shape = s.shape(rank, 5);
        let dtype = s.choose(&DType::PLAIN);
        let x = s.tensor_with_specials(dtype, &shape);
        match s.size(0, 2) {
            0 => shape.insert(s.size(0, rank), 1),
            1 if rank > 1 => {
                let last = shape.remove(rank - 1);
                shape[rank - 2] *= last;
            }
            _ => shape.reverse(),
        }
        Sample::new(
            Reshape {
                shape: shape.into_iter().map(Dim::from).collect(),
            },
            vec![x],
        )
    }
}

/// Replaces one `-1` in `shape` by what is left of `numel`.
fn resolve(shape: &mut [Dim], numel: &Dim) -> Result<(), String> {
    let wildcard = Dim::fixed(-1);
    let mut at = shape
        .iter()
        .enumerate()
        .filter(|(_, d)| **d == wildcard)
        .map(|(i, _)| i);
    let (Some(axis), more) = (at.next(), at.next()) else {
        return Ok(());
    };
    if more.is_some() {
        return Err("a shape has at most one -1".to_owned());
    }
    let others = shape.iter().enumerate().filter(|(i, _)| *i != axis);
    let known = others.fold(Dim::fixed(1), |n, (_, d)| &n * d);
    if known == Dim::fixed(0) {
        return Err("-1 beside a size of 0 could be anything".to_owned());
    }
    shape[axis] = numel.floor_div(&known).map_err(|e| e.to_string())?;
    Ok(())
}

impl<'g> TensorValue<'g> {
    /// The same elements under another shape; one size may be `-1`: what is left. See [`Reshape`].
    #[track_caller]
    pub fn reshape<D: Into<Dim>>(self, shape: impl IntoIterator<Item = D>) -> TensorValue<'g> {
        let mut shape: Vec<Dim> = shape.into_iter().map(Into::into).collect();
        if self.is_poisoned() {
            return self;
        }
        match resolve(&mut shape, &self.shape().numel()) {
            Ok(()) => self.builder().apply1(Reshape { shape }, &[self]),
            Err(message) => self.builder().poison(Reshape::NAME, message),
        }
    }

    /// Adds an axis of size 1 so that it becomes axis `axis` of the result.
    #[track_caller]
    pub fn unsqueeze(self, axis: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let mut shape = self.shape().to_vec();
        match normalize_axis(axis, shape.len() + 1) {
            Ok(axis) => {
                shape.insert(axis, Dim::fixed(1));
                self.reshape(shape)
            }
            Err(error) => self.builder().poison("unsqueeze", error.message),
        }
    }

    /// Drops an axis of size 1; a size that only may be 1 becomes a run-time guard.
    #[track_caller]
    pub fn squeeze(self, axis: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let mut shape = self.shape().to_vec();
        let axis = match normalize_axis(axis, shape.len()) {
            Ok(axis) => axis,
            Err(error) => return self.builder().poison("squeeze", error.message),
        };
        match shape.remove(axis).as_fixed() {
            Some(size) if size != 1 => self.builder().poison(
                "squeeze",
                format!(
                    "axis {axis} of {} has size {size}, expected 1",
                    self.shape()
                ),
            ),
            _ => self.reshape(shape),
        }
    }

    /// Joins the axes `first..=last` (negative counts from the back) to one.
    #[track_caller]
    pub fn flatten(self, first: i64, last: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let shape = self.shape();
        let axes = normalize_axis(first, shape.rank())
            .and_then(|a| Ok((a, normalize_axis(last, shape.rank())?)));
        match axes {
            Ok((first, last)) if first <= last => {
                let joined = shape[first..=last]
                    .iter()
                    .fold(Dim::fixed(1), |n, d| &n * d);
                let (head, tail) = (&shape[..first], &shape[last + 1..]);
                self.reshape(
                    head.iter()
                        .cloned()
                        .chain([joined])
                        .chain(tail.iter().cloned()),
                )
            }
            Ok((first, last)) => self
                .builder()
                .poison("flatten", format!("axis {first} comes after axis {last}")),
            Err(error) => self.builder().poison("flatten", error.message),
        }
    }
}
