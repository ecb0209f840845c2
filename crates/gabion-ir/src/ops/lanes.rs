//! Element values in the type that an operator computes in, for the reference evaluator.

use gabion_tensor::{Bool, DType, HostTensor, TensorError};

use crate::op::EvalError;

/// All values of a tensor. f16 and bf16 are computed in f32 and rounded once when written;
/// integers are computed in 64 bits and keep the low bits when written.
#[derive(Clone, Debug)]
pub(crate) enum Lanes {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

impl Lanes {
    /// The values, converted to `dtype` first.
    pub(crate) fn read(tensor: &HostTensor, dtype: DType) -> Result<Self, TensorError> {
        let tensor = tensor.cast(dtype)?;
        Ok(match dtype {
            DType::Bool => Lanes::Bool(
                tensor
                    .to_vec::<Bool>()?
                    .into_iter()
                    .map(bool::from)
                    .collect(),
            ),
            DType::F64 => Lanes::F64(tensor.to_f64_vec()?),
            _ if dtype.is_signed_int() => Lanes::I64(tensor.to_i64_vec()?),
            _ if dtype.is_unsigned_int() => Lanes::U64(tensor.cast(DType::U64)?.to_vec()?),
            _ => Lanes::F32(tensor.to_f32_vec()?),
        })
    }

    /// A tensor of `dtype`, each value rounded once.
    pub(crate) fn into_tensor(
        self,
        dtype: DType,
        shape: &[usize],
    ) -> Result<HostTensor, TensorError> {
        match self {
            Lanes::F32(values) => HostTensor::from_vec(shape, values)?.cast(dtype),
            Lanes::F64(values) => HostTensor::from_vec(shape, values)?.cast(dtype),
            Lanes::I64(values) => HostTensor::from_vec(shape, values)?.cast(dtype),
            Lanes::U64(values) => HostTensor::from_vec(shape, values)?.cast(dtype),
            Lanes::Bool(values) => {
                let bytes = values.into_iter().map(Bool::from).collect();
                HostTensor::from_vec::<Bool>(shape, bytes)?.cast(dtype)
            }
        }
    }
}

/// A float tensor from f64 values, each rounded once.
pub(crate) fn from_f64(
    dtype: DType,
    shape: &[usize],
    values: Vec<f64>,
) -> Result<HostTensor, TensorError> {
    Lanes::F64(values).into_tensor(dtype, shape)
}

/// The values of an index operand, each checked to be in `0..size`.
pub(crate) fn indices(
    tensor: &HostTensor,
    size: usize,
    what: &str,
) -> Result<Vec<usize>, EvalError> {
    let wide = match tensor.dtype() {
        // An index that i64 cannot hold is out of range as well.
        DType::U64 => {
            let values = tensor.to_vec::<u64>()?;
            values
                .into_iter()
                .map(|v| i64::try_from(v).unwrap_or(i64::MAX))
                .collect()
        }
        _ => tensor.to_i64_vec()?,
    };
    let check = |index: i64| {
        usize::try_from(index)
            .ok()
            .filter(|&i| i < size)
            .ok_or_else(|| EvalError::Index {
                what: what.to_owned(),
                index,
                size,
            })
    };
    wide.into_iter().map(check).collect()
}
