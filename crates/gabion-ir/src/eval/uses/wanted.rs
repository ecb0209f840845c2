//! What an operator asks of its operands: of indices, positions, divisors and exponents for its own
//! sake, and of all others so that its results are as *their* uses ask.
//!
//! An answer is sufficient and not necessary: two unknown summands each get half of the room.

use gabion_tensor::{BinaryFn, Bindings, UnaryFn};

use super::interval::{Interval, Wanted};
use super::{Asked, Seen, program};
use crate::op::normalize_axis;
use crate::ops::stack_segment::Fused;
use crate::ops::{Attention, Op, ReduceFn, ScatterReduce, StackedMatmul};

/// For each operand what is asked of it, `results` being what is asked of the results.
pub(super) fn wanted(
    op: &Op,
    args: &[Seen],
    results: &[Seen],
    asked: &[Wanted],
    bindings: &Bindings,
) -> Asked {
    let mut asks: Asked = args.iter().map(|a| Wanted::any(a.dtype)).collect();
    own(op, args, results, &mut asks);
    let unmet = |(result, &ask): (&Seen, &Wanted)| (!ask.met_by(result.known)).then_some(ask);
    let unmet: Vec<Option<Wanted>> = results.iter().zip(asked).map(unmet).collect();
    if let Op::FusedMap(map) = op {
        let all: Vec<Wanted> = unmet
            .iter()
            .zip(results)
            .map(|(ask, result)| ask.unwrap_or(Wanted::any(result.dtype)))
            .collect();
        return program::wanted(map, args, &all, bindings).unwrap_or(asks);
    }
    let passed = unmet.iter().flatten().copied().reduce(Wanted::and);
    if let Some(ask) = passed {
        for (operand, ask) in handed_on(op, args, ask) {
            asks[operand] = asks[operand].and(ask);
        }
    }
    asks
}

/// What the operator asks for its own sake.
fn own(op: &Op, args: &[Seen], results: &[Seen], asks: &mut Asked) {
    match op {
        Op::Gather(op) => asks[1] = index(&args[0], op.axis),
        Op::GatherElements(op) => asks[1] = index(&args[0], op.axis),
        Op::Scatter(op) => asks[1] = index(&args[0], op.axis),
        Op::OneHot(_) => asks[0] = index(&results[0], -1),
        Op::CacheAppend(op) => asks[2] = room(&args[0], &args[1], op.axis),
        Op::Attention(op) => attention(op, args, asks),
        Op::StackedMatmul(op) => cache_writes(op, args, asks),
        Op::Binary(op) if results[0].dtype.is_int() => match op.func {
            BinaryFn::Div | BinaryFn::FloorDiv | BinaryFn::Mod => asks[1].nonzero = true,
            BinaryFn::Pow => asks[1].within.low = asks[1].within.low.max(0),
            _ => {}
        },
        _ => {}
    }
}

fn index(x: &Seen, axis: i64) -> Wanted {
    match normalize_axis(axis, x.sizes.len()) {
        Ok(axis) => Wanted::index(x.sizes[axis]),
        Err(_) => Wanted::any(x.dtype),
    }
}

/// Where `new` may begin in `cache`.
fn room(cache: &Seen, new: &Seen, axis: i64) -> Wanted {
    match normalize_axis(axis, cache.sizes.len()) {
        Ok(axis) => Wanted::index((cache.sizes[axis] + 1).saturating_sub(new.sizes[axis])),
        Err(_) => Wanted::any(new.dtype),
    }
}

fn attention(op: &Attention, args: &[Seen], asks: &mut Asked) {
    if op.position {
        let tokens = |x: &Seen| x.sizes[x.sizes.len() - 3];
        let (queries, keys) = (tokens(&args[0]), tokens(&args[1]));
        asks[op.position_operand()] = Wanted::index(keys.saturating_sub(queries) + 1);
    }
}

fn cache_writes(op: &StackedMatmul, args: &[Seen], asks: &mut Asked) {
    for fused in op.segments.iter().flat_map(|s| &s.epilogue) {
        if let Fused::CacheWrite { cache, position } = fused {
            let (cache, at) = (op.first_extra() + cache, op.first_extra() + position);
            asks[at] = asks[at].and(room(&args[cache], &args[0], 0));
        }
    }
}

/// What has to hold of operands so that every element of the results is as asked.
fn handed_on(op: &Op, args: &[Seen], ask: Wanted) -> Vec<(usize, Wanted)> {
    match op {
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Broadcast(_)
        | Op::Slice(_)
        | Op::Split(_)
        | Op::Pad(_)
        | Op::Clamp(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::TopK(_) => vec![(0, ask)],
        Op::Cast(_) if args[0].dtype.is_float() => vec![(0, Wanted::within(ask.interval()))],
        Op::Cast(_) => vec![(0, ask)],
        Op::Reduce(op) if matches!(op.func, ReduceFn::Max | ReduceFn::Min) => vec![(0, ask)],
        Op::Concat(_) => (0..args.len()).map(|i| (i, ask)).collect(),
        Op::Scatter(op) if matches!(op.reduce, ScatterReduce::Add | ScatterReduce::Mul) => {
            Vec::new()
        }
        Op::Scatter(_) => vec![(0, ask), (2, ask)],
        Op::CacheAppend(_) => vec![(0, ask), (1, ask)],
        Op::Where(_) => vec![(1, ask), (2, ask)],
        Op::Unary(op) => unary(op.func, ask).map_or_else(Vec::new, |ask| vec![(0, ask)]),
        Op::Binary(op) => binary(op.func, args[0].known, args[1].known, ask),
        _ => Vec::new(),
    }
}

fn unary(func: UnaryFn, ask: Wanted) -> Option<Wanted> {
    let within = ask.interval();
    match func {
        UnaryFn::Neg => Some(Wanted {
            within: ask.within.neg(),
            nonzero: ask.nonzero,
        }),
        UnaryFn::Abs | UnaryFn::Relu => Some(Wanted::within(Interval::new(
            within.low.max(0),
            within.high,
        ))),
        UnaryFn::Square => Some(Wanted::within(Interval::new(
            i128::from(within.low > 0),
            root(within.high),
        ))),
        UnaryFn::Sign if ask.nonzero => Some(Wanted {
            within: Interval::of(gabion_tensor::DType::I64),
            nonzero: true,
        }),
        UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round => {
            Some(Wanted::within(within))
        }
        _ => None,
    }
}

/// The largest number whose square is at most `n`; -1 below 0.
fn root(n: i128) -> i128 {
    if n < 0 { -1 } else { n.isqrt() }
}

fn binary(func: BinaryFn, a: Interval, b: Interval, ask: Wanted) -> Vec<(usize, Wanted)> {
    let within = ask.interval();
    let both = |a, b| vec![(0, Wanted::within(a)), (1, Wanted::within(b))];
    match func {
        BinaryFn::Add => {
            let (for_a, for_b) = summands(a, b, within);
            both(for_a, for_b)
        }
        BinaryFn::Sub => {
            let (for_a, for_b) = summands(a, b.neg(), within);
            both(for_a, for_b.neg())
        }
        BinaryFn::Mul => match (a.single(), b.single()) {
            (_, Some(factor)) if factor != 0 => {
                vec![(0, Wanted::within(within.divided(factor)))]
            }
            (Some(factor), _) if factor != 0 => {
                vec![(1, Wanted::within(within.divided(factor)))]
            }
            _ => {
                let factors = Interval::new(i128::from(within.low > 0), root(within.high));
                both(factors, factors)
            }
        },
        BinaryFn::FloorDiv | BinaryFn::Div => match b.single() {
            Some(divisor) if divisor > 0 => {
                let low = within.low.max(0).saturating_mul(divisor);
                let high = within.high.saturating_mul(divisor);
                let high = high.saturating_add(divisor - 1);
                vec![(0, Wanted::within(Interval::new(low, high)))]
            }
            _ => Vec::new(),
        },
        BinaryFn::Mod if b.low > 0 => {
            vec![(0, Wanted::within(within.meet(Interval::new(0, b.low - 1))))]
        }
        BinaryFn::Min | BinaryFn::Max => vec![(0, ask), (1, ask)],
        _ => Vec::new(),
    }
}

/// Where two summands may lie so that every sum is within: where one is known the other gets what
/// it leaves, else each gets half.
fn summands(a: Interval, b: Interval, within: Interval) -> (Interval, Interval) {
    let (for_a, for_b) = (within.less(b), within.less(a));
    if !for_a.is_empty() {
        (for_a, b)
    } else if !for_b.is_empty() {
        (a, for_b)
    } else {
        let low = within.low.div_euclid(2);
        let half = Interval::new(low, low.max(within.high.div_euclid(2)));
        (Interval::new(within.low - low, half.high), half)
    }
}
