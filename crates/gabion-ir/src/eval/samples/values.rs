//! Draws the elements of one tensor.

use std::ops::Range;

use gabion_tensor::{DType, HostTensor};

use super::SampleOptions;
use crate::eval::bind;
use crate::eval::uses::interval::{Interval, Wanted};
use crate::op::EvalError;
use crate::ops::operators::exact_up_to;
use crate::sample::Sampler;

/// What is drawn where no use asks for anything.
pub(super) enum Usual {
    Integers(Range<i64>),
    /// Floats, bools, and blocks.
    Floats(f64, f64),
}

impl Usual {
    pub(super) fn of_input(dtype: DType, options: &SampleOptions) -> Self {
        if dtype.is_int() {
            Usual::Integers(options.default_range.clone())
        } else {
            Usual::Floats(-1.0, 1.0)
        }
    }

    pub(super) fn of_weight(dtype: DType, shape: &[usize]) -> Self {
        match dtype {
            DType::I8 => Usual::Integers(-128..128),
            DType::U8 => Usual::Integers(0..256),
            dtype if dtype.is_int() => Usual::Integers(0..8),
            _ if shape.len() < 2 => Usual::Floats(0.5, 1.5),
            _ => {
                let k = shape.last().copied().unwrap_or(1).max(1) as f64;
                let bound = (3.0 / k).sqrt();
                Usual::Floats(-bound, bound)
            }
        }
    }

    pub(super) fn sample(
        &self,
        sampler: &mut Sampler,
        dtype: DType,
        shape: &[usize],
        ask: Option<Wanted>,
    ) -> Result<HostTensor, EvalError> {
        match (ask.filter(|ask| *ask != Wanted::any(dtype)), self) {
            (Some(ask), _) if !dtype.is_block() && !shape.contains(&0) => {
                asked_for(sampler, dtype, shape, ask, self)
            }
            (_, Usual::Integers(range)) => integers(sampler, dtype, shape, range),
            (_, Usual::Floats(low, high)) => floats(sampler, dtype, shape, *low, *high),
        }
    }
}

/// Numbers as their uses ask: of the whole range if that is an axis or the like, else of the part
/// next to what is usual.
fn asked_for(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    ask: Wanted,
    usual: &Usual,
) -> Result<HostTensor, EvalError> {
    const WIDE: i128 = 1 << 20;
    let mut within = ask.within;
    if dtype.is_float() {
        let exact = i128::from(exact_up_to(dtype));
        within = within.meet(Interval::new(-exact, exact));
    }
    if within == Interval::of(dtype) || within.high - within.low >= WIDE {
        let usual = match usual {
            Usual::Integers(range) => Interval::new(range.start.into(), i128::from(range.end) - 1),
            Usual::Floats(..) => Interval::new(0, 7),
        };
        let near = within.meet(usual);
        let (low, length) = (within.low.max(usual.low), usual.high - usual.low);
        within = if near.is_empty() {
            Interval::new(low.min(within.high - length), within.high.min(low + length))
        } else {
            near
        };
    }
    let ask = Wanted { within, ..ask };
    if ask.is_impossible() {
        return Err(EvalError::Value(
            "its uses leave it no value: an axis is empty, or they contradict each other; give sizes or a range"
                .to_owned(),
        ));
    }
    let hole = ask.nonzero && within.contains(Interval::new(0, 0));
    let (low, high) = (within.low as i64, within.high as i64);
    let draw = |sampler: &mut Sampler| match sampler.int(low, high - i64::from(hole)) {
        value if hole && value >= 0 => value + 1,
        value => value,
    };
    let values: Vec<i64> = (0..shape.iter().product()).map(|_| draw(sampler)).collect();
    Ok(HostTensor::from_slice(shape, &values)?.cast(dtype)?)
}

/// An input whose range the caller gave.
pub(super) fn given(
    sampler: &mut Sampler,
    name: &str,
    dtype: DType,
    shape: &[usize],
    range: &Range<i64>,
) -> Result<HostTensor, EvalError> {
    let wrong = |problem: String| bind::wrong("input", name, problem);
    if range.is_empty() {
        return Err(wrong(format!("the range {range:?} is empty")));
    }
    let interval = Interval::new(range.start.into(), i128::from(range.end) - 1);
    if !dtype.is_int() && !dtype.is_float() {
        return Err(wrong(format!("{dtype} values have no range")));
    }
    if !Interval::of(dtype).contains(interval) {
        return Err(wrong(format!("{dtype} does not hold the range {range:?}")));
    }
    if dtype.is_int() {
        integers(sampler, dtype, shape, range)
    } else {
        floats(sampler, dtype, shape, range.start as f64, range.end as f64)
    }
}

fn integers(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    range: &Range<i64>,
) -> Result<HostTensor, EvalError> {
    if range.is_empty() {
        return Err(EvalError::Value(format!(
            "the range {range:?} of integer inputs is empty"
        )));
    }
    let n = shape.iter().product();
    let values: Vec<i64> = (0..n)
        .map(|_| sampler.int(range.start, range.end - 1))
        .collect();
    Ok(HostTensor::from_slice(shape, &values)?.cast(dtype)?)
}

/// Floats, bools, and blocks (through their encoder).
fn floats(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    low: f64,
    high: f64,
) -> Result<HostTensor, EvalError> {
    let n = shape.iter().product();
    if dtype.is_bool() {
        let bits: Vec<u8> = (0..n).map(|_| (sampler.bits() & 1) as u8).collect();
        return Ok(HostTensor::new(DType::Bool, shape, bits)?);
    }
    let values: Vec<f32> = (0..n).map(|_| sampler.uniform(low, high) as f32).collect();
    Ok(HostTensor::from_slice(shape, &values)?.cast(dtype)?)
}
