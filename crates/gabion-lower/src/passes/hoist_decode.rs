//! `hoist_decode`: looking up rows of a stored table and then decoding them becomes looking up rows
//! of the decoded table. The plan keeps the table in its stored format and decodes the rows that are
//! read, and a table that is also the head's weight is one weight.

use gabion_ir::{Graph, NodeId, Op, Value};

use crate::patch::Patch;
use crate::recipe::parts_of;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    rewrite(graph, cx, &hoist)
}

fn hoist(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    if !matches!(op, Op::Cast(_) | Op::Dequantize(_)) {
        return Ok(Verdict::Skip);
    }
    let looked_up = graph.operands(id)[0];
    let Op::Gather(gather) = graph.op(looked_up.node) else {
        return Ok(Verdict::Skip);
    };
    let operands = graph.operands(looked_up.node);
    let rank = graph.value_type(operands[0]).shape.rank() as i64;
    if (gather.axis != 0 && gather.axis != -rank) || parts_of(graph, operands[0]).is_none() {
        return Ok(Verdict::Skip);
    }
    if graph.single_user(looked_up).is_none() {
        return Ok(Verdict::Refuse(
            "the looked-up codes are used elsewhere too".to_owned(),
        ));
    }
    let replaced = [Value::new(id, 0)];
    let patch = Patch::build(
        graph,
        "the table is decoded where its rows are read",
        &operands,
        &replaced,
        |b, t| {
            let decoded = b.apply1(op.clone(), &[t[0]]);
            vec![b.apply1(gather.clone(), &[decoded, t[1]])]
        },
    )?;
    Ok(Verdict::Apply(patch))
}
