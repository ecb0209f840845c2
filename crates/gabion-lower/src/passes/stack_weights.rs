//! `stack_weights`: a product of an activation and a weight, or a concat of weights, becomes a
//! `stacked_matmul` whose parts are the separate tensors. The concat itself is gone: the plan packs
//! part by part while loading, so the stack is never materialised.

use gabion_ir::ops::{Segment, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_tensor::DType;

use crate::patch::Patch;
use crate::recipe::{PartRecipe, parts_of, transposed_parts_of};
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;
use crate::weight_only::WeightOnly;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    // A stack computes what the product did from what the product did.
    let weight_only = WeightOnly::default();
    rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| {
        stack(graph, id, op, &weight_only)
    })
}

fn stack(
    graph: &Graph,
    id: NodeId,
    op: &Op,
    weight_only: &WeightOnly,
) -> Result<Verdict, LowerError> {
    let Op::Matmul(matmul) = op else {
        return Ok(Verdict::Skip);
    };
    let operands = graph.operands(id);
    let (x, weight) = (operands[0], operands[1]);
    if !weight_only.holds(graph, weight) {
        return Ok(Verdict::Skip);
    }
    let (x_type, w_type) = (graph.value_type(x), graph.value_type(weight));
    if matmul.transpose_a && x_type.shape.rank() > 1 {
        return Ok(Verdict::Refuse("the activation is transposed".to_owned()));
    }
    if weight_only.holds(graph, x) {
        return Ok(Verdict::Refuse("both operands are weights".to_owned()));
    }
    if x_type.dtype != DType::F32 || w_type.dtype != DType::F32 {
        let why = format!(
            "a stack multiplies f32, found {} and {}",
            x_type.dtype, w_type.dtype
        );
        return Ok(Verdict::Refuse(why));
    }
    if w_type.shape.rank() != 2 || w_type.shape.as_fixed().is_none() {
        return Ok(Verdict::Refuse(format!(
            "a stacked weight is a matrix of fixed size, found {w_type}"
        )));
    }
    let parts = if matmul.transpose_b {
        parts_of(graph, weight)
    } else {
        transposed_parts_of(graph, weight)
    };
    let Some(parts) = parts else {
        return Ok(Verdict::Refuse(
            "the weight is computed in a way that has no load-time recipe".to_owned(),
        ));
    };
    let rows: usize = parts.iter().map(|p| p.n_rows).sum();
    if rows == 0 {
        return Ok(Verdict::Refuse("the weight has no rows".to_owned()));
    }
    let label = match parts.len() {
        1 => format!("one weight of {rows} rows"),
        n => format!("{n} tensors become one stack of {rows} rows, which is never materialised"),
    };
    let op = StackedMatmul {
        parts: parts.len(),
        norm: None,
        segments: vec![Segment::plain(0, rows)],
    };
    let patch = build(graph, label, op, x, &parts, &[], &[Value::new(id, 0)])?;
    Ok(Verdict::Apply(patch))
}

/// A patch that computes `op` on x, parts and extras (no norm) and replaces one value per segment.
pub(super) fn build(
    graph: &Graph,
    label: String,
    op: StackedMatmul,
    x: Value,
    parts: &[PartRecipe],
    extras: &[Value],
    replaced: &[Value],
) -> Result<Patch, LowerError> {
    let mut taps = vec![x];
    taps.extend(parts.iter().map(|p| p.source));
    taps.extend(extras);
    let patch = Patch::build(graph, label, &taps, replaced, |b, t| {
        let mut args = vec![t[0]];
        args.extend(
            parts
                .iter()
                .zip(&t[1..])
                .map(|(part, source)| part.build(b, *source)),
        );
        args.extend(&t[1 + parts.len()..]);
        b.apply(op, &args).to_vec()
    })?;
    Ok(patch)
}
