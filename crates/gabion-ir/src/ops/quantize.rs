//! `quantize` and `dequantize`: floats to block formats and back. Quantisation is a value of the
//! graph: a quantised weight is `dequantize` of what is stored.

use gabion_tensor::{BlockFormat, Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::requirements::rank_at_least;
use crate::sample::{Sample, Sampler};

/// Encodes `x` (f32, f16 or bf16) in blocks along the last axis, which they fill exactly; see
/// [`gabion_tensor::Format::encode`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// The block format.
    pub dtype: DType,
}

/// The numbers that stored blocks mean: exact in f32, then rounded once to `dtype`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dequantize {
    /// f32, f16 or bf16.
    pub dtype: DType,
}

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

impl OpDef for Quantize {
    const NAME: &'static str = "quantize";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        if !self.dtype.is_block() {
            return Err(TypeError::new(format!(
                "dtype: expected a block format, found {} (`cast` makes it)",
                self.dtype
            )));
        }
        if !FLOATS.contains(&x.dtype) {
            return Err(TypeError::dtype(0, "f32, f16 or bf16", x.dtype));
        }
        rank_at_least(0, 1, x)?;
        let block = Dim::from(self.dtype.block_elems());
        let lhs = x.shape[x.shape.rank() - 1].rem(&block)?;
        let why = format!("operand 0: blocks of {block} elements fill the last axis of {x}");
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Eq,
                rhs: Dim::ZERO,
            },
            &why,
        )?;
        Ok(smallvec![TensorType::new(self.dtype, x.shape.clone())])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Ok(smallvec![args[0].cast(self.dtype)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (x, format) = sample(s);
        Sample::new(Quantize { dtype: format }, vec![x])
    }
}

impl OpDef for Dequantize {
    const NAME: &'static str = "dequantize";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        if !x.dtype.is_block() {
            return Err(TypeError::dtype(0, "a block format", x.dtype));
        }
        if !FLOATS.contains(&self.dtype) {
            return Err(TypeError::new(format!(
                "dtype: expected f32, f16 or bf16, found {}",
                self.dtype
            )));
        }
        Ok(smallvec![TensorType::new(self.dtype, x.shape.clone())])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        Ok(smallvec![args[0].cast(self.dtype)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let (x, format) = sample(s);
        // Floats of a whole number of blocks can be encoded.
        let x = x.cast(format).unwrap_or(x);
        Sample::new(
            Dequantize {
                dtype: s.choose(&FLOATS),
            },
            vec![x],
        )
    }
}

fn sample(s: &mut Sampler) -> (HostTensor, DType) {
    let format = DType::Block(s.choose(&BlockFormat::ALL));
    let rank = s.size(1, 3);
    let mut shape = s.shape(rank, 5);
    shape[rank - 1] = format.block_elems() * s.size(1, 3);
    let dtype = s.choose(&FLOATS);
    let scale = s.choose(&[1e-3, 1.0, 100.0]);
    (s.tensor_in(dtype, &shape, -scale, scale), format)
}

impl<'g> TensorValue<'g> {
    /// The value in a block format; see [`Quantize`].
    #[track_caller]
    pub fn quantize(self, dtype: DType) -> TensorValue<'g> {
        self.builder().apply1(Quantize { dtype }, &[self])
    }

    /// The numbers that a block format means; see [`Dequantize`].
    #[track_caller]
    pub fn dequantize(self, dtype: DType) -> TensorValue<'g> {
        self.builder().apply1(Dequantize { dtype }, &[self])
    }
}
