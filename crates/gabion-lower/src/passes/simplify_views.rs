//! `simplify_views`: reshapes, transposes, casts, broadcasts, cuts and joins that change nothing, or
//! undo or repeat each other, are removed.

use gabion_ir::ops::{AxisSlice, Concat, Reshape, Slice, Transpose};
use gabion_ir::{Builder, Graph, NodeId, Op, TensorValue, Value};
use gabion_tensor::Dim;

use crate::class::{Class, Movement, class_of};
use crate::patch::Patch;
use crate::recipe::fixed_cut;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    rewrite(graph, cx, &simplify)
}

fn simplify(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    if changes_nothing(graph, id, op) {
        return same(graph, id, "changes nothing");
    }
    let Class::Movement(op) = class_of(op) else {
        return Ok(Verdict::Skip);
    };
    match op {
        Movement::Reshape(reshape) => reshape_twice(graph, id, reshape),
        Movement::Transpose(transpose) => transpose_twice(graph, id, transpose),
        Movement::Concat(concat) => concat_of_concat(graph, id, concat),
        Movement::Slice(slice) => slice_of_concat(graph, id, slice),
        // A size that only a guard proves stays with the split.
        Movement::Split(split) if split.sizes.len() == 1 && keeps_type(graph, id) => {
            same(graph, id, "splits into one")
        }
        Movement::Split(split) => split_of_concat(graph, id, split.axis, &split.sizes),
        Movement::Broadcast | Movement::Pad(_) => Ok(Verdict::Skip),
    }
}

fn keeps_type(graph: &Graph, id: NodeId) -> bool {
    graph.value_type(graph.operands(id)[0]) == &graph.node(id).results[0]
}

/// True for an operator that gives what it gets if only the type stays the same.
fn changes_nothing(graph: &Graph, id: NodeId, op: &Op) -> bool {
    let could = if let Op::Transpose(t) = op {
        let rank = t.perm.len() as i64;
        let stays = |(i, &axis): (usize, &i64)| (axis + rank) % rank == i as i64;
        t.perm.iter().enumerate().all(stays)
    } else if let Op::Slice(slice) = op {
        // Cuts are clamped to the axis, so the same size with step 1 is the whole axis.
        slice.axes.iter().all(|a| a.step == 1)
    } else {
        matches!(op, Op::Reshape(_) | Op::Broadcast(_) | Op::Cast(_))
    };
    could && keeps_type(graph, id)
}

fn patch(
    graph: &Graph,
    label: &str,
    taps: &[Value],
    replaced: &[Value],
    build: impl for<'g> FnOnce(&'g Builder, &[TensorValue<'g>]) -> Vec<TensorValue<'g>>,
) -> Result<Verdict, LowerError> {
    Ok(Verdict::Apply(Patch::build(
        graph, label, taps, replaced, build,
    )?))
}

fn same(graph: &Graph, id: NodeId, label: &str) -> Result<Verdict, LowerError> {
    patch(
        graph,
        label,
        &[graph.operands(id)[0]],
        &[Value::new(id, 0)],
        |_, t| vec![t[0]],
    )
}

fn reshape_twice(graph: &Graph, id: NodeId, reshape: &Reshape) -> Result<Verdict, LowerError> {
    let operand = graph.operands(id)[0];
    let Op::Reshape(_) = graph.op(operand.node) else {
        return Ok(Verdict::Skip);
    };
    let taps = [graph.operands(operand.node)[0]];
    patch(
        graph,
        "two reshapes become one",
        &taps,
        &[Value::new(id, 0)],
        |b, t| vec![b.apply1(reshape.clone(), &[t[0]])],
    )
}

fn transpose_twice(graph: &Graph, id: NodeId, outer: &Transpose) -> Result<Verdict, LowerError> {
    let operand = graph.operands(id)[0];
    let Op::Transpose(inner) = graph.op(operand.node) else {
        return Ok(Verdict::Skip);
    };
    let rank = inner.perm.len() as i64;
    let at = |axis: i64| ((axis + rank) % rank) as usize;
    let perm: Vec<i64> = outer
        .perm
        .iter()
        .map(|&axis| at(inner.perm[at(axis)]) as i64)
        .collect();
    let taps = [graph.operands(operand.node)[0]];
    patch(
        graph,
        "two transposes become one",
        &taps,
        &[Value::new(id, 0)],
        |b, t| vec![b.apply1(Transpose { perm }, &[t[0]])],
    )
}

fn axis_of(axis: i64, rank: usize) -> usize {
    if axis < 0 {
        (axis + rank as i64) as usize
    } else {
        axis as usize
    }
}

fn concat_of_concat(graph: &Graph, id: NodeId, concat: &Concat) -> Result<Verdict, LowerError> {
    let operands = graph.operands(id);
    if operands.len() == 1 {
        return same(graph, id, "joins one");
    }
    let rank = graph.node(id).results[0].shape.rank();
    let axis = axis_of(concat.axis, rank);
    let mut taps = Vec::new();
    for &operand in &operands {
        if let Op::Concat(inner) = graph.op(operand.node)
            && axis_of(inner.axis, rank) == axis
            && graph.single_user(operand).is_some()
        {
            taps.extend(graph.operands(operand.node));
        } else {
            taps.push(operand);
        }
    }
    if taps.len() == operands.len() {
        return Ok(Verdict::Skip);
    }
    patch(
        graph,
        "a concat of concats becomes one",
        &taps,
        &[Value::new(id, 0)],
        |b, t| vec![b.apply1(Concat { axis: axis as i64 }, t)],
    )
}

/// The operands of a concat along `axis` with their fixed extents.
fn extents(graph: &Graph, value: Value, axis: usize) -> Option<Vec<(Value, usize, usize)>> {
    let Op::Concat(concat) = graph.op(value.node) else {
        return None;
    };
    if axis_of(concat.axis, graph.value_type(value).shape.rank()) != axis {
        return None;
    }
    let mut first = 0;
    let mut extents = Vec::new();
    for operand in graph.operands(value.node) {
        let n = usize::try_from(graph.value_type(operand).shape[axis].as_fixed()?).ok()?;
        extents.push((operand, first, first + n));
        first += n;
    }
    Some(extents)
}

fn slice_of_concat(graph: &Graph, id: NodeId, slice: &Slice) -> Result<Verdict, LowerError> {
    let operand = graph.operands(id)[0];
    let shape = &graph.value_type(operand).shape;
    let size = |axis: usize| shape[axis].as_fixed().and_then(|n| usize::try_from(n).ok());
    let Some((axis, start, stop)) = fixed_cut(slice, shape.rank(), size) else {
        return Ok(Verdict::Skip);
    };
    let Some(extents) = extents(graph, operand, axis) else {
        return Ok(Verdict::Skip);
    };
    let Some(&(inside, first, _)) = extents.iter().find(|(_, a, b)| *a <= start && stop <= *b)
    else {
        return Ok(Verdict::Skip);
    };
    patch(
        graph,
        "a cut of a concat is a cut of one operand",
        &[inside],
        &[Value::new(id, 0)],
        |b, t| {
            let cut = AxisSlice {
                axis: axis as i64,
                start: Some(Dim::from(start - first)),
                stop: Some(Dim::from(stop - first)),
                step: 1,
            };
            vec![b.apply1(Slice { axes: vec![cut] }, &[t[0]])]
        },
    )
}

fn split_of_concat(
    graph: &Graph,
    id: NodeId,
    axis: i64,
    sizes: &[Dim],
) -> Result<Verdict, LowerError> {
    let operand = graph.operands(id)[0];
    let axis = axis_of(axis, graph.value_type(operand).shape.rank());
    let Some(extents) = extents(graph, operand, axis) else {
        return Ok(Verdict::Skip);
    };
    let equal = extents.len() == sizes.len()
        && extents
            .iter()
            .zip(sizes)
            .all(|((_, a, b), size)| size.as_fixed() == Some((b - a) as i64));
    if !equal {
        return Ok(Verdict::Skip);
    }
    let taps: Vec<Value> = extents.iter().map(|(v, ..)| *v).collect();
    let replaced: Vec<Value> = (0..sizes.len() as u32).map(|r| Value::new(id, r)).collect();
    patch(
        graph,
        "a split undoes a concat",
        &taps,
        &replaced,
        |_, t| t.to_vec(),
    )
}
