//! Random attention: grouped heads, masks that broadcast, positions in a cache.

use gabion_tensor::{DType, HostTensor};

use super::Attention;
use crate::ops::float::Float;
use crate::sample::{Sample, Sampler};

/// An operator with its operands.
pub(super) fn sample(s: &mut Sampler) -> Sample {
    let batch_rank = s.size(0, 2);
    let batch = s.shape(batch_rank, 2);
    let kv_heads = s.size(1, 3);
    let heads = kv_heads * s.size(1, 3);
    let (queries, keys) = (s.size(1, 5), s.size(1, 9));
    let (head_dim, value_dim) = (s.choose(&[1, 3, 8, 16]), s.choose(&[2, 5, 8]));
    let mut op = Attention {
        scale: Float(s.choose(&[1.0, 0.25, 0.125])),
        causal: s.one_in(2),
        mask: s.one_in(2),
        position: false,
    };
    op.position = queries <= keys && s.one_in(2);
    let dtype = s.choose(&[DType::F32, DType::F32, DType::F16, DType::BF16, DType::F64]);
    let cache = if dtype == DType::F32 {
        s.choose(&[DType::F32, DType::F16, DType::BF16])
    } else {
        dtype
    };
    let mut operand = |dtype: DType, tail: [usize; 3]| {
        let shape: Vec<usize> = batch.iter().copied().chain(tail).collect();
        s.tensor_in(dtype, &shape, -2.0, 2.0)
    };
    let mut args = vec![
        operand(dtype, [queries, heads, head_dim]),
        operand(cache, [keys, kv_heads, head_dim]),
        operand(cache, [keys, kv_heads, value_dim]),
    ];
    if op.mask {
        let mut shape = batch.clone();
        shape.extend([heads, queries, keys]);
        shape.drain(..s.size(0, shape.len() - 1));
        let stretch =
            |size: &mut usize, s: &mut Sampler| *size = if s.one_in(3) { 1 } else { *size };
        shape
            .iter_mut()
            .rev()
            .skip(1)
            .for_each(|size| stretch(size, s));
        args.push(if s.one_in(2) {
            s.tensor(DType::Bool, &shape)
        } else {
            s.tensor(DType::F32, &shape)
        });
    }
    if op.position {
        args.push(HostTensor::scalar(s.int(0, (keys - queries) as i64)));
    }
    Sample::new(op, args)
}
