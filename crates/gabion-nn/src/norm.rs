//! Normalisation layers over the last axis.

use gabion_ir::TensorValue;
use gabion_tensor::DType;

use crate::scope::Scope;

/// `x / sqrt(mean(x²) + eps) · weight` (Zhang and Sennrich, arXiv:1910.07467), with a weight
/// `[dim]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    /// The attribute of the parent module.
    pub name: String,
    /// The size of the last axis.
    pub dim: usize,
    /// Added to the mean of squares.
    pub eps: f64,
    /// How the weight is stored.
    pub dtype: DType,
}

impl RmsNorm {
    /// f32 `[.., dim]` to f32 `[.., dim]`. `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        let (scope, _open) = scope.enter(&self.name);
        x.rms_norm(
            scope.weight_f32("weight", self.dtype, &[self.dim]),
            self.eps,
        )
    }
}

/// `(x - mean) / sqrt(var + eps) · weight + bias` (Ba, Kiros and Hinton, arXiv:1607.06450), with a
/// weight and a bias `[dim]` and the biased variance.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// The attribute of the parent module.
    pub name: String,
    /// The size of the last axis.
    pub dim: usize,
    /// Added to the variance.
    pub eps: f64,
    /// How the weight is stored.
    pub dtype: DType,
    /// How the bias is stored.
    pub bias_dtype: DType,
}

impl LayerNorm {
    /// f32 `[.., dim]` to f32 `[.., dim]`. `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        let (scope, _open) = scope.enter(&self.name);
        let weight = scope.weight_f32("weight", self.dtype, &[self.dim]);
        let bias = scope.weight_f32("bias", self.bias_dtype, &[self.dim]);
        x.layer_norm(weight, Some(bias), self.eps)
    }
}
