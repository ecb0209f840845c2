//! `decompose_composites`: a composite operator that the target has no kernel for becomes smaller
//! operators, and so does a stack that it cannot run as it is.

mod stacks;

use gabion_ir::{Graph, NodeId, Op, Value};

use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;
use crate::select::has_kernel;

/// Runs the pass.
///
/// # Errors
/// A decomposition that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let target = cx.target;
    rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| {
        let obstacle = if let Op::StackedMatmul(stack) = op {
            stacks::obstacle(graph, id, stack, target)
        } else if matches!(op, Op::RmsNorm(_) | Op::LayerNorm(_)) && mixes_dtypes(graph, id) {
            Some("a norm's kernel reads one dtype".to_owned())
        } else if has_kernel(op, target) {
            None
        } else {
            Some(format!("{} has no kernel for {}", target.name, op.name()))
        };
        let Some(obstacle) = obstacle else {
            return Ok(Verdict::Skip);
        };
        let taps = graph.operands(id);
        let replaced: Vec<Value> = (0..graph.node(id).results.len() as u32)
            .map(|r| Value::new(id, r))
            .collect();
        let mut decomposes = true;
        let patch = Patch::build(graph, obstacle, &taps, &replaced, |_, values| {
            op.decompose(values).unwrap_or_else(|| {
                decomposes = false;
                values.to_vec()
            })
        });
        match patch {
            Ok(patch) if decomposes => Ok(Verdict::Apply(patch)),
            Err(error) if decomposes => Err(error.into()),
            _ => Ok(Verdict::Refuse(format!(
                "{} has no kernel for it and it has no decomposition",
                target.name
            ))),
        }
    })
}

fn mixes_dtypes(graph: &Graph, id: NodeId) -> bool {
    let result = graph.node(id).results[0].dtype;
    graph
        .operands(id)
        .iter()
        .any(|v| graph.value_type(*v).dtype != result)
}
