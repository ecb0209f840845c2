//! `where`: one of two values, element by element.

use gabion_tensor::{Bool, DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::broadcasting::{broadcast, broadcast_positions};
use crate::ops::operators::Operand;
use crate::ops::requirements::promote;
use crate::ops::strides::pick;
use crate::sample::{Sample, Sampler};

/// Operands `condition` (bool), `a`, `b`: the elements of `a` where the condition holds, else those
/// of `b`. All three broadcast; the result has the dtype that holds `a` and `b`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {}

impl OpDef for Where {
    const NAME: &'static str = "where";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [condition, _, _] = operands(args)?;
        if !condition.dtype.is_bool() {
            return Err(TypeError::dtype(0, "a bool condition", condition.dtype));
        }
        let dtype = promote(&args[1..])?;
        Ok(smallvec![TensorType::new(dtype, broadcast(args, cx)?)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (dtype, shape) = (cx.result(0).dtype, cx.shape(0)?);
        let condition = args[0].to_vec::<Bool>()?;
        let chosen: Vec<bool> = broadcast_positions(args[0].shape(), &shape)?
            .into_iter()
            .map(|i| condition[i].into())
            .collect();
        let side = |arg: &HostTensor| -> Result<HostTensor, EvalError> {
            Ok(pick(
                &arg.cast(dtype)?,
                &shape,
                broadcast_positions(arg.shape(), &shape)?,
            )?)
        };
        let (a, b) = (side(&args[1])?, side(&args[2])?);
        let unit = dtype.block_bytes();
        let mut bytes = Vec::with_capacity(chosen.len() * unit);
        for (i, &first) in chosen.iter().enumerate() {
            let from = if first { &a } else { &b };
            bytes.extend_from_slice(&from.bytes()[i * unit..(i + 1) * unit]);
        }
        Ok(smallvec![HostTensor::new(dtype, &shape, bytes)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 4);
        let shape = s.shape(rank, 6);
        let dtype = s.choose(&DType::PLAIN);
        let narrower: Vec<DType> = DType::PLAIN
            .into_iter()
            .filter(|&d| DType::promote(d, dtype) == Some(dtype))
            .collect();
        let dtypes = [DType::Bool, dtype, s.choose(&narrower)];
        let args = dtypes.map(|dtype| {
            let mut own = shape[s.size(0, rank)..].to_vec();
            for size in &mut own {
                if s.one_in(4) {
                    *size = 1;
                }
            }
            s.tensor_with_specials(dtype, &own)
        });
        Sample::new(Where {}, args.to_vec())
    }
}

impl<'g> TensorValue<'g> {
    /// With a bool value: `a` where it holds, else `b`, one of which may be a number. See
    /// [`Where`].
    #[track_caller]
    pub fn where_(self, a: impl Operand<'g>, b: impl Operand<'g>) -> TensorValue<'g> {
        let like = match (a.value(), b.value()) {
            (Some(value), _) | (None, Some(value)) => value,
            (None, None) => {
                return self.builder().poison(
                    Where::NAME,
                    "two numbers have no dtype: make one a constant".to_owned(),
                );
            }
        };
        self.builder()
            .apply1(Where {}, &[self, a.operand(like), b.operand(like)])
    }
}
