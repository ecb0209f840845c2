//! `fuse_prologue`: a norm whose result only a stack reads is computed inside the stack, row by row,
//! where the rows are read anyway.

use gabion_ir::ops::{StackNorm, StackNormKind, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::Target;
use gabion_tensor::DType;

use crate::class::{Class, Composite, class_of};
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
        let x = graph.operands(id)[0];
        let Some(norm) = norm_of(graph, x).filter(|_| stack.norm.is_none()) else {
            return Ok(Verdict::Skip);
        };
        if let Some(why) = obstacle(graph, x, target) {
            return Ok(Verdict::Refuse(why));
        }
        fuse(graph, id, stack, norm)
    })
}

/// The norm that a value is, in a stack's words.
fn norm_of(graph: &Graph, x: Value) -> Option<StackNorm> {
    let (kind, eps) = match class_of(graph.op(x.node)) {
        Class::Composite(op) => match (op, graph.operands(x.node).len()) {
            (Composite::RmsNorm(norm), 2) => (StackNormKind::Rms, norm.eps),
            (Composite::LayerNorm(norm), 2) => (StackNormKind::Layer, norm.eps),
            (Composite::LayerNorm(norm), 3) => (StackNormKind::LayerBias, norm.eps),
            (Composite::RmsNorm(_) | Composite::LayerNorm(_), _)
            | (
                Composite::Softmax(_)
                | Composite::LogSoftmax(_)
                | Composite::Rope(_)
                | Composite::Attention(_),
                _,
            ) => return None,
        },
        Class::Leaf(_)
        | Class::Elementwise(_)
        | Class::Movement(_)
        | Class::Work(_)
        | Class::Decomposed => return None,
    };
    Some(StackNorm { kind, eps })
}

/// Why the norm `x` stays where it is.
fn obstacle(graph: &Graph, x: Value, target: &Target) -> Option<String> {
    if !target.norm_prologue {
        return Some(format!("{} computes no norm inside a product", target.name));
    }
    if graph.single_user(x).is_none() {
        return Some("the norm's result is used elsewhere too".to_owned());
    }
    let normed = graph.operands(x.node);
    let types: Vec<_> = normed.iter().map(|v| graph.value_type(*v)).collect();
    let vectors = types[1..].iter().all(|t| t.shape.rank() == 1);
    if !vectors || types.iter().any(|t| t.dtype != DType::F32) {
        return Some("the norm is not f32 with vectors".to_owned());
    }
    None
}

/// The stack on what the norm reads.
fn fuse(
    graph: &Graph,
    id: NodeId,
    stack: &StackedMatmul,
    norm: StackNorm,
) -> Result<Verdict, LowerError> {
    let operands = graph.operands(id);
    let x = operands[0].node;
    let mut taps: Vec<Value> = graph.operands(x).to_vec();
    taps.extend(&operands[1..]);
    let new = StackedMatmul {
        norm: Some(norm),
        ..stack.clone()
    };
    let replaced: Vec<Value> = (0..stack.segments.len() as u32)
        .map(|r| Value::new(id, r))
        .collect();
    let label = format!("{} is computed where x is read", graph.op(x).name());
    let patch = Patch::build(graph, label, &taps, &replaced, |b, t| {
        b.apply(new, t).to_vec()
    })?;
    Ok(Verdict::Apply(patch))
}
