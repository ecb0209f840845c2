//! Reading and checking a safetensors header. Nothing here touches the tensors' bytes.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::error::{CheckpointError, FileProblem, TensorProblem};
use crate::stored::SafetensorsType;

/// The longest header that is read, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
/// The key of the free string pairs.
const METADATA: &str = "__metadata__";

/// What the header says of one tensor; all of it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsEntry {
    /// The element type.
    pub dtype: SafetensorsType,
    /// The shape, row-major.
    pub shape: Vec<usize>,
    /// The bytes, counted from the start of the file.
    pub range: Range<usize>,
}

/// A checked header: every tensor lies in the file, has the size that dtype and shape give, and overlaps no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// The free string pairs, in file order.
    pub metadata: IndexMap<String, String>,
    /// The tensors, in the order in which the header names them.
    pub tensors: IndexMap<String, SafetensorsEntry>,
}

impl SafetensorsHeader {
    /// Reads the header of a file whose content is `bytes`; `path` is for the errors only.
    ///
    /// # Errors
    /// A truncated file, a header that is too long, no JSON, or that lies in any way about the tensors.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let raw = parse_json(path, bytes)?;
        let data_start = raw.data_start;
        let data = &bytes[data_start..];
        let mut tensors = IndexMap::with_capacity(raw.entries.len());
        for (name, entry) in raw.entries {
            let checked = check_entry(path, &name, &entry, data_start, data.len())?;
            if tensors.insert(name.clone(), checked).is_some() {
                return Err(CheckpointError::tensor(
                    path,
                    &name,
                    TensorProblem::Duplicate,
                ));
            }
        }
        check_cover(path, &tensors, data_start, data.len())?;
        Ok(SafetensorsHeader {
            metadata: raw.metadata,
            tensors,
        })
    }
}

/// One tensor as the JSON has it.
#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct RawHeader {
    data_start: usize,
    metadata: IndexMap<String, String>,
    entries: Vec<(String, RawEntry)>,
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<RawHeader, CheckpointError> {
    let fail = |problem| CheckpointError::file(path, problem);
    let found = bytes.len() as u64;
    let truncated = |what: &str, needed| {
        fail(FileProblem::Truncated {
            what: what.to_string(),
            needed,
            found,
        })
    };
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| truncated("the header's length", 8))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(fail(FileProblem::HeaderTooLong {
            found: length,
            limit: MAX_HEADER,
        }));
    }
    // `length` is at most 10^8, so it fits any usize and the sum below cannot overflow.
    let json = rest
        .get(..length as usize)
        .ok_or_else(|| truncated("the header", 8 + length))?;
    let text = std::str::from_utf8(json).map_err(|error| {
        fail(FileProblem::Header(format!(
            "byte {} is not UTF-8",
            error.valid_up_to()
        )))
    })?;
    if !text.starts_with('{') {
        return Err(fail(FileProblem::Header(
            "it does not begin with `{`".to_string(),
        )));
    }
    let header: Pairs =
        serde_json::from_str(text).map_err(|error| fail(FileProblem::Header(error.to_string())))?;
    Ok(RawHeader {
        data_start: 8 + length as usize,
        metadata: header.metadata,
        entries: header.entries,
    })
}

/// The header's object as a list, because a map would hide a name that appears twice.
struct Pairs {
    metadata: IndexMap<String, String>,
    entries: Vec<(String, RawEntry)>,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut entries = Vec::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA {
                        let entry = map.next_value().map_err(|error| {
                            A::Error::custom(format_args!("tensor `{name}`: {error}"))
                        })?;
                        entries.push((name, entry));
                    } else if metadata.replace(map.next_value::<Strings>()?.0).is_some() {
                        return Err(A::Error::custom("`__metadata__` appears twice"));
                    }
                }
                Ok(Pairs {
                    metadata: metadata.unwrap_or_default(),
                    entries,
                })
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// `__metadata__`: strings under distinct names.
struct Strings(IndexMap<String, String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringsVisitor;
        impl<'de> Visitor<'de> for StringsVisitor {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut pairs = IndexMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if pairs.contains_key(&key) {
                        return Err(A::Error::custom(format_args!(
                            "metadata key `{key}` appears twice"
                        )));
                    }
                    pairs.insert(key, value);
                }
                Ok(Strings(pairs))
            }
        }
        deserializer.deserialize_map(StringsVisitor)
    }
}

fn check_entry(
    path: &Path,
    name: &str,
    entry: &RawEntry,
    data_start: usize,
    data_len: usize,
) -> Result<SafetensorsEntry, CheckpointError> {
    let fail = |problem| CheckpointError::tensor(path, name, problem);
    let dtype = SafetensorsType::by_name(&entry.dtype).ok_or_else(|| {
        fail(TensorProblem::UnknownDType {
            expected: SafetensorsType::names(),
            found: entry.dtype.clone(),
        })
    })?;
    let (begin, end) = entry.data_offsets;
    if begin > end {
        return Err(fail(TensorProblem::Reversed { begin, end }));
    }
    if end > data_len as u64 {
        return Err(fail(TensorProblem::OutOfFile {
            begin,
            end,
            found: data_len as u64,
        }));
    }
    let overflow = || {
        fail(TensorProblem::Overflow {
            dtype: entry.dtype.clone(),
            shape: entry.shape.clone(),
        })
    };
    let shape: Vec<usize> = entry
        .shape
        .iter()
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<_>>()
        .ok_or_else(overflow)?;
    let expected = expected_bytes(dtype, &shape).map_err(|partial| match partial {
        None => overflow(),
        Some(block) => fail(TensorProblem::PartialBlock {
            dtype: entry.dtype.clone(),
            shape: shape.clone(),
            block,
        }),
    })?;
    if expected != end - begin {
        return Err(fail(TensorProblem::Size {
            dtype: entry.dtype.clone(),
            shape,
            expected,
            found: end - begin,
        }));
    }
    // Both are at most `data_len`, so they fit.
    let range = data_start + begin as usize..data_start + end as usize;
    Ok(SafetensorsEntry {
        dtype,
        shape,
        range,
    })
}

/// The size in bytes, or why there is none: `None` for overflow, `Some(elements)` for an odd number of sub-byte elements.
fn expected_bytes(dtype: SafetensorsType, shape: &[usize]) -> Result<u64, Option<usize>> {
    if let Some(bytes) = dtype.bytes_for(shape) {
        return Ok(bytes);
    }
    let elems = shape
        .iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64));
    match elems.and_then(|elems| elems.checked_mul(dtype.bits())) {
        None => Err(None),
        Some(_) if dtype.bits() == 4 => Err(Some(2)),
        Some(_) => Err(Some(4)),
    }
}

/// The tensors must cover the data from its first to its last byte, each byte once.
fn check_cover(
    path: &Path,
    tensors: &IndexMap<String, SafetensorsEntry>,
    data_start: usize,
    data_len: usize,
) -> Result<(), CheckpointError> {
    let mut spans: Vec<(usize, usize, &str)> = tensors
        .iter()
        .map(|(name, entry)| {
            (
                entry.range.start - data_start,
                entry.range.end - data_start,
                name.as_str(),
            )
        })
        .collect();
    spans.sort_unstable();
    let mut covered = 0;
    let mut last = "";
    for (begin, end, name) in spans {
        if begin > covered {
            return Err(CheckpointError::file(
                path,
                FileProblem::Hole {
                    begin: covered as u64,
                    end: begin as u64,
                },
            ));
        }
        if begin < covered {
            return Err(CheckpointError::tensor(
                path,
                name,
                TensorProblem::Overlap {
                    begin: begin as u64,
                    end: end as u64,
                    other: last.to_string(),
                    other_end: covered as u64,
                },
            ));
        }
        covered = end;
        last = name;
    }
    if covered < data_len {
        return Err(CheckpointError::file(
            path,
            FileProblem::Hole {
                begin: covered as u64,
                end: data_len as u64,
            },
        ));
    }
    Ok(())
}
