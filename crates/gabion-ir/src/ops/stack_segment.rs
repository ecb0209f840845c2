//! The attributes of `stacked_matmul`: segments of rows and their epilogues.

use gabion_tensor::{BinaryFn, UnaryFn};
use serde::{Deserialize, Serialize};

use crate::ops::float::Float;

/// A norm over the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackNorm {
    /// Which.
    pub kind: StackNormKind,
    /// Added under the root.
    pub eps: Float,
}

/// Kinds of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackNormKind {
    /// `rms_norm` with a weight.
    Rms,
    /// `layer_norm` with a weight.
    Layer,
    /// `layer_norm` with weight and bias.
    LayerBias,
}

impl StackNormKind {
    /// How many operands the norm has beside x.
    pub fn operands(self) -> usize {
        match self {
            StackNormKind::Rms | StackNormKind::Layer => 1,
            StackNormKind::LayerBias => 2,
        }
    }
}

/// Consecutive rows of the stack that become one result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// First row and the row after the last.
    pub rows: [usize; 2],
    /// Row `i` of each block of this many rows is computed with row `i + halves / 2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halves: Option<usize>,
    /// What is done to each finished element, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<Fused>,
}

impl Segment {
    /// A segment without epilogue.
    pub fn plain(start: usize, end: usize) -> Self {
        Self {
            rows: [start, end],
            halves: None,
            epilogue: Vec::new(),
        }
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.rows[1] - self.rows[0]
    }

    /// How many columns the result has.
    pub fn width(&self) -> usize {
        let glu = self.epilogue.iter().any(|e| matches!(e, Fused::Glu { .. }));
        if glu {
            self.n_rows() / 2
        } else {
            self.n_rows()
        }
    }
}

/// One step of an epilogue; numbers count the extras.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fused {
    /// Adds a vector `f32[rows]`.
    Bias {
        /// The vector.
        extra: usize,
    },
    /// Applies a function.
    Map {
        /// Which.
        func: UnaryFn,
    },
    /// `value func extra`, or `extra func value` if swapped; the extra has the result's shape.
    Binary {
        /// Which function.
        func: BinaryFn,
        /// The other operand.
        extra: usize,
        /// It is on the left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        swapped: bool,
    },
    /// `value func number`.
    Scalar {
        /// Which function.
        func: BinaryFn,
        /// The number, exact in f32.
        value: Float,
    },
    /// `func(first half) * second half`.
    Glu {
        /// Which function.
        func: UnaryFn,
    },
    /// Rotary embedding in halves of each head of `halves` rows.
    Rope {
        /// `f32[.., halves / 2]`.
        cos: usize,
        /// As cos.
        sin: usize,
    },
    /// Rows go into a cache at `position`; the result is the cache.
    CacheWrite {
        /// `f32[capacity, ..]`, as many elements per row as the segment has.
        cache: usize,
        /// `i64[]`.
        position: usize,
    },
}

impl Fused {
    /// The extras that it names.
    pub fn extras(&self) -> Vec<usize> {
        match self {
            Fused::Bias { extra } | Fused::Binary { extra, .. } => vec![*extra],
            Fused::Map { .. } | Fused::Scalar { .. } | Fused::Glu { .. } => Vec::new(),
            Fused::Rope { cos, sin } => vec![*cos, *sin],
            Fused::CacheWrite { cache, position } => vec![*cache, *position],
        }
    }
}
