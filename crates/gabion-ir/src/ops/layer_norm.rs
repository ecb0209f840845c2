//! `layer_norm` over the last axis.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::float::Float;
use crate::ops::norm;
use crate::sample::{Sample, Sampler};

/// `x [.., n]`, `weight [n]` and perhaps `bias [n]`: `(x - mean) / sqrt(variance + eps) * weight +
/// bias` over the last axis, with the variance of the population. Floats; the result has the dtype
/// that holds all, computed wider and rounded once.
/// Ba, Kiros and Hinton, "Layer Normalization", 2016.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: Float,
}

impl OpDef for LayerNorm {
    const NAME: &'static str = "layer_norm";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        if !(2..=3).contains(&args.len()) {
            return Err(TypeError::arity("2 or 3", args.len()));
        }
        norm::infer(self.eps, args, cx)
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        norm::eval(self.eps, true, args, cx.result(0).dtype)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        norm::decompose(self.eps, true, args)
    }

    fn tolerance(&self) -> Tolerance {
        // Subtracting an f32 mean loses a digit where a row varies little.
        Tolerance::Norm(5e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let operands = s.size(2, 3);
        let (eps, mut args) = norm::sample(s, operands);
        // One column has no variance: 1 / sqrt(eps) would magnify the rounding of the mean.
        if args[0].shape().last() == Some(&1) {
            args[0] = s.tensor(args[0].dtype(), &[2, 5]);
            args[1..].fill_with(|| s.tensor(DType::F32, &[5]));
            let dtype = args[0].dtype();
            args[1..]
                .iter_mut()
                .for_each(|a| *a = a.cast(dtype).unwrap_or_else(|_| a.clone()));
        }
        Sample::new(LayerNorm { eps }, args)
    }
}

impl<'g> TensorValue<'g> {
    /// Layer norm over the last axis; see [`LayerNorm`].
    #[track_caller]
    pub fn layer_norm(
        self,
        weight: TensorValue<'g>,
        bias: Option<TensorValue<'g>>,
        eps: f64,
    ) -> TensorValue<'g> {
        let operands: Vec<TensorValue<'g>> = [self, weight].into_iter().chain(bias).collect();
        self.builder()
            .apply1(LayerNorm { eps: Float(eps) }, &operands)
    }
}
