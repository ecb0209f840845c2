//! Where the values of an operator's results lie, as far as its operands and attributes tell.

use gabion_tensor::{BinaryFn, Bindings, UnaryFn};
use smallvec::{SmallVec, smallvec};

use super::interval::Interval;
use super::{Intervals, Seen, program};
use crate::op::normalize_axis;
use crate::ops::{Constant, Op, ReduceFn};

/// One interval for each result. An operator that is not named here may give any value.
pub(super) fn known(op: &Op, args: &[Seen], results: &[Seen], bindings: &Bindings) -> Intervals {
    let told: SmallVec<[Option<Interval>; 1]> = match op {
        Op::Constant(constant) => smallvec![values(constant)],
        Op::Range(range) => {
            let start = range.start.eval(bindings).map(i128::from);
            let steps = results[0].sizes.first().map_or(0, |&n| n as i128 - 1);
            match (start, range.step.as_fixed()) {
                (Ok(start), Some(step)) if steps >= 0 => {
                    let last = start + steps * i128::from(step);
                    smallvec![Some(Interval::new(start.min(last), start.max(last)))]
                }
                _ => smallvec![None],
            }
        }
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Broadcast(_)
        | Op::Slice(_)
        | Op::Cast(_)
        | Op::Gather(_)
        | Op::GatherElements(_) => smallvec![Some(args[0].known)],
        Op::Split(_) => results.iter().map(|_| Some(args[0].known)).collect(),
        Op::Concat(_) => smallvec![args.iter().map(|a| a.known).reduce(Interval::join)],
        Op::Where(_) => smallvec![Some(args[1].known.join(args[2].known))],
        Op::Reduce(op) if matches!(op.func, ReduceFn::Max | ReduceFn::Min) => {
            smallvec![Some(args[0].known)]
        }
        Op::ArgReduce(op) => smallvec![places(&args[0], op.axis)],
        Op::TopK(op) => smallvec![Some(args[0].known), places(&args[0], op.axis)],
        Op::Clamp(op) => {
            let low = op.min.map_or(i128::MIN, |m| m.get().ceil() as i128);
            let high = op.max.map_or(i128::MAX, |m| m.get().floor() as i128);
            let of = |n: i128| n.max(low).min(high);
            let known = args[0].known;
            smallvec![Some(Interval::new(of(known.low), of(known.high)))]
        }
        Op::Unary(op) => smallvec![unary(op.func, args[0].known)],
        Op::Binary(op) => smallvec![binary(op.func, args[0].known, args[1].known)],
        Op::FusedMap(op) => program::known(op, args, bindings),
        _ => SmallVec::new(),
    };
    results
        .iter()
        .enumerate()
        .map(|(i, result)| {
            let all = Interval::of(result.dtype);
            // What leaves the dtype has wrapped.
            told.get(i)
                .copied()
                .flatten()
                .filter(|&known| all.contains(known))
                .unwrap_or(all)
        })
        .collect()
}

/// The elements of a constant of integers.
fn values(constant: &Constant) -> Option<Interval> {
    let tensor = constant.value();
    if !tensor.dtype().is_int() {
        return None;
    }
    // The bits of large u64 read as negative numbers, which u64 does not contain: unknown.
    let values = tensor.to_i64_vec().ok()?;
    let (low, high) = (values.iter().min()?, values.iter().max()?);
    Some(Interval::new((*low).into(), (*high).into()))
}

/// Indices of an axis.
fn places(x: &Seen, axis: i64) -> Option<Interval> {
    let axis = normalize_axis(axis, x.sizes.len()).ok()?;
    let last = x.sizes[axis].checked_sub(1)?;
    Some(Interval::new(0, last as i128))
}

fn unary(func: UnaryFn, x: Interval) -> Option<Interval> {
    match func {
        UnaryFn::Neg => Some(x.neg()),
        UnaryFn::Abs if x.low >= 0 => Some(x),
        UnaryFn::Abs => Some(Interval::new(0, x.high.max(x.low.saturating_neg()))),
        UnaryFn::Relu => Some(Interval::new(x.low.max(0), x.high.max(0))),
        UnaryFn::Sign => Some(Interval::new(-1, 1)),
        UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round => Some(x),
        _ => None,
    }
}

fn binary(func: BinaryFn, a: Interval, b: Interval) -> Option<Interval> {
    match func {
        BinaryFn::Add => Some(a.add(b)),
        BinaryFn::Sub => Some(a.add(b.neg())),
        BinaryFn::Mul => Some(a.mul(b)),
        BinaryFn::Min => Some(Interval::new(a.low.min(b.low), a.high.min(b.high))),
        BinaryFn::Max => Some(Interval::new(a.low.max(b.low), a.high.max(b.high))),
        BinaryFn::Mod if b.low > 0 => Some(Interval::new(0, b.high - 1)),
        BinaryFn::FloorDiv if b.low > 0 => Some(Interval::new(
            a.low.div_euclid(b.low).min(a.low.div_euclid(b.high)),
            a.high.div_euclid(b.low).max(a.high.div_euclid(b.high)),
        )),
        BinaryFn::And if a.low >= 0 && b.low >= 0 => Some(Interval::new(0, a.high.min(b.high))),
        _ => None,
    }
}
