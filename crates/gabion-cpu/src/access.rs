//! Walking strided memory: resolved views, and runs of equal stride in row-major order.
//!
//! Only offsets are computed here; reading and writing is in `value`.

use std::ops::Range;

use gabion_tensor::DType;
use smallvec::SmallVec;

/// Sizes of a view's axes.
pub(crate) type Sizes = SmallVec<[usize; 6]>;
/// Strides of a view's axes, in units.
pub(crate) type Strides = SmallVec<[isize; 6]>;

/// A view with numbers for its symbols, checked to lie inside its memory.
///
/// Block formats are seen in whole blocks: sizes, strides and offset count blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Which memory, an index into the session's table.
    pub(crate) base: usize,
    /// The dtype of its elements.
    pub(crate) dtype: DType,
    /// Bytes of one unit: an element, or a block.
    pub(crate) unit: usize,
    /// Where the first element is, in units.
    pub(crate) offset: isize,
    /// Sizes, in units along the last axis.
    pub(crate) shape: Sizes,
    /// Strides, in units.
    pub(crate) strides: Strides,
}

impl Placed {
    /// How many units are seen.
    pub(crate) fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The units touched, relative to the base: from the first to one past the last.
    pub(crate) fn unit_range(&self) -> Range<isize> {
        if self.shape.contains(&0) {
            return self.offset..self.offset;
        }
        let (mut low, mut high) = (self.offset, self.offset);
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size as isize - 1) * stride;
            if reach < 0 {
                low += reach;
            } else {
                high += reach;
            }
        }
        low..high + 1
    }

    /// The walk over all units in row-major order.
    pub(crate) fn access(&self) -> Access {
        Access::new(&self.shape, &self.strides)
    }

    /// The walk over some axes only.
    pub(crate) fn access_of(&self, axes: impl Iterator<Item = usize>) -> Access {
        let (mut shape, mut strides) = (Sizes::new(), Strides::new());
        for axis in axes {
            shape.push(self.shape[axis]);
            strides.push(self.strides[axis]);
        }
        Access::new(&shape, &strides)
    }

    /// Whether the view is row-major without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.access().is_contiguous()
    }
}

/// A walk in row-major order, with axes merged where strides allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Size and stride, outermost first; no axis has size 1.
    axes: SmallVec<[(usize, isize); 4]>,
    len: usize,
}

impl Access {
    /// A walk over these axes.
    pub(crate) fn new(shape: &[usize], strides: &[isize]) -> Self {
        let mut axes: SmallVec<[(usize, isize); 4]> = SmallVec::new();
        for (&size, &stride) in shape.iter().zip(strides) {
            if size == 1 {
                continue;
            }
            match axes.last_mut() {
                Some((outer, step)) if *step == stride * size as isize => {
                    *outer *= size;
                    *step = stride;
                }
                _ => axes.push((size, stride)),
            }
        }
        Access {
            axes,
            len: shape.iter().product(),
        }
    }

    /// How many places are visited.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether places follow each other without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.len <= 1 || matches!(self.axes.as_slice(), [(_, 1)])
    }

    /// Whether one stride leads through all places.
    pub(crate) fn single_stride(&self) -> Option<isize> {
        match self.axes.as_slice() {
            [] => Some(1),
            [(_, stride)] => Some(*stride),
            _ => None,
        }
    }

    /// Size and stride of the innermost merged axis; `(1, 1)` for a single place.
    pub(crate) fn inner(&self) -> (usize, isize) {
        self.axes.last().copied().unwrap_or((1, 1))
    }

    /// The offset of a place.
    pub(crate) fn offset(&self, mut index: usize) -> isize {
        let mut offset = 0;
        for &(size, stride) in self.axes.iter().rev() {
            offset += (index % size) as isize * stride;
            index /= size;
        }
        offset
    }

    /// Calls `f(done, offset, stride, count)` for runs of one stride that make up
    /// `start..start + len`; `done` counts the places before the run.
    pub(crate) fn runs(
        &self,
        start: usize,
        len: usize,
        mut f: impl FnMut(usize, isize, isize, usize),
    ) {
        if len == 0 {
            return;
        }
        let Some((&(size, stride), outer)) = self.axes.split_last() else {
            return f(0, 0, 1, 1);
        };
        let mut counters: SmallVec<[usize; 4]> = SmallVec::from_elem(0, outer.len());
        let (mut at, mut rest) = (start % size, start / size);
        let mut base = 0;
        for (counter, &(size, stride)) in counters.iter_mut().zip(outer).rev() {
            *counter = rest % size;
            rest /= size;
            base += *counter as isize * stride;
        }
        let mut done = 0;
        while done < len {
            let count = (size - at).min(len - done);
            f(done, base + at as isize * stride, stride, count);
            done += count;
            at = 0;
            for (counter, &(size, stride)) in counters.iter_mut().zip(outer).rev() {
                *counter += 1;
                base += stride;
                if *counter < size {
                    break;
                }
                base -= stride * size as isize;
                *counter = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(shape: &[usize], strides: &[isize]) -> Vec<isize> {
        let mut all = vec![0];
        for (&size, &stride) in shape.iter().zip(strides) {
            all = all
                .iter()
                .flat_map(|&base| (0..size as isize).map(move |i| base + i * stride))
                .collect();
        }
        all
    }

    #[test]
    fn runs_visit_every_place_in_row_major_order() {
        let cases: [(&[usize], &[isize]); 8] = [
            (&[], &[]),
            (&[5], &[-2]),
            (&[3, 4], &[4, 1]),
            (&[3, 4], &[1, 3]),
            (&[2, 3, 4], &[0, 4, 1]),
            (&[2, 1, 3], &[7, 100, -1]),
            (&[2, 2, 2, 3], &[100, 3, 50, 1]),
            (&[3, 0, 2], &[2, 2, 1]),
        ];
        for (shape, strides) in cases {
            let expected = offsets(shape, strides);
            let access = Access::new(shape, strides);
            assert_eq!(access.len(), expected.len());
            for start in 0..expected.len() {
                assert_eq!(access.offset(start), expected[start]);
                for len in 0..=expected.len() - start {
                    let mut found = Vec::new();
                    access.runs(start, len, |done, offset, stride, count| {
                        assert_eq!(done, found.len());
                        found.extend((0..count as isize).map(|i| offset + i * stride));
                    });
                    assert_eq!(found, expected[start..start + len]);
                }
            }
        }
    }

    #[test]
    fn axes_merge_where_strides_allow() {
        assert!(Access::new(&[2, 3, 4], &[12, 4, 1]).is_contiguous());
        assert!(Access::new(&[1, 4], &[0, 1]).is_contiguous());
        assert_eq!(Access::new(&[4, 3], &[-3, -1]).single_stride(), Some(-1));
        assert_eq!(Access::new(&[4, 3], &[1, 4]).single_stride(), None);
    }
}
