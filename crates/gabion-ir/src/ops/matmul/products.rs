//! The loops of `matmul`.

use std::borrow::Cow;

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

/// Dot products whose sums run side by side, each in the order of its axis.
const SIDE_BY_SIDE: usize = 4;

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
        let mut out = Vec::with_capacity(pairs.len() * m * n);
        for &(pa, pb) in pairs {
            let rows = lines(&a[pa * m * k..(pa + 1) * m * k], m, k, !self.transpose_a);
            let columns = lines(&b[pb * k * n..(pb + 1) * k * n], n, k, self.transpose_b);
            for row in (0..m).map(|i| &rows[i * k..(i + 1) * k]) {
                let column = |j: usize| &columns[j * k..(j + 1) * k];
                let whole = n - n % SIDE_BY_SIDE;
                for j in (0..whole).step_by(SIDE_BY_SIDE) {
                    let columns: [&[T]; SIDE_BY_SIDE] = std::array::from_fn(|c| column(j + c));
                    out.extend(dots(row, columns, zero, &add));
                }
                out.extend((whole..n).flat_map(|j| dots(row, [column(j)], zero, &add)));
            }
        }
        out
    }
}

/// The `count` lines of `length` elements that are summed along, each contiguous.
fn lines<T: Copy>(matrix: &[T], count: usize, length: usize, contiguous: bool) -> Cow<'_, [T]> {
    if contiguous {
        return Cow::Borrowed(matrix);
    }
    let line = |j: usize| (0..length).map(move |i| matrix[i * count + j]);
    Cow::Owned((0..count).flat_map(line).collect())
}

fn dots<T: Copy, const N: usize>(
    row: &[T],
    columns: [&[T]; N],
    zero: T,
    add: impl Fn(T, T, T) -> T,
) -> [T; N] {
    let mut sums = [zero; N];
    for (i, &x) in row.iter().enumerate() {
        for (sum, column) in sums.iter_mut().zip(columns) {
            *sum = add(*sum, x, column[i]);
        }
    }
    sums
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
