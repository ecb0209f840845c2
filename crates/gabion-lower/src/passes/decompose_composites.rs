//! `decompose_composites`: a composite operator that the target has no kernel for becomes smaller
//! operators.

use gabion_ir::{Graph, NodeId, Op, Value};

use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;
use crate::select::has_kernel;

/// Runs the pass.
///
/// # Errors
/// A decomposition that does not build.
pub fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let target = cx.target;
    rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| {
        if op.is_leaf() || has_kernel(op, target) {
            return Ok(Verdict::Skip);
        }
        let taps = graph.operands(id);
        let replaced: Vec<Value> =
            (0..graph.node(id).results.len() as u32).map(|r| Value::new(id, r)).collect();
        let mut decomposes = true;
        let label = format!("{} has no kernel for {}", target.name, op.name());
        let patch = Patch::build(graph, label, &taps, &replaced, |_, values| {
            op.decompose(values).unwrap_or_else(|| {
                decomposes = false;
                values.to_vec()
            })
        });
        match patch {
            Ok(patch) if decomposes => Ok(Verdict::Apply(patch)),
            Err(error) if decomposes => Err(error.into()),
            _ => Ok(Verdict::Refuse(format!("{} has no kernel for it and it has no decomposition", target.name))),
        }
    })
}
