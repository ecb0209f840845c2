//! Walks over row-major tensors, and copies of whole elements by position.

use gabion_tensor::{HostTensor, TensorError};

/// Row-major strides of a shape, in elements.
pub(crate) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// The strides that read an operand of shape `from` as if it had the broadcast shape `to`.
///
/// `None` if it does not broadcast.
pub(crate) fn broadcast_strides(from: &[usize], to: &[usize]) -> Option<Vec<isize>> {
    let lead = to.len().checked_sub(from.len())?;
    let own = strides(from);
    let mut out = vec![0isize; to.len()];
    for (axis, &size) in from.iter().enumerate() {
        match size {
            _ if size == to[lead + axis] => out[lead + axis] = own[axis],
            1 => {}
            _ => return None,
        }
    }
    Some(out)
}

/// The positions `start + sum(index * stride)` over every index of `shape`, in row-major order.
pub(crate) fn positions(shape: &[usize], strides: &[isize], start: isize) -> Vec<usize> {
    let numel: usize = shape.iter().product();
    let mut index = vec![0usize; shape.len()];
    let mut at = start;
    let mut out = Vec::with_capacity(numel);
    for _ in 0..numel {
        out.push(at as usize);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
    }
    out
}

/// The shape in units that can be copied: elements, or blocks of a block format (which lie along
/// the last axis).
pub(crate) fn unit_shape(tensor: &HostTensor) -> Vec<usize> {
    let mut shape = tensor.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last /= tensor.dtype().block_elems();
    }
    shape
}

/// A tensor of shape `shape` whose unit number `i` is unit `from[i]` of `source`.
pub(crate) fn pick(
    source: &HostTensor,
    shape: &[usize],
    from: impl IntoIterator<Item = usize>,
) -> Result<HostTensor, TensorError> {
    let unit = source.dtype().block_bytes();
    let bytes = source.bytes();
    let mut out = Vec::new();
    for at in from {
        out.extend_from_slice(&bytes[at * unit..(at + 1) * unit]);
    }
    HostTensor::new(source.dtype(), shape, out)
}

/// Sizes before, at and after `axis`: row-major position = (outer * size + index) * inner + rest.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (
        shape[..axis].iter().product(),
        shape[axis],
        shape[axis + 1..].iter().product(),
    )
}
