//! `gather` (whole slices along an axis by index) and `gather_elements` (one element each).
#![allow(unsafe_code)]

use std::sync::Arc;

use gabion_plan::{RunError, Source};
use gabion_tensor::DType;

use super::copy::copy_run;
use super::rows::{Flat, Scratch, int_at, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, check_index, require_int};
use crate::access::{Access, Placed};
use crate::load::LoadedWeight;
use crate::value::Value;

pub(super) fn prepare(cx: &Prepare<'_>, axis: usize) -> Result<Box<dyn PreparedStep>, RunError> {
    let (at, y) = (cx.read(1)?, cx.write(0)?);
    require_int(cx, "the indices", at.dtype)?;
    if let Some(None) = cx.reads.first() {
        return prepare_tiled(cx, axis, at, y);
    }
    let x = cx.read(0)?;
    let (rank, index_rank) = (x.shape.len(), at.shape.len());
    cx.require(axis < rank, || format!("axis {axis} of rank {rank}"))?;
    let expected = x.shape[..axis]
        .iter()
        .chain(&at.shape)
        .chain(&x.shape[axis + 1..]);
    cx.require(x.dtype == y.dtype && expected.eq(&y.shape), || {
        format!(
            "{}{:?} from {}{:?} at {:?}",
            y.dtype, y.shape, x.dtype, x.shape, at.shape
        )
    })?;
    let after = axis + index_rank;
    Ok(Box::new(GatherStep {
        head: (x.access_of(0..axis), y.access_of(0..axis)),
        tail: (
            x.access_of(axis + 1..rank),
            y.access_of(after..y.shape.len()),
        ),
        places: y.access_of(axis..after),
        indices: Flat::new(at),
        size: x.shape[axis],
        stride: x.strides[axis],
        x: x.clone(),
        y: y.clone(),
        what: format!("{}, indices", cx.name).into(),
    }))
}

struct GatherStep {
    x: Placed,
    y: Placed,
    /// The axes before the indexed one, in data and result.
    head: (Access, Access),
    /// The axes after.
    tail: (Access, Access),
    /// The axes of the indices, in the result.
    places: Access,
    indices: Flat,
    size: usize,
    stride: isize,
    what: Arc<str>,
}

impl PreparedStep for GatherStep {
    fn cost(&self) -> usize {
        let slices = self.head.0.len() * self.places.len();
        slices * (10 + self.tail.0.len() * self.x.unit / 8)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let (from, to) = (cx.at(&self.x).cast_const(), cx.at(&self.y));
        let unit = self.x.unit as isize;
        for item in cx.share(self.head.0.len() * self.places.len()) {
            let (outer, place) = (item / self.places.len(), item % self.places.len());
            let index = check_index(&self.what, int_at(cx, &self.indices, place), self.size)?;
            let read = self.head.0.offset(outer) + index as isize * self.stride;
            let write = self.head.1.offset(outer) + self.places.offset(place);
            let (from, to) = (
                from.wrapping_offset(read * unit),
                to.wrapping_offset(write * unit),
            );
            self.tail
                .1
                .runs(0, self.tail.1.len(), |done, to_offset, to_stride, run| {
                    self.tail.0.runs(done, run, |inner, offset, stride, count| {
                        let to_offset = to_offset + inner as isize * to_stride;
                        let (from, to) = (
                            from.wrapping_offset(offset * unit),
                            to.wrapping_offset(to_offset * unit),
                        );
                        // SAFETY: both views lie inside their memories, the index inside its axis;
                        // each slice is written by one worker.
                        unsafe { copy_run(self.x.unit, from, stride, to, to_stride, count) };
                    });
                });
        }
        Ok(())
    }
}

/// Rows of a weight in tiles.
fn prepare_tiled(
    cx: &Prepare<'_>,
    axis: usize,
    at: &Placed,
    y: &Placed,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let Some(Source::Weight(id)) = cx.step.reads.first().map(|view| view.source) else {
        return Err(cx.wrong("read 0 is no weight"));
    };
    let weight = id.0 as usize;
    let Some(LoadedWeight::Tiles(tiles)) = cx.weights.get(weight) else {
        return Err(cx.wrong("read 0 is no weight in tiles"));
    };
    let rank = y.shape.len();
    let view = &cx.step.reads[0];
    cx.require(
        axis == 0 && view.is_contiguous() && view.offset.as_fixed() == Some(0),
        || "a weight in tiles is gathered whole, along its first axis".into(),
    )?;
    let fits = rank == at.shape.len() + 1
        && y.shape[..rank - 1] == at.shape[..]
        && y.shape[rank - 1] == tiles.k();
    cx.require(
        fits && matches!(y.dtype, DType::F32 | DType::F16 | DType::BF16),
        || {
            format!(
                "{}{:?} from rows of {} at {:?}",
                y.dtype,
                y.shape,
                tiles.k(),
                at.shape
            )
        },
    )?;
    Ok(Box::new(TiledGatherStep {
        weight,
        rows: tiles.rows(),
        k: tiles.k(),
        indices: Flat::new(at),
        y: super::rows::Rows::along(y, &[rank - 1]),
        what: format!("{}, indices", cx.name).into(),
    }))
}

struct TiledGatherStep {
    weight: usize,
    rows: usize,
    k: usize,
    indices: Flat,
    y: super::rows::Rows,
    what: Arc<str>,
}

impl PreparedStep for TiledGatherStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<f32>(self.k)
    }

    fn cost(&self) -> usize {
        self.y.count() * (2 * self.k + 50)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let row_values = Scratch::of(cx).take::<f32>(self.k);
        let Some(LoadedWeight::Tiles(tiles)) = cx.weights.get(self.weight) else {
            return Err(RunError::Executor(format!(
                "{}: the weight is not in tiles",
                self.what
            )));
        };
        for place in cx.share(self.y.count()) {
            let index = check_index(&self.what, int_at(cx, &self.indices, place), self.rows)?;
            tiles.read_row(index, row_values);
            f32::fit(self.y.dtype(), row_values);
            self.y.store(cx, place, 0, row_values);
        }
        Ok(())
    }
}

struct GatherElementsStep {
    x: Placed,
    y: Placed,
    /// The result's places, and the data's with the indexed axis left out.
    to: Access,
    axis: usize,
    indices: Flat,
    what: Arc<str>,
}

pub(super) fn prepare_elements(
    cx: &Prepare<'_>,
    axis: usize,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, at, y) = (cx.read(0)?, cx.read(1)?, cx.write(0)?);
    require_int(cx, "the indices", at.dtype)?;
    super::require_plain(cx, "data", x.dtype)?;
    let fits = axis < x.shape.len()
        && x.dtype == y.dtype
        && at.shape == y.shape
        && x.shape.len() == y.shape.len()
        && (0..x.shape.len()).all(|a| a == axis || y.shape[a] <= x.shape[a]);
    cx.require(fits, || {
        format!(
            "{}{:?} from {}{:?} at {:?}",
            y.dtype, y.shape, x.dtype, x.shape, at.shape
        )
    })?;
    Ok(Box::new(GatherElementsStep {
        to: y.access(),
        axis,
        indices: Flat::new(at),
        x: x.clone(),
        y: y.clone(),
        what: format!("{}, indices", cx.name).into(),
    }))
}

/// The offset, in a view, of the place with row-major number `index` in `shape`, with `at` on one
/// axis.
pub(super) fn offset_with(
    shape: &[usize],
    strides: &[isize],
    mut index: usize,
    axis: usize,
    at: usize,
) -> isize {
    let mut offset = 0;
    for a in (0..shape.len()).rev() {
        let here = index % shape[a];
        index /= shape[a];
        offset += strides[a] * if a == axis { at } else { here } as isize;
    }
    offset
}

impl PreparedStep for GatherElementsStep {
    fn cost(&self) -> usize {
        self.to.len() * 10
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let (from, to) = (cx.at(&self.x).cast_const(), cx.at(&self.y));
        let unit = self.x.unit;
        let size = self.x.shape[self.axis];
        for place in cx.share(self.to.len()) {
            let index = check_index(&self.what, int_at(cx, &self.indices, place), size)?;
            let read = offset_with(&self.y.shape, &self.x.strides, place, self.axis, index);
            let write = self.to.offset(place);
            // SAFETY: both views lie inside their memories, the index inside its axis; each
            // element is written by one worker.
            unsafe {
                let from = from.offset(read * unit as isize);
                copy_run(unit, from, 1, to.offset(write * unit as isize), 1, 1);
            }
        }
        Ok(())
    }
}
