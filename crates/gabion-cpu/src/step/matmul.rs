//! `matmul`: a stack times an activation. Norms go before, epilogues on finished tiles where the
//! kernel has them; other epilogues are applied row by row after.
#![allow(unsafe_code)]

mod epilogue;

use std::sync::Arc;

use gabion_plan::{Matmul, RunError, SegmentOutput};
use gabion_tensor::DType;
use smallvec::SmallVec;

use self::epilogue::{Fused, RowOps};
use super::cache_append::check_position;
use super::norm::NormRows;
use super::rows::{Flat, Rows, Scratch, int_at, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_float, require_int};
use crate::access::Placed;
use crate::kernels::matmul::{self, Form, Output, Segment};
use crate::load::LoadedWeight;
use crate::tiled::{Piece, TiledSegment, TiledWeight};
use crate::value;

/// Elements of x that each worker normalises or copies for itself instead of sharing the work and
/// waiting.
const OWN_ELEMENTS: usize = 8192;

/// Where x is when tiles meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Staging {
    /// In its own memory.
    None,
    /// Each worker makes its own.
    Own,
    /// Workers make it together.
    Shared,
}

struct MatmulStep {
    weight: usize,
    x: Rows,
    x_placed: Placed,
    /// From one row of x to the next, if it is not staged.
    x_stride: usize,
    norm: Option<NormRows>,
    staging: Staging,
    segments: Vec<SegmentStep>,
    m: usize,
    k: usize,
    /// Values of shared scratch before the segments' own.
    staged: usize,
    shared: usize,
    cost: usize,
    name: Arc<str>,
}

/// What becomes of one segment.
struct SegmentStep {
    width: usize,
    write: Placed,
    write_rows: Rows,
    /// The cache's capacity and the position, if it is written into one.
    position: Option<(Flat, usize)>,
    way: Way,
}

#[allow(
    clippy::large_enum_variant,
    reason = "a step has a few, and they are made once"
)]
enum Way {
    /// The kernel's epilogue, straight to the write.
    Fused { epilogue: Fused, row_stride: usize },
    /// Sums go to shared scratch at this value, then row by row through the operations.
    Rows {
        ops: RowOps,
        at: usize,
        columns: usize,
    },
}

fn tiles_of<'a>(
    weights: &'a [LoadedWeight],
    index: usize,
    name: &str,
) -> Result<&'a TiledWeight, RunError> {
    match weights.get(index) {
        Some(LoadedWeight::Tiles(tiles)) => Ok(tiles),
        Some(LoadedWeight::Dense(_)) | None => Err(RunError::Executor(format!(
            "{name}: weight {index} is not in tiles"
        ))),
    }
}

pub(super) fn prepare(cx: &Prepare<'_>, spec: &Matmul) -> Result<Box<dyn PreparedStep>, RunError> {
    let weight = spec.weight.0 as usize;
    let tiles = tiles_of(cx.weights, weight, cx.name)?;
    let k = tiles.k();
    let x = x_of(cx, k)?;
    let rank = x.shape.len();
    let m: usize = x.shape[..rank - 1].iter().product();
    let rows = Rows::along(x, &[rank - 1]);
    let row_stride = plain_rows(x, &rows);
    let norm = spec
        .prologue
        .as_ref()
        .map(|norm| NormRows::new(cx, norm, 1, k))
        .transpose()?;
    let staging = match (&norm, row_stride) {
        (None, Some(_)) => Staging::None,
        _ if m * k <= OWN_ELEMENTS || cx.threads == 1 => Staging::Own,
        _ => Staging::Shared,
    };
    cx.require(spec.outputs.len() == tiles.segments.len(), || {
        format!(
            "{} outputs for {} segments",
            spec.outputs.len(),
            tiles.segments.len()
        )
    })?;
    let staged = if staging == Staging::Shared {
        (m * k).next_multiple_of(16)
    } else {
        0
    };
    let mut shared = staged;
    let segments = spec
        .outputs
        .iter()
        .zip(&tiles.segments)
        .map(|(output, segment)| SegmentStep::new(cx, output, segment, m, &mut shared))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(MatmulStep {
        weight,
        x: rows,
        x_placed: x.clone(),
        x_stride: row_stride.unwrap_or(k),
        norm,
        staging,
        segments,
        m,
        k,
        staged,
        shared,
        cost: m * k * tiles.rows() / 32 + 100,
        name: cx.name.clone(),
    }))
}

/// x: rows of `k` values.
fn x_of<'a>(cx: &'a Prepare<'a>, k: usize) -> Result<&'a Placed, RunError> {
    let x = cx.read(0)?;
    require_float(cx, "x", x.dtype)?;
    cx.require(x.dtype != DType::F64 && x.shape.last() == Some(&k), || {
        format!(
            "x is {}{:?}, rows of {k} f32 are expected",
            x.dtype, x.shape
        )
    })?;
    Ok(x)
}

/// The rows of a write that takes `m` rows of `width`, or those of a cache.
fn rows_of_write(
    cx: &Prepare<'_>,
    write: &Placed,
    m: usize,
    width: usize,
    is_cache: bool,
) -> Result<Rows, RunError> {
    require_float(cx, "the result", write.dtype)?;
    let rank = write.shape.len();
    // The axes of a row: all but the first of a cache, else the last.
    let row_axes: Vec<usize> = if is_cache {
        (1..rank).collect()
    } else {
        (rank.max(1) - 1..rank).collect()
    };
    let rows = Rows::along(write, &row_axes);
    let fits = rank > 0 && rows.len() == width && (is_cache || rows.count() == m);
    cx.require(fits && write.dtype != DType::F64, || {
        format!(
            "{m} rows of {width} for a write {}{:?}",
            write.dtype, write.shape
        )
    })?;
    Ok(rows)
}

/// The scalar that says where a cache is written.
fn position_of(cx: &Prepare<'_>, read: usize) -> Result<Flat, RunError> {
    let position = cx.read(read)?;
    require_int(cx, "the position", position.dtype)?;
    cx.require(position.numel() == 1, || "the position is no scalar".into())?;
    Ok(Flat::new(position))
}

/// The distance of rows of neighbouring f32, if there is one.
fn plain_rows(placed: &Placed, rows: &Rows) -> Option<usize> {
    let plain = placed.dtype == DType::F32 && rows.inner.is_contiguous();
    let stride = rows.outer.single_stride().filter(|_| plain)?;
    if rows.count() <= 1 {
        Some(rows.len())
    } else {
        usize::try_from(stride).ok()
    }
}

/// A segment of the kernel's call, and what it points to.
type Segments<'a> = SmallVec<[Segment<'a>; 8]>;

impl MatmulStep {
    /// x where the tiles can meet it: its address and the distance of its rows.
    fn stage(&self, cx: &StepCx<'_>, scratch: &mut Scratch) -> (*const f32, usize) {
        if self.staging == Staging::None {
            return (cx.at(&self.x_placed).cast_const().cast(), self.x_stride);
        }
        let own = self.staging == Staging::Own;
        let to: *mut f32 = if own {
            scratch.take::<f32>(self.m * self.k).as_mut_ptr()
        } else {
            cx.shared.cast()
        };
        let rows = if own { 0..self.m } else { cx.share(self.m) };
        let parameters = self
            .norm
            .as_ref()
            .map(|norm| norm.parameters::<f32>(cx, scratch));
        let buffer = scratch.take::<f32>(self.k);
        for row in rows {
            // SAFETY: the memory has room for m rows; each is written by one worker, or it is this
            // worker's own.
            let out =
                unsafe { value::slice_mut::<f32>(to.wrapping_add(row * self.k).cast(), self.k) };
            match (&parameters, self.x.slice::<f32>(cx, row)) {
                (Some(parameters), Some(x)) => parameters.apply(cx, x, out),
                (Some(parameters), None) => {
                    self.x.load(cx, row, 0, buffer);
                    parameters.apply(cx, buffer, out);
                }
                (None, _) => self.x.load(cx, row, 0, out),
            }
        }
        if !own {
            cx.worker.barrier();
        }
        (to, self.k)
    }

    /// The first row of each segment's write.
    fn first_rows(&self, cx: &StepCx<'_>) -> Result<SmallVec<[usize; 8]>, RunError> {
        let first = |segment: &SegmentStep| match &segment.position {
            Some((position, capacity)) => {
                check_position(&self.name, int_at(cx, position, 0), self.m, *capacity)
            }
            None => Ok(0),
        };
        self.segments.iter().map(first).collect()
    }

    /// Sums that are left in shared scratch: the rest of their epilogue, row by row.
    fn finish_rows(&self, cx: &StepCx<'_>, first_rows: &[usize], scratch: &mut Scratch) {
        let most = self
            .segments
            .iter()
            .map(SegmentStep::buffer)
            .max()
            .unwrap_or(0);
        let (values, other) = (scratch.take::<f32>(most), scratch.take::<f32>(most));
        for (segment, &first) in self.segments.iter().zip(first_rows) {
            let Way::Rows { ops, at, columns } = &segment.way else {
                continue;
            };
            for row in cx.share(self.m) {
                let from = cx.shared.cast::<f32>().wrapping_add(at + row * columns);
                // SAFETY: shared scratch has room for the segment's m rows, which were finished
                // before the barrier.
                values[..*columns]
                    .copy_from_slice(unsafe { value::slice::<f32>(from.cast(), *columns) });
                ops.apply(cx, row, *columns, values, other);
                segment
                    .write_rows
                    .store(cx, first + row, 0, &values[..segment.width]);
            }
        }
    }
}

impl SegmentStep {
    /// `shared` is how many values of shared scratch are taken, and grows by what this one needs.
    fn new(
        cx: &Prepare<'_>,
        output: &SegmentOutput,
        segment: &TiledSegment,
        m: usize,
        shared: &mut usize,
    ) -> Result<SegmentStep, RunError> {
        let parsed = epilogue::parse(cx, &output.epilogue, segment, m)?;
        let (columns, width) = (segment.rows.len(), parsed.width);
        let write = cx.write(output.write)?;
        let write_rows = rows_of_write(cx, write, m, width, parsed.position.is_some())?;
        let position = match parsed.position {
            Some(read) => Some((position_of(cx, read)?, write.shape[0])),
            None => None,
        };
        let way = match (parsed.fused, plain_rows(write, &write_rows)) {
            (Some(epilogue), Some(row_stride)) => Way::Fused {
                epilogue,
                row_stride,
            },
            _ => {
                let at = *shared;
                *shared += (m * columns).next_multiple_of(16);
                Way::Rows {
                    ops: parsed.ops,
                    at,
                    columns,
                }
            }
        };
        Ok(SegmentStep {
            width,
            write: write.clone(),
            write_rows,
            position,
            way,
        })
    }

    fn buffer(&self) -> usize {
        match &self.way {
            Way::Rows { columns, .. } => *columns,
            Way::Fused { .. } => 0,
        }
    }

    /// Bytes of scratch for biases in the order of lanes.
    fn bias_scratch(&self) -> usize {
        match &self.way {
            Way::Fused { epilogue, .. } => epilogue.bias_scratch(),
            Way::Rows { .. } => 0,
        }
    }

    /// The kernel's segments for this one's pieces.
    fn push<'a>(
        &'a self,
        cx: &'a StepCx<'_>,
        pieces: &'a [Piece],
        first_row: usize,
        scratch: &mut Scratch,
        out: &mut Segments<'a>,
    ) {
        for piece in pieces {
            if piece.tiles.is_empty() {
                continue;
            }
            match &self.way {
                Way::Fused {
                    epilogue,
                    row_stride,
                } => {
                    let to: *mut f32 = cx.at(&self.write).cast();
                    let to = to.wrapping_add(first_row * row_stride + epilogue.first_column(piece));
                    out.push(epilogue.segment(cx, piece, Output::rows(to, *row_stride), scratch));
                }
                Way::Rows { at, columns, .. } => {
                    let to = cx.shared.cast::<f32>().wrapping_add(at + piece.rows.start);
                    out.push(plain_segment(piece, Output::rows(to, *columns)));
                }
            }
        }
    }
}

/// Sums as they are, columns in the order of rows.
fn plain_segment(piece: &Piece, out: Output) -> Segment<'_> {
    Segment {
        tiles: piece.tiles.clone(),
        columns: &piece.columns,
        scale: None,
        bias: None,
        form: Form::Plain {
            activation: None,
            residual: None,
        },
        out,
    }
}

impl PreparedStep for MatmulStep {
    fn scratch(&self) -> usize {
        let staged = if self.staging == Staging::Own {
            scratch_bytes::<f32>(self.m * self.k)
        } else {
            0
        };
        let norm = self.norm.as_ref().map_or(0, NormRows::scratch);
        let widest = self
            .segments
            .iter()
            .map(SegmentStep::buffer)
            .max()
            .unwrap_or(0);
        let lanes: usize = self.segments.iter().map(SegmentStep::bias_scratch).sum();
        staged + norm + scratch_bytes::<f32>(self.k) + 2 * scratch_bytes::<f32>(widest) + lanes
    }

    fn shared_scratch(&self) -> usize {
        self.shared * size_of::<f32>()
    }

    fn cost(&self) -> usize {
        self.cost
    }

    fn has_barriers(&self) -> bool {
        true
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        // All workers read the same positions, so they all stop here or none does.
        let first_rows = self.first_rows(cx)?;
        let tiles = tiles_of(cx.weights, self.weight, &self.name)?;
        let mut scratch = Scratch::of(cx);
        let (ptr, row_stride) = self.stage(cx, &mut scratch);
        let mut segments = Segments::new();
        for ((segment, tiled), &first) in self.segments.iter().zip(&tiles.segments).zip(&first_rows)
        {
            segment.push(cx, &tiled.pieces, first, &mut scratch, &mut segments);
        }
        let job = matmul::Matmul {
            x: matmul::Rows {
                ptr,
                rows: self.m,
                row_stride,
            },
            weight: &tiles.packed,
            segments: &segments,
        };
        // SAFETY: x has m rows of k values where it is or was staged; outputs have m rows of their
        // widths in views that were checked, from a position that leaves room; the schedule lets
        // nobody else write them or read x meanwhile.
        unsafe {
            matmul::matmul(
                cx.worker,
                matmul::Kernels::of(cx.kernels.isa),
                &job,
                cx.matmul_scratch,
            )
        };
        if self.shared > self.staged {
            cx.worker.barrier();
            self.finish_rows(cx, &first_rows, &mut scratch);
        }
        Ok(())
    }
}
