//! `fill` and `range`: values that come from the plan and the sizes alone.
#![allow(unsafe_code)]

use gabion_plan::RunError;
use gabion_tensor::{DType, Dim};

use super::rows::{Flat, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, TILE, require_plain};
use crate::access::Placed;
use crate::value::{self, Kind, Value, Values, with_kind};

struct FillStep {
    y: Flat,
    /// Low bytes of the element.
    bits: u64,
}

pub(super) fn prepare(cx: &Prepare<'_>, number: f64) -> Result<Box<dyn PreparedStep>, RunError> {
    let y = cx.write(0)?;
    require_plain(cx, "the result", y.dtype)?;
    Ok(Box::new(FillStep {
        bits: value::number_bits(number, y.dtype),
        y: Flat::new(y),
    }))
}

/// Calls `f` on the tiles of this worker's share of `len` elements.
fn tiles(cx: &StepCx<'_>, len: usize, mut f: impl FnMut(usize, usize)) {
    let mine = cx.share(len.div_ceil(64));
    let (mut start, end) = (mine.start * 64, (mine.end * 64).min(len));
    while start < end {
        let len = TILE.min(end - start);
        f(start, len);
        start += len;
    }
}

impl PreparedStep for FillStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<u64>(TILE)
    }

    fn cost(&self) -> usize {
        self.y.len() / 8
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        with_kind!(Kind::of(self.y.dtype()), V => {
            let buffer = Scratch::of(cx).take::<V>(TILE);
            let mut one = [V::ZERO];
            let element = [u64::from_le(self.bits)];
            // SAFETY: eight aligned bytes hold one element of any dtype, low bytes first on
            // little-endian machines, which are the only ones that kernels exist for.
            unsafe { V::load(element.as_ptr().cast(), self.y.dtype(), 1, &mut one) };
            buffer.fill(one[0]);
            tiles(cx, self.y.len(), |start, len| self.y.store(cx, start, &buffer[..len]));
        });
        Ok(())
    }
}

struct RangeStep {
    y: Placed,
    flat: Flat,
    start: i64,
    step: i64,
}

pub(super) fn prepare_range(
    cx: &Prepare<'_>,
    start: &Dim,
    step: &Dim,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let y = cx.write(0)?;
    require_plain(cx, "the result", y.dtype)?;
    Ok(Box::new(RangeStep {
        flat: Flat::new(y),
        y: y.clone(),
        start: start.eval(cx.bindings)?,
        step: step.eval(cx.bindings)?,
    }))
}

impl PreparedStep for RangeStep {
    fn scratch(&self) -> usize {
        2 * scratch_bytes::<u64>(TILE)
    }

    fn cost(&self) -> usize {
        self.flat.len()
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let dtype: DType = self.y.dtype;
        with_kind!(Kind::of(dtype), V => {
            let mut scratch = Scratch::of(cx);
            let (numbers, out) = (scratch.take::<i64>(TILE), scratch.take::<V>(TILE));
            tiles(cx, self.flat.len(), |start, len| {
                for (i, number) in numbers[..len].iter_mut().enumerate() {
                    let steps = self.step.wrapping_mul((start + i) as i64);
                    *number = self.start.wrapping_add(steps);
                }
                value::cast(&Values::I64(&numbers[..len]), dtype, &mut V::values_mut(&mut out[..len]));
                self.flat.store(cx, start, &out[..len]);
            });
        });
        Ok(())
    }
}
