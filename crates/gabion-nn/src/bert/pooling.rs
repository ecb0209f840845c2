//! From the hidden states of a text to one embedding.

use std::str::FromStr;

use gabion_ir::TensorValue;
use gabion_tensor::DType;

/// How the hidden states of a text become one vector (sentence-transformers' `1_Pooling`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The mean over the tokens of the text: `sum(h · mask) / max(sum(mask), 1e-9)`.
    Mean,
    /// The sum over the tokens, divided by the root of their number.
    MeanSqrtLength,
    /// The first token.
    Cls,
    /// The largest of each component over the tokens of the text.
    Max,
}

/// A word that names no pooling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pooling: use mean, mean_sqrt_len_tokens, cls or max")]
pub struct UnknownPooling(pub String);

impl FromStr for Pooling {
    type Err = UnknownPooling;

    /// By the short word, or by the field of `1_Pooling/config.json` without `pooling_mode_`.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "mean" | "mean_tokens" => Ok(Pooling::Mean),
            "mean_sqrt_len" | "mean_sqrt_len_tokens" => Ok(Pooling::MeanSqrtLength),
            "cls" | "cls_token" => Ok(Pooling::Cls),
            "max" | "max_tokens" => Ok(Pooling::Max),
            other => Err(UnknownPooling(other.to_owned())),
        }
    }
}

/// Below this many tokens (none) a text's length is taken as this.
const MIN_LENGTH: f64 = 1e-9;
/// What padding counts as under [`Pooling::Max`].
const PADDING: f64 = -1e9;
/// Shorter vectors are not stretched to length 1.
const MIN_NORM: f64 = 1e-12;

impl Pooling {
    /// f32 `[batch, seq, hidden]` and a mask `[batch, seq]` (integers, 0 is padding) to f32
    /// `[batch, hidden]`.
    #[track_caller]
    pub fn apply<'g>(self, hidden: TensorValue<'g>, mask: TensorValue<'g>) -> TensorValue<'g> {
        let mask = mask.ne(0_i64).unsqueeze(-1);
        let weights = mask.cast(DType::F32);
        let sum = |x: TensorValue<'g>| x.sum(&[1]);
        let length = || sum(weights).maximum(MIN_LENGTH);
        match self {
            Pooling::Mean => sum(hidden * weights) / length(),
            Pooling::MeanSqrtLength => sum(hidden * weights) / length().sqrt(),
            Pooling::Cls => hidden.select(1, 0),
            Pooling::Max => mask.where_(hidden, PADDING).max(&[1]),
        }
    }
}

/// `x / max(|x|, 1e-12)` over the last axis: f32 `[.., n]` to f32 `[.., n]`.
#[track_caller]
pub fn l2_normalize(x: TensorValue<'_>) -> TensorValue<'_> {
    let norm = x.square().sum(&[-1]).sqrt().maximum(MIN_NORM);
    x / norm.unsqueeze(-1)
}
