//! `reduce`: sums, means, extremes, products and truths over axes.
//!
//! Rows are shared among workers; where there are few long rows, their blocks are. A sum's blocks
//! are always the same, so its bits are.
#![allow(unsafe_code)]

use gabion_plan::{ReduceFn, RunError};
use gabion_tensor::BinaryFn;

use super::rows::{Flat, Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, TILE, require_plain};
use crate::kernels::lanes::{BLOCK, RowFold};
use crate::value::{Kind, Value, with_kind};

/// Rows of a column sum that are kept in `f32`.
const COLUMN_BLOCK: usize = 256;

struct ReduceStep {
    func: ReduceFn,
    x: Rows,
    y: Flat,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Each row by itself.
    Rows,
    /// Neighbouring rows together, as vectors (f32 kind).
    Columns,
    /// Blocks of rows (sums of f32 kind).
    Blocks,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    func: ReduceFn,
    axes: &[usize],
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    require_plain(cx, "the operand", x.dtype)?;
    cx.require(x.dtype == y.dtype, || {
        format!("{} becomes {}", x.dtype, y.dtype)
    })?;
    cx.require(axes.iter().all(|&a| a < x.shape.len()), || {
        format!("axes {axes:?} of rank {}", x.shape.len())
    })?;
    let rows = Rows::along(x, axes);
    cx.require(rows.count() == y.numel(), || {
        format!("{} rows, {} results", rows.count(), y.numel())
    })?;
    let extreme = matches!(func, ReduceFn::Max | ReduceFn::Min);
    if extreme && rows.len() == 0 && rows.count() > 0 {
        return Err(RunError::Value(format!(
            "{}: the largest or smallest of no elements",
            cx.name
        )));
    }
    let logical = matches!(func, ReduceFn::Any | ReduceFn::All);
    cx.require(!logical || x.dtype.is_bool(), || {
        format!("any and all take bool, not {}", x.dtype)
    })?;
    let sums = matches!(func, ReduceFn::Sum | ReduceFn::Mean);
    let f32_kind = Kind::of(x.dtype) == Kind::F32;
    let (columns, column_stride) = rows.outer.inner();
    let mode = if f32_kind
        && (sums || extreme)
        && column_stride == 1
        && columns >= 16
        && rows.inner.inner().1 != 1
    {
        Mode::Columns
    } else if f32_kind
        && sums
        && rows.count() < 2 * cx.threads
        && rows.len() >= 8 * BLOCK
        && cx.threads > 1
    {
        Mode::Blocks
    } else {
        Mode::Rows
    };
    Ok(Box::new(ReduceStep {
        func,
        x: rows,
        y: Flat::new(y),
        mode,
    }))
}

impl ReduceStep {
    fn blocks(&self) -> usize {
        self.x.len().div_ceil(BLOCK)
    }

    /// The sum of one block of a row.
    fn block_sum(&self, cx: &StepCx<'_>, row: usize, block: usize, buffer: &mut [f32]) -> f64 {
        let start = block * BLOCK;
        let len = BLOCK.min(self.x.len() - start);
        match self.x.slice::<f32>(cx, row) {
            Some(all) => cx.kernels.lanes.sum(&all[start..start + len]),
            None => {
                self.x.load(cx, row, start, &mut buffer[..len]);
                cx.kernels.lanes.sum(&buffer[..len])
            }
        }
    }

    fn finish_sum(&self, sum: f64) -> f32 {
        match self.func {
            ReduceFn::Mean => (sum / self.x.len() as f64) as f32,
            ReduceFn::Sum
            | ReduceFn::Max
            | ReduceFn::Min
            | ReduceFn::Prod
            | ReduceFn::Any
            | ReduceFn::All => sum as f32,
        }
    }

    fn row_f32(&self, cx: &StepCx<'_>, row: usize, buffer: &mut [f32]) -> f32 {
        let lanes = &cx.kernels.lanes;
        let blocks = 0..self.blocks();
        let extreme =
            |f: fn(&Self, &StepCx<'_>, &[f32]) -> f32, join: BinaryFn, buffer: &mut [f32]| {
                let mut best = None;
                for block in blocks.clone() {
                    let start = block * BLOCK;
                    let part = &mut buffer[..BLOCK.min(self.x.len() - start)];
                    self.x.load(cx, row, start, part);
                    let found = f(self, cx, part);
                    best = match best {
                        None => Some(found),
                        Some(best) => f32::combine(join, best, found),
                    };
                }
                best.unwrap_or(0.0)
            };
        match self.func {
            ReduceFn::Sum | ReduceFn::Mean => {
                let mut sum = 0.0;
                for block in 0..self.blocks() {
                    sum += self.block_sum(cx, row, block, buffer);
                }
                self.finish_sum(sum)
            }
            ReduceFn::Max => match self.x.slice(cx, row) {
                Some(all) => lanes.max(all),
                None => extreme(|_, cx, x| cx.kernels.lanes.max(x), BinaryFn::Max, buffer),
            },
            ReduceFn::Min => match self.x.slice(cx, row) {
                Some(all) => lanes.min(all),
                None => extreme(|_, cx, x| cx.kernels.lanes.min(x), BinaryFn::Min, buffer),
            },
            ReduceFn::Prod | ReduceFn::Any | ReduceFn::All => {
                let mut product = 1.0f64;
                for block in 0..self.blocks() {
                    let start = block * BLOCK;
                    let part = &mut buffer[..BLOCK.min(self.x.len() - start)];
                    self.x.load(cx, row, start, part);
                    product = part.iter().fold(product, |p, &x| p * f64::from(x));
                }
                product as f32
            }
        }
    }

    fn row<V: Value>(&self, cx: &StepCx<'_>, row: usize, buffer: &mut [V]) -> V {
        let (join, start) = match self.func {
            ReduceFn::Sum | ReduceFn::Mean => (BinaryFn::Add, V::ZERO),
            ReduceFn::Prod => (BinaryFn::Mul, V::ONE),
            ReduceFn::Max => (BinaryFn::Max, V::ZERO),
            ReduceFn::Min => (BinaryFn::Min, V::ZERO),
            ReduceFn::Any => (BinaryFn::Or, V::ZERO),
            ReduceFn::All => (BinaryFn::And, V::ONE),
        };
        let mut sum = start;
        for block in 0..self.x.len().div_ceil(buffer.len()) {
            let at = block * buffer.len();
            let len = buffer.len().min(self.x.len() - at);
            self.x.load(cx, row, at, &mut buffer[..len]);
            let extreme = matches!(self.func, ReduceFn::Max | ReduceFn::Min);
            if at == 0 && extreme {
                sum = buffer[0];
            }
            for &x in &buffer[..len] {
                sum = V::combine(join, sum, x).unwrap_or(sum);
            }
        }
        if self.func == ReduceFn::Mean {
            sum.over(self.x.len())
        } else {
            sum
        }
    }

    /// Rows `start..start + sums.len()`, whose places are neighbours.
    fn columns(
        &self,
        cx: &StepCx<'_>,
        start: usize,
        buffers: [&mut [f32]; 2],
        totals: &mut [f64],
        out: &mut [f32],
    ) {
        let [sums, buffer] = buffers;
        let n = out.len();
        let (sums, buffer, totals) = (&mut sums[..n], &mut buffer[..n], &mut totals[..n]);
        let fold = match self.func {
            ReduceFn::Max => RowFold::Max,
            ReduceFn::Min => RowFold::Min,
            ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod | ReduceFn::Any | ReduceFn::All => {
                RowFold::Sum
            }
        };
        totals.fill(0.0);
        for i in 0..self.x.len() {
            let row = match self.x.slice_across(cx, start, i, n) {
                Some(row) => row,
                None => {
                    self.x.load_across(cx, start, i, buffer);
                    &*buffer
                }
            };
            if i == 0 || (fold == RowFold::Sum && i % COLUMN_BLOCK == 0) {
                if fold == RowFold::Sum && i > 0 {
                    add(totals, sums);
                }
                sums.copy_from_slice(row);
            } else {
                cx.kernels.lanes.fold(fold, sums, row);
            }
        }
        if fold != RowFold::Sum {
            return out.copy_from_slice(sums);
        }
        if self.x.len() > 0 {
            add(totals, sums);
        }
        for (out, &total) in out.iter_mut().zip(totals.iter()) {
            *out = self.finish_sum(total);
        }
    }
}

fn add(totals: &mut [f64], sums: &[f32]) {
    for (total, &sum) in totals.iter_mut().zip(sums) {
        *total += f64::from(sum);
    }
}

impl PreparedStep for ReduceStep {
    fn scratch(&self) -> usize {
        match self.mode {
            Mode::Columns => 3 * scratch_bytes::<f32>(TILE) + scratch_bytes::<f64>(TILE),
            Mode::Rows | Mode::Blocks => scratch_bytes::<f64>(BLOCK),
        }
    }

    fn shared_scratch(&self) -> usize {
        match self.mode {
            Mode::Blocks => scratch_bytes::<f64>(self.x.count() * self.blocks()),
            Mode::Rows | Mode::Columns => 0,
        }
    }

    fn has_barriers(&self) -> bool {
        self.mode == Mode::Blocks
    }

    fn cost(&self) -> usize {
        let factor = if self.x.inner.is_contiguous() || self.mode == Mode::Columns {
            8
        } else {
            2
        };
        self.x.count() * (self.x.len() / factor + 20)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let mut scratch = Scratch::of(cx);
        match self.mode {
            Mode::Columns => {
                let sums = scratch.take(TILE);
                let buffer = scratch.take(TILE);
                let out = scratch.take(TILE);
                let totals = scratch.take(TILE);
                let mine = cx.share(self.x.count().div_ceil(16));
                let (start, end) = (mine.start * 16, (mine.end * 16).min(self.x.count()));
                let (run, _) = self.x.outer.inner();
                let mut at = start;
                while at < end {
                    // Not past the end of a run of neighbours.
                    let n = TILE.min(end - at).min(run - at % run);
                    let out = &mut out[..n];
                    self.columns(cx, at, [&mut *sums, &mut *buffer], totals, out);
                    self.y.store(cx, at, out);
                    at += n;
                }
            }
            Mode::Blocks => {
                let buffer = scratch.take::<f32>(BLOCK);
                let (rows, blocks) = (self.x.count(), self.blocks());
                let partial = cx.shared.cast::<f64>();
                for item in cx.share(rows * blocks) {
                    let sum = self.block_sum(cx, item / blocks, item % blocks, buffer);
                    // SAFETY: `shared_scratch` counts one f64 for each item; each item is in the
                    // share of one worker.
                    unsafe { partial.add(item).write(sum) };
                }
                cx.worker.barrier();
                for row in cx.share(rows) {
                    let mut sum = 0.0;
                    for block in 0..blocks {
                        // SAFETY: written before the barrier.
                        sum += unsafe { partial.add(row * blocks + block).read() };
                    }
                    self.y.store(cx, row, &[self.finish_sum(sum)]);
                }
            }
            Mode::Rows => with_kind!(Kind::of(self.x.dtype()), V => {
                let buffer = scratch.take::<V>(BLOCK);
                for row in cx.share(self.x.count()) {
                    let value = self.any_row::<V>(cx, row, buffer);
                    self.y.store(cx, row, &[value]);
                }
            }),
        }
        Ok(())
    }
}

impl ReduceStep {
    fn any_row<V: Value>(&self, cx: &StepCx<'_>, row: usize, buffer: &mut [V]) -> V {
        match bytemuck::try_cast_slice_mut::<V, f32>(buffer) {
            Ok(buffer) if V::KIND == Kind::F32 => bytemuck::cast(self.row_f32(cx, row, buffer)),
            _ => self.row(cx, row, buffer),
        }
    }
}
