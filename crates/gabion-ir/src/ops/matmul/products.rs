//! The loops of `matmul`.

use gabion_tensor::{DType, HostTensor, TensorError};

use crate::ops::lanes::Lanes;

/// The sizes of one product of matrices and how they are stored.
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) transpose_a: bool,
    pub(super) transpose_b: bool,
}

impl Sizes {
    /// All dot products, batch by batch; `pairs` are the batch numbers of `a` and `b`.
    pub(super) fn product<T: Copy>(
        &self,
        a: &[T],
        b: &[T],
        pairs: &[(usize, usize)],
        zero: T,
        add: impl Fn(T, T, T) -> T,
    ) -> Vec<T> {
        let &Sizes { m, k, n, .. } = self;
        // Strides along the summed axis and along the kept one.
        let (a_sum, a_row) = if self.transpose_a { (m, 1) } else { (1, k) };
        let (b_sum, b_column) = if self.transpose_b { (1, k) } else { (n, 1) };
        let mut out = Vec::with_capacity(pairs.len() * m * n);
        for &(pa, pb) in pairs {
            let (a, b) = (
                &a[pa * m * k..(pa + 1) * m * k],
                &b[pb * k * n..(pb + 1) * k * n],
            );
            for row in 0..m {
                for column in 0..n {
                    let term = |sum, i| {
                        add(
                            sum,
                            a[row * a_row + i * a_sum],
                            b[column * b_column + i * b_sum],
                        )
                    };
                    out.push((0..k).fold(zero, term));
                }
            }
        }
        out
    }
}

/// The products of integers, wrapping.
pub(super) fn integers(
    a: &HostTensor,
    b: &HostTensor,
    dtype: DType,
    shape: &[usize],
    sizes: &Sizes,
    pairs: &[(usize, usize)],
) -> Result<HostTensor, TensorError> {
    // Two's complement: the low bits are those of signed and of unsigned sums.
    let (a, b) = (a.cast(DType::I64)?.to_vec()?, b.cast(DType::I64)?.to_vec()?);
    let sum = |sum: i64, x: i64, y: i64| sum.wrapping_add(x.wrapping_mul(y));
    Lanes::I64(sizes.product(&a, &b, pairs, 0, sum)).into_tensor(dtype, shape)
}
