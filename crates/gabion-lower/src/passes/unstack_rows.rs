//! `unstack_rows`: rows of a stack whose results nobody uses are dropped, and with them the parts
//! (or the rows of parts) that they came from: they are never loaded.

use gabion_ir::ops::{Segment, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};

use crate::patch::Patch;
use crate::recipe::row_pieces;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    rewrite(graph, cx, &unstack)
}

fn unstack(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    let Op::StackedMatmul(stack) = op else {
        return Ok(Verdict::Skip);
    };
    let used = |i: usize| {
        let value = Value::new(id, i as u32);
        graph.is_output(value) || graph.is_used(value)
    };
    let kept: Vec<usize> = (0..stack.segments.len()).filter(|&i| used(i)).collect();
    if kept.len() == stack.segments.len() || kept.is_empty() {
        return Ok(Verdict::Skip);
    }
    if stack.segments.iter().any(|s| !s.epilogue.is_empty()) {
        return Ok(Verdict::Refuse(
            "unused rows, but it has an epilogue already".to_owned(),
        ));
    }
    let dropped: usize = stack.segments.iter().map(Segment::n_rows).sum::<usize>()
        - kept
            .iter()
            .map(|&i| stack.segments[i].n_rows())
            .sum::<usize>();
    let taps = graph.operands(id);
    let replaced: Vec<Value> = kept.iter().map(|&i| Value::new(id, i as u32)).collect();
    let part_rows: Vec<usize> = taps[stack.first_part()..stack.first_extra()]
        .iter()
        .map(|v| graph.value_type(*v).shape[0].as_fixed().unwrap_or(0) as usize)
        .collect();
    let label = format!("{dropped} unused rows are never loaded");
    let patch = Patch::build(graph, label, &taps, &replaced, |b, t| {
        let mut args = t[..stack.first_part()].to_vec();
        for piece in row_pieces(&part_rows, kept.iter().map(|&i| stack.segments[i].rows)) {
            args.push(piece.build(b, t[stack.first_part() + piece.part]));
        }
        let mut segments = Vec::new();
        let mut next = 0;
        for &i in &kept {
            let n = stack.segments[i].n_rows();
            segments.push(Segment::plain(next, next + n));
            next += n;
        }
        let parts = args.len() - stack.first_part();
        b.apply(
            StackedMatmul {
                parts,
                norm: stack.norm,
                segments,
            },
            &args,
        )
        .to_vec()
    })?;
    Ok(Verdict::Apply(patch))
}
