//! `scatter`: data with updates at indexed places along one axis.
//!
//! Lines along the axis are shared among workers; within a line, updates are applied in order.
#![allow(unsafe_code)]

use std::sync::Arc;

use gabion_plan::{RunError, ScatterReduce};
use gabion_tensor::BinaryFn;

use super::copy::{CopyStep, copy_run};
use super::gather::offset_with;
use super::rows::{Flat, int_at};
use super::{Prepare, PreparedStep, StepCx, check_index, require_int, require_plain};
use crate::access::Placed;
use crate::value::{Kind, Value, with_kind};

struct ScatterStep {
    reduce: ScatterReduce,
    axis: usize,
    copy: CopyStep,
    indices: Flat,
    updates: Placed,
    y: Placed,
    what: Arc<str>,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    axis: usize,
    reduce: ScatterReduce,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, at, updates, y) = (cx.read(0)?, cx.read(1)?, cx.read(2)?, cx.write(0)?);
    require_int(cx, "the indices", at.dtype)?;
    require_plain(cx, "data", x.dtype)?;
    let fits = axis < x.shape.len()
        && x.dtype == y.dtype
        && x.shape == y.shape
        && updates.dtype == x.dtype
        && at.shape == updates.shape
        && at.shape.len() == x.shape.len()
        && (0..x.shape.len()).all(|a| a == axis || at.shape[a] <= x.shape[a]);
    cx.require(fits, || {
        format!(
            "updates {}{:?} at {:?} of {}{:?}",
            updates.dtype, updates.shape, at.shape, x.dtype, x.shape
        )
    })?;
    Ok(Box::new(ScatterStep {
        reduce,
        axis,
        copy: CopyStep::new(x, y),
        indices: Flat::new(at),
        updates: updates.clone(),
        y: y.clone(),
        what: format!("{}, indices", cx.name).into(),
    }))
}

impl ScatterStep {
    fn update(&self, from: *const u8, to: *mut u8) {
        let func = match self.reduce {
            // SAFETY: both elements lie inside their views; this worker alone writes the line.
            ScatterReduce::None => return unsafe { copy_run(self.y.unit, from, 1, to, 1, 1) },
            ScatterReduce::Add => BinaryFn::Add,
            ScatterReduce::Mul => BinaryFn::Mul,
            ScatterReduce::Max => BinaryFn::Max,
            ScatterReduce::Min => BinaryFn::Min,
        };
        let dtype = self.y.dtype;
        with_kind!(Kind::of(dtype), V => {
            let (mut old, mut new) = ([V::ZERO], [V::ZERO]);
            // SAFETY: as above.
            unsafe {
                V::load(to, dtype, 1, &mut old);
                V::load(from, dtype, 1, &mut new);
                let mut joined = [V::combine(func, old[0], new[0]).unwrap_or(new[0])];
                V::fit(dtype, &mut joined);
                V::store(to, dtype, 1, &joined);
            }
        });
    }

    fn lines(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let shape = &self.updates.shape;
        let inner: usize = shape[self.axis + 1..].iter().product();
        let outer: usize = shape[..self.axis].iter().product();
        let (from, to) = (cx.at(&self.updates).cast_const(), cx.at(&self.y));
        let unit = self.y.unit as isize;
        for line in cx.share(outer * inner) {
            for i in 0..shape[self.axis] {
                let place = (line / inner * shape[self.axis] + i) * inner + line % inner;
                let index = check_index(
                    &self.what,
                    int_at(cx, &self.indices, place),
                    self.y.shape[self.axis],
                )?;
                let read = offset_with(shape, &self.updates.strides, place, self.axis, i);
                let write = offset_with(shape, &self.y.strides, place, self.axis, index);
                self.update(
                    from.wrapping_offset(read * unit),
                    to.wrapping_offset(write * unit),
                );
            }
        }
        Ok(())
    }
}

impl PreparedStep for ScatterStep {
    fn cost(&self) -> usize {
        self.copy.cost() + 20 * self.updates.numel()
    }

    fn has_barriers(&self) -> bool {
        true
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let copied = self.copy.run(cx);
        cx.worker.barrier();
        copied?;
        self.lines(cx)
    }
}
