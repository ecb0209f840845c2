//! `cum_sum`: running sums along an axis, forwards or backwards, with or without the element.
//!
//! Floats are summed in f64 and rounded once for each element.

use gabion_plan::RunError;
use gabion_tensor::BinaryFn;

use super::rows::{Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, TILE, require_plain};
use crate::value::{Kind, Value, with_kind};

struct CumSumStep {
    x: Rows,
    y: Rows,
    exclusive: bool,
    reverse: bool,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    require_plain(cx, "the operand", x.dtype)?;
    cx.require(axis < x.shape.len(), || {
        format!("axis {axis} of rank {}", x.shape.len())
    })?;
    cx.require(x.shape == y.shape && x.dtype == y.dtype, || {
        format!("{}{:?} from {}{:?}", y.dtype, y.shape, x.dtype, x.shape)
    })?;
    Ok(Box::new(CumSumStep {
        x: Rows::along(x, &[axis]),
        y: Rows::along(y, &[axis]),
        exclusive,
        reverse,
    }))
}

impl CumSumStep {
    /// A row; `sum` adds an element to the state and gives the rounded state.
    fn row<V: Value>(
        &self,
        cx: &StepCx<'_>,
        row: usize,
        buffer: &mut [V],
        mut add: impl FnMut(V),
        read: impl Fn() -> V,
    ) {
        let n = self.x.len();
        let tiles = n.div_ceil(TILE);
        for tile in 0..tiles {
            let tile = if self.reverse { tiles - 1 - tile } else { tile };
            let start = tile * TILE;
            let part = &mut buffer[..TILE.min(n - start)];
            self.x.load(cx, row, start, part);
            let len = part.len();
            for i in 0..len {
                let x = &mut part[if self.reverse { len - 1 - i } else { i }];
                let before = read();
                add(*x);
                *x = if self.exclusive { before } else { read() };
            }
            V::fit(self.y.dtype(), part);
            self.y.store(cx, row, start, part);
        }
    }
}

impl PreparedStep for CumSumStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<u64>(TILE)
    }

    fn cost(&self) -> usize {
        2 * self.x.count() * (self.x.len() + 10)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        use std::cell::Cell;
        for row in cx.share(self.x.count()) {
            let mut scratch = Scratch::of(cx);
            if Kind::of(self.x.dtype()) == Kind::F32 {
                let sum = Cell::new(0.0f64);
                let add = |x: f32| sum.set(sum.get() + f64::from(x));
                self.row(cx, row, scratch.take(TILE), add, || sum.get() as f32);
                continue;
            }
            with_kind!(Kind::of(self.x.dtype()), V => {
                let sum = Cell::new(V::ZERO);
                let add = |x| sum.set(V::combine(BinaryFn::Add, sum.get(), x).unwrap_or(x));
                self.row::<V>(cx, row, scratch.take(TILE), add, || sum.get());
            });
        }
        Ok(())
    }
}
