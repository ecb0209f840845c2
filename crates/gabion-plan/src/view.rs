//! Strided views: how a step sees a buffer or a weight. Transposes, slices, splits and broadcasts
//! cost nothing in a plan; they are views.

use gabion_tensor::{Dim, Shape};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::plan::BufferId;
use crate::weight::WeightId;

/// What a view looks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A buffer.
    Buffer(BufferId),
    /// A weight, whole and in its logical row-major order.
    Weight(WeightId),
}

/// A strided window: element `[i, j, ..]` lies at `offset + i * strides[0] + j * strides[1] + ..`,
/// in elements of the source's dtype. A stride may be 0 (broadcast) or negative (reversed).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// What is looked into.
    pub source: Source,
    /// The element where the view begins.
    pub offset: Dim,
    /// The sizes seen.
    pub shape: Shape,
    /// One stride per axis, in elements.
    pub strides: SmallVec<[Dim; 4]>,
}

impl View {
    /// The whole of a source, row-major.
    pub fn contiguous(source: Source, shape: Shape) -> Self {
        let strides = Self::row_major(&shape);
        Self {
            source,
            offset: Dim::fixed(0),
            shape,
            strides,
        }
    }

    /// Row-major strides of a shape.
    pub fn row_major(shape: &Shape) -> SmallVec<[Dim; 4]> {
        let mut strides: SmallVec<[Dim; 4]> = SmallVec::from_elem(Dim::fixed(1), shape.rank());
        for axis in (0..shape.rank().saturating_sub(1)).rev() {
            strides[axis] = &strides[axis + 1] * &shape[axis + 1];
        }
        strides
    }

    /// True if the view is row-major without gaps (axes of size 1 may have any stride).
    pub fn is_contiguous(&self) -> bool {
        let expected = Self::row_major(&self.shape);
        self.shape
            .iter()
            .zip(self.strides.iter().zip(&expected))
            .all(|(size, (found, wanted))| size.as_fixed() == Some(1) || found == wanted)
    }

    /// The buffer looked into, if it is one.
    pub fn buffer(&self) -> Option<BufferId> {
        match self.source {
            Source::Buffer(id) => Some(id),
            Source::Weight(_) => None,
        }
    }

    /// The weight looked into, if it is one.
    pub fn weight(&self) -> Option<WeightId> {
        match self.source {
            Source::Weight(id) => Some(id),
            Source::Buffer(_) => None,
        }
    }
}
