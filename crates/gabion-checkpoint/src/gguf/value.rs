//! Metadata values of GGUF and typed look-ups with errors that name key and file. Reading them from bytes lives in `read`.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::error::{CheckpointError, FieldProblem};

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// Type 0.
    U8(u8),
    /// Type 1.
    I8(i8),
    /// Type 2.
    U16(u16),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U32(u32),
    /// Type 5.
    I32(i32),
    /// Type 6.
    F32(f32),
    /// Type 7; one byte, 0 or 1.
    Bool(bool),
    /// Type 8.
    String(String),
    /// Type 9.
    Array(GgufArray),
    /// Type 10.
    U64(u64),
    /// Type 11.
    I64(i64),
    /// Type 12.
    F64(f64),
}

/// An array of metadata values, all of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufArray {
    /// Elements of type 0.
    U8(Vec<u8>),
    /// Elements of type 1.
    I8(Vec<i8>),
    /// Elements of type 2.
    U16(Vec<u16>),
    /// Elements of type 3.
    I16(Vec<i16>),
    /// Elements of type 4.
    U32(Vec<u32>),
    /// Elements of type 5.
    I32(Vec<i32>),
    /// Elements of type 6.
    F32(Vec<f32>),
    /// Elements of type 7.
    Bool(Vec<bool>),
    /// Elements of type 8.
    String(Vec<String>),
    /// Elements of type 9: arrays again.
    Array(Vec<GgufArray>),
    /// Elements of type 10.
    U64(Vec<u64>),
    /// Elements of type 11.
    I64(Vec<i64>),
    /// Elements of type 12.
    F64(Vec<f64>),
}

impl GgufArray {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            GgufArray::U8(it) => it.len(),
            GgufArray::I8(it) => it.len(),
            GgufArray::U16(it) => it.len(),
            GgufArray::I16(it) => it.len(),
            GgufArray::U32(it) => it.len(),
            GgufArray::I32(it) => it.len(),
            GgufArray::F32(it) => it.len(),
            GgufArray::Bool(it) => it.len(),
            GgufArray::String(it) => it.len(),
            GgufArray::Array(it) => it.len(),
            GgufArray::U64(it) => it.len(),
            GgufArray::I64(it) => it.len(),
            GgufArray::F64(it) => it.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the element type in the file.
    pub fn element_type(&self) -> u32 {
        match self {
            GgufArray::U8(_) => 0,
            GgufArray::I8(_) => 1,
            GgufArray::U16(_) => 2,
            GgufArray::I16(_) => 3,
            GgufArray::U32(_) => 4,
            GgufArray::I32(_) => 5,
            GgufArray::F32(_) => 6,
            GgufArray::Bool(_) => 7,
            GgufArray::String(_) => 8,
            GgufArray::Array(_) => 9,
            GgufArray::U64(_) => 10,
            GgufArray::I64(_) => 11,
            GgufArray::F64(_) => 12,
        }
    }

    /// The elements as whole numbers, for any integer element type whose values fit.
    pub fn to_i64_vec(&self) -> Option<Vec<i64>> {
        Some(match self {
            GgufArray::U8(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::I8(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::U16(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::I16(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::U32(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::I32(it) => it.iter().map(|&value| value.into()).collect(),
            GgufArray::I64(it) => it.clone(),
            GgufArray::U64(it) => it
                .iter()
                .map(|&value| i64::try_from(value).ok())
                .collect::<Option<_>>()?,
            GgufArray::F32(_)
            | GgufArray::F64(_)
            | GgufArray::Bool(_)
            | GgufArray::String(_)
            | GgufArray::Array(_) => return None,
        })
    }
}

impl GgufValue {
    /// The number of the type in the file.
    pub fn value_type(&self) -> u32 {
        match self {
            GgufValue::U8(_) => 0,
            GgufValue::I8(_) => 1,
            GgufValue::U16(_) => 2,
            GgufValue::I16(_) => 3,
            GgufValue::U32(_) => 4,
            GgufValue::I32(_) => 5,
            GgufValue::F32(_) => 6,
            GgufValue::Bool(_) => 7,
            GgufValue::String(_) => 8,
            GgufValue::Array(_) => 9,
            GgufValue::U64(_) => 10,
            GgufValue::I64(_) => 11,
            GgufValue::F64(_) => 12,
        }
    }

    /// A whole number that is not negative, of any integer type.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            GgufValue::U8(it) => Some(it.into()),
            GgufValue::U16(it) => Some(it.into()),
            GgufValue::U32(it) => Some(it.into()),
            GgufValue::U64(it) => Some(it),
            GgufValue::I8(it) => u64::try_from(it).ok(),
            GgufValue::I16(it) => u64::try_from(it).ok(),
            GgufValue::I32(it) => u64::try_from(it).ok(),
            GgufValue::I64(it) => u64::try_from(it).ok(),
            GgufValue::F32(_)
            | GgufValue::F64(_)
            | GgufValue::Bool(_)
            | GgufValue::String(_)
            | GgufValue::Array(_) => None,
        }
    }

    /// A number of type f32 or f64. An f32 becomes the shortest decimal that means it, so that 1e-5 stays 1e-5.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            GgufValue::F32(it) => it.to_string().parse().ok(),
            GgufValue::F64(it) => Some(*it),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            GgufValue::String(it) => Some(it),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            GgufValue::Bool(it) => Some(*it),
            _ => None,
        }
    }

    /// An array.
    pub fn as_array(&self) -> Option<&GgufArray> {
        match self {
            GgufValue::Array(it) => Some(it),
            _ => None,
        }
    }

    /// The value as it is shown in errors.
    pub fn describe(&self) -> String {
        match self {
            GgufValue::U8(it) => format!("the u8 {it}"),
            GgufValue::I8(it) => format!("the i8 {it}"),
            GgufValue::U16(it) => format!("the u16 {it}"),
            GgufValue::I16(it) => format!("the i16 {it}"),
            GgufValue::U32(it) => format!("the u32 {it}"),
            GgufValue::I32(it) => format!("the i32 {it}"),
            GgufValue::F32(it) => format!("the f32 {it}"),
            GgufValue::Bool(it) => format!("the bool {it}"),
            GgufValue::U64(it) => format!("the u64 {it}"),
            GgufValue::I64(it) => format!("the i64 {it}"),
            GgufValue::F64(it) => format!("the f64 {it}"),
            GgufValue::String(it) if it.len() <= 40 => {
                format!("the string `{}`", it.escape_debug())
            }
            GgufValue::String(it) => format!("a string of {} bytes", it.len()),
            GgufValue::Array(it) => format!("an array of {} elements", it.len()),
        }
    }
}

/// The metadata of a GGUF file, in file order, with the path for errors.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufMetadata {
    pub(crate) path: PathBuf,
    pub(crate) values: IndexMap<String, GgufValue>,
}

impl GgufMetadata {
    /// Metadata that came from, or is bound for, `path`.
    pub fn new(path: &Path, values: IndexMap<String, GgufValue>) -> Self {
        GgufMetadata {
            path: path.to_path_buf(),
            values,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All pairs, in file order.
    pub fn values(&self) -> &IndexMap<String, GgufValue> {
        &self.values
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.values.get(key)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a GgufValue) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(it) => Ok(Some(it)),
            None => Err(CheckpointError::field(
                &self.path,
                key,
                FieldProblem::Type {
                    expected,
                    found: value.describe(),
                },
            )),
        }
    }

    fn need<T>(
        &self,
        key: &str,
        expected: &'static str,
        value: Option<T>,
    ) -> Result<T, CheckpointError> {
        value.ok_or_else(|| {
            CheckpointError::field(&self.path, key, FieldProblem::Missing { expected })
        })
    }

    /// An optional whole number.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn size(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        self.typed(key, SIZE, |value| usize::try_from(value.as_u64()?).ok())
    }

    /// A whole number that must be there.
    ///
    /// # Errors
    /// The key is absent or holds something else.
    pub fn need_size(&self, key: &str) -> Result<usize, CheckpointError> {
        self.need(key, SIZE, self.size(key)?)
    }

    /// An optional real number.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, NUMBER, GgufValue::as_f64)
    }

    /// An optional real number that is finite and above zero.
    ///
    /// # Errors
    /// The key holds something else, such as NaN.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        self.typed(key, POSITIVE, |value| value.as_f64().filter(positive))
    }

    /// A real number that must be there, finite and above zero.
    ///
    /// # Errors
    /// The key is absent or holds something else, such as NaN.
    pub fn need_positive(&self, key: &str) -> Result<f64, CheckpointError> {
        self.need(key, POSITIVE, self.positive(key)?)
    }

    /// An optional string.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn string(&self, key: &str) -> Result<Option<&str>, CheckpointError> {
        self.typed(key, STRING, GgufValue::as_str)
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// The key is absent or holds something else.
    pub fn need_string(&self, key: &str) -> Result<&str, CheckpointError> {
        self.need(key, STRING, self.string(key)?)
    }

    /// An optional boolean.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(key, "a bool", GgufValue::as_bool)
    }

    /// An optional array of strings.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>, CheckpointError> {
        self.typed(key, STRINGS, |value| match value.as_array()? {
            GgufArray::String(it) => Some(it.as_slice()),
            _ => None,
        })
    }

    /// An array of strings that must be there.
    ///
    /// # Errors
    /// The key is absent or holds something else.
    pub fn need_strings(&self, key: &str) -> Result<&[String], CheckpointError> {
        self.need(key, STRINGS, self.strings(key)?)
    }

    /// An optional array of f32.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn floats(&self, key: &str) -> Result<Option<&[f32]>, CheckpointError> {
        self.typed(key, "an array of f32", |value| match value.as_array()? {
            GgufArray::F32(it) => Some(it.as_slice()),
            _ => None,
        })
    }

    /// An optional array of whole numbers of any integer type.
    ///
    /// # Errors
    /// The key holds something else.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        self.typed(key, "an array of integers", |value| {
            value.as_array()?.to_i64_vec()
        })
    }
}

const SIZE: &str = "a whole number";
const NUMBER: &str = "an f32";
const POSITIVE: &str = "a finite f32 above 0";
const STRING: &str = "a string";
const STRINGS: &str = "an array of strings";
