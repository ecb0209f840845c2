//! The gate as an epilogue: an activated segment times another one, wherever the two lie in the stack.

use gabion_ir::ops::{Fused, Segment, StackedMatmul};
use gabion_ir::{NodeId, Op, Value};
use gabion_tensor::{BinaryFn, UnaryFn};

use super::Site;
use crate::ledger::TensorRows;
use crate::patch::Patch;
use crate::recipe::{parts_of, row_pieces};
use crate::rewriter::Verdict;
use crate::run::LowerError;

/// `func(gate) * up`.
struct Gate {
    func: UnaryFn,
    /// The segment that is activated.
    gate: usize,
    /// The segment that it is multiplied with.
    up: usize,
    product: NodeId,
}

/// `func(segment at) * another segment`. The gate's rows come to lie before the other's, so a stack
/// that holds them otherwise changes its order, which costs nothing: rows are packed one by one.
pub(super) fn glu(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let Some(pair) = find(site) else {
        return Ok(Verdict::Skip);
    };
    let segments = &site.stack.segments;
    let what = format!(
        "{} gate of rows {:?} and {:?}",
        pair.func.name(),
        segments[pair.gate].rows,
        segments[pair.up].rows
    );
    let rows = site.rows_of_two([pair.gate, pair.up]);
    match obstacle(site, &pair) {
        Some(why) => Ok(Verdict::RefuseRows(vec![(format!("{what}: {why}"), rows)])),
        None => join(site, &pair, what, rows),
    }
}

fn find(site: &Site<'_>) -> Option<Gate> {
    let graph = site.graph;
    let Op::Unary(unary) = graph.op(site.user) else {
        return None;
    };
    let (product, operand) = graph.single_user(Value::new(site.user, 0))?;
    let Op::Binary(binary) = graph.op(product) else {
        return None;
    };
    let other = graph.operands(product)[1 - operand];
    let own = other.node == site.id && graph.single_user(other).is_some();
    (own && binary.func == BinaryFn::Mul).then_some(Gate {
        func: unary.func,
        gate: site.at,
        up: other.result as usize,
        product,
    })
}

fn obstacle(site: &Site<'_>, pair: &Gate) -> Option<String> {
    let segments = &site.stack.segments;
    let (gate, up) = (&segments[pair.gate], &segments[pair.up]);
    let granularity = site.target.pair_granularity;
    let bias_only = |s: &Segment| matches!(s.epilogue.as_slice(), [] | [Fused::Bias { .. }]);
    if gate.n_rows() != up.n_rows() {
        return Some("the halves differ in size".to_owned());
    }
    if granularity == 0 || !gate.n_rows().is_multiple_of(granularity) {
        return Some(format!(
            "{} pairs rows in groups of {granularity}",
            site.target.name
        ));
    }
    if !site.target.epilogue_maps.contains(&pair.func) {
        return Some(format!(
            "{} applies no such function while storing",
            site.target.name
        ));
    }
    if !bias_only(gate) || !bias_only(up) || gate.epilogue.len() != up.epilogue.len() {
        return Some("the halves have different epilogues".to_owned());
    }
    let parts = &site.graph.operands(site.id)[site.stack.first_part()..site.stack.first_extra()];
    if pair.up != pair.gate + 1 && !parts.iter().all(|v| parts_of(site.graph, *v).is_some()) {
        return Some("the gate is not right before, and the stack is computed".to_owned());
    }
    None
}

impl Gate {
    /// The stack's segments in their new order: the gate and then the other at the first's place.
    fn order(&self, n_segments: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n_segments)
            .filter(|&i| i != self.gate && i != self.up)
            .collect();
        let first = self.gate.min(self.up);
        order.splice(first..first, [self.gate, self.up]);
        order
    }

    /// The biases of the two, if they have some.
    fn biases(&self, stack: &StackedMatmul) -> Option<(usize, usize)> {
        let bias = |segment: usize| match stack.segments[segment].epilogue.as_slice() {
            [Fused::Bias { extra }] => Some(*extra),
            _ => None,
        };
        Some((bias(self.gate)?, bias(self.up)?))
    }

    /// The new segments, each with the old one that it comes from (the gate, for the two). The
    /// joint bias is the extra after all others.
    fn segments(&self, stack: &StackedMatmul) -> Vec<(usize, Segment)> {
        let mut segments = Vec::new();
        let mut next = 0;
        for old in self.order(stack.segments.len()) {
            if old == self.up {
                continue;
            }
            let mut segment = stack.segments[old].clone();
            let mut rows = segment.n_rows();
            if old == self.gate {
                rows *= 2;
                segment.halves = Some(rows);
                segment.epilogue.clear();
                if self.biases(stack).is_some() {
                    let extra = stack.n_extras();
                    segment.epilogue.push(Fused::Bias { extra });
                }
                segment.epilogue.push(Fused::Glu { func: self.func });
            }
            segment.rows = [next, next + rows];
            next += rows;
            segments.push((old, segment));
        }
        segments
    }
}

/// The two segments become one of twice the rows. Two biases become their concat.
fn join(
    site: &Site<'_>,
    pair: &Gate,
    label: String,
    rows: Vec<TensorRows>,
) -> Result<Verdict, LowerError> {
    let (graph, stack) = (site.graph, site.stack);
    let operands = graph.operands(site.id);
    let (origins, segments): (Vec<usize>, Vec<Segment>) = pair.segments(stack).into_iter().unzip();
    let mut new = StackedMatmul {
        parts: stack.parts,
        norm: stack.norm,
        segments,
    };
    let (first_part, first_extra) = (stack.first_part(), stack.first_extra());
    let keep = renumber_extras(&mut new, stack.n_extras() + 1);
    let (replaced, results) = results(site, pair, &origins);
    let part_rows: Vec<usize> = operands[first_part..first_extra]
        .iter()
        .map(|v| graph.value_type(*v).shape[0].as_fixed().unwrap_or(0) as usize)
        .collect();
    let order = pair.order(stack.segments.len());
    let pieces = row_pieces(&part_rows, order.iter().map(|&i| stack.segments[i].rows));
    new.parts = pieces.len();
    let biases = pair.biases(stack);
    let mut patch = Patch::build(graph, label, &operands, &replaced, |b, t| {
        let (before, extras) = t.split_at(first_extra);
        let mut args = before[..first_part].to_vec();
        let parts = &before[first_part..];
        args.extend(pieces.iter().map(|piece| piece.build(b, parts[piece.part])));
        args.extend(keep.iter().map(|&old| match biases {
            Some((gate, up)) if old == extras.len() => b.concat(&[extras[gate], extras[up]], 0),
            _ => extras[old],
        }));
        let outs = b.apply(new, &args);
        results
            .iter()
            .map(|&r| outs.get(r).copied().unwrap_or(outs[0]))
            .collect()
    })?;
    patch.rows = rows;
    Ok(Verdict::Apply(patch))
}

/// The values that the new stack takes the place of, and which of its results does.
fn results(site: &Site<'_>, pair: &Gate, origins: &[usize]) -> (Vec<Value>, Vec<usize>) {
    let (mut replaced, mut results) = (Vec::new(), Vec::new());
    for (result, &origin) in origins.iter().enumerate() {
        let value = Value::new(site.id, origin as u32);
        if origin == pair.gate {
            replaced.insert(0, Value::new(pair.product, 0));
            results.insert(0, result);
        } else if site.graph.is_output(value) || site.graph.is_used(value) {
            replaced.push(value);
            results.push(result);
        }
    }
    (replaced, results)
}

/// Numbers the extras that are still named from 0; which of the `n` old numbers they were.
fn renumber_extras(stack: &mut StackedMatmul, n: usize) -> Vec<usize> {
    let named: Vec<usize> = stack
        .segments
        .iter()
        .flat_map(|s| &s.epilogue)
        .flat_map(Fused::extras)
        .collect();
    let keep: Vec<usize> = (0..n).filter(|i| named.contains(i)).collect();
    let number = |old: &mut usize| *old = keep.iter().position(|k| k == old).unwrap_or(*old);
    for fused in stack.segments.iter_mut().flat_map(|s| &mut s.epilogue) {
        match fused {
            Fused::Bias { extra } | Fused::Binary { extra, .. } => number(extra),
            Fused::Map { .. } | Fused::Scalar { .. } | Fused::Glu { .. } => {}
            Fused::Rope { cos, sin } => {
                number(cos);
                number(sin);
            }
            Fused::CacheWrite { cache, position } => {
                number(cache);
                number(position);
            }
        }
    }
    keep
}
