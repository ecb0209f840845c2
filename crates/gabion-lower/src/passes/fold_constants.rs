//! `fold_constants`: operators whose operands are all constants are computed now, if the result is
//! no larger than the operands or within a budget. Weights are not constants; nothing here
//! materialises one.

use gabion_ir::ops::Constant;
use gabion_ir::{EvalCx, Graph, NodeId, Op};
use gabion_tensor::{Bindings, HostTensor};

use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// A result up to this many bytes is folded even if the operands are smaller.
const BUDGET_BYTES: usize = 64 * 1024;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    rewrite(graph, cx, &fold)
}

fn fold(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    let node = graph.node(id);
    let [result] = node.results.as_slice() else {
        return Ok(Verdict::Skip);
    };
    if op.is_leaf() || result.shape.as_fixed().is_none() || result.dtype.is_block() {
        return Ok(Verdict::Skip);
    }
    let mut operands: Vec<HostTensor> = Vec::new();
    for value in graph.operands(id) {
        let Op::Constant(constant) = graph.op(value.node) else {
            return Ok(Verdict::Skip);
        };
        operands.push(constant.value().clone());
    }
    let read: usize = operands.iter().map(|t| t.bytes().len()).sum();
    let bindings = Bindings::default();
    let sizes = result.shape.eval(&bindings).map_err(LowerError::Shape)?;
    let written = result.dtype.bytes_for(&sizes).unwrap_or(usize::MAX);
    if written > read.max(BUDGET_BYTES) {
        return Ok(Verdict::Refuse(format!(
            "the result has {written} bytes, the operands {read}"
        )));
    }
    let value = match op.eval(&operands, &EvalCx::new(&bindings, &node.results)) {
        Ok(mut values) => values.remove(0),
        Err(error) => return Ok(Verdict::Refuse(format!("it cannot be computed: {error}"))),
    };
    let replaced = [gabion_ir::Value::new(id, 0)];
    let patch = Patch::build(graph, "computed", &[], &replaced, |b, _| {
        vec![b.apply1(Constant::new(value), &[])]
    })?;
    Ok(Verdict::Apply(patch))
}
