//! Tensors in host memory: dtype, shape and bytes, row-major. Conversions value by value live in `cast`.

use std::fmt;
use std::ops::Range;

use smallvec::SmallVec;

use crate::bytes::{AlignedBuf, Bytes};
use crate::cast::{CastFrom, CastFromAny};
use crate::dtype::DType;
use crate::element::{Element, with_element};
use crate::format::Format;
use crate::tensor_error::TensorError;

/// A tensor in host memory, row-major and without gaps. Clones share the bytes.
///
/// ```
/// use gabion_tensor::{DType, HostTensor};
/// let x = HostTensor::from_slice(&[2, 2], &[1.0f32, 2.5, -3.0, 4.0]).unwrap();
/// assert_eq!(x.rows(1..2).unwrap().to_vec::<f32>().unwrap(), [-3.0, 4.0]);
/// assert_eq!(x.cast(DType::I32).unwrap().to_vec::<i32>().unwrap(), [1, 2, -3, 4]);
/// ```
#[derive(Clone)]
pub struct HostTensor {
    dtype: DType,
    shape: SmallVec<[usize; 4]>,
    bytes: Bytes,
}

impl HostTensor {
    /// A tensor over these bytes.
    ///
    /// # Errors
    /// If the type has no size, if the bytes are not as many as its size, or if a bool byte is neither 0 nor 1.
    pub fn new(
        dtype: DType,
        shape: &[usize],
        bytes: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let bytes = bytes.into();
        let expected = size(dtype, shape)?;
        if bytes.len() != expected {
            return Err(TensorError::ByteCount {
                dtype,
                shape: shape.to_vec(),
                expected,
                found: bytes.len(),
            });
        }
        if dtype.is_bool()
            && let Some(index) = bytes.iter().position(|&b| b > 1)
        {
            return Err(TensorError::BoolByte {
                index,
                value: bytes[index],
            });
        }
        Ok(Self::of_parts(dtype, shape, bytes))
    }

    /// For bytes that are known to fit.
    fn of_parts(dtype: DType, shape: &[usize], bytes: Bytes) -> Self {
        HostTensor {
            dtype,
            shape: SmallVec::from_slice(shape),
            bytes,
        }
    }

    /// A copy of `values`.
    ///
    /// # Errors
    /// If there are not as many as the shape holds, or a [`crate::Bool`] is neither 0 nor 1.
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Self, TensorError> {
        let expected = numel(T::DTYPE, shape)?;
        if values.len() != expected {
            return Err(TensorError::ValueCount {
                shape: shape.to_vec(),
                expected,
                found: values.len(),
            });
        }
        Self::new(T::DTYPE, shape, bytemuck::cast_slice::<T, u8>(values))
    }

    /// The same as [`HostTensor::from_slice`], for a vector: the values move into aligned memory.
    ///
    /// # Errors
    /// As [`HostTensor::from_slice`].
    pub fn from_vec<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Self, TensorError> {
        Self::from_slice(shape, &values)
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self::of_parts(
            T::DTYPE,
            &[],
            Bytes::from(bytemuck::bytes_of(&normal_bool(value))),
        )
    }

    /// Zero bytes: zeros of a plain dtype, and of every block format here.
    ///
    /// # Errors
    /// If the type has no size, or there is no memory for it.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self, TensorError> {
        let bytes = zeroed(dtype, shape)?;
        Ok(Self::of_parts(dtype, shape, bytes.into()))
    }

    /// One value everywhere.
    ///
    /// # Errors
    /// If the type has no size, or there is no memory for it.
    pub fn full<T: Element>(shape: &[usize], value: T) -> Result<Self, TensorError> {
        let mut bytes = zeroed(T::DTYPE, shape)?;
        bytemuck::cast_slice_mut::<u8, T>(&mut bytes).fill(normal_bool(value));
        Ok(Self::of_parts(T::DTYPE, shape, bytes.into()))
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements: 1 for rank 0.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The stored bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stored bytes with their owner: for views, and to drop mapped pages.
    pub fn shared_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The values in place.
    ///
    /// # Errors
    /// If the dtype is another, or the bytes (mapped ones) do not start on an element boundary.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TensorError> {
        self.expect_dtype(T::DTYPE)?;
        bytemuck::try_cast_slice(&self.bytes).map_err(|_| TensorError::Misaligned {
            dtype: self.dtype,
            align: align_of::<T>(),
        })
    }

    /// The values in place, writable. Bytes that are shared or mapped are copied first.
    ///
    /// # Errors
    /// If the dtype is another.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        self.expect_dtype(T::DTYPE)?;
        Ok(bytemuck::cast_slice_mut(self.bytes.to_mut()))
    }

    /// A copy of the values; bytes may start anywhere.
    ///
    /// # Errors
    /// If the dtype is another.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, TensorError> {
        self.expect_dtype(T::DTYPE)?;
        Ok(bytemuck::pod_collect_to_vec(&self.bytes))
    }

    /// The values as f32: as [`HostTensor::cast`] to f32, from any dtype.
    ///
    /// # Errors
    /// None for a tensor that could be made.
    pub fn to_f32_vec(&self) -> Result<Vec<f32>, TensorError> {
        self.converted::<f32>()
    }

    /// The values as f64, from any dtype; block formats through f32.
    ///
    /// # Errors
    /// None for a tensor that could be made.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>, TensorError> {
        self.converted::<f64>()
    }

    /// The values as i64: floats are truncated and saturate.
    ///
    /// # Errors
    /// None for a tensor that could be made.
    pub fn to_i64_vec(&self) -> Result<Vec<i64>, TensorError> {
        self.converted::<i64>()
    }

    /// Converts every value.
    ///
    /// Integers keep their low bits; floats to integers truncate and saturate, NaN gives 0; to a float rounds to nearest, ties to
    /// even; to bool, all but zero is true. Block formats decode to floats (through f32), and floats encode to them.
    ///
    /// # Errors
    /// If one side is a block format and the other no float, or if blocks do not fill the last axis.
    pub fn cast(&self, to: DType) -> Result<HostTensor, TensorError> {
        let from = self.dtype;
        if from == to {
            return Ok(self.clone());
        }
        let castable = match (from.is_block(), to.is_block()) {
            (false, false) => true,
            (true, false) => to.is_float(),
            (false, true) => from.is_float(),
            (true, true) => false,
        };
        if !castable {
            return Err(TensorError::NoCast { from, to });
        }
        let mut out = zeroed(to, &self.shape)?;
        match (to, to.format()) {
            (DType::Block(_), Some(format)) => encode_runs(from, &self.bytes, format, &mut out)?,
            // Every f32 and bf16 is an f32, and halves are converted many at a time by their format.
            (DType::F16, Some(format)) if matches!(from, DType::F32 | DType::BF16) => {
                encode_runs(from, &self.bytes, format, &mut out)?;
            }
            _ => with_element!(to, T => {
                convert(from, &self.bytes, bytemuck::cast_slice_mut::<u8, T>(&mut out))?;
            }, block _format => {}),
        }
        Ok(Self::of_parts(to, &self.shape, out.into()))
    }

    fn converted<T: CastFromAny>(&self) -> Result<Vec<T>, TensorError> {
        let mut out = vec![T::zeroed(); self.numel()];
        convert(self.dtype, &self.bytes, &mut out)?;
        Ok(out)
    }

    /// The same values in another shape of as many elements.
    ///
    /// # Errors
    /// If the element counts differ, or blocks do not fill the last axis.
    pub fn reshape(&self, shape: &[usize]) -> Result<HostTensor, TensorError> {
        size(self.dtype, shape)?;
        let (expected, found) = (self.numel(), numel(self.dtype, shape)?);
        if expected != found {
            return Err(TensorError::Reshape {
                from: self.shape.to_vec(),
                to: shape.to_vec(),
                expected,
                found,
            });
        }
        Ok(Self::of_parts(self.dtype, shape, self.bytes.clone()))
    }

    /// A range of the first axis, sharing the bytes.
    ///
    /// # Errors
    /// For rank 0, for a range outside the axis, and for a range of rank 1 that cuts a block.
    pub fn rows(&self, range: Range<usize>) -> Result<HostTensor, TensorError> {
        let error = || TensorError::Rows {
            dtype: self.dtype,
            shape: self.shape.to_vec(),
            start: range.start,
            end: range.end,
        };
        let (&n, inner) = self.shape.split_first().ok_or_else(error)?;
        if range.start > range.end || range.end > n {
            return Err(error());
        }
        let at = |row: usize| match inner {
            [] => self.dtype.bytes_for(&[row]).ok_or_else(error),
            _ => Ok(self.bytes.len() / n.max(1) * row),
        };
        let bytes = self.bytes.slice(at(range.start)?..at(range.end)?)?;
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        Ok(Self::of_parts(self.dtype, &shape, bytes))
    }

    /// Equal dtype, shape and bytes: NaNs of equal bits are equal, zeros of different sign are not.
    pub fn bitwise_eq(&self, other: &HostTensor) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && *self.bytes == *other.bytes
    }

    fn expect_dtype(&self, expected: DType) -> Result<(), TensorError> {
        if self.dtype == expected {
            return Ok(());
        }
        Err(TensorError::WrongDType {
            expected,
            found: self.dtype,
        })
    }
}

impl fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostTensor({}{:?})", self.dtype, self.shape.as_slice())
    }
}

/// Zero bytes for a type.
fn zeroed(dtype: DType, shape: &[usize]) -> Result<AlignedBuf, TensorError> {
    let bytes = size(dtype, shape)?;
    AlignedBuf::try_zeroed(bytes).ok_or_else(|| TensorError::Memory {
        dtype,
        shape: shape.to_vec(),
        bytes,
    })
}

fn size(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    numel(dtype, shape)?;
    dtype.bytes_for(shape).ok_or_else(|| TensorError::NoSize {
        dtype,
        shape: shape.to_vec(),
    })
}

fn numel(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size))
        .ok_or_else(|| TensorError::NoSize {
            dtype,
            shape: shape.to_vec(),
        })
}

/// A [`Bool`] made of another byte than 0 or 1 becomes 1; all else stays.
fn normal_bool<T: Element>(mut value: T) -> T {
    if T::DTYPE.is_bool() {
        let bytes = bytemuck::bytes_of_mut(&mut value);
        bytes[0] = u8::from(bytes[0] != 0);
    }
    value
}

/// Values that are converted through f32 go in runs that stay in the first cache. A multiple of every block.
const RUN: usize = 1024;

/// Converts stored values of any dtype into `out`, which has a place for each.
fn convert<T: CastFromAny>(from: DType, bytes: &[u8], out: &mut [T]) -> Result<(), TensorError> {
    if let (DType::F16 | DType::Block(_), Some(format)) = (from, from.format()) {
        return decode_runs(format, bytes, out);
    }
    with_element!(from, S => match bytemuck::try_cast_slice::<u8, S>(bytes) {
        Ok(values) => convert_run(values, out),
        Err(_) => convert_unaligned::<S, T>(bytes, out),
    }, block _format => {});
    Ok(())
}

fn convert_run<S: Element, T: CastFrom<S>>(values: &[S], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(values) {
        *out = T::cast_from(x);
    }
}

fn convert_unaligned<S: Element, T: CastFrom<S>>(bytes: &[u8], out: &mut [T]) {
    for (out, stored) in out.iter_mut().zip(bytes.chunks_exact(size_of::<S>())) {
        *out = T::cast_from(bytemuck::pod_read_unaligned(stored));
    }
}

fn decode_runs<T: CastFromAny>(
    format: &Format,
    bytes: &[u8],
    out: &mut [T],
) -> Result<(), TensorError> {
    if let Ok(out) = bytemuck::try_cast_slice_mut::<T, f32>(out)
        && T::DTYPE == DType::F32
    {
        return Ok(format.decode(bytes, out)?);
    }
    let mut run = [0.0f32; RUN];
    let stored = bytes.chunks(RUN / format.block_elems * format.block_bytes);
    for (stored, out) in stored.zip(out.chunks_mut(RUN)) {
        let run = &mut run[..out.len()];
        format.decode(stored, run)?;
        convert_run(run, out);
    }
    Ok(())
}

/// Encodes stored plain floats.
fn encode_runs(
    from: DType,
    bytes: &[u8],
    format: &Format,
    out: &mut [u8],
) -> Result<(), TensorError> {
    let mut run = [0.0f32; RUN];
    let stored = bytes.chunks(RUN * from.block_bytes());
    let coded = out.chunks_mut(RUN / format.block_elems * format.block_bytes);
    for (stored, coded) in stored.zip(coded) {
        let run = &mut run[..stored.len() / from.block_bytes()];
        convert(from, stored, run)?;
        format.encode(run, coded)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Bool;
    use crate::format::BlockFormat;
    use half::{bf16, f16};

    fn sample() -> HostTensor {
        HostTensor::from_slice(&[2, 3], &[1.0f32, -2.5, 3.0, 0.0, f32::NAN, 1e9]).unwrap()
    }

    #[test]
    fn bytes_have_to_fit() {
        let error = HostTensor::new(DType::F32, &[2, 3], vec![0; 23]).unwrap_err();
        assert_eq!(error.to_string(), "f32[2, 3] takes 24 bytes, found 23");
        let q4_0 = DType::Block(BlockFormat::Q4_0);
        assert!(HostTensor::new(q4_0, &[2, 64], vec![0; 72]).is_ok());
        assert!(matches!(
            HostTensor::new(q4_0, &[64, 2], vec![0; 72]),
            Err(TensorError::NoSize { .. })
        ));
        assert!(matches!(
            HostTensor::zeros(DType::F32, &[usize::MAX, 8]),
            Err(TensorError::NoSize { .. })
        ));
        assert!(matches!(
            HostTensor::from_slice(&[3], &[1u8, 2]),
            Err(TensorError::ValueCount {
                expected: 3,
                found: 2,
                ..
            })
        ));
    }

    #[test]
    fn bools_are_checked_when_made() {
        let error = HostTensor::new(DType::Bool, &[3], vec![0, 1, 2]).unwrap_err();
        assert_eq!(error, TensorError::BoolByte { index: 2, value: 2 });
        let error = HostTensor::from_slice(&[1], &[Bool(7)]).unwrap_err();
        assert_eq!(error, TensorError::BoolByte { index: 0, value: 7 });
        assert_eq!(HostTensor::scalar(Bool(7)).bytes(), [1]);
        assert_eq!(HostTensor::full(&[2], Bool(7)).unwrap().bytes(), [1, 1]);
    }

    #[test]
    fn views_check_the_dtype() {
        let x = sample();
        assert_eq!(x.as_slice::<f32>().unwrap()[1], -2.5);
        assert_eq!(x.as_slice::<f32>().unwrap().as_ptr() as usize % 64, 0);
        let error = x.as_slice::<u32>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tensor is f32, read as u32; cast it first"
        );
        let error = x.to_vec::<f64>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tensor is f32, read as f64; cast it first"
        );
        let scalar = HostTensor::scalar(f16::ONE);
        assert_eq!(
            (scalar.rank(), scalar.numel(), scalar.bytes().len()),
            (0, 1, 2)
        );
    }

    #[test]
    fn misaligned_bytes_are_copied_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        let values = [1.5f32, -2.0, 3.25];
        let mut file = vec![0xAA];
        file.extend(bytemuck::cast_slice::<f32, u8>(&values));
        std::fs::write(&path, &file).unwrap();
        let bytes = Bytes::map_file(&path).unwrap().slice(1..13).unwrap();
        let mut x = HostTensor::new(DType::F32, &[3], bytes).unwrap();
        assert_eq!(
            x.as_slice::<f32>(),
            Err(TensorError::Misaligned {
                dtype: DType::F32,
                align: 4
            })
        );
        assert_eq!(x.to_vec::<f32>().unwrap(), values);
        assert_eq!(x.to_f64_vec().unwrap(), [1.5, -2.0, 3.25]);
        assert_eq!(x.cast(DType::BF16).unwrap().to_f32_vec().unwrap(), values);
        x.as_mut_slice::<f32>().unwrap()[0] = 9.0;
        assert_eq!(x.as_slice::<f32>().unwrap(), [9.0, -2.0, 3.25]);
        assert_eq!(std::fs::read(&path).unwrap(), file);
    }

    #[test]
    fn clones_and_rows_share_until_written() {
        let mut x = sample();
        let before = x.clone();
        assert_eq!(x.bytes().as_ptr(), before.bytes().as_ptr());
        let row = x.rows(1..2).unwrap();
        assert_eq!(
            (row.shape(), row.bytes().as_ptr()),
            (&[1, 3][..], x.bytes()[12..].as_ptr())
        );
        x.as_mut_slice::<f32>().unwrap()[0] = 5.0;
        assert_eq!(before.as_slice::<f32>().unwrap()[0], 1.0);
    }

    #[test]
    fn rows_of_blocks_and_edges() {
        let q8_0 = DType::Block(BlockFormat::Q8_0);
        let x = HostTensor::zeros(q8_0, &[3, 64]).unwrap();
        assert_eq!(x.rows(1..3).unwrap().bytes().len(), 2 * 68);
        let flat = HostTensor::zeros(q8_0, &[96]).unwrap();
        assert_eq!(flat.rows(32..96).unwrap().bytes().len(), 68);
        assert!(matches!(flat.rows(16..96), Err(TensorError::Rows { .. })));
        let error = x.rows(2..4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows 2..4 of q8_0[3, 64]: outside the first axis, or not on a block boundary"
        );
        let error = HostTensor::scalar(1u8).rows(0..0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows 0..0 of u8[]: outside the first axis, or not on a block boundary"
        );
        assert_eq!(x.rows(3..3).unwrap().numel(), 0);
        let empty = HostTensor::zeros(DType::F32, &[0, 4]).unwrap();
        assert_eq!(empty.rows(0..0).unwrap().shape(), [0, 4]);
        let thin = HostTensor::zeros(DType::F32, &[4, 0]).unwrap();
        assert_eq!(thin.rows(1..3).unwrap().shape(), [2, 0]);
    }

    #[test]
    fn reshape_keeps_the_elements() {
        let x = sample();
        assert_eq!(x.reshape(&[3, 2]).unwrap().shape(), [3, 2]);
        let error = x.reshape(&[4]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot reshape [2, 3] to [4]: 4 elements, expected 6"
        );
        let q4_0 = HostTensor::zeros(DType::Block(BlockFormat::Q4_0), &[2, 32]).unwrap();
        assert!(q4_0.reshape(&[1, 64]).is_ok());
        let error = q4_0.reshape(&[4, 16]).unwrap_err().to_string();
        assert!(error.starts_with("q4_0[4, 16] has no size: "), "{error}");
    }

    #[test]
    fn every_plain_pair_casts() {
        for from in DType::PLAIN {
            for to in DType::PLAIN {
                let x = HostTensor::from_slice(&[2], &[0i64, 1])
                    .unwrap()
                    .cast(from)
                    .unwrap();
                let y = x.cast(to).unwrap();
                assert_eq!(
                    (y.dtype(), y.to_i64_vec().unwrap()),
                    (to, vec![0, 1]),
                    "{from} to {to}"
                );
            }
        }
    }

    #[test]
    fn casts_round_and_saturate() {
        let x = sample();
        assert_eq!(
            x.cast(DType::I8).unwrap().to_vec::<i8>().unwrap(),
            [1, -2, 3, 0, 0, 127]
        );
        assert_eq!(x.cast(DType::Bool).unwrap().bytes(), [1, 1, 1, 0, 1, 1]);
        let half = x.cast(DType::F16).unwrap();
        assert_eq!(half.as_slice::<f16>().unwrap()[5], f16::INFINITY);
        assert!(half.bitwise_eq(&half.clone()) && !half.bitwise_eq(&x));
        let y = HostTensor::from_slice(&[1], &[1.0 + 2f32.powi(-8)])
            .unwrap()
            .cast(DType::BF16)
            .unwrap();
        assert_eq!(y.as_slice::<bf16>().unwrap(), [bf16::ONE]);
    }

    #[test]
    fn blocks_cast_to_floats_and_back() {
        let values: Vec<f32> = (0..4096).map(|i| ((i * 31) % 255) as f32 - 127.0).collect();
        let x = HostTensor::from_slice(&[2, 2048], &values).unwrap();
        let q8_0 = DType::Block(BlockFormat::Q8_0);
        let coded = x.cast(q8_0).unwrap();
        assert_eq!(coded.bytes().len(), 4096 / 32 * 34);
        let format = BlockFormat::Q8_0.format();
        let mut expected = vec![0.0; 4096];
        format.decode(coded.bytes(), &mut expected).unwrap();
        assert_eq!(coded.to_f32_vec().unwrap(), expected);
        let wide = coded.cast(DType::F64).unwrap();
        assert_eq!(wide.to_f32_vec().unwrap(), expected);
        assert!(
            coded
                .cast(DType::F32)
                .unwrap()
                .cast(q8_0)
                .unwrap()
                .bitwise_eq(&coded)
        );
        let error = coded.cast(DType::I8).unwrap_err();
        assert_eq!(error.to_string(), "no cast from q8_0 to i8; go through f32");
        let error = coded.cast(DType::Block(BlockFormat::Q4_0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no cast from q8_0 to q4_0; go through f32"
        );
        let narrow = x.reshape(&[2048, 2]).unwrap();
        let error = narrow.cast(q8_0).unwrap_err().to_string();
        assert!(error.starts_with("q8_0[2048, 2] has no size: "), "{error}");
    }
}
