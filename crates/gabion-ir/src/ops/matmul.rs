//! `matmul`: products of matrices, with numpy's rules for vectors and batches.

mod products;

use gabion_tensor::{DType, Dim, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::broadcasting::{broadcast_dims, broadcast_positions};
use crate::ops::lanes::from_f64;
use crate::ops::requirements::{number, promote, rank_at_least};
use crate::sample::{Sample, Sampler};

use products::{Sizes, integers};

/// `a [batch.., m, k]` times `b [batch.., k, n]` gives `[batch.., m, n]`. Batch axes broadcast. An
/// operand of rank 1 is a row (`a`) or a column (`b`), whose axis of size 1 the result lacks.
/// Floats and integers; the result has the dtype that holds both. Floats: the exact sum rounded
/// once (f64 here, f32 or better in executors); integers wrap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matmul {
    /// `a` is stored `[batch.., k, m]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transpose_a: bool,
    /// `b` is stored `[batch.., n, k]`, as the weights of linear layers are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transpose_b: bool,
}

/// A shape as (batch, rows, columns); rank 1 is a row of `a` or a column of `b`.
fn matrix<T: Clone>(shape: &[T], transposed: bool, is_a: bool, one: T) -> (&[T], T, T) {
    let (batch, last) = match shape {
        [single] if is_a => return (&[], one, single.clone()),
        [single] => return (&[], single.clone(), one),
        _ => shape.split_at(shape.len() - 2),
    };
    let (rows, columns) = if transposed {
        (&last[1], &last[0])
    } else {
        (&last[0], &last[1])
    };
    (batch, rows.clone(), columns.clone())
}

impl OpDef for Matmul {
    const NAME: &'static str = "matmul";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [a, b] = operands(args)?;
        for (i, (ty, transposed)) in [(a, self.transpose_a), (b, self.transpose_b)]
            .into_iter()
            .enumerate()
        {
            number(i, ty)?;
            rank_at_least(i, if transposed { 2 } else { 1 }, ty)?;
        }
        let dtype = promote(args)?;
        let (a_batch, m, a_inner) = matrix(&a.shape, self.transpose_a, true, Dim::fixed(1));
        let (b_batch, b_inner, n) = matrix(&b.shape, self.transpose_b, false, Dim::fixed(1));
        cx.require_eq(
            &a_inner,
            &b_inner,
            "the summed axes of operands 0 and 1 are equal",
        )?;
        let mut shape = broadcast_dims(&[a_batch, b_batch], cx)?.to_vec();
        shape.extend((a.shape.rank() > 1).then_some(m));
        shape.extend((b.shape.rank() > 1).then_some(n));
        Ok(smallvec![TensorType::new(
            dtype,
            shape.into_iter().collect::<gabion_tensor::Shape>()
        )])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (a, b) = (&args[0], &args[1]);
        let (dtype, shape) = (cx.result(0).dtype, cx.shape(0)?);
        let (a_batch, m, k) = matrix(a.shape(), self.transpose_a, true, 1);
        let (b_batch, b_inner, n) = matrix(b.shape(), self.transpose_b, false, 1);
        if k != b_inner {
            return Err(EvalError::Value(format!(
                "the summed axes are {k} and {b_inner}, expected equal sizes"
            )));
        }
        let batch = &shape[..a_batch.len().max(b_batch.len())];
        let a_at = broadcast_positions(a_batch, batch)?;
        let pairs: Vec<(usize, usize)> = a_at
            .into_iter()
            .zip(broadcast_positions(b_batch, batch)?)
            .collect();
        let sizes = Sizes {
            m,
            k,
            n,
            transpose_a: self.transpose_a,
            transpose_b: self.transpose_b,
        };
        let out = if dtype.is_float() {
            let (a, b) = (a.to_f64_vec()?, b.to_f64_vec()?);
            let values = sizes.product(&a, &b, &pairs, 0.0, |sum, x, y| sum + x * y);
            from_f64(dtype, &shape, values)?
        } else {
            integers(a, b, dtype, &shape, &sizes, &pairs)?
        };
        Ok(smallvec![out])
    }

    fn tolerance(&self) -> Tolerance {
        // f32 sums of up to a few hundred products in any order; random signs cancel one or two digits.
        Tolerance::Norm(2e-5)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let op = Matmul {
            transpose_a: s.one_in(3),
            transpose_b: s.one_in(2),
        };
        let sizes = [1, 2, 3, 5, 8, 17, 31];
        let (m, n, k) = (
            s.choose(&sizes),
            s.choose(&sizes),
            s.choose(&[1, 2, 7, 32, 65]),
        );
        let batch_rank = s.size(0, 2);
        let batch = s.shape(batch_rank, 3);
        let mut side = |transposed: bool, rows: usize, columns: usize, vector: usize| {
            if !transposed && s.one_in(6) {
                return vec![vector];
            }
            let mut shape = batch[s.size(0, batch.len())..].to_vec();
            for size in &mut shape {
                if s.one_in(3) {
                    *size = 1;
                }
            }
            shape.extend(if transposed {
                [columns, rows]
            } else {
                [rows, columns]
            });
            shape
        };
        let (a, b) = (side(op.transpose_a, m, k, k), side(op.transpose_b, k, n, k));
        let dtypes = [
            DType::F32,
            DType::F32,
            DType::F16,
            DType::BF16,
            DType::F64,
            DType::I32,
            DType::U8,
        ];
        let dtype = s.choose(&dtypes);
        let other = if dtype == DType::F32 {
            s.choose(&[DType::F32, DType::BF16, DType::F16])
        } else {
            dtype
        };
        Sample::new(op, vec![s.tensor(dtype, &a), s.tensor(other, &b)])
    }
}

impl<'g> TensorValue<'g> {
    /// The matrix product; see [`Matmul`].
    #[track_caller]
    pub fn matmul(self, other: TensorValue<'g>) -> TensorValue<'g> {
        self.builder().apply1(Matmul::default(), &[self, other])
    }

    /// The product with a transposed matrix, `x W^T`: `[.., k]` with `[n, k]` gives `[.., n]`.
    #[track_caller]
    pub fn matmul_t(self, weight: TensorValue<'g>) -> TensorValue<'g> {
        self.builder().apply1(
            Matmul {
                transpose_a: false,
                transpose_b: true,
            },
            &[self, weight],
        )
    }
}
