//! The elements that a view covers, as runs, for given sizes.

use gabion_tensor::Bindings;

use crate::view::View;

/// More runs than this are not followed.
const MAX_RUNS: usize = 1 << 14;

/// Sorted runs `start..end` of elements that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Region(Vec<(i64, i64)>);

impl Region {
    /// The elements of a view; `None` if a size has no value or the view has too many runs.
    pub(super) fn of(view: &View, values: &Bindings) -> Option<Region> {
        let mut start = view.offset.eval(values).ok()?;
        let mut axes = Vec::new();
        for (dim, stride) in view.shape.iter().zip(&view.strides) {
            let (size, stride) = (dim.eval(values).ok()?, stride.eval(values).ok()?);
            if size <= 0 {
                return Some(Region::default());
            }
            if stride < 0 {
                start = start.checked_add(stride.checked_mul(size - 1)?)?;
            }
            if size > 1 && stride != 0 {
                axes.push((stride.checked_abs()?, size));
            }
        }
        axes.sort_unstable();
        // Axes that continue a run make it longer; the others repeat it.
        let mut run = 1i64;
        let mut repeats = Vec::new();
        for (stride, size) in axes {
            if repeats.is_empty() && stride <= run {
                run = run.checked_add(stride.checked_mul(size - 1)?)?;
            } else {
                repeats.push((stride, size));
            }
        }
        let count = repeats
            .iter()
            .try_fold(1i64, |n, &(_, size)| n.checked_mul(size))?;
        if usize::try_from(count).ok()? > MAX_RUNS {
            return None;
        }
        let mut starts = vec![start];
        for (stride, size) in repeats {
            let before = starts.clone();
            for i in 1..size {
                let shift = stride.checked_mul(i)?;
                starts.extend(before.iter().map(|s| s.saturating_add(shift)));
            }
        }
        Some(Region::from_runs(
            starts
                .into_iter()
                .map(|s| (s, s.saturating_add(run)))
                .collect(),
        ))
    }

    fn from_runs(mut runs: Vec<(i64, i64)>) -> Region {
        runs.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(runs.len());
        for (start, end) in runs {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Region(merged)
    }

    /// Both together.
    pub(super) fn union(&self, other: &Region) -> Region {
        Region::from_runs(self.0.iter().chain(&other.0).copied().collect())
    }

    /// How many elements.
    pub(super) fn len(&self) -> i64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// True if they share an element.
    pub(super) fn overlaps(&self, other: &Region) -> bool {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(start, end)), Some(&&(other_start, other_end))) = (a.peek(), b.peek()) {
            if start < other_end && other_start < end {
                return true;
            }
            if end <= other_end {
                a.next();
            } else {
                b.next();
            }
        }
        false
    }

    /// The first element that `other` has and this has not.
    pub(super) fn first_missing(&self, other: &Region) -> Option<i64> {
        other.0.iter().find_map(|&(start, end)| {
            let holder = self
                .0
                .iter()
                .find(|&&(from, to)| from <= start && start < to);
            match holder {
                None => Some(start),
                Some(&(_, to)) if to < end => Some(to),
                Some(_) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use gabion_tensor::{Dim, Shape};

    use super::*;
    use crate::plan::BufferId;
    use crate::view::Source;

    fn region(shape: &[usize], offset: i64, strides: &[i64]) -> Region {
        let view = View {
            source: Source::Buffer(BufferId(0)),
            offset: Dim::fixed(offset),
            shape: Shape::fixed(shape),
            strides: strides.iter().map(|&s| Dim::fixed(s)).collect(),
        };
        Region::of(&view, &Bindings::new()).unwrap()
    }

    #[test]
    fn runs_follow_strides() {
        assert_eq!(region(&[2, 3], 0, &[3, 1]).0, [(0, 6)]);
        assert_eq!(region(&[3, 2], 5, &[1, 3]).0, [(5, 11)]);
        assert_eq!(region(&[2, 3], 4, &[10, 1]).0, [(4, 7), (14, 17)]);
        assert_eq!(region(&[3, 2], 0, &[0, 2]).0, [(0, 1), (2, 3)]);
        assert_eq!(region(&[4], 9, &[-1]).0, [(6, 10)]);
        assert_eq!(region(&[2, 0], 9, &[1, 1]).0, []);
        assert_eq!(region(&[], 9, &[]).0, [(9, 10)]);
        assert_eq!(
            region(&[2, 2, 2], 0, &[8, 4, 1]).0,
            [(0, 2), (4, 6), (8, 10), (12, 14)]
        );
    }

    #[test]
    fn regions_meet_or_miss() {
        let (even, odd) = (region(&[4], 0, &[2]), region(&[4], 1, &[2]));
        assert!(!even.overlaps(&odd) && even.overlaps(&even));
        assert_eq!(even.union(&odd).0, [(0, 8)]);
        assert_eq!(even.first_missing(&odd), Some(1));
        assert_eq!(
            even.union(&odd).first_missing(&region(&[9], 0, &[1])),
            Some(8)
        );
        assert_eq!(even.union(&odd).first_missing(&even), None);
        assert!(!Region::default().overlaps(&even));
    }
}
