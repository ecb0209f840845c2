//! `hoist_slices`: a cut of rows moves up before the work on the rows that it drops. Logits of the
//! last token only: the cut after the head moves before the head, the final norm and the last
//! layer's MLP, up to where rows depend on each other.

use gabion_ir::ops::{AxisSlice, Reshape, Slice};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_tensor::Shape;

use super::merge_equal::merge;
use crate::class::{Class, Composite, Movement, Work, class_of};
use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let mut total = 0;
    loop {
        let fired = rewrite(graph, cx, &hoist)?;
        // Two consumers of one value each get a cut; merging them lets the value be cut too.
        merge(graph);
        total += fired;
        if fired == 0 {
            return Ok(total);
        }
    }
}

/// Which operands are cut, and along which of their axes, when the result is cut along `axis`.
fn cut_operands(graph: &Graph, node: NodeId, axis: usize) -> Option<Vec<Option<usize>>> {
    let shapes: Vec<&Shape> = graph
        .operands(node)
        .iter()
        .map(|v| &graph.value_type(*v).shape)
        .collect();
    let result = &graph.node(node).results[0].shape;
    let rank = result.rank();
    let last = rank - 1;
    let first_only =
        |n: usize| -> Vec<Option<usize>> { (0..n).map(|i| (i == 0).then_some(axis)).collect() };
    match class_of(graph.op(node)) {
        Class::Elementwise(_) => {
            let mut cuts = Vec::new();
            for shape in shapes {
                let missing = rank - shape.rank();
                match axis.checked_sub(missing) {
                    Some(own) if shape[own] == result[axis] => cuts.push(Some(own)),
                    Some(own) if shape[own].as_fixed() != Some(1) => return None,
                    _ => cuts.push(None),
                }
            }
            Some(cuts)
        }
        Class::Composite(Composite::RmsNorm(_) | Composite::LayerNorm(_)) if axis != last => {
            Some(first_only(shapes.len()))
        }
        Class::Work(Work::Matmul(m))
            if !m.transpose_a
                && shapes[1].rank() == 2
                && axis != last
                && shapes[0].rank() == rank =>
        {
            Some(first_only(2))
        }
        Class::Movement(Movement::Reshape(_))
            if axis == 0 && shapes[0].rank() > 0 && shapes[0][0] == result[0] =>
        {
            Some(vec![Some(0)])
        }
        Class::Work(Work::Gather(g)) if g.axis == 0 && axis < shapes[1].rank() => {
            Some(vec![None, Some(axis)])
        }
        // Their rows depend on each other, or are not known to be independent.
        Class::Leaf(_)
        | Class::Movement(_)
        | Class::Work(_)
        | Class::Composite(_)
        | Class::Decomposed => None,
    }
}

fn hoist(graph: &Graph, id: NodeId, op: &Op) -> Result<Verdict, LowerError> {
    let Op::Slice(slice) = op else {
        return Ok(Verdict::Skip);
    };
    let [cut] = slice.axes.as_slice() else {
        return Ok(Verdict::Skip);
    };
    let value = graph.operands(id)[0];
    let rank = graph.value_type(value).shape.rank();
    let axis = if cut.axis < 0 {
        (cut.axis + rank as i64) as usize
    } else {
        cut.axis as usize
    };
    let producer = value.node;
    if let Op::Split(_) = graph.op(producer) {
        return hoist_above_split(graph, producer, op, axis);
    }
    let Some(cuts) = cut_operands(graph, producer, axis) else {
        return Ok(Verdict::Skip);
    };
    if graph.single_user(value).is_none() {
        return Ok(Verdict::Refuse(format!(
            "the result of {} is used elsewhere too",
            graph.op(producer).name()
        )));
    }
    let made = graph.op(producer).clone();
    let taps = graph.operands(producer);
    let small = graph.node(id).results[0].shape.clone();
    let label = format!("moves above {}", made.name());
    let patch = Patch::build(graph, label, &taps, &[Value::new(id, 0)], |b, t| {
        let args: Vec<_> = t
            .iter()
            .zip(&cuts)
            .map(|(value, own)| match own {
                Some(own) => {
                    let axes = vec![AxisSlice {
                        axis: *own as i64,
                        ..cut.clone()
                    }];
                    b.apply1(Slice { axes }, &[*value])
                }
                None => *value,
            })
            .collect();
        let op = if let Op::Reshape(_) = made {
            let shape = small.to_vec();
            Reshape { shape }.into()
        } else {
            made
        };
        vec![b.apply1(op, &args)]
    })?;
    Ok(Verdict::Apply(patch.in_scope_of(producer)))
}

/// Every piece of a split is cut alike along another axis: the cut moves above the split.
fn hoist_above_split(
    graph: &Graph,
    split: NodeId,
    cut: &Op,
    axis: usize,
) -> Result<Verdict, LowerError> {
    let Op::Split(op) = graph.op(split) else {
        return Ok(Verdict::Skip);
    };
    let rank = graph.node(split).results[0].shape.rank();
    let split_axis = if op.axis < 0 {
        (op.axis + rank as i64) as usize
    } else {
        op.axis as usize
    };
    let mut replaced = Vec::new();
    for piece in 0..graph.node(split).results.len() as u32 {
        match graph.single_user(Value::new(split, piece)) {
            Some((user, _)) if graph.op(user) == cut && axis != split_axis => {
                replaced.push(Value::new(user, 0))
            }
            _ => {
                return Ok(Verdict::Refuse(
                    "not every piece of the split is cut alike".to_owned(),
                ));
            }
        }
    }
    let patch = Patch::build(
        graph,
        "moves above split",
        &graph.operands(split),
        &replaced,
        |b, t| {
            let cut = b.apply1(cut.clone(), &[t[0]]);
            b.apply(op.clone(), &[cut]).to_vec()
        },
    )?;
    Ok(Verdict::Apply(patch.in_scope_of(split)))
}
