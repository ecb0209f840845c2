//! `gather`: whole slices along one axis, by index.

use gabion_tensor::{BlockFormat, DType, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::lanes::indices;
use crate::ops::requirements::index;
use crate::ops::strides::{around, pick, unit_shape};
use crate::sample::{Sample, Sampler};

/// `data [head.., n, tail..]` and integer `indices [i..]` give `[head.., i.., tail..]`: numpy's
/// `take`. Indices are in `0..n`; negative ones are refused. Any dtype; a block format is not
/// gathered along its last axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gather {
    /// The axis of `data`; negative counts from the back.
    pub axis: i64,
}

impl OpDef for Gather {
    const NAME: &'static str = "gather";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [data, at] = operands(args)?;
        let axis = normalize_axis(self.axis, data.shape.rank())?;
        index(1, at)?;
        if data.dtype.is_block() && axis + 1 == data.shape.rank() {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when gathering along the last axis",
                data.dtype,
            ));
        }
        let (head, tail) = (&data.shape[..axis], &data.shape[axis + 1..]);
        let shape: Shape = head
            .iter()
            .chain(at.shape.iter())
            .chain(tail)
            .cloned()
            .collect();
        Ok(smallvec![TensorType::new(data.dtype, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let data = &args[0];
        let axis =
            normalize_axis(self.axis, data.rank()).map_err(|e| EvalError::Value(e.message))?;
        let (outer, size, inner) = around(&unit_shape(data), axis);
        let places = indices(&args[1], size, "gather, operand 1")?;
        let places = &places;
        let from = (0..outer).flat_map(|o| {
            places
                .iter()
                .flat_map(move |&i| (0..inner).map(move |r| (o * size + i) * inner + r))
        });
        Ok(smallvec![pick(data, &cx.shape(0)?, from)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 3);
        let axis = s.size(0, rank - 1);
        let mut shape = s.shape(rank, 6);
        let index_rank = s.size(0, 2);
        let index_shape = s.shape(index_rank, 4);
        let index_dtype = s.choose(&[DType::I64, DType::I32, DType::U8, DType::U64]);
        let at = s.indices(index_dtype, &index_shape, shape[axis]);
        let blocks = axis + 1 < rank && s.one_in(4);
        let data = if blocks {
            shape[rank - 1] = 64;
            let values = s.tensor(DType::F32, &shape);
            values
                .cast(DType::Block(BlockFormat::Q8_0))
                .unwrap_or(values)
        } else {
            let dtype = s.choose(&DType::PLAIN);
            s.tensor_with_specials(dtype, &shape)
        };
        let axis = if s.one_in(3) {
            axis as i64 - rank as i64
        } else {
            axis as i64
        };
        Sample::new(Gather { axis }, vec![data, at])
    }
}

impl<'g> TensorValue<'g> {
    /// Slices along `axis` by index; see [`Gather`].
    #[track_caller]
    pub fn gather(self, indices: TensorValue<'g>, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(Gather { axis }, &[self, indices])
    }

    /// Rows of a table `[vocabulary, width]` by id: `[ids.., width]`. Rows of a block format are
    /// dequantised to f32.
    #[track_caller]
    pub fn embedding(self, ids: TensorValue<'g>) -> TensorValue<'g> {
        let rows = self.gather(ids, 0);
        if rows.dtype().is_block() {
            rows.dequantize(DType::F32)
        } else {
            rows
        }
    }
}
