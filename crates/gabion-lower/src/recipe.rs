//! Weight recipes: values that depend on stored tensors alone, as lists of parts. A concat of
//! decoded, clipped, transposed checkpoint tensors is a recipe; the plan evaluates it part by part
//! while loading and never holds the whole.

use std::cell::RefCell;
use std::ops::Range;

use gabion_ir::ops::{AxisSlice, Concat, Slice, Transpose};
use gabion_ir::{Builder, Graph, NodeId, Op, TensorValue, Value};
use gabion_tensor::Dim;
use rustc_hash::FxHashMap;

use crate::class::{Class, Leaf, LoadTime, class_of, load_time};

/// One stored tensor with the operators applied to it, in order. Row cuts come last.
#[derive(Clone, Debug, PartialEq)]
pub struct PartRecipe {
    /// The `weight` or `constant`.
    pub source: Value,
    /// What is done to it: casts, decodings, clips, transpositions, reshapes.
    pub ops: Vec<Op>,
    /// The rows (axis 0) taken after that; `None`: all.
    pub rows: Option<(usize, usize)>,
    /// How many rows there are, after the cut.
    pub n_rows: usize,
}

impl PartRecipe {
    /// Rows `start..end` of this part.
    pub fn cut(&self, start: usize, end: usize) -> Self {
        if start == 0 && end == self.n_rows {
            return self.clone();
        }
        let base = self.rows.map_or(0, |r| r.0);
        let rows = Some((base + start, base + end));
        Self {
            source: self.source,
            ops: self.ops.clone(),
            rows,
            n_rows: end - start,
        }
    }

    /// The part as a value: `source` is the leaf's value in the builder.
    pub fn build<'g>(&self, b: &'g Builder, source: TensorValue<'g>) -> TensorValue<'g> {
        let value = self
            .ops
            .iter()
            .fold(source, |value, op| b.apply1(op.clone(), &[value]));
        match self.rows {
            None => value,
            Some((start, end)) => b.apply1(row_slice(start, end), &[value]),
        }
    }
}

/// Rows `start..end` of axis 0.
pub fn row_slice(start: usize, end: usize) -> Slice {
    let cut = AxisSlice {
        axis: 0,
        start: Some(Dim::from(start)),
        stop: Some(Dim::from(end)),
        step: 1,
    };
    Slice { axes: vec![cut] }
}

/// Rows of one of several parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowPiece {
    pub(crate) part: usize,
    pub(crate) rows: Range<usize>,
}

impl RowPiece {
    /// These rows of `part`; a cut only if they are not all.
    pub(crate) fn build<'g>(&self, b: &'g Builder, part: TensorValue<'g>) -> TensorValue<'g> {
        let n_rows = part.shape()[0].as_fixed();
        if self.rows.start == 0 && n_rows == Some(self.rows.end as i64) {
            return part;
        }
        b.apply1(row_slice(self.rows.start, self.rows.end), &[part])
    }
}

/// Ranges of the rows of stacked parts (`part_rows` each), in any order, as rows of the parts.
/// Neighbours are one piece.
pub(crate) fn row_pieces(
    part_rows: &[usize],
    ranges: impl IntoIterator<Item = [usize; 2]>,
) -> Vec<RowPiece> {
    let mut pieces: Vec<RowPiece> = Vec::new();
    for [start, end] in ranges {
        let mut first = 0;
        for (part, &n) in part_rows.iter().enumerate() {
            let (from, to) = (start.max(first), end.min(first + n));
            if from < to {
                let rows = from - first..to - first;
                match pieces.last_mut() {
                    Some(last) if last.part == part && last.rows.end == rows.start => {
                        last.rows.end = rows.end;
                    }
                    Some(_) | None => pieces.push(RowPiece { part, rows }),
                }
            }
            first += n;
        }
    }
    pieces
}

/// Fixed bounds `start..stop` of a slice that cuts one axis with step 1, clamped to `size`.
pub fn fixed_cut(
    slice: &Slice,
    rank: usize,
    size_of: impl Fn(usize) -> Option<usize>,
) -> Option<(usize, usize, usize)> {
    let [cut] = slice.axes.as_slice() else {
        return None;
    };
    let axis = if cut.axis < 0 {
        cut.axis + rank as i64
    } else {
        cut.axis
    };
    let axis = usize::try_from(axis).ok().filter(|&a| a < rank)?;
    let size = size_of(axis)? as i64;
    let bound = |dim: &Option<Dim>, default: i64| -> Option<i64> {
        match dim {
            None => Some(default),
            Some(d) => d
                .as_fixed()
                .map(|n| (if n < 0 { n + size } else { n }).clamp(0, size)),
        }
    };
    let (start, stop) = (bound(&cut.start, 0)?, bound(&cut.stop, size)?);
    (cut.step == 1 && start < stop).then_some((axis, start as usize, stop as usize))
}

/// A recipe of more operators, one on the other, is none: what is done to a weight is a few of them.
const DEEPEST: usize = 128;

/// The parts of a value that depends on stored tensors alone; `None` if it does not, or if the plan
/// has no recipe for what is done to them.
pub fn parts_of(graph: &Graph, value: Value) -> Option<Vec<PartRecipe>> {
    parts_within(graph, value, DEEPEST)
}

fn parts_within(graph: &Graph, value: Value, depth: usize) -> Option<Vec<PartRecipe>> {
    let depth = depth.checked_sub(1)?;
    let parts_of = |graph: &Graph, value: Value| parts_within(graph, value, depth);
    let node = graph.node(value.node);
    let n_rows = |v: Value| {
        graph
            .value_type(v)
            .shape
            .first()?
            .as_fixed()
            .and_then(|n| usize::try_from(n).ok())
    };
    match load_time(&node.op)? {
        LoadTime::Stored => {
            let n_rows = n_rows(value).unwrap_or(1);
            Some(vec![PartRecipe {
                source: value,
                ops: Vec::new(),
                rows: None,
                n_rows,
            }])
        }
        LoadTime::Concat(concat) => {
            let rank = graph.value_type(value).shape.rank() as i64;
            if concat.axis != 0 && concat.axis != -rank {
                return None;
            }
            let mut parts = Vec::new();
            for operand in graph.operands(value.node) {
                parts.extend(parts_of(graph, operand)?);
            }
            Some(parts)
        }
        // Limits that cross are no recipe of a plan.
        LoadTime::Clamp(clamp) if matches!((clamp.min, clamp.max), (Some(a), Some(b)) if a.get() > b.get()) => {
            None
        }
        // Row by row, so it commutes with joining and cutting rows.
        LoadTime::Cast(_) | LoadTime::Dequantize(_) | LoadTime::Clamp(_) => {
            let mut parts = parts_of(graph, graph.operands(value.node)[0])?;
            parts.iter_mut().for_each(|p| p.ops.push(node.op.clone()));
            Some(parts)
        }
        LoadTime::Transpose(_) | LoadTime::Reshape(_) => {
            let mut parts = parts_of(graph, graph.operands(value.node)[0])?;
            let [part] = parts.as_mut_slice() else {
                return None;
            };
            if part.rows.is_some() || graph.value_type(value).shape.as_fixed().is_none() {
                return None;
            }
            part.ops.push(node.op.clone());
            part.n_rows = n_rows(value)?;
            Some(parts)
        }
        LoadTime::Slice(slice) => {
            let operand = graph.operands(value.node)[0];
            let shape = &graph.value_type(operand).shape;
            let size = |axis: usize| shape[axis].as_fixed().and_then(|n| usize::try_from(n).ok());
            let (0, start, stop) = fixed_cut(slice, shape.rank(), size)? else {
                return None;
            };
            Some(cut_parts(&parts_of(graph, operand)?, start, stop))
        }
    }
}

/// The parts of a matrix's transpose: `[K, N]` weights joined along N become rows.
pub fn transposed_parts_of(graph: &Graph, value: Value) -> Option<Vec<PartRecipe>> {
    transposed_parts_within(graph, value, DEEPEST)
}

fn transposed_parts_within(graph: &Graph, value: Value, depth: usize) -> Option<Vec<PartRecipe>> {
    let depth = depth.checked_sub(1)?;
    let node = graph.node(value.node);
    if let Op::Transpose(Transpose { perm }) = &node.op
        && matches!(perm.as_slice(), [1 | -1, 0 | -2])
    {
        return parts_of(graph, graph.operands(value.node)[0]);
    }
    if let Op::Concat(Concat { axis: 1 | -1 }) = &node.op {
        let mut parts = Vec::new();
        for operand in graph.operands(value.node) {
            parts.extend(transposed_parts_within(graph, operand, depth)?);
        }
        return Some(parts);
    }
    let mut parts = parts_of(graph, value)?;
    let [part] = parts.as_mut_slice() else {
        return None;
    };
    if part.rows.is_some() {
        return None;
    }
    part.ops.push(Transpose { perm: vec![1, 0] }.into());
    part.n_rows = graph.value_type(value).shape[1]
        .as_fixed()
        .and_then(|n| usize::try_from(n).ok())?;
    Some(parts)
}

/// Rows `start..stop` of a list of parts.
pub fn cut_parts(parts: &[PartRecipe], start: usize, stop: usize) -> Vec<PartRecipe> {
    let mut first = 0;
    let mut cut = Vec::new();
    for part in parts {
        let (from, to) = (start.max(first), stop.min(first + part.n_rows));
        if from < to {
            cut.push(part.cut(from - first, to - first));
        }
        first += part.n_rows;
    }
    cut
}

/// True if a value depends on weights and constants alone.
pub fn is_weight_only(graph: &Graph, value: Value) -> bool {
    WeightOnly::default().holds(graph, value)
}

/// What a value depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing from outside the graph.
    Nothing,
    Weights,
    Inputs,
}

/// The answers of [`is_weight_only`] for many values of one graph, each node looked at once. They stay right while rewrites
/// keep what a value depends on: a value that needs inputs still does in other words.
#[derive(Default)]
pub(crate) struct WeightOnly(RefCell<FxHashMap<NodeId, Needs>>);

impl WeightOnly {
    /// True if the value depends on weights and constants alone.
    pub(crate) fn holds(&self, graph: &Graph, value: Value) -> bool {
        let mut known = self.0.borrow_mut();
        if let Some(needs) = known.get(&value.node) {
            return *needs == Needs::Weights;
        }
        let begun = |id: NodeId| (id, graph.operands(id), 0, own_needs(graph, id));
        let mut stack = vec![begun(value.node)];
        while let Some((id, operands, next, needs)) = stack.last_mut() {
            let child = operands.get(*next).map(|operand| operand.node);
            let of_child = child.map(|child| known.get(&child).copied());
            match (child, of_child) {
                _ if *needs == Needs::Inputs => {
                    // So does all that waits for it.
                    known.extend(stack.drain(..).map(|(id, ..)| (id, Needs::Inputs)));
                }
                (Some(_), Some(Some(found))) => {
                    *next += 1;
                    *needs = needs.with(found);
                }
                (Some(child), _) => {
                    // Only a cycle meets it again before it is known.
                    known.insert(child, Needs::Nothing);
                    stack.push(begun(child));
                }
                (None, _) => {
                    known.insert(*id, *needs);
                    stack.pop();
                }
            }
        }
        known.get(&value.node) == Some(&Needs::Weights)
    }
}

impl Needs {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Needs::Inputs, _) | (_, Needs::Inputs) => Needs::Inputs,
            (Needs::Weights, _) | (_, Needs::Weights) => Needs::Weights,
            (Needs::Nothing, Needs::Nothing) => Needs::Nothing,
        }
    }
}

fn own_needs(graph: &Graph, id: NodeId) -> Needs {
    match class_of(graph.op(id)) {
        Class::Leaf(Leaf::Input) => Needs::Inputs,
        Class::Leaf(Leaf::Weight) => Needs::Weights,
        Class::Leaf(Leaf::Constant)
        | Class::Elementwise(_)
        | Class::Movement(_)
        | Class::Work(_)
        | Class::Composite(_)
        | Class::Decomposed => Needs::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node's leaves by a plain walk.
    fn plain(graph: &Graph, value: Value) -> bool {
        let (mut stack, mut weights) = (vec![value.node], false);
        while let Some(id) = stack.pop() {
            let operands = graph.operands(id);
            match graph.op(id).name() {
                "input" => return false,
                "weight" => weights = true,
                _ => stack.extend(operands.iter().map(|v| v.node)),
            }
        }
        weights
    }

    #[test]
    fn answers_are_the_same_in_any_order_of_questions() {
        let text = "graph @g(%x: f32[4]) -> (f32[4], f32[4], f32[4]) {\n  %c = constant {dtype = \"f32\", shape = [4], value = [1, 2, 3, 4]} : f32[4]\n  \
                    %w = weight {name = \"w\"} : f32[4]\n  %a = neg %w : f32[4]\n  %b = add %a, %c : f32[4]\n  %k = neg %c : f32[4]\n  \
                    %d = add %b, %x : f32[4]\n  %e = add %b, %d : f32[4]\n  %f = add %k, %k : f32[4]\n  return %e, %f, b = %b\n}\n";
        let graph = match Graph::parse(text) {
            Ok(graph) => graph,
            Err(errors) => panic!("{errors}"),
        };
        let ids: Vec<NodeId> = graph.node_ids().collect();
        let expected: Vec<bool> = ids
            .iter()
            .map(|id| plain(&graph, Value::new(*id, 0)))
            .collect();
        assert_eq!(expected.iter().filter(|it| **it).count(), 3, "w, a and b");
        for turn in 0..ids.len() {
            let known = WeightOnly::default();
            for at in (0..ids.len()).map(|at| (at * 7 + turn) % ids.len()) {
                let value = Value::new(ids[at], 0);
                assert_eq!(known.holds(&graph, value), expected[at], "{graph}\n{at}");
                assert_eq!(known.holds(&graph, value), expected[at], "asked again");
                assert_eq!(is_weight_only(&graph, value), expected[at]);
            }
        }
    }
}
