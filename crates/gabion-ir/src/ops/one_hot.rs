//! `one_hot`: indices as rows of zeros with a single one.

use gabion_tensor::{DType, Dim, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::lanes::{Lanes, indices};
use crate::ops::requirements::index;
use crate::ops::reshape::require_sizes;
use crate::ops::scatter::ScatterReduce;
use crate::sample::{Sample, Sampler};

/// Integer `indices [i..]` in `0..depth` give `[i.., depth]`: 1 at the index, 0 elsewhere (true and
/// false for bool).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneHot {
    /// The size of the new last axis.
    pub depth: Dim,
    /// The dtype of the result, plain.
    pub dtype: DType,
}

impl OpDef for OneHot {
    const NAME: &'static str = "one_hot";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        index(0, x)?;
        require_sizes(std::slice::from_ref(&self.depth))?;
        if self.dtype.is_block() {
            return Err(TypeError::new(format!(
                "dtype: expected a plain dtype, found {}",
                self.dtype
            )));
        }
        let shape: gabion_tensor::Shape = x.shape.iter().chain([&self.depth]).cloned().collect();
        Ok(smallvec![TensorType::new(self.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let shape = cx.shape(0)?;
        let depth = shape[shape.len() - 1];
        let mut hot = vec![false; shape.iter().product()];
        for (row, i) in indices(&args[0], depth, "one_hot, operand 0")?
            .into_iter()
            .enumerate()
        {
            hot[row * depth + i] = true;
        }
        Ok(smallvec![Lanes::Bool(hot).into_tensor(self.dtype, &shape)?])
    }

    /// Ones scattered into zeros: an index out of range is still an error.
    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let (b, at) = (args[0].builder(), args[0].unsqueeze(-1));
        let shape: Vec<Dim> = args[0].shape().iter().chain([&self.depth]).cloned().collect();
        let zeros = b.scalar(self.dtype, 0.0).broadcast_to(shape);
        let ones = b.scalar(self.dtype, 1.0).broadcast_to(at.shape().to_vec());
        Some(vec![zeros.scatter(at, ones, -1, ScatterReduce::None)])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(0, 2);
        let (shape, depth) = (s.shape(rank, 5), s.size(1, 9));
        let index_dtype = s.choose(&[DType::I64, DType::I32, DType::U8]);
        let at = s.indices(index_dtype, &shape, depth);
        Sample::new(
            OneHot {
                depth: Dim::from(depth),
                dtype: s.choose(&DType::PLAIN),
            },
            vec![at],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// The indices as rows with a single 1; see [`OneHot`].
    #[track_caller]
    pub fn one_hot(self, depth: impl Into<Dim>, dtype: DType) -> TensorValue<'g> {
        self.builder().apply1(
            OneHot {
                depth: depth.into(),
                dtype,
            },
            &[self],
        )
    }
}
