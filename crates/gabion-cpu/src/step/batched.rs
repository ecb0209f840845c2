//! The last axes of a view one by one, those before them as one batch: heads of attention, matrices
//! of a product.
#![allow(unsafe_code)]

use super::StepCx;
use crate::access::{Access, Placed};
use crate::value::Value;

/// `[batch.., N axes]`.
pub(super) struct Batched<const N: usize> {
    pub(super) placed: Placed,
    pub(super) batch: Access,
    /// Sizes of the last axes.
    pub(super) sizes: [usize; N],
    /// Their strides, in units.
    pub(super) strides: [isize; N],
}

impl<const N: usize> Batched<N> {
    /// A view of rank `N` or more, which the caller has checked.
    pub(super) fn new(placed: &Placed) -> Batched<N> {
        let lead = placed.shape.len() - N;
        Batched {
            batch: placed.access_of(0..lead),
            sizes: std::array::from_fn(|axis| placed.shape[lead + axis]),
            strides: std::array::from_fn(|axis| placed.strides[lead + axis]),
            placed: placed.clone(),
        }
    }

    /// The size of the last axis.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.sizes[N - 1]
    }

    /// Where an element is.
    #[inline(always)]
    pub(super) fn at(&self, cx: &StepCx<'_>, batch: usize, index: [usize; N]) -> *mut u8 {
        let mut offset = self.batch.offset(batch);
        for (index, stride) in index.into_iter().zip(self.strides) {
            offset += index as isize * stride;
        }
        cx.at(&self.placed)
            .wrapping_offset(offset * self.placed.unit as isize)
    }

    /// Reads elements along the last axis, from `index` on.
    #[inline]
    pub(super) fn load<V: Value>(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        index: [usize; N],
        out: &mut [V],
    ) {
        self.load_along(N - 1, cx, batch, index, out);
    }

    /// Reads elements along one of the last axes, from `index` on.
    #[inline]
    pub(super) fn load_along<V: Value>(
        &self,
        axis: usize,
        cx: &StepCx<'_>,
        batch: usize,
        index: [usize; N],
        out: &mut [V],
    ) {
        let at = self.at(cx, batch, index);
        // SAFETY: the elements lie inside the view, which was checked to lie inside its memory.
        unsafe { V::load(at, self.placed.dtype, self.strides[axis], out) };
    }

    /// Writes elements along the last axis, from `index` on, which are this worker's alone.
    #[inline]
    pub(super) fn store<V: Value>(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        index: [usize; N],
        values: &[V],
    ) {
        let at = self.at(cx, batch, index);
        // SAFETY: as above; each step gives every element to one worker.
        unsafe { V::store(at, self.placed.dtype, self.strides[N - 1], values) };
    }
}
