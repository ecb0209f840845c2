//! Rows of a view: the places along one axis or several, for each place of the other axes.
#![allow(unsafe_code)]

use gabion_tensor::DType;

use crate::access::{Access, Placed};
use crate::step::StepCx;
use crate::value::{self, Value};

/// A view as rows.
pub(crate) struct Rows {
    placed: Placed,
    /// Where rows start.
    pub(crate) outer: Access,
    /// The places within a row.
    pub(crate) inner: Access,
}

impl Rows {
    /// Rows along `axes`, ascending.
    pub(crate) fn along(placed: &Placed, axes: &[usize]) -> Rows {
        let rank = placed.shape.len();
        Rows {
            placed: placed.clone(),
            outer: placed.access_of((0..rank).filter(|a| !axes.contains(a))),
            inner: placed.access_of(axes.iter().copied()),
        }
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> usize {
        self.outer.len()
    }

    /// Elements of a row.
    pub(crate) fn len(&self) -> usize {
        self.inner.len()
    }

    /// The dtype.
    pub(crate) fn dtype(&self) -> DType {
        self.placed.dtype
    }

    fn row_at(&self, cx: &StepCx<'_>, row: usize) -> *mut u8 {
        let offset = self.outer.offset(row) * self.placed.unit as isize;
        cx.at(&self.placed).wrapping_offset(offset)
    }

    /// A row whose elements follow each other and look in memory as in registers.
    pub(crate) fn slice<V: Value>(&self, cx: &StepCx<'_>, row: usize) -> Option<&[V]> {
        let plain = self.placed.dtype == V::KIND.dtype() && self.inner.is_contiguous();
        // SAFETY: the view was checked to lie inside its memory, and the schedule lets nobody
        // write what this step reads, except this worker after it is done with the row.
        plain.then(|| unsafe { value::slice(self.row_at(cx, row), self.len()) })
    }

    /// Reads `out.len()` elements of a row, from element `start` on.
    pub(crate) fn load<V: Value>(&self, cx: &StepCx<'_>, row: usize, start: usize, out: &mut [V]) {
        let at = self.row_at(cx, row);
        let (unit, dtype) = (self.placed.unit as isize, self.placed.dtype);
        self.inner
            .runs(start, out.len(), |done, offset, stride, count| {
                let from = at.wrapping_offset(offset * unit);
                // SAFETY: as in `slice`; runs stay inside the view.
                unsafe { V::load(from, dtype, stride, &mut out[done..done + count]) };
            });
    }

    /// Element `index` of `count` rows from `row` on, if they lie in memory as in registers.
    pub(crate) fn slice_across<V: Value>(
        &self,
        cx: &StepCx<'_>,
        row: usize,
        index: usize,
        count: usize,
    ) -> Option<&[V]> {
        let unit = self.placed.unit as isize;
        let from = self
            .row_at(cx, row)
            .wrapping_offset(self.inner.offset(index) * unit);
        let plain = self.placed.dtype == V::KIND.dtype() && self.outer.inner().1 == 1;
        // SAFETY: as in `slice`; the rows lie within one run of the outer axes.
        plain.then(|| unsafe { value::slice(from, count) })
    }

    /// Reads element `index` of `out.len()` rows from `row` on, whose places are neighbours.
    pub(crate) fn load_across<V: Value>(
        &self,
        cx: &StepCx<'_>,
        row: usize,
        index: usize,
        out: &mut [V],
    ) {
        let unit = self.placed.unit as isize;
        let from = self
            .row_at(cx, row)
            .wrapping_offset(self.inner.offset(index) * unit);
        let (_, stride) = self.outer.inner();
        // SAFETY: as in `slice`; the rows lie within one run of the outer axes.
        unsafe { V::load(from, self.placed.dtype, stride, out) };
    }

    /// Writes elements of a row, from element `start` on.
    pub(crate) fn store<V: Value>(&self, cx: &StepCx<'_>, row: usize, start: usize, values: &[V]) {
        let at = self.row_at(cx, row);
        let (unit, dtype) = (self.placed.unit as isize, self.placed.dtype);
        self.inner
            .runs(start, values.len(), |done, offset, stride, count| {
                let to = at.wrapping_offset(offset * unit);
                // SAFETY: the view lies inside its memory, and rows are shared out so that each is
                // written by one worker.
                unsafe { V::store(to, dtype, stride, &values[done..done + count]) };
            });
    }
}

/// A view walked in row-major order.
pub(crate) struct Flat {
    placed: Placed,
    access: Access,
}

impl Flat {
    pub(crate) fn new(placed: &Placed) -> Flat {
        Flat {
            access: placed.access(),
            placed: placed.clone(),
        }
    }

    /// The dtype.
    pub(crate) fn dtype(&self) -> DType {
        self.placed.dtype
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.access.len()
    }

    /// Reads elements `start..`.
    pub(crate) fn load<V: Value>(&self, cx: &StepCx<'_>, start: usize, out: &mut [V]) {
        let (at, unit) = (cx.at(&self.placed), self.placed.unit as isize);
        self.access
            .runs(start, out.len(), |done, offset, stride, count| {
                let from = at.wrapping_offset(offset * unit);
                // SAFETY: the view was checked to lie inside its memory, and the schedule lets nobody
                // else write what this step reads.
                unsafe {
                    V::load(
                        from,
                        self.placed.dtype,
                        stride,
                        &mut out[done..done + count],
                    )
                };
            });
    }

    /// Writes elements `start..`.
    pub(crate) fn store<V: Value>(&self, cx: &StepCx<'_>, start: usize, values: &[V]) {
        let (at, unit) = (cx.at(&self.placed), self.placed.unit as isize);
        self.access
            .runs(start, values.len(), |done, offset, stride, count| {
                let to = at.wrapping_offset(offset * unit);
                // SAFETY: the view lies inside its memory, and elements are shared out so that each is
                // written by one worker.
                unsafe { V::store(to, self.placed.dtype, stride, &values[done..done + count]) };
            });
    }

    /// The address of elements that follow each other and look in memory as in registers.
    pub(crate) fn direct(&self, cx: &StepCx<'_>, kind: value::Kind) -> Option<*mut u8> {
        (self.placed.dtype == kind.dtype() && self.access.is_contiguous())
            .then(|| cx.at(&self.placed))
    }
}

/// The integer that a scalar view holds, or element `index` of it.
pub(crate) fn int_at(cx: &StepCx<'_>, flat: &Flat, index: usize) -> i64 {
    match value::Kind::of(flat.dtype()) {
        value::Kind::U64 => {
            let mut out = [0u64];
            flat.load(cx, index, &mut out);
            i64::try_from(out[0]).unwrap_or(i64::MAX)
        }
        _ => {
            let mut out = [0i64];
            flat.load(cx, index, &mut out);
            out[0]
        }
    }
}

/// Cuts a worker's scratch memory into slices.
pub(crate) struct Scratch {
    at: *mut u8,
}

impl Scratch {
    pub(crate) fn of(cx: &StepCx<'_>) -> Scratch {
        Scratch { at: cx.scratch }
    }

    /// The next `count` values. The step's `scratch()` has to count them by [`scratch_bytes`].
    pub(crate) fn take<'a, V: bytemuck::Pod>(&mut self, count: usize) -> &'a mut [V] {
        let at = self.at;
        self.at = at.wrapping_add(scratch_bytes::<V>(count));
        // SAFETY: the session reserved what `scratch()` asks for, for this worker alone; slices
        // are cut one after the other and do not outlive the step's call.
        unsafe { value::slice_mut(at, count) }
    }
}

/// Bytes that [`Scratch::take`] uses up: whole cache lines.
pub(crate) const fn scratch_bytes<V>(count: usize) -> usize {
    (count * size_of::<V>()).next_multiple_of(64)
}
