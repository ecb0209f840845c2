//! `copy`: the same elements in another order of memory. Also moves whole blocks of block formats.
#![allow(unsafe_code)]

use gabion_plan::RunError;

use super::{Prepare, PreparedStep, StepCx};
use crate::access::{Access, Placed};

/// Copies one view to another, unit by unit.
pub(crate) struct CopyStep {
    x: Placed,
    y: Placed,
    from: Access,
    to: Access,
}

pub(super) fn prepare(cx: &Prepare<'_>) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    cx.require(x.shape == y.shape && x.dtype == y.dtype, || {
        format!("{}{:?} from {}{:?}", y.dtype, y.shape, x.dtype, x.shape)
    })?;
    Ok(Box::new(CopyStep::new(x, y)))
}

impl CopyStep {
    /// Views of one shape and dtype.
    pub(crate) fn new(x: &Placed, y: &Placed) -> CopyStep {
        CopyStep {
            from: x.access(),
            to: y.access(),
            x: x.clone(),
            y: y.clone(),
        }
    }
}

/// Copies `count` units between two runs.
///
/// # Safety
/// Both runs are valid, and do not overlap unless they are the same.
pub(super) unsafe fn copy_run(
    unit: usize,
    from: *const u8,
    from_stride: isize,
    to: *mut u8,
    to_stride: isize,
    count: usize,
) {
    // SAFETY: the caller's promise; elements are aligned for their size.
    unsafe {
        if from_stride == 1 && to_stride == 1 {
            return std::ptr::copy(from, to, count * unit);
        }
        match unit {
            1 => copy_each::<u8>(from, from_stride, to, to_stride, count),
            2 => copy_each::<u16>(from, from_stride, to, to_stride, count),
            4 => copy_each::<u32>(from, from_stride, to, to_stride, count),
            8 => copy_each::<u64>(from, from_stride, to, to_stride, count),
            _ => {
                for i in 0..count as isize {
                    let (from, to) = (
                        from.offset(i * from_stride * unit as isize),
                        to.offset(i * to_stride * unit as isize),
                    );
                    std::ptr::copy(from, to, unit);
                }
            }
        }
    }
}

unsafe fn copy_each<T: Copy>(
    from: *const u8,
    from_stride: isize,
    to: *mut u8,
    to_stride: isize,
    count: usize,
) {
    let (from, to) = (from.cast::<T>(), to.cast::<T>());
    for i in 0..count as isize {
        // SAFETY: the caller's promise.
        unsafe {
            to.offset(i * to_stride)
                .write(from.offset(i * from_stride).read())
        };
    }
}

/// Units of one share that are looked up at a time.
const CHUNK: usize = 64;

impl PreparedStep for CopyStep {
    fn cost(&self) -> usize {
        let bytes = self.from.len() * self.x.unit;
        let plain = self.from.inner().1 == 1 && self.to.inner().1 == 1;
        if plain { bytes / 16 } else { self.from.len() }
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let (from, to) = (cx.at(&self.x).cast_const(), cx.at(&self.y));
        let unit = self.x.unit;
        let len = self.from.len();
        let mine = cx.share(len.div_ceil(CHUNK));
        let (start, end) = (mine.start * CHUNK, (mine.end * CHUNK).min(len));
        let count = end.saturating_sub(start);
        self.to
            .runs(start, count, |done, to_offset, to_stride, run| {
                let to = to.wrapping_offset(to_offset * unit as isize);
                self.from
                    .runs(start + done, run, |inner, offset, stride, count| {
                        let from = from.wrapping_offset(offset * unit as isize);
                        let to = to.wrapping_offset(inner as isize * to_stride * unit as isize);
                        // SAFETY: both views were checked to lie inside their memories; the schedule lets
                        // nobody write what is read, and each unit is written by one worker.
                        unsafe { copy_run(unit, from, stride, to, to_stride, count) };
                    });
            });
        Ok(())
    }
}
