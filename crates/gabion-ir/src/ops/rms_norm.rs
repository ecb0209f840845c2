//! `rms_norm`: root-mean-square norm over the last axis.

use gabion_tensor::{HostTensor, TensorType};
use serde::{Deserialize, Serialize};

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::float::Float;
use crate::ops::norm;
use crate::sample::{Sample, Sampler};

/// `x [.., n]`, `weight [n]`: `x / sqrt(mean(x^2) + eps) * weight` over the last axis. Floats; the
/// result has the dtype that holds both, computed wider and rounded once.
/// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RmsNorm {
    /// Added to the mean square.
    pub eps: Float,
}

impl OpDef for RmsNorm {
    const NAME: &'static str = "rms_norm";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        operands::<2>(args)?;
        norm::infer(self.eps, args, cx)
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        norm::eval(self.eps, false, args, cx.result(0).dtype)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        norm::decompose(self.eps, false, args)
    }

    fn tolerance(&self) -> Tolerance {
        // A sum of squares cancels nothing: a few f32 roundings.
        Tolerance::Norm(2e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (eps, args) = norm::sample(s, 2);
        Sample::new(RmsNorm { eps }, args)
    }
}

impl<'g> TensorValue<'g> {
    /// Root-mean-square norm over the last axis; see [`RmsNorm`].
    #[track_caller]
    pub fn rms_norm(self, weight: TensorValue<'g>, eps: f64) -> TensorValue<'g> {
        self.builder()
            .apply1(RmsNorm { eps: Float(eps) }, &[self, weight])
    }
}
