//! `stack_siblings`: stacks that multiply the same activation (q, k, v written as three products)
//! become one stack.

use gabion_ir::ops::{Segment, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use indexmap::IndexMap;

use crate::ledger::Outcome;
use crate::patch::Patch;
use crate::rewriter::PassCx;
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let mut by_activation: IndexMap<Value, Vec<NodeId>> = IndexMap::new();
    for id in graph.canonical_order() {
        if let Op::StackedMatmul(stack) = graph.op(id)
            && stack.norm.is_none()
        {
            by_activation
                .entry(graph.operands(id)[0])
                .or_default()
                .push(id);
        }
    }
    let mut merged = 0;
    for (x, stacks) in by_activation {
        let (plain, fused): (Vec<NodeId>, Vec<NodeId>) =
            stacks.iter().partition(|&&id| is_plain(graph, id));
        if stacks.len() > 1 {
            for id in fused {
                cx.refuse(graph, id, "it has an epilogue already");
            }
        }
        if plain.len() > 1 {
            let rows: usize = plain.iter().map(|&id| rows(graph, id)).sum();
            let label = format!(
                "{} products of one activation become one stack of {rows} rows",
                plain.len()
            );
            let origins = plain.iter().flat_map(|&id| graph.node(id).origins.ids());
            let origins = origins.copied().collect();
            cx.note_from(graph, plain[0], Outcome::Fired(label.clone()), origins);
            merge(graph, x, &plain, label)?;
            merged += 1;
        }
    }
    Ok(merged)
}

fn stack(graph: &Graph, id: NodeId) -> Option<&StackedMatmul> {
    let Op::StackedMatmul(stack) = graph.op(id) else {
        return None;
    };
    Some(stack)
}

fn is_plain(graph: &Graph, id: NodeId) -> bool {
    stack(graph, id).is_some_and(|s| {
        s.segments
            .iter()
            .all(|s| s.epilogue.is_empty() && s.halves.is_none())
    })
}

fn rows(graph: &Graph, id: NodeId) -> usize {
    stack(graph, id)
        .and_then(|s| s.segments.last())
        .map_or(0, |s| s.rows[1])
}

fn merge(graph: &mut Graph, x: Value, stacks: &[NodeId], label: String) -> Result<(), LowerError> {
    let mut taps = vec![x];
    let mut segments = Vec::new();
    let mut replaced = Vec::new();
    let mut first_row = 0;
    for &id in stacks {
        let Some(stack) = stack(graph, id) else {
            continue;
        };
        taps.extend(&graph.operands(id)[1..]);
        for (i, segment) in stack.segments.iter().enumerate() {
            segments.push(Segment::plain(
                first_row + segment.rows[0],
                first_row + segment.rows[1],
            ));
            replaced.push(Value::new(id, i as u32));
        }
        first_row += rows(graph, id);
    }
    let op = StackedMatmul {
        parts: taps.len() - 1,
        norm: None,
        segments,
    };
    let patch = Patch::build(graph, label, &taps, &replaced, |b, t| {
        b.apply(op, t).to_vec()
    })?;
    patch.apply(graph, stacks[0]);
    for &id in stacks {
        graph.sweep(id);
    }
    Ok(())
}
