//! `rms_norm` and `layer_norm` over the last axis.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::ReduceFn;
use crate::ops::float::Float;
use crate::ops::lanes::from_f64;
use crate::ops::requirements::{float, promote, rank_at_least, wide};
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

/// The rule of both: every operand but the first has the shape of the last axis.
fn infer(eps: Float, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
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
fn eval(
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

fn decompose<'g>(
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

fn sample(s: &mut Sampler, operands: usize) -> (Float, Vec<HostTensor>) {
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

impl OpDef for RmsNorm {
    const NAME: &'static str = "rms_norm";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        crate::op::operands::<2>(args)?;
        infer(self.eps, args, cx)
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        eval(self.eps, false, args, cx.result(0).dtype)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        decompose(self.eps, false, args)
    }

    fn tolerance(&self) -> Tolerance {
        // A sum of squares cancels nothing: a few f32 roundings.
        Tolerance::Norm(2e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (eps, args) = sample(s, 2);
        Sample::new(RmsNorm { eps }, args)
    }
}

impl OpDef for LayerNorm {
    const NAME: &'static str = "layer_norm";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        if !(2..=3).contains(&args.len()) {
            return Err(TypeError::arity("2 or 3", args.len()));
        }
        infer(self.eps, args, cx)
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        eval(self.eps, true, args, cx.result(0).dtype)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        decompose(self.eps, true, args)
    }

    fn tolerance(&self) -> Tolerance {
        // Subtracting an f32 mean loses a digit where a row varies little.
        Tolerance::Norm(5e-6)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let operands = s.size(2, 3);
        let (eps, mut args) = sample(s, operands);
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
    /// Root-mean-square norm over the last axis; see [`RmsNorm`].
    #[track_caller]
    pub fn rms_norm(self, weight: TensorValue<'g>, eps: f64) -> TensorValue<'g> {
        self.builder()
            .apply1(RmsNorm { eps: Float(eps) }, &[self, weight])
    }

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
