//! Operators that only look at memory in another way: their results are views.

use gabion_ir::ops::{AxisSlice, Slice};
use gabion_plan::View;
use gabion_tensor::{Dim, DimError, Shape};
use smallvec::SmallVec;

/// An axis counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> usize {
    if axis < 0 {
        (axis + rank as i64).max(0) as usize
    } else {
        axis as usize
    }
}

/// `view` with its axes in the order `perm`.
pub(super) fn transpose(view: &View, perm: &[i64]) -> View {
    let axes: Vec<usize> = perm.iter().map(|&a| axis(a, perm.len())).collect();
    View {
        source: view.source,
        offset: view.offset.clone(),
        shape: axes.iter().map(|&a| view.shape[a].clone()).collect(),
        strides: axes.iter().map(|&a| view.strides[a].clone()).collect(),
    }
}

/// `view` broadcast to `shape`: missing axes and axes of size 1 get stride 0.
pub(super) fn broadcast(view: &View, shape: &Shape) -> View {
    let missing = shape.rank() - view.shape.rank();
    let strides = shape
        .iter()
        .enumerate()
        .map(|(i, size)| match i.checked_sub(missing) {
            Some(own) if view.shape[own] == *size || view.shape[own].as_fixed() != Some(1) => {
                view.strides[own].clone()
            }
            _ => Dim::fixed(0),
        })
        .collect();
    View {
        source: view.source,
        offset: view.offset.clone(),
        shape: shape.clone(),
        strides,
    }
}

/// Part of `view` along one axis: `len` elements from `start` in steps.
pub(super) fn cut(view: &View, axis: usize, start: &Dim, len: &Dim, step: i64) -> View {
    let mut cut = view.clone();
    cut.offset = &view.offset + &(start * &view.strides[axis]);
    cut.shape[axis] = len.clone();
    cut.strides[axis] = &view.strides[axis] * &Dim::fixed(step);
    cut
}

/// Where a slice of an axis begins, by the rules of `slice`: bounds are clamped, a negative number
/// counts from the end.
pub(super) fn start_of(cut: &AxisSlice, size: &Dim) -> Dim {
    let zero = Dim::fixed(0);
    let from_end = |bound: &Dim| match bound.as_fixed() {
        Some(n) if n < 0 => size + bound,
        _ => bound.clone(),
    };
    let last = size - &Dim::fixed(1);
    match (&cut.start, cut.step > 0) {
        (None, true) => zero,
        (None, false) => last,
        (Some(bound), true) => from_end(bound).max(&zero).min(size),
        (Some(bound), false) => from_end(bound).max(&Dim::fixed(-1)).min(&last),
    }
}

/// A slice as a view; `result` is its inferred shape.
pub(super) fn slice(view: &View, slice: &Slice, result: &Shape) -> View {
    let rank = view.shape.rank();
    let mut sliced = view.clone();
    for one in &slice.axes {
        let at = axis(one.axis, rank);
        let start = start_of(one, &view.shape[at]);
        sliced = cut(&sliced, at, &start, &result[at], one.step);
    }
    sliced
}

/// The same elements in another shape, if a view can show it without a copy.
pub(super) fn reshape(view: &View, shape: &Shape) -> Option<View> {
    if view.is_contiguous() {
        let strides = View::row_major(shape);
        return Some(View {
            source: view.source,
            offset: view.offset.clone(),
            shape: shape.clone(),
            strides,
        });
    }
    let one = |d: &&Dim| d.as_fixed() != Some(1);
    let old: Vec<(Dim, Dim)> = view
        .shape
        .iter()
        .zip(&view.strides)
        .filter(|(d, _)| one(d))
        .map(|(d, s)| (d.clone(), s.clone()))
        .collect();
    let new: Vec<Dim> = shape.iter().filter(one).cloned().collect();
    let mut strides: Vec<Dim> = Vec::with_capacity(new.len());
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let (a, b) = smallest_match(&old[i..], &new[j..])?;
        let joined = old[i..i + a]
            .windows(2)
            .all(|w| w[0].1 == &w[1].1 * &w[1].0);
        if !joined {
            return None;
        }
        let mut stride = old[i + a - 1].1.clone();
        let mut group = Vec::with_capacity(b);
        for size in new[j..j + b].iter().rev() {
            group.push(stride.clone());
            stride = &stride * size;
        }
        strides.extend(group.into_iter().rev());
        i += a;
        j += b;
    }
    let mut next = strides.into_iter();
    let strides: SmallVec<[Dim; 4]> = shape
        .iter()
        .map(|d| {
            if d.as_fixed() == Some(1) {
                Dim::fixed(0)
            } else {
                next.next().unwrap_or(Dim::fixed(0))
            }
        })
        .collect();
    Some(View {
        source: view.source,
        offset: view.offset.clone(),
        shape: shape.clone(),
        strides,
    })
}

/// The fewest leading axes of both sides with equal products.
fn smallest_match(old: &[(Dim, Dim)], new: &[Dim]) -> Option<(usize, usize)> {
    for total in 2..=old.len() + new.len() {
        for a in 1..total.min(old.len() + 1) {
            let b = total - a;
            if b > new.len() {
                continue;
            }
            let left = old[..a].iter().fold(Dim::fixed(1), |n, (d, _)| &n * d);
            let right = new[..b].iter().fold(Dim::fixed(1), |n, d| &n * d);
            if left == right {
                return Some((a, b));
            }
        }
    }
    None
}

/// Start offsets of the pieces of a split.
pub(super) fn piece_starts(sizes: &[Dim]) -> Result<Vec<Dim>, DimError> {
    let mut start = Dim::fixed(0);
    let mut starts = Vec::with_capacity(sizes.len());
    for size in sizes {
        starts.push(start.clone());
        start = &start + size;
    }
    Ok(starts)
}
