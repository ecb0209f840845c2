//! `Linear`: one projection, and what any projection has to say to be stacked. Stacks of
//! projections live in [`crate::stack`].

use std::fmt::Debug;

use gabion_ir::TensorValue;
use gabion_tensor::{DType, bf16, f16};

use crate::scope::{Scope, to_f32};

/// What a stack asks of a projection. [`Linear`] is one; a projection with an adapter, or one that
/// is computed from other tensors, is another.
///
/// `scope` is the projection's own: its tensors are named `scope.name("weight")` and so on.
pub trait Projection: Debug + Send + Sync {
    /// The weight `[rows, in_dim]` as it is stored: f32, f16, bf16, f64 or a block format. The
    /// stack clips it and then decodes it to f32. A projection that computes with what it reads
    /// decodes first ([`Scope::weight_f32`]) and gives f32.
    fn weight<'g>(&self, scope: &Scope<'g>) -> TensorValue<'g>;

    /// The bias as f32 `[rows]`, if there is one.
    fn bias<'g>(&self, scope: &Scope<'g>) -> Option<TensorValue<'g>>;

    /// The number of output rows.
    fn rows(&self) -> usize;
}

/// `y = x · Wᵀ + b` with `W: [out_dim, in_dim]`, `b: [out_dim]` from the checkpoint.
///
/// The tensors keep the dtype they are stored in; the graph computes in f32 with the numbers that
/// they mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The attribute of the parent module, a segment of the tensors' names (`q_proj`).
    pub name: String,
    /// Inputs: the size of `x`'s last axis.
    pub in_dim: usize,
    /// Outputs: the size of `y`'s last axis.
    pub out_dim: usize,
    /// How the weight is stored: f32, f16, bf16, f64 or a block format.
    pub dtype: DType,
    /// How the bias is stored: a plain float dtype.
    pub bias_dtype: DType,
    /// Whether there is a bias.
    pub has_bias: bool,
    /// The stored weight is clamped to `-clip..=clip`, with `clip` rounded to its dtype, before it
    /// is decoded; of a block format the decoded values are clamped, since its codes have no order
    /// of their own. Zero is no clip, and neither is one beyond the dtype's range.
    pub clip_weight: Option<f64>,
}

impl Linear {
    /// A projection in f32 without bias and without clip.
    pub fn new(name: &str, in_dim: usize, out_dim: usize) -> Self {
        let (dtype, bias_dtype) = (DType::F32, DType::F32);
        Self {
            name: name.to_owned(),
            in_dim,
            out_dim,
            dtype,
            bias_dtype,
            has_bias: false,
            clip_weight: None,
        }
    }

    /// The same, stored as `dtype`; the bias too, unless that is a block format (then f32).
    pub fn stored_as(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self.bias_dtype = if dtype.is_block() { DType::F32 } else { dtype };
        self
    }

    /// The same with or without a bias.
    pub fn with_bias(mut self, has_bias: bool) -> Self {
        self.has_bias = has_bias;
        self
    }

    /// The same with a clip.
    pub fn clipped(mut self, clip_weight: Option<f64>) -> Self {
        self.clip_weight = clip_weight;
        self
    }

    /// `x · Wᵀ + b`: f32 `[.., in_dim]` to f32 `[.., out_dim]`, any rank from 1. `scope` is the
    /// parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        let (scope, _open) = scope.enter(&self.name);
        let y = x.matmul_t(clipped_f32(self.weight(&scope), self.clip_weight));
        match self.bias(&scope) {
            Some(bias) => y + bias,
            None => y,
        }
    }
}

impl Projection for Linear {
    fn weight<'g>(&self, scope: &Scope<'g>) -> TensorValue<'g> {
        scope.weight("weight", self.dtype, &[self.out_dim, self.in_dim])
    }

    fn bias<'g>(&self, scope: &Scope<'g>) -> Option<TensorValue<'g>> {
        self.has_bias
            .then(|| scope.weight_f32("bias", self.bias_dtype, &[self.out_dim]))
    }

    fn rows(&self) -> usize {
        self.out_dim
    }
}

/// The clip that a setting asks for: zero asks for none.
pub(crate) fn effective(clip: Option<f64>) -> Option<f64> {
    clip.filter(|clip| *clip != 0.0)
}

/// A clip in the dtype whose values it limits: of blocks, those are the decoded ones.
pub(crate) fn rounded_clip(clip: f64, dtype: DType) -> f64 {
    let dtype = if dtype.is_block() { DType::F32 } else { dtype };
    match dtype {
        DType::F16 => f16::from_f64(clip).to_f64(),
        DType::BF16 => bf16::from_f64(clip).to_f64(),
        DType::F32 => f64::from(clip as f32),
        _ => clip,
    }
}

/// What a stored weight means in f32, after the clip; see [`Linear::clip_weight`].
#[track_caller]
pub(crate) fn clipped_f32(weight: TensorValue<'_>, clip: Option<f64>) -> TensorValue<'_> {
    // A limit that the dtype cannot even hold limits nothing.
    let holds = |clip: &f64| rounded_clip(*clip, weight.dtype()).is_finite();
    match effective(clip).filter(holds) {
        None => to_f32(weight),
        Some(clip) if weight.dtype().is_block() => to_f32(weight).clamp(-clip, clip),
        Some(clip) => to_f32(weight.clamp(-clip, clip)),
    }
}
