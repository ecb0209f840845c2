//! `split`: cuts a tensor along one axis into pieces of given sizes.

use gabion_tensor::{Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::sample::{Sample, Sampler};

/// Cuts `x` along `axis` into one result per size. The sizes sum to the axis (proved, or guarded).
/// Any dtype; a block format is not cut along its last axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// The sizes of the results along it, each at least 0.
    pub sizes: Vec<Dim>,
}

impl OpDef for Split {
    const NAME: &'static str = "split";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        let rank = x.shape.rank();
        let axis = normalize_axis(self.axis, rank)?;
        if x.dtype.is_block() && axis + 1 == rank {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when cutting the last axis",
                x.dtype,
            ));
        }
        if self.sizes.is_empty() {
            return Err(TypeError::new("sizes: expected at least 1, found none"));
        }
        for (i, size) in self.sizes.iter().enumerate() {
            let (lhs, rhs) = (Dim::fixed(0), size.clone());
            let why = format!("sizes[{i}] is at least 0");
            cx.require(
                Constraint {
                    lhs,
                    relation: Relation::Le,
                    rhs,
                },
                &why,
            )?;
        }
        let sum = self
            .sizes
            .iter()
            .fold(Dim::fixed(0), |sum, size| &sum + size);
        cx.require_eq(
            &sum,
            &x.shape[axis],
            &format!("operand 0, axis {axis}: the sizes sum to it"),
        )?;
        let piece = |size: &Dim| {
            let mut shape = x.shape.clone();
            shape[axis] = size.clone();
            TensorType::new(x.dtype, shape)
        };
        Ok(self.sizes.iter().map(piece).collect())
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let axis = normalize_axis(self.axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
        let outer: usize = x.shape()[..axis].iter().product();
        let row = x
            .bytes()
            .len()
            .checked_div(outer * x.shape()[axis])
            .unwrap_or(0);
        let mut begin = 0;
        let mut pieces = HostTensors::new();
        for i in 0..self.sizes.len() {
            let shape = cx.shape(i)?;
            let size = shape[axis];
            if begin + size > x.shape()[axis] {
                return Err(EvalError::Value(format!(
                    "the sizes sum to more than axis {axis} of shape {:?}",
                    x.shape()
                )));
            }
            let mut bytes = Vec::with_capacity(outer * size * row);
            for o in 0..outer {
                let at = (o * x.shape()[axis] + begin) * row;
                bytes.extend_from_slice(&x.bytes()[at..at + size * row]);
            }
            pieces.push(HostTensor::new(x.dtype(), &shape, bytes)?);
            begin += size;
        }
        Ok(pieces)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 4);
        let axis = s.size(0, rank - 1);
        let sizes: Vec<usize> = (0..s.size(1, 4)).map(|_| s.size(0, 4)).collect();
        let mut shape = s.shape(rank, 4);
        shape[axis] = sizes.iter().sum();
        let dtype = s.choose(&DType::PLAIN);
        let x = s.tensor_with_specials(dtype, &shape);
        let axis = if s.one_in(3) {
            axis as i64 - rank as i64
        } else {
            axis as i64
        };
        Sample::new(
            Split {
                axis,
                sizes: sizes.into_iter().map(Dim::from).collect(),
            },
            vec![x],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// Cuts along `axis` into pieces of these sizes: always as many values as sizes. See [`Split`].
    #[track_caller]
    pub fn split<D: Into<Dim>>(
        self,
        sizes: impl IntoIterator<Item = D>,
        axis: i64,
    ) -> Vec<TensorValue<'g>> {
        let sizes: Vec<Dim> = sizes.into_iter().map(Into::into).collect();
        let n = sizes.len();
        let mut pieces = self
            .builder()
            .apply(Split { axis, sizes }, &[self])
            .into_vec();
        // A wrong call yields one poisoned value: the caller destructures as many as it asked for.
        if let Some(&first) = pieces.first() {
            pieces.resize(n.max(1), first);
        }
        pieces
    }

    /// As [`TensorValue::split`], to be destructured: `let [q, k, v] = x.split_n([576, 192, 192], -1)`.
    #[track_caller]
    pub fn split_n<D: Into<Dim>, const N: usize>(
        self,
        sizes: [D; N],
        axis: i64,
    ) -> [TensorValue<'g>; N] {
        let pieces = self.split(sizes, axis);
        std::array::from_fn(|i| pieces[i])
    }

    /// Cuts along `axis` into `n` equal pieces.
    #[track_caller]
    pub fn chunk(self, n: usize, axis: i64) -> Vec<TensorValue<'g>> {
        if n == 0 {
            return vec![
                self.builder()
                    .poison("chunk", "expected at least 1 piece, found 0".to_owned()),
            ];
        }
        let Ok(size) = self.dim(axis).floor_div(&Dim::from(n)) else {
            return vec![
                self.builder()
                    .poison("chunk", format!("cannot cut into {n} pieces"));
                n
            ];
        };
        self.split(vec![size; n], axis)
    }
}
