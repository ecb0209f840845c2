//! The part that a slice takes of one axis, and how long it is.

use gabion_tensor::Dim;
use serde::{Deserialize, Serialize};

use crate::op::{EvalCx, EvalError, TypeError};

/// What a [`super::Slice`] takes of one axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisSlice {
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// The first index; none: the first one, or the last one if the step is negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Dim>,
    /// The index to stop before; none: the end that the step leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Dim>,
    /// The distance of indices, not 0.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub step: i64,
}

fn one() -> i64 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_one(step: &i64) -> bool {
    *step == 1
}

/// A bound as the dims whose minimum (upper side) or maximum (lower side) it is.
///
/// `low..=high` are the smallest and the largest place of the axis that a bound may have.
fn bound(bound: &Dim, size: &Dim, limit: &Dim, upper: bool) -> Vec<Dim> {
    match bound.as_fixed() {
        Some(back) if back < 0 && upper => vec![size + bound],
        Some(back) if back < 0 => vec![size + bound, limit.clone()],
        Some(_) if !upper => vec![bound.clone()],
        _ if !upper && bound.range().0.is_some_and(|least| least >= 0) => vec![bound.clone()],
        _ => vec![bound.clone(), limit.clone()],
    }
}

impl AxisSlice {
    /// The whole axis.
    pub fn all(axis: i64) -> Self {
        Self {
            axis,
            start: None,
            stop: None,
            step: 1,
        }
    }

    /// The number of indices taken of an axis of `size`: exact for every value of the symbols.
    ///
    /// With bounds clamped to the axis the span is `min(stop, size) - max(start, 0)`, at least 0;
    /// written as the minimum of all differences it needs no clamping. Going down, the places run
    /// from `size - 1` to `-1`, and start and stop swap roles.
    pub(super) fn length(&self, size: &Dim) -> Result<Dim, TypeError> {
        let zero = Dim::fixed(0);
        let down = self.step < 0;
        let (first, last) = if down {
            (Dim::fixed(-1), size - &Dim::fixed(1))
        } else {
            (zero.clone(), size.clone())
        };
        let (low, high) = if down {
            (&self.stop, &self.start)
        } else {
            (&self.start, &self.stop)
        };
        let highs = high
            .as_ref()
            .map_or(vec![last.clone()], |b| bound(b, size, &last, true));
        let lows = low
            .as_ref()
            .map_or(vec![first.clone()], |b| bound(b, size, &first, false));
        let differences = highs.iter().flat_map(|h| lows.iter().map(move |l| h - l));
        let span = differences
            .reduce(|a, b| Dim::min(&a, &b))
            .unwrap_or(zero.clone());
        let span = if span.range().0.is_some_and(|least| least >= 0) {
            span
        } else {
            Dim::max(&span, &zero)
        };
        let step = i64::try_from(self.step.unsigned_abs()).map_err(|_| {
            TypeError::new(format!(
                "axis {}: step {} is out of range",
                self.axis, self.step
            ))
        })?;
        Ok(if step == 1 {
            span
        } else {
            span.ceil_div(&Dim::fixed(step))?
        })
    }

    /// The first index taken of an axis of `size`, clamped to the axis.
    pub(super) fn first(&self, size: i64, cx: &EvalCx<'_>) -> Result<i64, EvalError> {
        let (least, most) = if self.step < 0 {
            (-1, size - 1)
        } else {
            (0, size)
        };
        Ok(match &self.start {
            None if self.step < 0 => most,
            None => 0,
            Some(start) => {
                let from_end = start.as_fixed().is_some_and(|s| s < 0);
                let start = cx.dim(start)?;
                let start = if from_end {
                    start.saturating_add(size)
                } else {
                    start
                };
                start.clamp(least, most)
            }
        })
    }
}
