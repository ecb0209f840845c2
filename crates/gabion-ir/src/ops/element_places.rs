//! Where `gather_elements` and `scatter` read and write: one element along an axis per index.

use gabion_tensor::{Constraint, DType, HostTensor, Relation, TensorType};

use crate::op::{EvalError, InferCx, TypeError, normalize_axis};
use crate::ops::lanes::indices;
use crate::ops::requirements::index;
use crate::ops::strides::{positions, strides};
use crate::sample::Sampler;

/// Checks that `indices` fits `data` off the axis.
pub(crate) fn infer_indices(
    axis: i64,
    data: &TensorType,
    at: &TensorType,
    cx: &mut InferCx<'_>,
) -> Result<(), TypeError> {
    let rank = data.shape.rank();
    let axis = normalize_axis(axis, rank)?;
    index(1, at)?;
    if at.shape.rank() != rank {
        return Err(TypeError::rank(1, &format!("rank {rank} as operand 0"), at));
    }
    for d in (0..rank).filter(|&d| d != axis) {
        let (lhs, rhs) = (at.shape[d].clone(), data.shape[d].clone());
        let why = format!("operand 1, axis {d}: at most the size of operand 0");
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Le,
                rhs,
            },
            &why,
        )?;
    }
    Ok(())
}

/// For every index in row-major order, the element of `data` that it names.
pub(crate) fn places(
    axis: i64,
    data: &HostTensor,
    at: &HostTensor,
    what: &str,
) -> Result<Vec<usize>, EvalError> {
    let axis = normalize_axis(axis, data.rank()).map_err(|e| EvalError::Value(e.message))?;
    if (0..data.rank()).any(|d| d != axis && at.shape()[d] > data.shape()[d]) {
        return Err(EvalError::Value(format!(
            "{what}: shape {:?} is larger than {:?}",
            at.shape(),
            data.shape()
        )));
    }
    let mut strides = strides(data.shape());
    let along = std::mem::take(&mut strides[axis]) as usize;
    let lines = positions(at.shape(), &strides, 0);
    let along = indices(at, data.shape()[axis], what)?
        .into_iter()
        .map(|i| i * along);
    Ok(lines
        .into_iter()
        .zip(along)
        .map(|(line, i)| line + i)
        .collect())
}

/// An axis, a shape and indices into it.
pub(crate) fn sample_indices(s: &mut Sampler) -> (i64, Vec<usize>, HostTensor) {
    let rank = s.size(1, 3);
    let axis = s.size(0, rank - 1);
    let shape = s.shape(rank, 6);
    let mut own: Vec<usize> = shape.iter().map(|&n| s.size(1, n)).collect();
    own[axis] = s.size(1, 7);
    let dtype = s.choose(&[DType::I64, DType::I32, DType::U16]);
    let at = s.indices(dtype, &own, shape[axis]);
    let axis = if s.one_in(3) {
        axis as i64 - rank as i64
    } else {
        axis as i64
    };
    (axis, shape, at)
}
