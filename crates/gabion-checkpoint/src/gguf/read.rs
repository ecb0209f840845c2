//! Reading a GGUF file: every bound is checked before anything is allocated or sliced, so a lying count costs nothing.

use std::ops::Range;
use std::path::Path;

use indexmap::IndexMap;

use super::value::{GgufArray, GgufMetadata, GgufValue};
use crate::error::{CheckpointError, FieldProblem, FileProblem, FirstBytes, TensorProblem};
use crate::stored::GgmlType;

const FORMAT: &str = "GGUF";
const MAGIC: &[u8] = b"GGUF";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 30;
/// ggml's own limit.
const MAX_DIMS: u32 = 4;
/// Arrays in arrays: files in the wild have none, and a file must not be able to exhaust the stack.
const MAX_DEPTH: usize = 8;

/// One tensor of a GGUF file; all of it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// The element type.
    pub stored: GgmlType,
    /// The shape, row-major: the file's dims reversed.
    pub shape: Vec<usize>,
    /// The bytes, counted from the start of the file.
    pub range: Range<usize>,
}

/// The metadata and the tensor table of a GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufFile {
    /// 2 or 3.
    pub version: u32,
    /// The metadata.
    pub metadata: GgufMetadata,
    /// The tensors under the file's own names, in file order.
    pub tensors: IndexMap<String, GgufTensor>,
}

impl GgufFile {
    /// Reads a file whose content is `bytes`; `path` is for the errors.
    ///
    /// # Errors
    /// A file that is truncated, of another format, version or byte order, or that lies about any count, length, type,
    /// dim or offset.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut cursor = Cursor { path, bytes, at: 0 };
        let version = read_version(&mut cursor)?;
        let n_tensors = cursor.u64("the tensor count")?;
        let n_values = cursor.u64("the metadata count")?;
        let values = read_metadata(&mut cursor, n_values)?;
        let metadata = GgufMetadata::new(path, values);
        let alignment = alignment(&metadata, MAX_ALIGNMENT)?;
        let raw = read_tensor_table(&mut cursor, n_tensors)?;
        let data_start = (cursor.at as u64).next_multiple_of(alignment);
        let tensors = place_tensors(path, raw, data_start, alignment, bytes.len() as u64)?;
        Ok(GgufFile {
            version,
            metadata,
            tensors,
        })
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, CheckpointError> {
    if !cursor.bytes.starts_with(MAGIC) {
        return Err(cursor.fail(FileProblem::Magic {
            format: FORMAT,
            expected: FORMAT,
            found: FirstBytes(cursor.bytes).to_string(),
        }));
    }
    cursor.at = MAGIC.len();
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => Ok(version),
        // The version is a small number, so its low half is zero only where the bytes are the other way round.
        _ if version & 0xffff == 0 && version != 0 => {
            Err(cursor.fail(FileProblem::BigEndian { format: FORMAT }))
        }
        _ => Err(cursor.fail(FileProblem::Version {
            format: FORMAT,
            expected: "2 or 3",
            found: version,
        })),
    }
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    count: u64,
) -> Result<IndexMap<String, GgufValue>, CheckpointError> {
    // A key's length, a type, and at least one byte of value.
    cursor.check_count("the metadata", count, 8 + 4 + 1)?;
    let mut values = IndexMap::new();
    for index in 0..count {
        let key = cursor.string(|| format!("metadata key {index}"))?;
        let value_type = cursor.u32("a metadata type")?;
        let value = read_value(cursor, &key, value_type)?;
        if values.contains_key(&key) {
            return Err(cursor.fail(FileProblem::DuplicateKey { key }));
        }
        values.insert(key, value);
    }
    Ok(values)
}

fn read_value(
    cursor: &mut Cursor<'_>,
    key: &str,
    value_type: u32,
) -> Result<GgufValue, CheckpointError> {
    Ok(match value_type {
        0 => GgufValue::U8(u8::from_le_bytes(cursor.array(key)?)),
        1 => GgufValue::I8(i8::from_le_bytes(cursor.array(key)?)),
        2 => GgufValue::U16(u16::from_le_bytes(cursor.array(key)?)),
        3 => GgufValue::I16(i16::from_le_bytes(cursor.array(key)?)),
        4 => GgufValue::U32(u32::from_le_bytes(cursor.array(key)?)),
        5 => GgufValue::I32(i32::from_le_bytes(cursor.array(key)?)),
        6 => GgufValue::F32(f32::from_le_bytes(cursor.array(key)?)),
        7 => GgufValue::Bool(read_bool(cursor, key)?),
        8 => GgufValue::String(cursor.string(|| format!("the value of `{key}`"))?),
        9 => GgufValue::Array(read_array(cursor, key, 0)?),
        10 => GgufValue::U64(u64::from_le_bytes(cursor.array(key)?)),
        11 => GgufValue::I64(i64::from_le_bytes(cursor.array(key)?)),
        12 => GgufValue::F64(f64::from_le_bytes(cursor.array(key)?)),
        _ => return Err(unknown_value_type(cursor, key, value_type)),
    })
}

fn unknown_value_type(cursor: &Cursor<'_>, key: &str, found: u32) -> CheckpointError {
    cursor.fail(FileProblem::UnknownType {
        what: format!("metadata `{key}`"),
        expected: "0 to 12",
        found: found.into(),
    })
}

fn read_bool(cursor: &mut Cursor<'_>, key: &str) -> Result<bool, CheckpointError> {
    match cursor.array::<1>(key)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(CheckpointError::field(
            cursor.path,
            key,
            FieldProblem::Type {
                expected: "a bool of 0 or 1",
                found: format!("the byte {other}"),
            },
        )),
    }
}

fn read_array(
    cursor: &mut Cursor<'_>,
    key: &str,
    depth: usize,
) -> Result<GgufArray, CheckpointError> {
    if depth >= MAX_DEPTH {
        return Err(cursor.fail(FileProblem::TooDeep {
            what: format!("metadata `{key}`"),
            limit: MAX_DEPTH,
        }));
    }
    let element_type = cursor.u32(key)?;
    let count = cursor.u64(key)?;
    macro_rules! numbers {
        ($variant:ident, $number:ty) => {
            GgufArray::$variant(cursor.numbers(key, count, <$number>::from_le_bytes)?)
        };
    }
    Ok(match element_type {
        0 => numbers!(U8, u8),
        1 => numbers!(I8, i8),
        2 => numbers!(U16, u16),
        3 => numbers!(I16, i16),
        4 => numbers!(U32, u32),
        5 => numbers!(I32, i32),
        6 => numbers!(F32, f32),
        7 => {
            cursor.check_count(key, count, 1)?;
            GgufArray::Bool(
                (0..count)
                    .map(|_| read_bool(cursor, key))
                    .collect::<Result<_, _>>()?,
            )
        }
        8 => {
            cursor.check_count(key, count, 8)?;
            let strings = (0..count).map(|index| cursor.string(|| format!("`{key}[{index}]`")));
            GgufArray::String(strings.collect::<Result<_, _>>()?)
        }
        9 => {
            cursor.check_count(key, count, 4 + 8)?;
            let arrays = (0..count).map(|_| read_array(cursor, key, depth + 1));
            GgufArray::Array(arrays.collect::<Result<_, _>>()?)
        }
        10 => numbers!(U64, u64),
        11 => numbers!(I64, i64),
        12 => numbers!(F64, f64),
        _ => return Err(unknown_value_type(cursor, key, element_type)),
    })
}

/// The alignment that the metadata asks for: a power of two up to `limit`.
pub(super) fn alignment(metadata: &GgufMetadata, limit: u64) -> Result<u64, CheckpointError> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    match value.as_u64() {
        Some(it) if it.is_power_of_two() && it <= limit => Ok(it),
        _ => Err(CheckpointError::field(
            &metadata.path,
            ALIGNMENT_KEY,
            FieldProblem::Value(format!(
                "is {}, expected a power of two up to {limit}",
                value.describe()
            )),
        )),
    }
}

/// A row of the tensor table before its place in the file is known.
struct RawTensor {
    name: String,
    stored: GgmlType,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

fn read_tensor_table(
    cursor: &mut Cursor<'_>,
    count: u64,
) -> Result<Vec<RawTensor>, CheckpointError> {
    // A name's length, the number of dims, the type, the offset.
    cursor.check_count("the tensor table", count, 8 + 4 + 4 + 8)?;
    (0..count)
        .map(|index| {
            let name = cursor.string(|| format!("tensor name {index}"))?;
            read_tensor(cursor, name)
        })
        .collect()
}

fn read_tensor(cursor: &mut Cursor<'_>, name: String) -> Result<RawTensor, CheckpointError> {
    let path = cursor.path;
    let n_dims = cursor.u32(&name)?;
    if n_dims > MAX_DIMS {
        let problem = TensorProblem::Rank {
            found: n_dims.into(),
            limit: MAX_DIMS.into(),
        };
        return Err(CheckpointError::tensor(path, &name, problem));
    }
    let mut dims = (0..n_dims)
        .map(|_| cursor.u64(&name))
        .collect::<Result<Vec<_>, _>>()?;
    dims.reverse();
    let type_id = cursor.u32(&name)?;
    let stored = GgmlType::by_id(type_id).ok_or_else(|| {
        let problem = TensorProblem::UnknownDType {
            expected: "the tensor types of ggml, 0 to 41 without 4, 5, 31 to 33, 36 to 38"
                .to_string(),
            found: type_id.to_string(),
        };
        CheckpointError::tensor(path, &name, problem)
    })?;
    let offset = cursor.u64(&name)?;
    let (shape, bytes) =
        size_of(stored, &dims).map_err(|problem| CheckpointError::tensor(path, &name, problem))?;
    Ok(RawTensor {
        name,
        stored,
        shape,
        offset,
        bytes,
    })
}

fn size_of(stored: GgmlType, dims: &[u64]) -> Result<(Vec<usize>, u64), TensorProblem> {
    let overflow = || TensorProblem::Overflow {
        dtype: stored.name().to_string(),
        shape: dims.to_vec(),
    };
    let shape: Vec<usize> = dims
        .iter()
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<_>>()
        .ok_or_else(overflow)?;
    // The element count must fit as well, or later arithmetic on shapes would not.
    let elems = dims
        .iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(dim));
    elems
        .filter(|&elems| usize::try_from(elems).is_ok())
        .ok_or_else(overflow)?;
    let row = dims.last().copied().unwrap_or(1);
    if !row.is_multiple_of(stored.block_elems()) {
        return Err(TensorProblem::PartialBlock {
            dtype: stored.name().to_string(),
            shape,
            block: stored.block_elems() as usize,
        });
    }
    let bytes = stored.bytes_for(&shape).ok_or_else(overflow)?;
    Ok((shape, bytes))
}

fn place_tensors(
    path: &Path,
    raw: Vec<RawTensor>,
    data_start: u64,
    alignment: u64,
    file_len: u64,
) -> Result<IndexMap<String, GgufTensor>, CheckpointError> {
    let data_len = file_len.saturating_sub(data_start);
    let mut tensors = IndexMap::with_capacity(raw.len());
    for tensor in raw {
        let fail = |problem| Err(CheckpointError::tensor(path, &tensor.name, problem));
        let begin = tensor.offset;
        if !begin.is_multiple_of(alignment) {
            return fail(TensorProblem::Misaligned {
                found: begin,
                alignment,
            });
        }
        let end = begin.saturating_add(tensor.bytes);
        if end > data_len {
            return fail(TensorProblem::OutOfFile {
                begin,
                end,
                found: data_len,
            });
        }
        // Both ends are at most the length of a file that is in memory, but for an empty tensor behind its last byte.
        let at = |offset: u64| (data_start + offset).min(file_len) as usize;
        let placed = GgufTensor {
            stored: tensor.stored,
            shape: tensor.shape,
            range: at(begin)..at(end),
        };
        if tensors.contains_key(&tensor.name) {
            return fail(TensorProblem::Duplicate);
        }
        tensors.insert(tensor.name, placed);
    }
    check_overlaps(path, &tensors, data_start as usize)?;
    Ok(tensors)
}

fn check_overlaps(
    path: &Path,
    tensors: &IndexMap<String, GgufTensor>,
    data_start: usize,
) -> Result<(), CheckpointError> {
    let mut spans: Vec<(usize, usize, &str)> = tensors
        .iter()
        .filter(|(_, tensor)| !tensor.range.is_empty())
        .map(|(name, tensor)| (tensor.range.start, tensor.range.end, name.as_str()))
        .collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        let [(_, other_end, other), (begin, end, name)] = [pair[0], pair[1]];
        if begin < other_end {
            return Err(CheckpointError::tensor(
                path,
                name,
                TensorProblem::Overlap {
                    begin: (begin - data_start) as u64,
                    end: (end - data_start) as u64,
                    other: other.to_string(),
                    other_end: (other_end - data_start) as u64,
                },
            ));
        }
    }
    Ok(())
}

/// A place in the file that only moves forward, and never past its end.
struct Cursor<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn fail(&self, problem: FileProblem) -> CheckpointError {
        CheckpointError::file(self.path, problem)
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn take(
        &mut self,
        what: &dyn Fn() -> String,
        length: u64,
    ) -> Result<&'a [u8], CheckpointError> {
        if length > self.left() {
            return Err(self.fail(FileProblem::Truncated {
                what: what(),
                needed: (self.at as u64).saturating_add(length),
                found: self.bytes.len() as u64,
            }));
        }
        let taken = &self.bytes[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], CheckpointError> {
        let taken = self.take(&|| format!("`{what}`"), N as u64)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    fn u32(&mut self, what: &str) -> Result<u32, CheckpointError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, CheckpointError> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn string(&mut self, what: impl Fn() -> String) -> Result<String, CheckpointError> {
        let length = self.take(&|| format!("the length of {}", what()), 8)?;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(length);
        let text = self.take(&what, u64::from_le_bytes(bytes))?;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(self.fail(FileProblem::Utf8 { what: what() })),
        }
    }

    fn check_count(&self, what: &str, count: u64, each: u64) -> Result<(), CheckpointError> {
        if count
            .checked_mul(each)
            .is_some_and(|bytes| bytes <= self.left())
        {
            return Ok(());
        }
        Err(self.fail(FileProblem::Count {
            what: format!("`{what}`"),
            found: count,
            each,
            left: self.left(),
        }))
    }

    fn numbers<const N: usize, T>(
        &mut self,
        what: &str,
        count: u64,
        read: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, CheckpointError> {
        self.check_count(what, count, N as u64)?;
        let bytes = self.take(&|| format!("`{what}`"), count * N as u64)?;
        let (chunks, _) = bytes.as_chunks::<N>();
        Ok(chunks.iter().map(|&chunk| read(chunk)).collect())
    }
}
