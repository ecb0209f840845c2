//! `arg_reduce`: where the largest or smallest of each row is.

use std::cmp::Ordering;

use gabion_plan::RunError;
use gabion_tensor::DType;

use super::rows::{Flat, Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, TILE, require_plain};
use crate::value::{Kind, Value, with_kind};

struct ArgReduceStep {
    largest: bool,
    x: Rows,
    y: Flat,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    largest: bool,
    axis: usize,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    require_plain(cx, "the operand", x.dtype)?;
    cx.require(axis < x.shape.len(), || {
        format!("axis {axis} of rank {}", x.shape.len())
    })?;
    cx.require(y.dtype == DType::I64, || {
        format!("indices are i64, not {}", y.dtype)
    })?;
    let rows = Rows::along(x, &[axis]);
    cx.require(rows.count() == y.numel(), || {
        format!("{} rows, {} results", rows.count(), y.numel())
    })?;
    if rows.len() == 0 && rows.count() > 0 {
        return Err(RunError::Value(format!(
            "{}: the largest or smallest of no elements",
            cx.name
        )));
    }
    Ok(Box::new(ArgReduceStep {
        largest,
        x: rows,
        y: Flat::new(y),
    }))
}

/// The order in which NaN is first and then the better values.
pub(super) fn better<V: Value>(largest: bool, a: V, b: V) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if largest { order.reverse() } else { order }
        }
    }
}

impl ArgReduceStep {
    /// Over `f32` in place: the value first, as vectors, then where it is.
    fn row_f32(&self, cx: &StepCx<'_>, x: &[f32]) -> usize {
        let lanes = &cx.kernels.lanes;
        let best = if self.largest {
            lanes.max(x)
        } else {
            lanes.min(x)
        };
        let found = if best.is_nan() {
            x.iter().position(|x| x.is_nan())
        } else {
            x.iter().position(|&x| x == best)
        };
        found.unwrap_or(0)
    }

    fn row<V: Value>(&self, cx: &StepCx<'_>, row: usize, buffer: &mut [V]) -> usize {
        let (mut at, mut best) = (0, None);
        for start in (0..self.x.len()).step_by(TILE) {
            let part = &mut buffer[..TILE.min(self.x.len() - start)];
            self.x.load(cx, row, start, part);
            for (i, &x) in part.iter().enumerate() {
                if best.is_none_or(|best| better(self.largest, x, best) == Ordering::Less) {
                    (at, best) = (start + i, Some(x));
                }
            }
        }
        at
    }
}

impl PreparedStep for ArgReduceStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<u64>(TILE)
    }

    fn cost(&self) -> usize {
        self.x.count() * (self.x.len() / 4 + 10)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        for row in cx.share(self.x.count()) {
            let at = match self.x.slice::<f32>(cx, row) {
                Some(x) => self.row_f32(cx, x),
                None => with_kind!(Kind::of(self.x.dtype()), V => {
                    self.row::<V>(cx, row, Scratch::of(cx).take(TILE))
                }),
            };
            self.y.store(cx, row, &[at as i64]);
        }
        Ok(())
    }
}
