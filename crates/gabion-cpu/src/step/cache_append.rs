//! `cache_append`: writes new rows into a cache, in place, from a position on.
#![allow(unsafe_code)]

use std::sync::Arc;

use gabion_plan::RunError;

use super::copy::copy_run;
use super::rows::{Flat, int_at};
use super::{Prepare, PreparedStep, StepCx, require_int};
use crate::access::{Access, Placed};

struct CacheAppendStep {
    new: Placed,
    from: Access,
    cache: Placed,
    /// The cache's places that new rows would take from position 0.
    to: Access,
    position: Flat,
    /// New rows, and rows that there is room for.
    rows: (usize, usize),
    row_stride: isize,
    name: Arc<str>,
}

pub(super) fn prepare(cx: &Prepare<'_>, axis: usize) -> Result<Box<dyn PreparedStep>, RunError> {
    let (new, position, cache) = (cx.read(0)?, cx.read(1)?, cx.write(0)?);
    require_int(cx, "the position", position.dtype)?;
    cx.require(position.numel() == 1, || {
        format!("the position is {:?}, expected a scalar", position.shape)
    })?;
    let others = |p: &Placed| {
        p.shape
            .iter()
            .enumerate()
            .filter(|&(a, _)| a != axis)
            .map(|(_, &n)| n)
            .collect::<Vec<_>>()
    };
    let fits = new.dtype == cache.dtype
        && axis < new.shape.len()
        && new.shape.len() == cache.shape.len()
        && others(new) == others(cache);
    cx.require(fits, || {
        format!(
            "rows {}{:?} for a cache {}{:?}",
            new.dtype, new.shape, cache.dtype, cache.shape
        )
    })?;
    Ok(Box::new(CacheAppendStep {
        from: new.access(),
        to: Access::new(&new.shape, &cache.strides),
        position: Flat::new(position),
        rows: (new.shape[axis], cache.shape[axis]),
        row_stride: cache.strides[axis],
        new: new.clone(),
        cache: cache.clone(),
        name: cx.name.clone(),
    }))
}

/// A position from which `rows` rows fit into `capacity`, or the error that names it.
pub(super) fn check_position(
    name: &str,
    position: i64,
    rows: usize,
    capacity: usize,
) -> Result<usize, RunError> {
    match usize::try_from(position) {
        Ok(at) if at.checked_add(rows).is_some_and(|end| end <= capacity) => Ok(at),
        _ => Err(RunError::Index {
            what: format!("{name}, the position of {rows} rows in a cache of {capacity}"),
            index: position,
            // Positions from here on leave no room for the rows.
            size: (capacity + 1).saturating_sub(rows),
        }),
    }
}

impl PreparedStep for CacheAppendStep {
    fn cost(&self) -> usize {
        self.from.len() / 2
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let position = int_at(cx, &self.position, 0);
        let position = check_position(&self.name, position, self.rows.0, self.rows.1)?;
        let unit = self.new.unit;
        let from = cx.at(&self.new).cast_const();
        let shift = position as isize * self.row_stride * unit as isize;
        let to = cx.at(&self.cache).wrapping_offset(shift);
        let mine = cx.share(self.from.len());
        self.to
            .runs(mine.start, mine.len(), |done, to_offset, to_stride, run| {
                let to = to.wrapping_offset(to_offset * unit as isize);
                self.from
                    .runs(mine.start + done, run, |inner, offset, stride, count| {
                        let from = from.wrapping_offset(offset * unit as isize);
                        let to = to.wrapping_offset(inner as isize * to_stride * unit as isize);
                        // SAFETY: both views were checked to lie inside their memories, the position to
                        // leave room for all rows; each unit is written by one worker.
                        unsafe { copy_run(unit, from, stride, to, to_stride, count) };
                    });
            });
        Ok(())
    }
}
