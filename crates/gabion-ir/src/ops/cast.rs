//! `cast`: the same values in another plain dtype.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::requirements::plain;
use crate::sample::{Sample, Sampler};

/// Converts every element of `x` to `dtype`. To floats: to nearest, ties to even, too large
/// becomes infinite. Float to integer: towards zero, saturating, NaN to 0. Integer to integer: the
/// low bits. To bool: all but zero is true. Block formats: `quantize`, `dequantize`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cast {
    /// The new dtype, plain.
    pub dtype: DType,
}

impl OpDef for Cast {
    const NAME: &'static str = "cast";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        plain(0, x)?;
        if self.dtype.is_block() {
            return Err(TypeError::new(format!(
                "dtype: expected a plain dtype, found {}: `quantize` makes block formats",
                self.dtype
            )));
        }
        Ok(smallvec![TensorType::new(self.dtype, x.shape.clone())])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Ok(smallvec![args[0].cast(self.dtype)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 3);
        let shape = s.shape(rank, 9);
        let (from, dtype) = (s.choose(&DType::PLAIN), s.choose(&DType::PLAIN));
        let x = if from.is_float() && s.one_in(3) {
            s.tensor_in(from, &shape, -1e5, 1e5)
        } else {
            s.tensor_with_specials(from, &shape)
        };
        Sample::new(Cast { dtype }, vec![x])
    }
}

impl<'g> TensorValue<'g> {
    /// The values in another dtype; the value itself if it has that dtype. See [`Cast`].
    #[track_caller]
    pub fn cast(self, dtype: DType) -> TensorValue<'g> {
        if self.is_poisoned() || self.dtype() == dtype {
            return self;
        }
        self.builder().apply1(Cast { dtype }, &[self])
    }
}
