//! What the uses of a graph's inputs and weights ask of their values: an index lies in its axis, a
//! position leaves room in its cache, a divisor of integers is not 0, their exponent not negative.
//!
//! Two walks: forwards for where values are known to lie (constants, ranges, what is computed from
//! them), backwards for what is asked, through casts, movement, look-ups and simple maths.

pub(super) mod interval;
mod known;
mod program;
mod wanted;

use gabion_tensor::{Bindings, DType};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use interval::{Interval, Wanted};

use crate::graph::{Graph, NodeId, Value};
use crate::op::EvalError;

/// One interval for each result of an operator.
type Intervals = SmallVec<[Interval; 1]>;
/// What is asked of each operand or result of an operator.
type Asked = SmallVec<[Wanted; 4]>;

/// A value as the rules see it.
#[derive(Clone, Debug)]
struct Seen {
    dtype: DType,
    sizes: SmallVec<[usize; 4]>,
    /// Where its elements lie.
    known: Interval,
}

impl Seen {
    /// Any value of a dtype.
    fn unknown(dtype: DType) -> Self {
        Self {
            dtype,
            sizes: SmallVec::new(),
            known: Interval::of(dtype),
        }
    }
}

/// What is asked of the values of the graph's nodes; nothing is asked of those that are not there.
pub(super) fn of_leaves(
    graph: &Graph,
    bindings: &Bindings,
) -> Result<FxHashMap<NodeId, Wanted>, EvalError> {
    let order = graph.canonical_order();
    let mut seen: FxHashMap<Value, Seen> = FxHashMap::default();
    for &id in &order {
        let node = graph.node(id);
        let mut results: SmallVec<[Seen; 1]> = SmallVec::new();
        for ty in &node.results {
            results.push(Seen {
                sizes: ty.shape.eval(bindings)?,
                ..Seen::unknown(ty.dtype)
            });
        }
        let args = of_values(&seen, graph.operands(id));
        let known = known::known(&node.op, &args, &results, bindings);
        for (i, (mut result, known)) in results.into_iter().zip(known).enumerate() {
            result.known = known;
            seen.insert(Value::new(id, i as u32), result);
        }
    }
    let mut asked: FxHashMap<Value, Wanted> = FxHashMap::default();
    for &id in order.iter().rev() {
        let node = graph.node(id);
        let values: Vec<Value> = (0..node.results.len() as u32)
            .map(|i| Value::new(id, i))
            .collect();
        let results = of_values(&seen, values.iter().copied());
        let of_results: Asked = values
            .iter()
            .zip(&results)
            .map(|(v, r)| asked.get(v).copied().unwrap_or(Wanted::any(r.dtype)))
            .collect();
        let operands = graph.operands(id);
        let args = of_values(&seen, operands.iter().copied());
        let asks = wanted::wanted(&node.op, &args, &results, &of_results, bindings);
        for ((value, ask), arg) in operands.into_iter().zip(asks).zip(&args) {
            let all = asked.entry(value).or_insert(Wanted::any(arg.dtype));
            *all = all.and(ask);
        }
    }
    let told = asked
        .into_iter()
        .filter(|(v, _)| graph.op(v.node).is_leaf())
        .map(|(v, ask)| (v.node, ask));
    Ok(told.collect())
}

fn of_values(
    seen: &FxHashMap<Value, Seen>,
    values: impl IntoIterator<Item = Value>,
) -> SmallVec<[Seen; 4]> {
    // Canonical order puts operands before their users.
    values
        .into_iter()
        .map(|v| seen.get(&v).cloned().unwrap_or(Seen::unknown(DType::F32)))
        .collect()
}
