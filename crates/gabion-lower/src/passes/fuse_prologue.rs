//! `fuse_prologue`: a norm whose result only a stack reads is computed inside the stack, row by row,
//! where the rows are read anyway.

use gabion_ir::ops::{StackNorm, StackNormKind, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_tensor::DType;

use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let target = cx.target;
    rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| {
        let Op::StackedMatmul(stack) = op else {
            return Ok(Verdict::Skip);
        };
        if stack.norm.is_some() {
            return Ok(Verdict::Skip);
        }
        let operands = graph.operands(id);
        let x = operands[0];
        let normed = graph.operands(x.node);
        let norm = match (graph.op(x.node), normed.len()) {
            (Op::RmsNorm(norm), 2) => StackNorm {
                kind: StackNormKind::Rms,
                eps: norm.eps,
            },
            (Op::LayerNorm(norm), 2) => StackNorm {
                kind: StackNormKind::Layer,
                eps: norm.eps,
            },
            (Op::LayerNorm(norm), 3) => StackNorm {
                kind: StackNormKind::LayerBias,
                eps: norm.eps,
            },
            _ => return Ok(Verdict::Skip),
        };
        if !target.norm_prologue {
            return Ok(Verdict::Refuse(format!(
                "{} computes no norm inside a product",
                target.name
            )));
        }
        if graph.single_user(x).is_none() {
            return Ok(Verdict::Refuse(
                "the norm's result is used elsewhere too".to_owned(),
            ));
        }
        let types: Vec<_> = normed.iter().map(|v| graph.value_type(*v)).collect();
        if types.iter().any(|t| t.dtype != DType::F32)
            || types[1..].iter().any(|t| t.shape.rank() != 1)
        {
            return Ok(Verdict::Refuse(
                "the norm is not f32 with vectors".to_owned(),
            ));
        }
        let mut taps: Vec<Value> = normed.to_vec();
        taps.extend(&operands[1..]);
        let new = StackedMatmul {
            norm: Some(norm),
            ..stack.clone()
        };
        let replaced: Vec<Value> = (0..stack.segments.len() as u32)
            .map(|r| Value::new(id, r))
            .collect();
        let label = format!("{} is computed where x is read", graph.op(x.node).name());
        let patch = Patch::build(graph, label, &taps, &replaced, |b, t| {
            b.apply(new, t).to_vec()
        })?;
        Ok(Verdict::Apply(patch))
    })
}
