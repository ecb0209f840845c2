//! numpy's broadcast rule on symbolic shapes.

use gabion_tensor::{Dim, Shape, TensorType};

use crate::op::{EvalError, InferCx, TypeError};
use crate::ops::strides::{broadcast_strides, positions};

/// The shape that all operands broadcast to: aligned at the last axis, each size 1 or equal.
///
/// A size that is not literally 1 is never taken for 1: what cannot be proved equal becomes a
/// run-time guard.
pub(crate) fn broadcast(args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Shape, TypeError> {
    let shapes: Vec<&[Dim]> = args.iter().map(|a| &a.shape[..]).collect();
    broadcast_dims(&shapes, cx)
}

/// As [`broadcast`], on lists of dims.
pub(crate) fn broadcast_dims(shapes: &[&[Dim]], cx: &mut InferCx<'_>) -> Result<Shape, TypeError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let one = Dim::fixed(1);
    let mut out = Vec::with_capacity(rank);
    for axis in 0..rank {
        let dims: Vec<(usize, &Dim)> = shapes
            .iter()
            .enumerate()
            .filter_map(|(i, s)| Some((i, &s[(axis + s.len()).checked_sub(rank)?])))
            .filter(|(_, dim)| **dim != one)
            .collect();
        let chosen = dims
            .iter()
            .find(|(_, d)| d.is_fixed())
            .or(dims.first())
            .copied();
        let Some((lead, size)) = chosen else {
            out.push(one.clone());
            continue;
        };
        for (i, dim) in dims {
            let why = format!(
                "axis -{} of operand {i} broadcasts with operand {lead}: sizes are equal or 1",
                rank - axis
            );
            cx.require_eq(dim, size, &why)?;
        }
        out.push(size.clone());
    }
    Ok(out.into_iter().collect())
}

/// Requires that `from` broadcasts to `to` (which may only add axes in front and stretch ones).
pub(crate) fn require_broadcasts_to(
    operand: usize,
    from: &[Dim],
    to: &[Dim],
    cx: &mut InferCx<'_>,
) -> Result<(), TypeError> {
    let show = |dims: &[Dim]| dims.iter().cloned().collect::<Shape>().to_string();
    let Some(lead) = to.len().checked_sub(from.len()) else {
        return Err(TypeError::new(format!(
            "operand {operand}: {} has more axes than {}",
            show(from),
            show(to)
        )));
    };
    for (axis, dim) in from
        .iter()
        .enumerate()
        .filter(|(_, d)| **d != Dim::fixed(1))
    {
        let why = format!(
            "operand {operand}, axis {axis}: {} broadcasts to {}",
            show(from),
            show(to)
        );
        cx.require_eq(dim, &to[lead + axis], &why)?;
    }
    Ok(())
}

/// Where each element of the broadcast shape lies in an operand of shape `from`.
pub(crate) fn broadcast_positions(from: &[usize], to: &[usize]) -> Result<Vec<usize>, EvalError> {
    let strides = broadcast_strides(from, to)
        .ok_or_else(|| EvalError::Value(format!("shape {from:?} does not broadcast to {to:?}")))?;
    Ok(positions(to, &strides, 0))
}
