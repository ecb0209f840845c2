//! The rotary embedding as an epilogue: halves of each head meet in pairs.

use gabion_ir::ops::{Fused, Pairing};
use gabion_ir::{Graph, Op, Value};
use gabion_tensor::DType;

use super::Site;
use crate::rewriter::Verdict;
use crate::run::LowerError;

/// `rope(reshape(stack), cos, sin)` over whole heads, halves paired.
pub(super) fn rope(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (user, value) = site.past_reshape();
    let Op::Rope(rope) = site.graph.op(user) else {
        return Ok(Verdict::Skip);
    };
    let operands = site.graph.operands(user);
    if operands[0] != value || operands[1] == value || operands[2] == value {
        return Ok(Verdict::Skip);
    }
    let rows = site.stack.segments[site.at].rows;
    let what = format!("rotary embedding of rows {rows:?}");
    match rope_head(site, &rope.pairing, operands[1], operands[2], value) {
        Err(why) => Ok(Verdict::Refuse(format!("{what}: {why}"))),
        Ok(head) => {
            let angles = [operands[1], operands[2]];
            site.append_paired(
                what,
                angles,
                Value::new(user, 0),
                Some(head),
                |[cos, sin]| Fused::Rope { cos, sin },
            )
        }
    }
}

/// The rows of one head, if the epilogue can rotate them.
fn rope_head(
    site: &Site<'_>,
    pairing: &Pairing,
    cos: Value,
    sin: Value,
    value: Value,
) -> Result<usize, String> {
    let graph: &Graph = site.graph;
    let granularity = site.target.pair_granularity;
    let segment = &site.stack.segments[site.at];
    let shape = &graph.value_type(value).shape;
    let lead = site.shape().rank() - 1;
    if *pairing != Pairing::Half {
        return Err("pairs are interleaved, not halves".to_owned());
    }
    if segment
        .epilogue
        .iter()
        .any(|e| !matches!(e, Fused::Bias { .. } | Fused::Scalar { .. }))
    {
        return Err("something else is fused before it".to_owned());
    }
    if shape.rank() != lead + 2 || shape[..lead] != site.shape()[..lead] {
        return Err(format!(
            "its operand {shape} is not [.., heads, head_dim] of the stack's rows"
        ));
    }
    let head = shape[lead + 1]
        .as_fixed()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or("head_dim is symbolic")?;
    for angles in [cos, sin] {
        let ty = graph.value_type(angles);
        if ty.dtype != DType::F32
            || ty.shape.rank() != lead + 1
            || ty.shape[..lead] != shape[..lead]
        {
            return Err(format!(
                "its angles {ty} are not f32 [.., head_dim / 2] per row"
            ));
        }
        if ty.shape[lead].as_fixed() != Some(head as i64 / 2) {
            return Err(format!("it rotates a part of each head of {head}"));
        }
        if !site.is_before(angles) {
            return Err("its angles depend on the stack".to_owned());
        }
    }
    if granularity == 0 || !head.is_multiple_of(2 * granularity) {
        return Err(format!(
            "{} pairs rows in groups of {granularity}, half a head has {}",
            site.target.name,
            head / 2
        ));
    }
    Ok(head)
}
