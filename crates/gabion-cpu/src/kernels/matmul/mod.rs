//! `y = epilogue(x W^T)` for a packed weight: the one matmul, for any number of rows.
//!
//! Every value is a single chain of multiply-adds over k in order, starting from zero, on exactly
//! decoded weights; so its bits depend neither on the number of rows, nor on the number of
//! threads, nor on how the work is cut, nor (fused multiply-add given) on the instruction set.
#![allow(unsafe_code)]

mod blocking;
mod columns;
mod epilogue;
mod formats;
mod micro;
mod pack_rows;
mod scratch;
mod table;

pub use columns::Columns;
pub use epilogue::{Form, Output, Residual, Segment};
pub use scratch::Scratch;

use crate::isa::Isa;
use crate::pack::{PackedWeight, Run, TILE, WeightFormat};
use crate::workers::{Worker, split};
use blocking::{Blocking, Panels, Share, share};
use epilogue::{Finish, Finished};
use micro::{DecodeArgs, TileArgs};
use scratch::Own;
use std::ops::Range;
use std::sync::OnceLock;
use table::{Shapes, Table};

/// The kernels of one instruction set, chosen once.
pub struct Kernels {
    isa: Isa,
    table: Table,
    finish: Finish,
    blocking: Blocking,
}

/// Rows of x: `rows` rows of as many values as the weight's `k`.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// The first row.
    pub ptr: *const f32,
    /// How many.
    pub rows: usize,
    /// From one row to the next, in values.
    pub row_stride: usize,
}

/// A matmul: x, a weight, and what happens to which of its tiles.
#[derive(Clone, Debug)]
pub struct Matmul<'a> {
    /// The left side.
    pub x: Rows,
    /// The right side.
    pub weight: &'a PackedWeight,
    /// Ascending; tiles before the first, after the last or between two are not stored.
    pub segments: &'a [Segment<'a>],
}

impl Kernels {
    /// The kernels of `isa`.
    ///
    /// `isa` must be available on this machine; an unavailable one is replaced by the portable.
    pub fn of(isa: Isa) -> &'static Kernels {
        static ALL: [OnceLock<Kernels>; 3] = [const { OnceLock::new() }; 3];
        let isa = if isa.is_available() {
            isa
        } else {
            Isa::Portable
        };
        ALL[isa as usize].get_or_init(|| Kernels::new(isa))
    }

    fn new(isa: Isa) -> Kernels {
        let table = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => table::avx512_table(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => table::avx2_table(),
            _ => table::portable_table(),
        };
        let stream_rows = WeightFormat::ALL
            .iter()
            .map(|&format| table.stream_rows(format))
            .max();
        let blocking = Blocking {
            panel_rows: table.panel_rows(),
            stream_rows: stream_rows.unwrap_or(1),
            group: 2,
            max_step: 640,
            whole: 192 << 10,
            near_packed: 160 << 10,
            near_rows: 192,
            max_packed: 1 << 20,
            max_rows: 1024,
        };
        Kernels {
            isa,
            table,
            finish: epilogue::finish(isa),
            blocking,
        }
    }

    /// Whose they are.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    fn blocking(&self) -> &Blocking {
        &self.blocking
    }
}

/// What a worker needs to know in every loop.
struct Job<'a> {
    kernels: &'a Kernels,
    matmul: &'a Matmul<'a>,
    /// The tiles that are wanted.
    tiles: Range<usize>,
    own: Own,
    k: usize,
}

/// Does a worker's part of a matmul. All workers of the run have to call it with equal arguments;
/// results are complete after the next barrier. Allocates nothing.
///
/// # Panics
/// If `scratch` was made for less than this. The team turns it into an error.
///
/// # Safety
/// All pointers are valid for the rows and columns that the arguments describe while any worker
/// is inside, outputs do not overlap each other nor the inputs (a residual may be the output
/// itself), and no other run uses `scratch`.
pub unsafe fn matmul(worker: &Worker<'_>, kernels: &Kernels, job: &Matmul<'_>, scratch: &Scratch) {
    let (m, k) = (job.x.rows, job.weight.k());
    let (Some(first), Some(last)) = (job.segments.first(), job.segments.last()) else {
        return;
    };
    if m == 0 {
        return;
    }
    assert!(
        scratch.holds(&kernels.blocking, m, k, worker.count()),
        "matmul of {m} rows of {k} values on {} workers: the scratch was made for less",
        worker.count()
    );
    let job = Job {
        kernels,
        matmul: job,
        tiles: first.tiles.start..last.tiles.end,
        own: scratch.own(&kernels.blocking, m, k, worker.index()),
        k,
    };
    let streams = |run: &Run| m <= kernels.table.stream_rows(run.format);
    // SAFETY: the caller's promise.
    unsafe {
        // Sums of nothing have no weights to decode once for many rows, only results to store.
        if k == 0 || job.matmul.weight.runs().iter().all(streams) {
            job.stream(worker);
        } else {
            job.panels(worker, scratch);
        }
    }
}

impl Job<'_> {
    /// Few rows: weights are decoded in registers, for each panel of rows anew.
    unsafe fn stream(&self, worker: &Worker<'_>) {
        let x = &self.matmul.x;
        // All formats of a weight get the panels that its weakest can take.
        let formats = self.matmul.weight.runs().iter().map(|run| run.format);
        let most = formats.map(|format| self.kernels.table.format(format).stream.len());
        let panels = Panels {
            rows: 0..x.rows,
            count: x.rows.div_ceil(most.min().unwrap_or(1)),
        };
        let mut packed = x.ptr;
        if x.rows > 1 {
            packed = self.own.tiles;
            for panel in (0..panels.count).map(|index| panels.panel(index)) {
                // SAFETY: `own.tiles` has room for `stream_rows` rows.
                unsafe {
                    let from = x.ptr.add(panel.start * x.row_stride);
                    let to = self.own.tiles.add(panel.start * self.k);
                    pack_rows::pack(from, x.row_stride, panel.len(), 0..self.k, to);
                }
            }
        }
        let mine = split(self.tiles.len(), worker.index(), worker.count());
        let mine = self.tiles.start + mine.start..self.tiles.start + mine.end;
        for (run, tiles) in runs_of(self.matmul.weight, mine) {
            let stream = &self.kernels.table.format(run.format).stream;
            let size = stream[panels.panel(0).len() - 1].many.tiles;
            for group in groups(tiles, size) {
                for panel in (0..panels.count).map(|index| panels.panel(index)) {
                    let args = TileArgs {
                        x: packed.wrapping_add(panel.start * self.k),
                        w: self.tile_at(&run, group.start),
                        tile_bytes: run.tile_bytes,
                        tiles: group.len(),
                        k: self.k,
                        out: self.own.sums,
                        resume: false,
                        ahead: match panel.start {
                            0 => prefetch_distance(run.format, x.rows),
                            _ => 0,
                        },
                    };
                    // SAFETY: the tiles lie in the run, x and sums are as large as described.
                    unsafe {
                        run_tiles(&stream[panel.len() - 1], args, panel.len());
                        self.finish(group.clone(), panel.start, panel.len(), self.own.sums);
                    }
                }
            }
        }
    }

    fn tile_at(&self, run: &Run, tile: usize) -> *const u8 {
        let offset = run.offset + (tile - run.first) * run.tile_bytes;
        self.matmul.weight.base().wrapping_add(offset)
    }

    /// Stores tiles whose sums are `[tile][rows][32]`.
    unsafe fn finish(&self, tiles: Range<usize>, row: usize, rows: usize, sums: *mut f32) {
        let segments = self.matmul.segments;
        let mut at = segments.partition_point(|s| s.tiles.end <= tiles.start);
        for (i, tile) in tiles.enumerate() {
            while at < segments.len() && segments[at].tiles.end <= tile {
                at += 1;
            }
            let Some(segment) = segments.get(at) else {
                return;
            };
            if tile < segment.tiles.start {
                continue;
            }
            let finished = Finished {
                tile: tile - segment.tiles.start,
                row,
                rows,
                sums: sums.wrapping_add(i * rows * TILE),
            };
            // SAFETY: the caller of `matmul` promises that the segment's pointers are good.
            unsafe { (self.kernels.finish)(segment, &finished) };
        }
    }

    /// Many rows: x is packed in panels by all workers together, and weights meet them as `f32`,
    /// decoded once for a block of rows.
    unsafe fn panels(&self, worker: &Worker<'_>, scratch: &Scratch) {
        let (x, blocking) = (&self.matmul.x, &self.kernels.blocking);
        for block in blocking.blocks(x.rows, self.k) {
            // SAFETY: all workers run this loop alike. A buffer is written again two blocks on,
            // after a barrier that all reach when they are done with it.
            let packed = unsafe { scratch.next_shared(worker) };
            pack_share(x, self.k, &block, worker, packed);
            worker.barrier();
            let mine = share(
                self.tiles.len(),
                block.count,
                worker.index(),
                worker.count(),
            );
            let tiles = self.tiles.start + mine.tiles.start..self.tiles.start + mine.tiles.end;
            let mine = Share { tiles, ..mine };
            for (run, tiles) in runs_of(self.matmul.weight, mine.tiles.clone()) {
                let decodes = run.format != WeightFormat::F32;
                let pieces = blocking.pieces(block.rows.len(), self.k, decodes);
                for group in groups(tiles, pieces.group) {
                    // SAFETY: as for `matmul`.
                    unsafe { self.group(&run, group, pieces.step, &block, &mine, packed) };
                }
            }
        }
    }

    /// A group of tiles times all of the worker's panels.
    unsafe fn group(
        &self,
        run: &Run,
        group: Range<usize>,
        step: usize,
        block: &Panels,
        mine: &Share,
        packed: *const f32,
    ) {
        let first_row = block.panel(mine.panels.start).start;
        // Other formats were decoded just now.
        let ahead = if run.format == WeightFormat::F32 {
            FAR
        } else {
            0
        };
        for start in (0..self.k).step_by(step) {
            let steps = step.min(self.k - start);
            // SAFETY: `start` is a multiple of 32, or zero.
            let (w, tile_bytes) = unsafe { self.weights(run, &group, start, steps) };
            for index in mine.panels.clone() {
                let panel = block.panel(index);
                let rows = panel.len();
                let whole = step >= self.k;
                let sums = if whole { 0 } else { panel.start - first_row };
                let sums = self.own.sums.wrapping_add(sums * group.len() * TILE);
                let args = TileArgs {
                    x: packed.wrapping_add(panel.start * self.k + start * rows),
                    w,
                    tile_bytes,
                    tiles: group.len(),
                    k: steps,
                    out: sums,
                    resume: start > 0,
                    // Later panels find the tiles in the cache.
                    ahead: if index == mine.panels.start { ahead } else { 0 },
                };
                // SAFETY: the panel lies in packed x, the tiles in the run or in own memory, and
                // the sums have room for all of the worker's rows.
                unsafe {
                    run_tiles(&self.kernels.table.panels[rows - 1], args, rows);
                    if start + steps == self.k {
                        let row = block.rows.start + panel.start;
                        self.finish(group.clone(), row, rows, sums);
                    }
                }
            }
        }
    }

    /// The weights of a group from step `start` on, as `f32`, and the distance between tiles.
    unsafe fn weights(
        &self,
        run: &Run,
        group: &Range<usize>,
        start: usize,
        steps: usize,
    ) -> (*const u8, usize) {
        let skip = run.format.tile_bytes(start).unwrap_or(0);
        let stored = self.tile_at(run, group.start).wrapping_add(skip);
        if run.format == WeightFormat::F32 {
            return (stored, run.tile_bytes);
        }
        let decode = self.kernels.table.format(run.format).decode;
        for tile in 0..group.len() {
            let args = DecodeArgs {
                w: stored.wrapping_add(tile * run.tile_bytes),
                tile_bytes: run.tile_bytes,
                k: steps,
                out: self.own.tiles.wrapping_add(tile * steps * TILE),
            };
            // SAFETY: the tile lies in the run; own memory has room for a group.
            unsafe { decode(&args) };
        }
        (self.own.tiles.cast(), steps * TILE * size_of::<f32>())
    }
}

/// A prefetch distance in bytes that covers the way to memory at the speed of the wider kernels.
const FAR: usize = 16_000;

/// How far ahead of its reads a kernel that decodes in registers asks for weights, in bytes.
///
/// Plain formats with few rows read so fast and so regularly that the hardware's own prefetch is
/// better left alone; blocks stop at each tile's end, so they ask for the next tiles.
fn prefetch_distance(format: WeightFormat, rows: usize) -> usize {
    match format {
        WeightFormat::F32 | WeightFormat::F16 | WeightFormat::Bf16 => match rows {
            1 | 2 => 0,
            3..=6 => FAR / 2,
            _ => FAR,
        },
        WeightFormat::Q4_0
        | WeightFormat::Q4_1
        | WeightFormat::Q5_0
        | WeightFormat::Q5_1
        | WeightFormat::Q8_0 => usize::MAX,
    }
}

/// A worker's share of packing a block of x.
fn pack_share(x: &Rows, k: usize, block: &Panels, worker: &Worker<'_>, packed: *mut f32) {
    /// Steps of k in a unit of work.
    const UNIT: usize = 64;
    let units = k.div_ceil(UNIT);
    for unit in worker.split(block.count * units) {
        let panel = block.panel(unit / units);
        let start = unit % units * UNIT;
        let ks = start..(start + UNIT).min(k);
        let row = block.rows.start + panel.start;
        // SAFETY: x has these rows, and the buffer has room for the block; units do not overlap.
        unsafe {
            let from = x.ptr.add(row * x.row_stride);
            let to = packed.add(panel.start * k);
            pack_rows::pack(from, x.row_stride, panel.len(), ks, to);
        }
    }
}

/// Runs the wide kernel on as many tiles as it takes, the narrow one on the rest.
unsafe fn run_tiles(shapes: &Shapes, args: TileArgs, rows: usize) {
    let wide = args.tiles / shapes.many.tiles * shapes.many.tiles;
    // SAFETY: the caller's promise; the two calls split the tiles.
    unsafe {
        if wide > 0 {
            (shapes.many.kernel)(&TileArgs {
                tiles: wide,
                ..args
            });
        }
        if wide < args.tiles {
            (shapes.one.kernel)(&TileArgs {
                w: args.w.wrapping_add(wide * args.tile_bytes),
                tiles: args.tiles - wide,
                out: args.out.wrapping_add(wide * rows * TILE),
                ..args
            });
        }
    }
}

/// The runs that `tiles` touches, each with the tiles that it has of them.
fn runs_of(
    weight: &PackedWeight,
    tiles: Range<usize>,
) -> impl Iterator<Item = (Run, Range<usize>)> {
    weight.runs().iter().filter_map(move |run| {
        let start = tiles.start.max(run.first);
        let end = tiles.end.min(run.first + run.tiles);
        (start < end).then_some((*run, start..end))
    })
}

/// `tiles` in groups of `size`, the last perhaps smaller.
fn groups(tiles: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = tiles.end;
    tiles
        .step_by(size)
        .map(move |start| start..(start + size).min(end))
}

#[cfg(test)]
mod tests;
