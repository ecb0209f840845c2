//! `gather_elements`: single elements along one axis, by index.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::element_places::{infer_indices, places, sample_indices};
use crate::ops::requirements::plain;
use crate::ops::strides::pick;
use crate::sample::{Sample, Sampler};

/// `data` and integer `indices` of one rank: element `[.., j, ..]` of the result is element
/// `[.., indices[.., j, ..], ..]` of `data`. The result has the shape of `indices`, which is at
/// most that of `data` off the axis. ONNX GatherElements without negative indices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatherElements {
    /// The axis; negative counts from the back.
    pub axis: i64,
}

impl OpDef for GatherElements {
    const NAME: &'static str = "gather_elements";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [data, at] = operands(args)?;
        plain(0, data)?;
        infer_indices(self.axis, data, at, cx)?;
        Ok(smallvec![TensorType::new(data.dtype, at.shape.clone())])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let from = places(self.axis, &args[0], &args[1], "gather_elements, operand 1")?;
        Ok(smallvec![pick(&args[0], args[1].shape(), from)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (axis, shape, at) = sample_indices(s);
        let dtype = s.choose(&DType::PLAIN);
        let data = s.tensor_with_specials(dtype, &shape);
        Sample::new(GatherElements { axis }, vec![data, at])
    }
}

impl<'g> TensorValue<'g> {
    /// Single elements along `axis`; see [`GatherElements`].
    #[track_caller]
    pub fn gather_elements(self, indices: TensorValue<'g>, axis: i64) -> TensorValue<'g> {
        self.builder()
            .apply1(GatherElements { axis }, &[self, indices])
    }
}
