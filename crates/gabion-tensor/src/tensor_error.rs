//! What can be wrong with a host tensor.

use crate::bytes::BytesRangeError;
use crate::dtype::DType;
use crate::format::FormatError;

/// Why a host tensor cannot be made, read or converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// There is no memory for so many bytes.
    #[error(
        "{dtype}{shape:?} takes {bytes} bytes, which cannot be allocated: smaller sizes are needed"
    )]
    Memory {
        /// The dtype.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes of the type.
        bytes: usize,
    },
    /// The bytes are not those of the type.
    #[error("{dtype}{shape:?} takes {expected} bytes, found {found}")]
    ByteCount {
        /// The dtype.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes of the type.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The values are not those of the shape.
    #[error("shape {shape:?} holds {expected} values, found {found}")]
    ValueCount {
        /// The shape.
        shape: Vec<usize>,
        /// Values of the shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The size overflows, or blocks do not fill the last axis.
    #[error(
        "{dtype}{shape:?} has no size: the byte count overflows, or the last axis is no multiple of {} values",
        dtype.block_elems()
    )]
    NoSize {
        /// The dtype.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A bool tensor with a byte that is neither 0 nor 1.
    #[error("bool element {index} is byte {value}, expected 0 or 1")]
    BoolByte {
        /// Where.
        index: usize,
        /// The byte.
        value: u8,
    },
    /// Read as another dtype than it has.
    #[error("the tensor is {found}, read as {expected}; cast it first")]
    WrongDType {
        /// What the reader asked for.
        expected: DType,
        /// What the tensor is.
        found: DType,
    },
    /// Mapped bytes that do not start on an element boundary.
    #[error(
        "the bytes of a {dtype} tensor do not start on a multiple of {align}; copy them with `to_vec`"
    )]
    Misaligned {
        /// The dtype.
        dtype: DType,
        /// The alignment that a slice needs.
        align: usize,
    },
    /// No conversion between the two dtypes.
    #[error("no cast from {from} to {to}; go through f32")]
    NoCast {
        /// The tensor's dtype.
        from: DType,
        /// The dtype asked for.
        to: DType,
    },
    /// Another number of elements.
    #[error("cannot reshape {from:?} to {to:?}: {found} elements, expected {expected}")]
    Reshape {
        /// The tensor's shape.
        from: Vec<usize>,
        /// The shape asked for.
        to: Vec<usize>,
        /// Elements of the tensor.
        expected: usize,
        /// Elements of the shape asked for.
        found: usize,
    },
    /// Rows outside the first axis, or that cut a block.
    #[error(
        "rows {start}..{end} of {dtype}{shape:?}: outside the first axis, or not on a block boundary"
    )]
    Rows {
        /// The dtype.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// First row asked for.
        start: usize,
        /// One past the last row asked for.
        end: usize,
    },
    /// A codec refused its lengths.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A slice outside the bytes.
    #[error(transparent)]
    BytesRange(#[from] BytesRangeError),
}
