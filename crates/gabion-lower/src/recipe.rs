//! Weight recipes: values that depend on stored tensors alone, as lists of parts. A concat of
//! decoded, clipped, transposed checkpoint tensors is a recipe; the plan evaluates it part by part
//! while loading and never holds the whole.

use std::ops::Range;

use gabion_ir::ops::{AxisSlice, Concat, Slice, Transpose};
use gabion_ir::{Builder, Graph, Op, TensorValue, Value};
use gabion_tensor::Dim;

use crate::class::{LoadTime, load_time};

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
