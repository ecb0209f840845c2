//! Attention in matmuls, reductions and maths.

use gabion_tensor::{DType, Dim};

use super::Attention;
use crate::builder::TensorValue;
use crate::ops::requirements::wide;
use crate::ops::{Matmul, ReduceFn};

/// See [`Attention`]: the heads of one key head become an axis of their own, so that keys and
/// values broadcast over it.
pub(super) fn decompose<'g>(
    op: &Attention,
    args: &[TensorValue<'g>],
) -> Option<Vec<TensorValue<'g>>> {
    let [q, k, v] = [args[0], args[1], args[2]];
    let dtype = DType::promote(q.dtype(), DType::promote(k.dtype(), v.dtype())?)?;
    let wide = wide(dtype);
    let groups = k.dim(-2);
    let group_size = q.dim(-2).floor_div(&groups).ok()?;
    let scores = grouped(q.cast(wide), &groups, &group_size);
    let keys = grouped(k.cast(wide), &groups, &Dim::ONE);
    let values = grouped(v.cast(wide), &groups, &Dim::ONE);
    let by_keys = Matmul {
        transpose_a: false,
        transpose_b: true,
    };
    let mut scores = q.builder().apply1(by_keys, &[scores, keys]) * op.scale.0;
    let (mask, _) = op.optional(args);
    if let Some(mask) = mask {
        let mask = grouped_mask(*mask, q.rank(), &groups, &group_size);
        scores = match mask.dtype() {
            DType::Bool => mask.where_(scores, f64::NEG_INFINITY),
            _ => scores + mask.cast(wide),
        };
    }
    if let Some(allowed) = allowed(op, args) {
        scores = allowed.where_(scores, f64::NEG_INFINITY);
    }
    // A row without keys has the largest score -inf and the sum 0: both are replaced, and the row
    // becomes zeros.
    let largest = scores.reduce(ReduceFn::Max, &[-1], true);
    let largest = largest.eq(f64::NEG_INFINITY).where_(0.0, largest);
    let weights = (scores - largest).exp();
    let sum = weights.reduce(ReduceFn::Sum, &[-1], true);
    let sum = sum.eq(0.0).where_(1.0, sum);
    let out = (weights / sum).matmul(values);
    // [batch.., groups, group_size, queries, value_dim] to [batch.., queries, heads, value_dim].
    let rank = out.rank() as i64;
    let mut perm: Vec<i64> = (0..rank).collect();
    perm[out.rank() - 4..].copy_from_slice(&[rank - 2, rank - 4, rank - 3, rank - 1]);
    let mut shape = q.shape().to_vec();
    shape.pop();
    shape.push(v.dim(-1));
    Some(vec![out.permute(&perm).reshape(shape).cast(dtype)])
}

/// `[batch.., n, groups * size, dim]` as `[batch.., groups, size, n, dim]`.
fn grouped<'g>(x: TensorValue<'g>, groups: &Dim, size: &Dim) -> TensorValue<'g> {
    let mut shape = x.shape().to_vec();
    let head_axis = shape.len() - 2;
    shape.splice(head_axis..=head_axis, [groups.clone(), size.clone()]);
    let rank = shape.len() as i64;
    let mut perm: Vec<i64> = (0..rank).collect();
    perm[shape.len() - 4..].copy_from_slice(&[rank - 3, rank - 2, rank - 4, rank - 1]);
    x.reshape(shape).permute(&perm)
}

/// `[.., heads | 1, queries | 1, keys | 1]` with the axis of heads split in two.
fn grouped_mask<'g>(
    mask: TensorValue<'g>,
    rank: usize,
    groups: &Dim,
    size: &Dim,
) -> TensorValue<'g> {
    let mut shape = mask.shape().to_vec();
    while shape.len() < rank {
        shape.insert(0, Dim::ONE);
    }
    let head_axis = rank - 3;
    let split = if shape[head_axis] == Dim::ONE {
        [Dim::ONE, Dim::ONE]
    } else {
        [groups.clone(), size.clone()]
    };
    shape.splice(head_axis..=head_axis, split);
    mask.reshape(shape)
}

/// Where query `i` may attend to key `j`, as `[queries | 1, keys]`; none if everywhere.
fn allowed<'g>(op: &Attention, args: &[TensorValue<'g>]) -> Option<TensorValue<'g>> {
    let (b, queries, keys) = (args[0].builder(), args[0].dim(-3), args[1].dim(-3));
    let (_, position) = op.optional(args);
    let slots = || b.range(keys.clone(), DType::I64);
    match (op.causal, position) {
        (false, None) => None,
        (false, Some(position)) => {
            // Slots below position + queries, which may be no constant.
            let last = b.range_from(&queries - 1, queries.clone(), 1, DType::I64) + *position;
            Some(slots().le(last.unsqueeze(-1)))
        }
        (true, Some(position)) => {
            let places = b.range(queries, DType::I64) + *position;
            Some(slots().le(places.unsqueeze(-1)))
        }
        (true, None) => {
            let places = b.range_from(&keys - &queries, keys.clone(), 1, DType::I64);
            Some(slots().le(places.unsqueeze(-1)))
        }
    }
}
