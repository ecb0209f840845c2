//! Indexing of values under construction, as `x[1, :, 2:, ..., ::-1]` in Python.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use gabion_tensor::Dim;

use crate::builder::TensorValue;
use crate::op::normalize_axis;
use crate::ops::{AxisSlice, Slice};

/// The part of one axis: `start..stop` in steps. A negative number counts from the end; `None`
/// leads to the end of the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first index.
    pub start: Option<Dim>,
    /// The index to stop before.
    pub stop: Option<Dim>,
    /// The distance of indices, not 0.
    pub step: i64,
}

impl Span {
    /// The same span in steps of `step`.
    #[must_use]
    pub fn step_by(self, step: i64) -> Self {
        Self { step, ..self }
    }
}

impl From<RangeFull> for Span {
    fn from(_: RangeFull) -> Self {
        Self {
            start: None,
            stop: None,
            step: 1,
        }
    }
}

/// One entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    /// One place; the axis is dropped. Negative counts from the end.
    At(i64),
    /// A part of the axis.
    Span(Span),
    /// A new axis of size 1.
    New,
    /// As many whole axes as are left over; at most once.
    Rest,
}

impl From<Span> for Index {
    fn from(span: Span) -> Self {
        Index::Span(span)
    }
}

impl From<RangeFull> for Index {
    fn from(range: RangeFull) -> Self {
        Index::Span(range.into())
    }
}

macro_rules! spans {
    ($($number:ty),*) => { $(
        impl From<Range<$number>> for Span {
            fn from(r: Range<$number>) -> Self {
                Self { start: Some(Dim::from(r.start)), stop: Some(Dim::from(r.end)), step: 1 }
            }
        }
        impl From<RangeFrom<$number>> for Span {
            fn from(r: RangeFrom<$number>) -> Self {
                Self { start: Some(Dim::from(r.start)), stop: None, step: 1 }
            }
        }
        impl From<RangeTo<$number>> for Span {
            fn from(r: RangeTo<$number>) -> Self {
                Self { start: None, stop: Some(Dim::from(r.end)), step: 1 }
            }
        }
        impl From<Range<$number>> for Index {
            fn from(r: Range<$number>) -> Self {
                Index::Span(r.into())
            }
        }
        impl From<RangeFrom<$number>> for Index {
            fn from(r: RangeFrom<$number>) -> Self {
                Index::Span(r.into())
            }
        }
        impl From<RangeTo<$number>> for Index {
            fn from(r: RangeTo<$number>) -> Self {
                Index::Span(r.into())
            }
        }
    )* };
}

spans!(i32, i64, usize, Dim);

impl From<i64> for Index {
    fn from(at: i64) -> Self {
        Index::At(at)
    }
}

impl From<i32> for Index {
    fn from(at: i32) -> Self {
        Index::At(i64::from(at))
    }
}

/// The entries with [`Index::Rest`] written out for `rank` axes.
fn expanded(index: &[Index], rank: usize) -> Result<Vec<Index>, String> {
    let taken = index
        .iter()
        .filter(|i| !matches!(i, Index::New | Index::Rest))
        .count();
    let rests = index.iter().filter(|i| **i == Index::Rest).count();
    if taken > rank || rests > 1 {
        return Err(format!(
            "{taken} places and {rests} `Rest` for rank {rank}: expected at most {rank} and 1"
        ));
    }
    let whole = || std::iter::repeat_n(Index::from(..), rank - taken);
    let mut out = Vec::new();
    for entry in index {
        match entry {
            Index::Rest => out.extend(whole()),
            Index::At(_) | Index::Span(_) | Index::New => out.push(entry.clone()),
        }
    }
    if rests == 0 {
        out.extend(whole());
    }
    Ok(out)
}

impl<'g> TensorValue<'g> {
    /// The part of the value that the entries name, axis by axis; axes without an entry stay
    /// whole.
    ///
    /// ```
    /// # use gabion_ir::{Builder, ops::Index};
    /// let b = Builder::new("part");
    /// let x = b.input("x", "f32[tokens, 8, 64]".parse().unwrap());
    /// let y = x.slice(&[(-1).into(), Index::Rest, (..32).into()]);
    /// assert_eq!(y.shape().to_string(), "[8, 32]");
    /// ```
    #[track_caller]
    pub fn slice(self, index: &[Index]) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        let (mut axes, mut kept, mut axis) = (Vec::new(), Vec::new(), 0);
        let entries = match expanded(index, self.rank()) {
            Ok(entries) => entries,
            Err(message) => {
                return self
                    .builder()
                    .poison(<Slice as crate::op::OpDef>::NAME, message);
            }
        };
        for entry in entries {
            match entry {
                Index::New => kept.push(None),
                Index::Span(Span { start, stop, step }) => {
                    if (start.is_some(), stop.is_some(), step) != (false, false, 1) {
                        axes.push(AxisSlice {
                            axis,
                            start,
                            stop,
                            step,
                        });
                    }
                    kept.push(Some(axis));
                    axis += 1;
                }
                Index::At(at) => {
                    match self.place(axis, at) {
                        Ok(part) => axes.push(part),
                        Err(message) => {
                            return self
                                .builder()
                                .poison(<Slice as crate::op::OpDef>::NAME, message);
                        }
                    }
                    axis += 1;
                }
                Index::Rest => {}
            }
        }
        let cut = if axes.is_empty() {
            self
        } else {
            self.builder().apply1(Slice { axes }, &[self])
        };
        if cut.is_poisoned() || (kept.len() == self.rank() && kept.iter().all(Option::is_some)) {
            return cut;
        }
        cut.reshape(
            kept.into_iter()
                .map(|axis| axis.map_or(Dim::fixed(1), |axis| cut.dim(axis))),
        )
    }

    /// The slice of one place; a fixed size is checked here.
    fn place(&self, axis: i64, at: i64) -> Result<AxisSlice, String> {
        if let Some(size) = self.dim(axis).as_fixed()
            && !(-size..size).contains(&at)
        {
            return Err(format!(
                "index {at} is outside axis {axis} of {}",
                self.shape()
            ));
        }
        let stop = (at != -1).then(|| Dim::fixed(at + 1));
        Ok(AxisSlice {
            axis,
            start: Some(Dim::fixed(at)),
            stop,
            step: 1,
        })
    }

    /// A part of one axis, in steps: `x.slice_axis(-1, ..32, 1)`.
    #[track_caller]
    pub fn slice_axis(self, axis: i64, span: impl Into<Span>, step: i64) -> TensorValue<'g> {
        let Span { start, stop, .. } = span.into();
        self.builder().apply1(
            Slice {
                axes: vec![AxisSlice {
                    axis,
                    start,
                    stop,
                    step,
                }],
            },
            &[self],
        )
    }

    /// One place of one axis, which the result lacks. Negative counts from the end.
    #[track_caller]
    pub fn select(self, axis: i64, at: i64) -> TensorValue<'g> {
        if self.is_poisoned() {
            return self;
        }
        match normalize_axis(axis, self.rank()) {
            Ok(axis) => {
                let mut index = vec![Index::from(..); axis];
                index.push(Index::At(at));
                self.slice(&index)
            }
            Err(error) => self.builder().poison("select", error.message),
        }
    }
}
