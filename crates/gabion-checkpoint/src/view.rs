//! A tensor together with the order in which its rows are to be read: the way in which a permuted weight is loaded without a
//! copy. Which tensors are permuted is said by `gguf`.

use gabion_tensor::{AlignedBuf, HostTensor};

use crate::error::TensorProblem;

/// An order of rows inside groups of equal size, computed on demand. Row `i` of the view is row
/// [`source_row`](RowMap::source_row)`(i)` of the stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowMap {
    head_dim: usize,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    HalvesFromPairs,
    PairsFromHalves,
}

impl RowMap {
    /// Reads heads whose rotary pairs are neighbouring rows (GGUF `llama`) as heads whose rotary pairs are half a head apart
    /// (Hugging Face). `head_dim` is even and not zero.
    pub fn halves_from_pairs(head_dim: usize) -> Self {
        RowMap {
            head_dim,
            order: Order::HalvesFromPairs,
        }
    }

    /// The inverse of [`RowMap::halves_from_pairs`].
    pub fn pairs_from_halves(head_dim: usize) -> Self {
        RowMap {
            head_dim,
            order: Order::PairsFromHalves,
        }
    }

    /// The stored row that is row `row` of the view.
    pub fn source_row(&self, row: usize) -> usize {
        let half = self.head_dim / 2;
        if half == 0 {
            return row;
        }
        let within = row % self.head_dim;
        let head_start = row - within;
        head_start
            + match self.order {
                Order::HalvesFromPairs => 2 * (within % half) + within / half,
                Order::PairsFromHalves => (within % 2) * half + within / 2,
            }
    }

    /// The stored rows in the view's order, for a tensor of `rows` rows.
    pub fn source_rows(&self, rows: usize) -> impl Iterator<Item = usize> {
        let map = *self;
        (0..rows).map(move |row| map.source_row(row))
    }
}

/// A tensor and the order of its rows.
#[derive(Clone, Debug)]
pub struct TensorView {
    /// The stored tensor: mapped bytes, with the rows as the file has them.
    pub tensor: HostTensor,
    /// The order in which the rows are to be read, or `None` for the stored order.
    pub row_map: Option<RowMap>,
}

impl TensorView {
    /// Rows along axis 0: 1 for a scalar.
    pub fn n_rows(&self) -> usize {
        self.tensor.shape().first().copied().unwrap_or(1)
    }

    /// Bytes of a row; 0 if there are none.
    pub fn row_bytes(&self) -> usize {
        self.tensor
            .bytes()
            .len()
            .checked_div(self.n_rows())
            .unwrap_or(0)
    }

    /// The bytes of row `row` of the view, in the tensor's own format; `None` beyond the last row.
    pub fn row(&self, row: usize) -> Option<&[u8]> {
        if row >= self.n_rows() {
            return None;
        }
        let source = self.row_map.map_or(row, |map| map.source_row(row));
        let begin = source * self.row_bytes();
        self.tensor.bytes().get(begin..begin + self.row_bytes())
    }

    /// The tensor with its rows in order: the stored tensor itself where they are, a copy elsewhere. Encoded blocks are moved
    /// whole, so no value changes.
    ///
    /// # Errors
    /// The tensor library refuses the copy.
    pub fn materialize(&self) -> Result<HostTensor, TensorProblem> {
        if self.row_map.is_none() {
            return Ok(self.tensor.clone());
        }
        let row_bytes = self.row_bytes();
        let mut bytes = AlignedBuf::zeroed(self.tensor.bytes().len());
        for row in 0..self.n_rows() {
            if let Some(source) = self.row(row) {
                bytes[row * row_bytes..][..row_bytes].copy_from_slice(source);
            }
        }
        HostTensor::new(self.tensor.dtype(), self.tensor.shape(), bytes)
            .map_err(|error| TensorProblem::Tensor(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_orders_undo_each_other() {
        for head_dim in [2, 4, 6, 64] {
            let there = RowMap::halves_from_pairs(head_dim);
            let back = RowMap::pairs_from_halves(head_dim);
            for row in 0..3 * head_dim {
                assert_eq!(back.source_row(there.source_row(row)), row);
                assert_eq!(there.source_row(back.source_row(row)), row);
            }
        }
    }

    #[test]
    fn pairs_come_apart_into_halves() {
        // A head of six rows stored as a0 b0 a1 b1 a2 b2 reads a0 a1 a2 b0 b1 b2; the second head likewise.
        let rows: Vec<usize> = RowMap::halves_from_pairs(6).source_rows(12).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn a_view_moves_whole_rows() {
        let values: Vec<f32> = (0..12).map(|it| it as f32).collect();
        let tensor = HostTensor::from_slice(&[4, 3], &values).unwrap();
        let view = TensorView {
            tensor,
            row_map: Some(RowMap::halves_from_pairs(4)),
        };
        let moved = view.materialize().unwrap();
        assert_eq!(
            moved.to_f32_vec().unwrap(),
            [0., 1., 2., 6., 7., 8., 3., 4., 5., 9., 10., 11.]
        );
        assert_eq!(view.row(4), None);
    }
}
