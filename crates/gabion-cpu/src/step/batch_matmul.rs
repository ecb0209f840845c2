//! `batch_matmul`: products of matrices that are both computed at run time.
//!
//! Floats of up to 32 bits go through the `f32` kernel, the right side packed in panels; other
//! dtypes are plain loops. Each element is one chain in ascending order of k.
#![allow(unsafe_code)]

use gabion_plan::RunError;
use gabion_tensor::{BinaryFn, DType};

use super::batched::Batched;
use super::rows::{Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_plain};
use crate::kernels::gemm::{PANEL, Product};
use crate::value::{Kind, Value, with_kind};

/// Steps of k that are packed at a time.
const DEPTH: usize = 128;
/// Panels of columns that are packed at a time.
const PANELS: usize = 4;
/// Rows of a unit of work.
const ROWS: usize = 48;

/// A batch of matrices: `[batch.., rows, columns]`.
type Matrices = Batched<2>;

struct BatchMatmulStep {
    a: Matrices,
    b: Matrices,
    y: Matrices,
}

pub(super) fn prepare(cx: &Prepare<'_>) -> Result<Box<dyn PreparedStep>, RunError> {
    let (a, b, y) = (cx.read(0)?, cx.read(1)?, cx.write(0)?);
    require_plain(cx, "the operands", a.dtype)?;
    let rank = a.shape.len();
    let fits = rank >= 2
        && b.shape.len() == rank
        && y.shape.len() == rank
        && a.shape[..rank - 2] == b.shape[..rank - 2]
        && a.shape[..rank - 2] == y.shape[..rank - 2]
        && a.shape[rank - 1] == b.shape[rank - 2]
        && y.shape[rank - 2..] == [a.shape[rank - 2], b.shape[rank - 1]]
        && a.dtype == b.dtype
        && (a.dtype == y.dtype
            || (Kind::of(a.dtype) == Kind::F32 && Kind::of(y.dtype) == Kind::F32));
    cx.require(fits, || {
        format!(
            "{}{:?} times {}{:?} into {}{:?}",
            a.dtype, a.shape, b.dtype, b.shape, y.dtype, y.shape
        )
    })?;
    Ok(Box::new(BatchMatmulStep {
        a: Matrices::new(a),
        b: Matrices::new(b),
        y: Matrices::new(y),
    }))
}

/// A stretch of rows of one block of columns.
struct Block {
    batch: usize,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl BatchMatmulStep {
    fn units(&self) -> [usize; 3] {
        let columns = self.y.sizes[1].div_ceil(PANEL * PANELS);
        [self.y.batch.len(), columns, self.y.sizes[0].div_ceil(ROWS)]
    }

    /// The f32 kernel on rows of one block of columns.
    fn block(&self, cx: &StepCx<'_>, block: &Block) {
        let mut scratch = Scratch::of(cx);
        let panels = scratch.take::<f32>(DEPTH * PANEL * PANELS);
        let a_block = scratch.take::<f32>(ROWS * DEPTH);
        let rows_of_b = scratch.take::<f32>(PANEL * DEPTH);
        let sums = scratch.take::<f32>(ROWS * PANEL);
        let k = self.a.sizes[1];
        let plain_y = self.y.placed.dtype == DType::F32
            && (self.y.strides[1] == 1 || block.columns.len() == 1);
        // Sums that go on over several packings of k live in the result, or, where it is no plain
        // f32, in one packing: k is then packed column block by column block.
        if !plain_y && k > DEPTH {
            return self.block_of_any_depth(cx, block);
        }
        for start in (0..k.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(k - start);
            self.pack_b(cx, block, start, depth, panels, rows_of_b);
            for row in block.rows.clone().step_by(ROWS) {
                let rows = ROWS.min(block.rows.end - row);
                let (a, a_row, a_k) =
                    self.a_block(cx, block.batch, row, rows, start, depth, a_block);
                for (panel, column) in block.columns.clone().step_by(PANEL).enumerate() {
                    let cols = PANEL.min(block.columns.end - column);
                    let (c, c_row) = if plain_y {
                        (
                            self.y.at(cx, block.batch, [row, column]).cast(),
                            self.y.strides[0],
                        )
                    } else {
                        (sums.as_mut_ptr(), PANEL as isize)
                    };
                    let product = Product {
                        rows,
                        cols,
                        k: depth,
                        a,
                        a_row,
                        a_k,
                        b: panels[panel * PANEL * DEPTH..].as_ptr(),
                        b_row: PANEL as isize,
                        c,
                        c_row,
                        add: start > 0,
                    };
                    // SAFETY: a lies in its view or in scratch, b in scratch, c in its view or in
                    // scratch, each with room for these sizes; c is this worker's alone.
                    unsafe { cx.kernels.gemm.product(product) };
                    if !plain_y {
                        self.store(cx, block.batch, row, column, cols, &sums[..rows * PANEL]);
                    }
                }
            }
        }
    }

    fn store(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        row: usize,
        column: usize,
        cols: usize,
        sums: &[f32],
    ) {
        for (i, sums) in sums.chunks_exact(PANEL).enumerate() {
            self.y.store(cx, batch, [row + i, column], &sums[..cols]);
        }
    }

    /// Results that are no plain f32 rows: sums of a few rows stay in scratch over all of k.
    fn block_of_any_depth(&self, cx: &StepCx<'_>, block: &Block) {
        let mut scratch = Scratch::of(cx);
        let panels = scratch.take::<f32>(DEPTH * PANEL * PANELS);
        let a_block = scratch.take::<f32>(ROWS * DEPTH);
        let rows_of_b = scratch.take::<f32>(PANEL * DEPTH);
        let sums = scratch.take::<f32>(ROWS * PANEL);
        let k = self.a.sizes[1];
        for row in block.rows.clone().step_by(ROWS) {
            let rows = ROWS.min(block.rows.end - row);
            for column in block.columns.clone().step_by(PANEL) {
                let cols = PANEL.min(block.columns.end - column);
                let narrow = Block {
                    batch: block.batch,
                    rows: row..row + rows,
                    columns: column..column + cols,
                };
                for start in (0..k).step_by(DEPTH) {
                    let depth = DEPTH.min(k - start);
                    self.pack_b(cx, &narrow, start, depth, panels, rows_of_b);
                    let (a, a_row, a_k) =
                        self.a_block(cx, block.batch, row, rows, start, depth, a_block);
                    let product = Product {
                        rows,
                        cols,
                        k: depth,
                        a,
                        a_row,
                        a_k,
                        b: panels.as_ptr(),
                        b_row: PANEL as isize,
                        c: sums.as_mut_ptr(),
                        c_row: PANEL as isize,
                        add: start > 0,
                    };
                    // SAFETY: as in `block`.
                    unsafe { cx.kernels.gemm.product(product) };
                }
                self.store(cx, block.batch, row, column, cols, &sums[..rows * PANEL]);
            }
        }
    }

    /// Packs a block of columns of b, steps `start..start + depth`, as panels `[k][32]`.
    fn pack_b(
        &self,
        cx: &StepCx<'_>,
        block: &Block,
        start: usize,
        depth: usize,
        panels: &mut [f32],
        rows: &mut [f32],
    ) {
        let b = &self.b;
        let f32_columns = b.placed.dtype == DType::F32 && b.strides[0] == 1;
        for (panel, column) in block.columns.clone().step_by(PANEL).enumerate() {
            let cols = PANEL.min(block.columns.end - column);
            let to = &mut panels[panel * PANEL * DEPTH..][..depth * PANEL];
            if f32_columns || b.strides[1] != 1 {
                // Columns of b are rows in memory, or rows are no better than columns.
                let (from, stride) = if f32_columns {
                    (
                        b.at(cx, block.batch, [start, column]).cast_const().cast(),
                        b.strides[1],
                    )
                } else {
                    for (j, row) in rows.chunks_exact_mut(DEPTH).take(cols).enumerate() {
                        let from = [start, column + j];
                        b.load_along(0, cx, block.batch, from, &mut row[..depth]);
                    }
                    (rows.as_ptr(), DEPTH as isize)
                };
                // SAFETY: the columns lie inside the view or in scratch; the panel has room.
                unsafe {
                    cx.kernels
                        .gemm
                        .panel_of_rows(from, stride, cols, depth, to.as_mut_ptr())
                };
            } else {
                for (t, to) in to.chunks_exact_mut(PANEL).enumerate() {
                    b.load(cx, block.batch, [start + t, column], &mut to[..cols]);
                }
            }
        }
    }

    /// Rows of a: in place if they are f32, else converted; with their strides.
    #[allow(clippy::too_many_arguments, reason = "a block of a has four edges")]
    fn a_block(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        row: usize,
        rows: usize,
        start: usize,
        depth: usize,
        block: &mut [f32],
    ) -> (*const f32, isize, isize) {
        let a = &self.a;
        // Rows that lie a multiple of many lines apart would push each other out of the cache.
        let spread = (a.strides[0] * size_of::<f32>() as isize) % 1024 != 0 || rows == 1;
        if a.placed.dtype == DType::F32 && (spread || a.strides[1] != 1) {
            return (
                a.at(cx, batch, [row, start]).cast_const().cast(),
                a.strides[0],
                a.strides[1],
            );
        }
        for (i, to) in block.chunks_exact_mut(DEPTH).take(rows).enumerate() {
            a.load(cx, batch, [row + i, start], &mut to[..depth]);
        }
        (block.as_ptr(), DEPTH as isize, 1)
    }

    /// Any kind, one element at a time.
    fn plain<V: Value>(&self, cx: &StepCx<'_>) {
        let (m, n, k) = (self.y.sizes[0], self.y.sizes[1], self.a.sizes[1]);
        let mut scratch = Scratch::of(cx);
        let (a, b) = (scratch.take::<V>(DEPTH), scratch.take::<V>(DEPTH));
        for item in cx.share(self.y.batch.len() * m * n) {
            let (batch, row, column) = (item / (m * n), item / n % m, item % n);
            let mut sum = V::ZERO;
            for start in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - start);
                self.a.load(cx, batch, [row, start], &mut a[..depth]);
                self.b
                    .load_along(0, cx, batch, [start, column], &mut b[..depth]);
                for (&a, &b) in a[..depth].iter().zip(&b[..depth]) {
                    let product = V::combine(BinaryFn::Mul, a, b).unwrap_or(a);
                    sum = V::combine(BinaryFn::Add, sum, product).unwrap_or(sum);
                }
            }
            let mut sum = [sum];
            V::fit(self.y.placed.dtype, &mut sum);
            self.y.store(cx, batch, [row, column], &sum);
        }
    }
}

impl PreparedStep for BatchMatmulStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<f32>(DEPTH * PANEL * PANELS)
            + scratch_bytes::<f32>(ROWS * DEPTH)
            + scratch_bytes::<f32>(PANEL * DEPTH)
            + scratch_bytes::<f32>(ROWS * PANEL)
    }

    fn cost(&self) -> usize {
        self.y.placed.numel() * (self.a.sizes[1] / 16 + 2)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let kind = Kind::of(self.a.placed.dtype);
        if kind != Kind::F32 {
            with_kind!(kind, V => self.plain::<V>(cx));
            return Ok(());
        }
        let [batches, columns, rows] = self.units();
        let mine = cx.share(batches * columns * rows);
        let mut unit = mine.start;
        while unit < mine.end {
            // Units that follow each other share a block of columns.
            let (first, row) = (unit / rows, unit % rows);
            let end = mine.end.min((first + 1) * rows);
            let column = first % columns * PANEL * PANELS;
            let last = row + (end - unit);
            self.block(
                cx,
                &Block {
                    batch: first / columns,
                    rows: row * ROWS..(last * ROWS).min(self.y.sizes[0]),
                    columns: column..(column + PANEL * PANELS).min(self.y.sizes[1]),
                },
            );
            unit = end;
        }
        Ok(())
    }
}
