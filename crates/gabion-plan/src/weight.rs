//! Plan weights: named lists of parts of checkpoint tensors, with the recipe that turns stored
//! codes into values while loading. A stack of q, k and v is one weight with three parts; it is
//! never materialised, the executor packs each part's rows where they belong.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};

/// Index into [`crate::Plan::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WeightId(pub u32);

/// One weight of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanWeight {
    /// Its name in the plan: the checkpoint's for a single tensor, the stack's for several.
    pub name: String,
    /// The type of the values, all dims fixed: `f32[rows, K]` for [`Layout::Tiles`].
    pub ty: TensorType,
    /// Where the rows (axis 0) come from, in order; their row counts sum to the weight's.
    pub parts: Vec<Part>,
    /// How the executor should store it.
    pub layout: Layout,
    /// For [`Layout::Tiles`]: consecutive row ranges that are written to different places or need
    /// their rows paired. They cover all rows. Empty for [`Layout::Dense`].
    pub segments: Vec<WeightSegment>,
}

/// How an executor stores a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Packed for matrix products, in the stored format where the executor has kernels for it.
    /// Rows can be read one by one too (tied embeddings).
    Tiles,
    /// Row-major values of the weight's dtype.
    Dense,
}

/// Rows that come from one stored tensor (or constant).
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The stored tensor.
    pub source: PartSource,
    /// Its type in the checkpoint.
    pub stored: TensorType,
    /// What turns the stored codes into values, in order.
    pub recipe: Vec<Transform>,
    /// The rows taken, counted after the recipe (unused rows are never loaded).
    pub rows: std::ops::Range<usize>,
}

/// Where a part's data is.
#[derive(Clone, Debug, PartialEq)]
pub enum PartSource {
    /// A checkpoint tensor, by name.
    Checkpoint(String),
    /// A constant of the graph.
    Constant(ConstantData),
}

/// Constant data; equal when its bits are.
#[derive(Clone, Debug)]
pub struct ConstantData(pub HostTensor);

impl PartialEq for ConstantData {
    fn eq(&self, other: &Self) -> bool {
        self.0.bitwise_eq(&other.0)
    }
}

/// One load-time step on a whole stored tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// Block codes become the numbers they mean, or a plain dtype is converted.
    Cast {
        /// The dtype of the result.
        dtype: DType,
    },
    /// Elementwise limits in the dtype at hand; NaN stays NaN.
    Clamp {
        /// The lower limit.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "optional_number"
        )]
        min: Option<f64>,
        /// The upper limit.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "optional_number"
        )]
        max: Option<f64>,
    },
    /// Axes of a matrix are exchanged: `[K, N]` becomes `[N, K]`.
    Transpose,
    /// The same elements in another shape.
    Reshape {
        /// The new sizes.
        shape: Vec<usize>,
    },
}

/// Rows of a tiled weight that are treated alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSegment {
    /// The rows, in the weight's logical order.
    pub rows: std::ops::Range<usize>,
    /// Which rows must be computed together.
    pub arrangement: Arrangement,
}

/// Which rows of a segment must meet in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrangement {
    /// None.
    Plain,
    /// The segment is a sequence of blocks of `block` rows; in each, row `i` is computed together
    /// with row `i + block / 2` (gate with up: one block; rotary halves: one block per head).
    Halves {
        /// Rows per block; even.
        block: usize,
    },
}

impl PlanWeight {
    /// Rows (axis 0).
    pub fn rows(&self) -> usize {
        self.ty
            .shape
            .first()
            .and_then(|d| d.as_fixed())
            .map_or(1, |n| n as usize)
    }

    /// Elements per row.
    pub fn row_elements(&self) -> usize {
        self.ty
            .shape
            .iter()
            .skip(1)
            .map(|d| d.as_fixed().map_or(1, |n| n as usize))
            .product()
    }
}

/// Serde for numbers that may be absent; see [`gabion_tensor::program::number`].
mod optional_number {
    use gabion_tensor::program::number;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => number::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        number::deserialize(deserializer).map(Some)
    }
}
