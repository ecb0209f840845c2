//! `transpose`: the axes in another order.

use gabion_tensor::{DType, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::strides::{pick, positions, strides, unit_shape};
use crate::sample::{Sample, Sampler};

/// Axis `i` of the result is axis `perm[i]` of `x`. Any dtype; a block format keeps its last axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transpose {
    /// A permutation of `0..rank`; negative counts from the back.
    pub perm: Vec<i64>,
}

impl Transpose {
    fn axes(&self, rank: usize) -> Result<Vec<usize>, TypeError> {
        let axes: Vec<usize> = self
            .perm
            .iter()
            .map(|&a| normalize_axis(a, rank))
            .collect::<Result<_, _>>()?;
        let distinct = (0..rank).all(|axis| axes.contains(&axis));
        if axes.len() != rank || !distinct {
            return Err(TypeError::new(format!(
                "perm: expected each of the axes 0..{rank} once, found {:?}",
                self.perm
            )));
        }
        Ok(axes)
    }
}

impl OpDef for Transpose {
    const NAME: &'static str = "transpose";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        let axes = self.axes(x.shape.rank())?;
        if x.dtype.is_block() && axes.last() != Some(&(axes.len() - 1)) {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when moving the last axis",
                x.dtype,
            ));
        }
        let shape: Shape = axes.iter().map(|&a| x.shape[a].clone()).collect();
        Ok(smallvec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let axes = self
            .axes(args[0].rank())
            .map_err(|e| EvalError::Value(e.message))?;
        let units = unit_shape(&args[0]);
        let own = strides(&units);
        let shape: Vec<usize> = axes.iter().map(|&a| units[a]).collect();
        let strides: Vec<isize> = axes.iter().map(|&a| own[a]).collect();
        Ok(smallvec![pick(
            &args[0],
            &cx.shape(0)?,
            positions(&shape, &strides, 0)
        )?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 4);
        let shape = s.shape(rank, 5);
        let dtype = s.choose(&DType::PLAIN);
        let mut perm: Vec<i64> = (0..rank as i64).collect();
        for i in (1..rank).rev() {
            perm.swap(i, s.size(0, i));
        }
        if rank > 0 && s.one_in(3) {
            perm[0] -= rank as i64;
        }
        Sample::new(
            Transpose { perm },
            vec![s.tensor_with_specials(dtype, &shape)],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// The axes in the order `perm`; see [`Transpose`].
    #[track_caller]
    pub fn permute(self, perm: &[i64]) -> TensorValue<'g> {
        self.builder().apply1(
            Transpose {
                perm: perm.to_vec(),
            },
            &[self],
        )
    }

    /// Swaps two axes (negative counts from the back).
    #[track_caller]
    pub fn transpose(self, a: i64, b: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let rank = self.rank();
        match normalize_axis(a, rank).and_then(|a| Ok((a, normalize_axis(b, rank)?))) {
            Ok((a, b)) => {
                let mut perm: Vec<i64> = (0..rank as i64).collect();
                perm.swap(a, b);
                self.permute(&perm)
            }
            Err(error) => self.builder().poison(Transpose::NAME, error.message),
        }
    }

    /// The transposed matrix: swaps the last two axes.
    #[track_caller]
    pub fn t(self) -> TensorValue<'g> {
        self.transpose(-2, -1)
    }
}
