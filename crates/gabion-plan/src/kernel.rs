//! The closed set of kernels. Each says what its reads and writes are; shapes come from the views.

use gabion_tensor::{BinaryFn, Dim, MapProgram, UnaryFn};
use serde::{Deserialize, Serialize};

use crate::weight::WeightId;

/// What a step computes. "reads" and "writes" are the step's views, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kernel {
    /// A stack times an activation, with epilogues per segment; see [`Matmul`].
    Matmul(Matmul),
    /// `reads: a [batch.., m, k], b [batch.., k, n]; writes: [batch.., m, n]`. Views are already
    /// broadcast. Floats accumulate in f32 or wider (f64 in f64); integers wrap.
    BatchMatmul(BatchMatmul),
    /// An elementwise program; every read is already broadcast to the writes' shape.
    Map(MapProgram),
    /// `reads: x; writes: y`, y has the reduced axes as size 1.
    Reduce {
        /// What is computed.
        func: ReduceFn,
        /// The axes reduced, ascending.
        axes: Vec<usize>,
    },
    /// `reads: x; writes: i64 indices` with the axis as size 1; the first of equals, NaN first.
    ArgReduce {
        /// The largest instead of the smallest.
        largest: bool,
        /// The axis reduced.
        axis: usize,
    },
    /// `reads: x; writes: values, i64 indices`: the largest along `axis`, descending, ties by index.
    TopK {
        /// The axis.
        axis: usize,
    },
    /// `reads: x; writes: running sums along axis`.
    CumSum {
        /// The axis.
        axis: usize,
        /// The element itself is left out.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// `reads: x; writes: y` along `axis`; `log` gives the logarithm.
    Softmax {
        /// The axis.
        axis: usize,
        /// Log-softmax.
        log: bool,
    },
    /// `reads: x [.., n], weight [n], bias [n] if the kind has one; writes: y [.., n]`.
    Norm(NormSpec),
    /// `reads: x [.., tokens, heads, head_dim], cos, sin [.., tokens, r / 2]` (already broadcast to
    /// x's leading axes); `writes: y` like x. Elements past `r` pass through.
    Rope {
        /// Which elements form a pair.
        pairing: Pairing,
    },
    /// See [`Attention`].
    Attention(Attention),
    /// `reads: data, indices; writes: data.shape[..axis] + indices.shape + data.shape[axis + 1..]`.
    /// Data may be a tiled weight (axis 0).
    Gather {
        /// The axis of data that is indexed.
        axis: usize,
    },
    /// `reads: data, indices; writes: y` like indices: `y[..i..] = data[..indices[..i..]..]`.
    GatherElements {
        /// The axis of data that is indexed.
        axis: usize,
    },
    /// `reads: data, indices, updates; writes: y` like data, updates applied in row-major order.
    Scatter {
        /// The axis of data that is indexed.
        axis: usize,
        /// How an update meets what is there.
        reduce: ScatterReduce,
    },
    /// `reads: new, position i64[]; writes: cache` (in place): rows position.. along `axis`.
    CacheAppend {
        /// The axis of positions.
        axis: usize,
    },
    /// `reads: x; writes: y` of the same dtype and shape.
    Copy,
    /// `reads: x; writes: y`: between block formats and floats, along the last axis.
    Convert,
    /// `writes: y [n]`: `start + i * step`.
    Range {
        /// The first value.
        start: Dim,
        /// The difference.
        step: Dim,
    },
    /// `writes: y` filled with one number (given in f64, exact for the dtype).
    Fill {
        /// The number; NaN and infinities as "nan", "inf", "-inf".
        #[serde(with = "gabion_tensor::program::number")]
        value: f64,
    },
}

impl Kernel {
    /// The kernel's word in the text form.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Matmul(_) => "matmul",
            Kernel::BatchMatmul(_) => "batch_matmul",
            Kernel::Map(_) => "map",
            Kernel::Reduce { .. } => "reduce",
            Kernel::ArgReduce { .. } => "arg_reduce",
            Kernel::TopK { .. } => "top_k",
            Kernel::CumSum { .. } => "cum_sum",
            Kernel::Softmax { .. } => "softmax",
            Kernel::Norm(_) => "norm",
            Kernel::Rope { .. } => "rope",
            Kernel::Attention(_) => "attention",
            Kernel::Gather { .. } => "gather",
            Kernel::GatherElements { .. } => "gather_elements",
            Kernel::Scatter { .. } => "scatter",
            Kernel::CacheAppend { .. } => "cache_append",
            Kernel::Copy => "copy",
            Kernel::Convert => "convert",
            Kernel::Range { .. } => "range",
            Kernel::Fill { .. } => "fill",
        }
    }

    /// The symbolic numbers among its attributes.
    pub fn dims(&self) -> Vec<&Dim> {
        match self {
            Kernel::Range { start, step } => vec![start, step],
            Kernel::Matmul(_)
            | Kernel::BatchMatmul(_)
            | Kernel::Map(_)
            | Kernel::Reduce { .. }
            | Kernel::ArgReduce { .. }
            | Kernel::TopK { .. }
            | Kernel::CumSum { .. }
            | Kernel::Softmax { .. }
            | Kernel::Norm(_)
            | Kernel::Rope { .. }
            | Kernel::Attention(_)
            | Kernel::Gather { .. }
            | Kernel::GatherElements { .. }
            | Kernel::Scatter { .. }
            | Kernel::CacheAppend { .. }
            | Kernel::Copy
            | Kernel::Convert
            | Kernel::Fill { .. } => Vec::new(),
        }
    }
}

/// `y = epilogue(norm(x) * weight^T)`, one write per segment output.
///
/// `reads[0]` is x `[.., K]`, f32, rows with any stride. If `prologue` is set, `reads[1]` is the
/// norm's weight `[K]` and, for a layer norm, `reads[2]` its bias. Epilogues name further reads.
/// Every element is one chain of fused multiply-adds over k in ascending order, in f32, so the
/// result does not depend on the number of rows, threads or segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matmul {
    /// The tiled weight.
    pub weight: WeightId,
    /// A norm of x's rows, computed before the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prologue: Option<NormSpec>,
    /// What becomes of each segment of the weight, in segment order.
    pub outputs: Vec<SegmentOutput>,
}

/// What becomes of one segment's rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentOutput {
    /// Applied in order to each finished element (or pair).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<Epilogue>,
    /// The index of the view written, `[.., width]`; rows with any stride, the last axis dense.
    /// With [`Epilogue::CacheWrite`] it is the cache.
    pub write: usize,
}

/// One step of an epilogue. `read` numbers a view of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Epilogue {
    /// Adds a vector over the segment's rows.
    Bias {
        /// `[segment rows]`.
        read: usize,
    },
    /// Applies a function.
    Map {
        /// The function.
        func: UnaryFn,
    },
    /// `value <func> operand`, or `operand <func> value` if swapped, with a tensor of the output's
    /// shape.
    Binary {
        /// The function.
        func: BinaryFn,
        /// `[.., segment width]`, already broadcast.
        read: usize,
        /// The operand is on the left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        swapped: bool,
    },
    /// `value <func> number`.
    Scalar {
        /// The function.
        func: BinaryFn,
        /// The right operand.
        #[serde(with = "number32")]
        value: f32,
    },
    /// Pairs `(a, b)` become `func(a) * b`: half as many columns. Needs halves of one block.
    Glu {
        /// The function of the first half.
        func: UnaryFn,
    },
    /// Pairs are rotated: `(a cos - b sin, b cos + a sin)`. Needs halves per head.
    Rope {
        /// `[.., head_dim / 2]`, one row per row of x.
        cos: usize,
        /// As cos.
        sin: usize,
    },
    /// The row index gets `position` added when writing: the write is a cache `[capacity, ..]`.
    CacheWrite {
        /// A scalar i64.
        position: usize,
    },
}

/// See [`Kernel::BatchMatmul`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchMatmul {}

/// A norm over the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    /// Which.
    pub kind: NormKind,
    /// Added under the root.
    #[serde(with = "gabion_tensor::program::number")]
    pub eps: f64,
}

/// Kinds of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    Rms,
    /// `(x - mean) / sqrt(var + eps) * weight`.
    Layer,
    /// As [`NormKind::Layer`] `+ bias`.
    LayerBias,
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// `(i, i + r / 2)`.
    Half,
    /// `(2i, 2i + 1)`.
    Interleaved,
}

/// Grouped attention.
///
/// `reads: q [batch.., queries, heads, head_dim], k [batch.., keys, kv_heads, head_dim],
/// v [batch.., keys, kv_heads, value_dim], mask if any, position i64[] if any`;
/// `writes: [batch.., queries, heads, value_dim]`. A mask is bool (true attends) or float (added),
/// already broadcast to `[batch.., heads, queries, keys]`. With a position, key `j` is attended by
/// query `i` only if `j < position + queries` and, if causal, `j <= position + i`; causal without a
/// position: `j <= keys - queries + i`. A row that may attend to nothing gives zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Multiplies the scores.
    #[serde(with = "number32")]
    pub scale: f32,
    /// No query sees later keys.
    pub causal: bool,
    /// A mask is read.
    pub mask: bool,
    /// A position is read.
    pub position: bool,
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReduceFn {
    /// Sum (f16 and bf16 accumulate in f32).
    Sum,
    /// Mean.
    Mean,
    /// Largest; NaN wins.
    Max,
    /// Smallest; NaN wins.
    Min,
    /// Product.
    Prod,
    /// Logical or.
    Any,
    /// Logical and.
    All,
}

/// How a scattered update meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScatterReduce {
    /// It replaces.
    None,
    /// It is added.
    Add,
    /// It multiplies.
    Mul,
    /// The larger stays.
    Max,
    /// The smaller stays.
    Min,
}

/// Serde for f32 attributes: the shortest decimal, and words for numbers that JSON lacks.
mod number32 {
    use gabion_tensor::program::number;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        // 0.1 rather than 0.10000000149011612, unless rounding twice would miss.
        let short = value
            .to_string()
            .parse::<f64>()
            .ok()
            .filter(|wide| *wide as f32 == *value);
        number::serialize(&short.unwrap_or(f64::from(*value)), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        Ok(number::deserialize(deserializer)? as f32)
    }
}
