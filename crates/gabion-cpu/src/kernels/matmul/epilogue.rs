//! What is done to finished sums before they are stored: the only store they get.
//!
//! The order for each value, every step rounded by itself, so that fused and unfused graphs have
//! the same bits: times scale, plus bias, then the form's step (activation and plus residual;
//! activation of the first partner times the second; rotation).
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block below: `finish` obliges its caller to pass a segment whose pointers are
// valid for the rows and columns that the tile names; runs and places stay inside those.

use super::columns::{Columns, HalfTile};
use crate::kernels::simd::{Simd, per_isa};
use crate::kernels::vmath::VectorFn;
use crate::pack::{HALF, NO_ROW, TILE};
use std::ops::Range;

/// A matrix that is added to the result, `[rows, columns]` like it.
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// Row 0, column 0 of the segment's columns.
    pub ptr: *const f32,
    /// From one row to the next, in values.
    pub row_stride: usize,
}

/// What the tiles of a segment are made of, and what is done with it.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// Each lane by itself: `activation(y) + residual`.
    Plain {
        /// Applied after the bias.
        activation: Option<VectorFn>,
        /// Added last. Only columns without groups can have one.
        residual: Option<Residual>,
    },
    /// Pairs (`gated_tiles`): `activation(a) * b`, one column for each pair.
    Gated {
        /// Applied to the first partner.
        activation: Option<VectorFn>,
    },
    /// Pairs (`rotary_tiles`): `a cos - b sin` to a's column, `b cos + a sin` to b's.
    Rotary {
        /// Cosines, `[rows, angles]`.
        cos: *const f32,
        /// Sines, likewise.
        sin: *const f32,
        /// From one row of angles to the next, in values.
        row_stride: usize,
        /// For each tile, the angle of each pair.
        angles: &'a [[u16; HALF]],
    },
}

/// Where a segment is stored: row `m`, group `g`, column `c` at
/// `m / rows_per_batch * batch_stride + m % rows_per_batch * row_stride + g * group_stride + c`.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Row 0, column 0.
    pub ptr: *mut f32,
    /// From one row to the next, in values.
    pub row_stride: usize,
    /// From one group of columns to the next, in values.
    pub group_stride: usize,
    /// Rows until the next batch; `usize::MAX` if there is one batch.
    pub rows_per_batch: usize,
    /// From one batch to the next, in values.
    pub batch_stride: usize,
}

impl Output {
    /// A row-major matrix.
    pub fn rows(ptr: *mut f32, row_stride: usize) -> Output {
        Output {
            ptr,
            row_stride,
            group_stride: 0,
            rows_per_batch: usize::MAX,
            batch_stride: 0,
        }
    }

    #[inline(always)]
    fn row(&self, m: usize) -> *mut f32 {
        let offset = if m < self.rows_per_batch {
            m * self.row_stride
        } else {
            m / self.rows_per_batch * self.batch_stride + m % self.rows_per_batch * self.row_stride
        };
        self.ptr.wrapping_add(offset)
    }
}

/// A stretch of a weight's tiles that share an epilogue and a destination.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// Which tiles of the weight.
    pub tiles: Range<usize>,
    /// Where their lanes go.
    pub columns: &'a Columns,
    /// Every sum is multiplied by it.
    pub scale: Option<f32>,
    /// Added after: 32 values for each tile, in the order of lanes.
    pub bias: Option<*const f32>,
    /// What follows.
    pub form: Form<'a>,
    /// The destination.
    pub out: Output,
}

/// A finished tile: `rows` rows of 32 sums, the first of them row `row` of the output.
#[derive(Clone, Copy)]
pub(super) struct Finished {
    /// Counted from the segment's first.
    pub tile: usize,
    pub row: usize,
    pub rows: usize,
    pub sums: *mut f32,
}

/// Applies a segment's epilogue to a tile and stores it.
///
/// # Safety
/// As said at the top of the file; `sums` is `[rows][32]` and may be overwritten.
pub(super) type Finish = unsafe fn(&Segment<'_>, &Finished);

per_isa! {
    /// The epilogue of an instruction set.
    pub(super) fn finish => finish_tile(segment: &Segment<'_>, tile: &Finished)
}

#[inline(always)]
unsafe fn finish_tile<S: Simd>(segment: &Segment<'_>, tile: &Finished) {
    unsafe {
        match segment.form {
            Form::Plain {
                activation,
                residual,
            } => plain::<S>(segment, tile, activation, residual),
            Form::Gated { activation } => gated::<S>(segment, tile, activation),
            Form::Rotary {
                cos,
                sin,
                row_stride,
                angles,
            } => {
                let angles = &angles[tile.tile];
                rotary::<S>(segment, tile, [cos, sin], row_stride, angles);
            }
        }
    }
}

/// A vector of sums, scaled and with its bias.
#[inline(always)]
unsafe fn biased<S: Simd>(segment: &Segment<'_>, tile: &Finished, r: usize, lane: usize) -> S::F {
    unsafe {
        let mut v = S::load(tile.sums.add(r * TILE + lane));
        if let Some(scale) = segment.scale {
            v = S::mul(v, S::splat(scale));
        }
        if let Some(bias) = segment.bias {
            v = S::add(v, S::load(bias.add(tile.tile * TILE + lane)));
        }
        v
    }
}

#[inline(always)]
unsafe fn activate<S: Simd>(activation: Option<VectorFn>, v: S::F) -> S::F {
    match activation {
        None => v,
        // SAFETY: arithmetic only.
        Some(function) => unsafe { function.eval::<S>(v) },
    }
}

#[inline(always)]
unsafe fn plain<S: Simd>(
    segment: &Segment<'_>,
    tile: &Finished,
    activation: Option<VectorFn>,
    residual: Option<Residual>,
) {
    unsafe {
        for r in 0..tile.rows {
            for half in 0..2 {
                for lane in (0..HALF).step_by(S::LANES) {
                    let v = biased::<S>(segment, tile, r, half * HALF + lane);
                    let v = activate::<S>(activation, v);
                    put::<S>(segment, tile, r, half, lane, v, residual);
                }
            }
            scatter(segment, tile, r, residual);
        }
    }
}

#[inline(always)]
unsafe fn gated<S: Simd>(segment: &Segment<'_>, tile: &Finished, activation: Option<VectorFn>) {
    unsafe {
        for r in 0..tile.rows {
            for lane in (0..HALF).step_by(S::LANES) {
                let a = activate::<S>(activation, biased::<S>(segment, tile, r, lane));
                let b = biased::<S>(segment, tile, r, HALF + lane);
                put::<S>(segment, tile, r, 0, lane, S::mul(a, b), None);
            }
            scatter(segment, tile, r, None);
        }
    }
}

#[inline(always)]
unsafe fn rotary<S: Simd>(
    segment: &Segment<'_>,
    tile: &Finished,
    tables: [*const f32; 2],
    row_stride: usize,
    angles: &[u16; HALF],
) {
    unsafe {
        let in_order = (0..HALF).all(|i| angles[i] as usize == angles[0] as usize + i);
        let mut gathered = [[0.0_f32; HALF]; 2];
        for r in 0..tile.rows {
            let mut turn = tables
                .map(|table| table.wrapping_add((tile.row + r) * row_stride + angles[0] as usize));
            if !in_order {
                for (from, to) in tables.iter().zip(&mut gathered) {
                    let from = from.add((tile.row + r) * row_stride);
                    for (to, angle) in to.iter_mut().zip(angles) {
                        *to = *from.add(*angle as usize);
                    }
                }
                turn = [gathered[0].as_ptr(), gathered[1].as_ptr()];
            }
            for lane in (0..HALF).step_by(S::LANES) {
                let a = biased::<S>(segment, tile, r, lane);
                let b = biased::<S>(segment, tile, r, HALF + lane);
                let (cos, sin) = (S::load(turn[0].add(lane)), S::load(turn[1].add(lane)));
                let first = S::sub(S::mul(a, cos), S::mul(b, sin));
                let second = S::add(S::mul(b, cos), S::mul(a, sin));
                put::<S>(segment, tile, r, 0, lane, first, None);
                put::<S>(segment, tile, r, 1, lane, second, None);
            }
            scatter(segment, tile, r, None);
        }
    }
}

/// Stores a vector whose half is a run; one of a scattered half goes back to the sums.
#[inline(always)]
unsafe fn put<S: Simd>(
    segment: &Segment<'_>,
    tile: &Finished,
    r: usize,
    half: usize,
    lane: usize,
    v: S::F,
    residual: Option<Residual>,
) {
    unsafe {
        match segment.columns.tile(tile.tile)[half] {
            HalfTile::Run { place, len } => {
                let count = (len as usize).saturating_sub(lane);
                if count == 0 {
                    return;
                }
                let column = place.column as usize + lane;
                let mut v = v;
                if let Some(residual) = residual {
                    let from = residual
                        .ptr
                        .add((tile.row + r) * residual.row_stride + column);
                    v = S::add(v, S::load_first(from, count));
                }
                let group = place.group as usize * segment.out.group_stride;
                let to = segment.out.row(tile.row + r).wrapping_add(group + column);
                if count >= S::LANES {
                    S::store(to, v);
                } else {
                    S::store_first(to, v, count);
                }
            }
            HalfTile::Scattered(_) => S::store(tile.sums.add(r * TILE + half * HALF + lane), v),
        }
    }
}

/// Stores the scattered halves of a row, lane by lane.
#[inline(always)]
unsafe fn scatter(segment: &Segment<'_>, tile: &Finished, r: usize, residual: Option<Residual>) {
    for (half, columns) in segment.columns.tile(tile.tile).iter().enumerate() {
        let HalfTile::Scattered(index) = *columns else {
            continue;
        };
        let places = segment.columns.scattered(index);
        for (lane, place) in places.iter().enumerate() {
            if place.column == NO_ROW {
                continue;
            }
            unsafe {
                let column = place.column as usize;
                let mut v = *tile.sums.add(r * TILE + half * HALF + lane);
                if let Some(residual) = residual {
                    v += *residual
                        .ptr
                        .add((tile.row + r) * residual.row_stride + column);
                }
                let group = place.group as usize * segment.out.group_stride;
                *segment.out.row(tile.row + r).wrapping_add(group + column) = v;
            }
        }
    }
}
