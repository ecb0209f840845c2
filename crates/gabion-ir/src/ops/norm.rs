//! What `rms_norm` and `layer_norm` share: both scale rows of the last axis.

use gabion_tensor::{DType, HostTensor, TensorType};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalError, HostTensors, InferCx, Results, TypeError};
use crate::ops::ReduceFn;
use crate::ops::float::Float;
use crate::ops::lanes::from_f64;
use crate::ops::requirements::{float, promote, rank_at_least, wide};
use crate::sample::Sampler;

/// The rule of both: every operand but the first has the shape of the last axis.
pub(crate) fn infer(
    eps: Float,
    args: &[TensorType],
    cx: &mut InferCx<'_>,
) -> Result<Results, TypeError> {
    if !(eps.0 >= 0.0 && eps.0.is_finite()) {
        return Err(TypeError::new(format!(
            "eps: expected a number of at least 0, found {eps}"
        )));
    }
    for (i, arg) in args.iter().enumerate() {
        float(i, arg)?;
    }
    rank_at_least(0, 1, &args[0])?;
    let last = args[0].shape.rank() - 1;
    for (i, arg) in args.iter().enumerate().skip(1) {
        if arg.shape.rank() != 1 {
            return Err(TypeError::rank(i, "rank 1", arg));
        }
        let why = format!("operand {i}, axis 0: the size of the last axis of operand 0");
        cx.require_eq(&arg.shape[0], &args[0].shape[last], &why)?;
    }
    Ok(smallvec![TensorType::new(
        promote(args)?,
        args[0].shape.clone()
    )])
}

/// Normalises each row; `center` subtracts the mean.
pub(crate) fn eval(
    eps: Float,
    center: bool,
    args: &[HostTensor],
    dtype: DType,
) -> Result<HostTensors, EvalError> {
    let x = &args[0];
    let n = x.shape()[x.rank() - 1];
    let (mut values, weight) = (x.to_f64_vec()?, args[1].to_f64_vec()?);
    let bias = args.get(2).map(HostTensor::to_f64_vec).transpose()?;
    if weight.len() != n || bias.as_ref().is_some_and(|b| b.len() != n) {
        return Err(EvalError::Value(format!(
            "expected a weight of {n} elements, found {}",
            weight.len()
        )));
    }
    for row in values.chunks_exact_mut(n.max(1)) {
        let mean = if center {
            row.iter().sum::<f64>() / n as f64
        } else {
            0.0
        };
        let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        let scale = 1.0 / (square + eps.0).sqrt();
        for (i, x) in row.iter_mut().enumerate() {
            *x = (*x - mean) * scale * weight[i] + bias.as_ref().map_or(0.0, |b| b[i]);
        }
    }
    Ok(smallvec![from_f64(dtype, x.shape(), values)?])
}

/// The same in reductions and maths.
pub(crate) fn decompose<'g>(
    eps: Float,
    center: bool,
    args: &[TensorValue<'g>],
) -> Option<Vec<TensorValue<'g>>> {
    let dtype = args
        .iter()
        .try_fold(args[0].dtype(), |d, a| DType::promote(d, a.dtype()))?;
    let wide = wide(dtype);
    let mut x = args[0].cast(wide);
    if center {
        x = x - x.reduce(ReduceFn::Mean, &[-1], true);
    }
    let scale = (x.square().reduce(ReduceFn::Mean, &[-1], true) + eps.0).rsqrt();
    let mut out = x * scale * args[1].cast(wide);
    if let Some(bias) = args.get(2) {
        out = out + bias.cast(wide);
    }
    Some(vec![out.cast(dtype)])
}

/// An eps and operands.
pub(crate) fn sample(s: &mut Sampler, operands: usize) -> (Float, Vec<HostTensor>) {
    let rank = s.size(1, 3);
    let mut shape = s.shape(rank, 5);
    shape[rank - 1] = s.choose(&[1, 3, 8, 17, 64, 100]);
    let n = shape[rank - 1];
    let dtype = s.choose(&[DType::F32, DType::F32, DType::F16, DType::BF16, DType::F64]);
    let other = if dtype == DType::F32 {
        s.choose(&[DType::F32, DType::BF16, DType::F16])
    } else {
        dtype
    };
    let mut args = vec![s.tensor(dtype, &shape)];
    args.extend((1..operands).map(|_| s.tensor(other, &[n])));
    (Float(s.choose(&[1e-5, 1e-6, 1e-12])), args)
}
