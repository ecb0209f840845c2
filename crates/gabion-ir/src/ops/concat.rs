//! `concat`: joins tensors along one axis; all other dims are equal.

use gabion_tensor::{Dim, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::{Builder, TensorValue};
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis,
};
use crate::sample::{Sample, Sampler};

/// Joins `[.., n_i, ..]` along `axis` to `[.., n_1 + n_2 + .., ..]`. Operands have one dtype, which
/// may be a block format unless the axis is the last (blocks lie along the last axis).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {
    /// The axis, counted from the front; negative counts from the back.
    pub axis: i64,
}

impl OpDef for Concat {
    const NAME: &'static str = "concat";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let Some(first) = args.first() else {
            return Err(TypeError::arity("at least 1", 0));
        };
        let rank = first.shape.rank();
        let axis = normalize_axis(self.axis, rank)?;
        if first.dtype.is_block() && axis + 1 == rank {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when joining the last axis",
                first.dtype,
            ));
        }
        let mut shape = first.shape.clone();
        for (i, arg) in args.iter().enumerate().skip(1) {
            if arg.dtype != first.dtype {
                return Err(TypeError::dtype(i, &first.dtype.to_string(), arg.dtype));
            }
            if arg.shape.rank() != rank {
                return Err(TypeError::rank(i, &format!("rank {rank}"), arg));
            }
            for d in (0..rank).filter(|&d| d != axis) {
                let why = format!("operand {i}, axis {d}: all dims but the joined one are equal");
                cx.require_eq(&arg.shape[d], &first.shape[d], &why)?;
            }
            shape[axis] = &shape[axis] + &arg.shape[axis];
        }
        Ok(smallvec![TensorType::new(first.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let dtype = args[0].dtype();
        let shape = cx.shape(0)?;
        let axis =
            normalize_axis(self.axis, shape.len()).map_err(|e| EvalError::Value(e.message))?;
        let outer: usize = shape[..axis].iter().product();
        let mut bytes = Vec::new();
        for o in 0..outer {
            for arg in args {
                let chunk = arg.bytes().len() / outer;
                bytes.extend_from_slice(&arg.bytes()[o * chunk..(o + 1) * chunk]);
            }
        }
        Ok(smallvec![HostTensor::new(dtype, &shape, bytes)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 4);
        let axis = s.size(0, rank - 1);
        let dtype = s.choose(&gabion_tensor::DType::PLAIN);
        let mut shape = s.shape(rank, 5);
        let n = s.size(1, 4);
        let args = (0..n)
            .map(|_| {
                shape[axis] = s.size(1, 5);
                s.tensor_with_specials(dtype, &shape)
            })
            .collect();
        let axis = if s.one_in(3) {
            axis as i64 - rank as i64
        } else {
            axis as i64
        };
        Sample::new(Concat { axis }, args)
    }
}

impl Builder {
    /// Joins values along `axis`; see [`Concat`].
    #[track_caller]
    pub fn concat<'g>(&'g self, values: &[TensorValue<'g>], axis: i64) -> TensorValue<'g> {
        self.apply1(Concat { axis }, values)
    }
}

impl TensorValue<'_> {
    /// The size of `axis` (negative counts from the back); 0 if poisoned or out of range.
    pub fn dim(&self, axis: i64) -> Dim {
        let shape = self.shape();
        normalize_axis(axis, shape.rank()).map_or(Dim::fixed(0), |a| shape[a].clone())
    }
}
