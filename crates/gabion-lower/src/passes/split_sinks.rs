//! `split_sinks`: splits and cuts of a stack's columns become results of the stack, so that each
//! projection has its own destination. A cut of `stack + bias` first becomes `cut + cut`.

use gabion_ir::ops::{AxisSlice, Segment, Slice, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_tensor::Dim;

use crate::patch::Patch;
use crate::recipe::fixed_cut;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    Ok(rewrite(graph, cx, &sink_below_elementwise)? + rewrite(graph, cx, &split_stack)?)
}

/// The columns that a split or cut takes: (result of the user, start, end).
fn cuts_of(graph: &Graph, user: NodeId) -> Option<Vec<(Value, usize, usize)>> {
    let operand = graph.operands(user)[0];
    let shape = &graph.value_type(operand).shape;
    let last = shape.rank().checked_sub(1)?;
    if let Op::Slice(slice) = graph.op(user) {
        let size = |axis: usize| shape[axis].as_fixed().and_then(|n| usize::try_from(n).ok());
        let (axis, start, stop) = fixed_cut(slice, shape.rank(), size)?;
        return (axis == last).then(|| vec![(Value::new(user, 0), start, stop)]);
    }
    let Op::Split(split) = graph.op(user) else {
        return None;
    };
    if split.axis != -1 && split.axis != last as i64 {
        return None;
    }
    let mut first = 0;
    let mut cuts = Vec::new();
    for (i, size) in split.sizes.iter().enumerate() {
        let n = usize::try_from(size.as_fixed()?).ok()?;
        cuts.push((Value::new(user, i as u32), first, first + n));
        first += n;
    }
    Some(cuts)
}

fn columns(axis: usize, start: usize, stop: usize) -> Slice {
    let bound = |n: usize| Some(Dim::from(n));
    Slice {
        axes: vec![AxisSlice {
            axis: axis as i64,
            start: bound(start),
            stop: bound(stop),
            step: 1,
        }],
    }
}

/// How many elementwise operators are looked through between a stack and a cut.
const MAX_DEPTH: usize = 8;

/// True for a stack's result, or elementwise work on one, that nobody else reads.
fn comes_from_stack(graph: &Graph, value: Value, depth: usize) -> bool {
    let op = graph.op(value.node);
    let through = matches!(op, Op::Unary(_) | Op::Binary(_)) && depth < MAX_DEPTH;
    let operands = graph.operands(value.node);
    graph.single_user(value).is_some()
        && (matches!(op, Op::StackedMatmul(_))
            || through
                && operands
                    .iter()
                    .any(|v| comes_from_stack(graph, *v, depth + 1)))
}

/// `cut(stack <op> other)` becomes `cut(stack) <op> cut(other)`, for all cuts of the value at once.
fn sink_below_elementwise(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    if !matches!(op, Op::Binary(_) | Op::Unary(_)) {
        return Ok(Verdict::Skip);
    }
    let value = Value::new(id, 0);
    let users = graph.users(value);
    if users.is_empty() || graph.is_output(value) {
        return Ok(Verdict::Skip);
    }
    let cuts: Option<Vec<_>> = users
        .iter()
        .map(|(user, _)| cuts_of(graph, *user))
        .collect();
    let Some(cuts) = cuts else {
        return Ok(Verdict::Skip);
    };
    let operands = graph.operands(id);
    if !operands.iter().any(|v| comes_from_stack(graph, *v, 0)) {
        return Ok(Verdict::Skip);
    }
    let cuts: Vec<_> = cuts
        .into_iter()
        .flatten()
        .filter(|(value, ..)| is_read(graph, *value))
        .collect();
    let width = graph.value_type(value).shape.last().cloned();
    let replaced: Vec<Value> = cuts.iter().map(|(v, ..)| *v).collect();
    let label = format!("the cut moves above {}", op.name());
    let patch = Patch::build(graph, label, &operands, &replaced, |b, t| {
        let piece = |start: usize, stop: usize| {
            let args: Vec<_> = t
                .iter()
                .map(|v| match v.shape().last() {
                    Some(n) if Some(n) == width.as_ref() => {
                        b.apply1(columns(v.rank() - 1, start, stop), &[*v])
                    }
                    _ => *v,
                })
                .collect();
            b.apply1(op.clone(), &args)
        };
        cuts.iter()
            .map(|(_, start, stop)| piece(*start, *stop))
            .collect()
    })?;
    Ok(Verdict::Apply(patch))
}

/// Pieces of a split that nobody reads need no columns of their own.
fn is_read(graph: &Graph, value: Value) -> bool {
    graph.is_output(value) || graph.is_used(value)
}

/// Results that are only cut become one result per piece.
fn split_stack(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    let Op::StackedMatmul(stack) = op else {
        return Ok(Verdict::Skip);
    };
    for (i, segment) in stack.segments.iter().enumerate() {
        let value = Value::new(id, i as u32);
        let users = graph.users(value);
        if users.is_empty() || graph.is_output(value) || segment.halves.is_some() {
            continue;
        }
        let cuts: Option<Vec<_>> = users
            .iter()
            .map(|(user, _)| cuts_of(graph, *user))
            .collect();
        let Some(cuts) = cuts else { continue };
        let cuts: Vec<_> = cuts
            .into_iter()
            .flatten()
            .filter(|(value, ..)| is_read(graph, *value))
            .collect();
        if !segment.epilogue.is_empty() {
            return Ok(Verdict::Refuse(
                "its result is split, but it has an epilogue already".to_owned(),
            ));
        }
        let mut edges: Vec<usize> = cuts
            .iter()
            .flat_map(|(_, a, b)| [*a, *b])
            .chain([0, segment.n_rows()])
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let exact = cuts.iter().all(|(_, a, b)| {
            edges
                .binary_search(a)
                .is_ok_and(|at| edges.get(at + 1) == Some(b))
        });
        if !exact {
            return Ok(Verdict::Refuse(
                "its users take overlapping columns".to_owned(),
            ));
        }
        return Ok(Verdict::Apply(split_segment(
            graph, id, stack, i, &edges, &cuts,
        )?));
    }
    Ok(Verdict::Skip)
}

fn split_segment(
    graph: &Graph,
    id: NodeId,
    stack: &StackedMatmul,
    at: usize,
    edges: &[usize],
    cuts: &[(Value, usize, usize)],
) -> Result<Patch, LowerError> {
    let first = stack.segments[at].rows[0];
    let pieces: Vec<Segment> = edges
        .windows(2)
        .map(|w| Segment::plain(first + w[0], first + w[1]))
        .collect();
    let n = pieces.len();
    let mut new = stack.clone();
    new.segments.splice(at..=at, pieces);
    let mut replaced = Vec::new();
    let mut results = Vec::new();
    for i in (0..stack.segments.len()).filter(|&i| i != at) {
        replaced.push(Value::new(id, i as u32));
        results.push(if i < at { i } else { i + n - 1 });
    }
    for (value, start, _) in cuts {
        replaced.push(*value);
        results.push(at + edges.binary_search(start).unwrap_or(0));
    }
    let label = format!("its result is split into {n} results");
    let taps = graph.operands(id);
    let patch = Patch::build(graph, label, &taps, &replaced, |b, t| {
        let outs = b.apply(new, t);
        results
            .iter()
            .map(|&r| outs.get(r).copied().unwrap_or(outs[0]))
            .collect()
    })?;
    Ok(patch)
}
