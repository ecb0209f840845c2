//! Reading JSON files with errors that name file and field. What the fields mean lives with their readers; how a text is
//! parsed, in `strict_json`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{CheckpointError, FieldProblem, FileProblem};
use crate::strict_json::parse_json;

/// The longest JSON file that is read into memory: tokenizers of a million tokens stay far below it.
const MAX_JSON: u64 = 1 << 30;

/// Reads a text file.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let error = |source| CheckpointError::io(path, "read", source);
    let too_long = |length: u64| {
        let problem = format!("{length} bytes or more, the limit is {MAX_JSON}");
        CheckpointError::file(path, FileProblem::Json(problem))
    };
    // Opening a pipe would wait for a writer.
    let kind = path.metadata().map_err(error)?;
    if !kind.is_file() && !kind.is_dir() {
        let what = "it is a pipe, a socket or a device, expected a file";
        return Err(error(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    let mut file = File::open(path).map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    if length > MAX_JSON {
        return Err(too_long(length));
    }
    // A device has no length and may have no end.
    let mut bytes = Vec::with_capacity(length as usize);
    let limited = (&mut file).take(MAX_JSON + 1).read_to_end(&mut bytes);
    if limited.map_err(error)? as u64 > MAX_JSON {
        return Err(too_long(MAX_JSON + 1));
    }
    String::from_utf8(bytes).map_err(|error| {
        CheckpointError::file(
            path,
            FileProblem::Json(format!(
                "byte {} is not UTF-8",
                error.utf8_error().valid_up_to()
            )),
        )
    })
}

/// Reads a JSON file whole.
pub(crate) fn read(path: &Path) -> Result<Value, CheckpointError> {
    parse_strict(path, &read_text(path)?)
}

/// Reads a JSON file if it is there.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Value>, CheckpointError> {
    if !path.exists() {
        return Ok(None);
    }
    read(path).map(Some)
}

/// Parses JSON and refuses an object that names a field twice.
pub(crate) fn parse_strict(path: &Path, text: &str) -> Result<Value, CheckpointError> {
    parse_json(text)
        .map_err(|error| CheckpointError::file(path, FileProblem::Json(error.to_string())))
}

/// The kind of a value, for "found".
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A JSON object together with the file it came from: typed look-ups with errors that name both.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    path: &'a Path,
    /// The field that holds the object, or nothing if it is the whole file.
    section: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which must be an object.
    pub(crate) fn of(path: &'a Path, value: &'a Value) -> Result<Self, CheckpointError> {
        match value {
            Value::Object(object) => Ok(Fields::section(path, "", object)),
            other => Err(CheckpointError::file(
                path,
                FileProblem::Json(format!("holds {}, expected an object", kind(other))),
            )),
        }
    }

    /// The fields of an object that stands in the field `section`.
    pub(crate) fn section(
        path: &'a Path,
        section: &'a str,
        object: &'a Map<String, Value>,
    ) -> Self {
        Fields {
            path,
            section,
            object,
        }
    }

    /// The error of one field.
    pub(crate) fn error(&self, name: &str, problem: FieldProblem) -> CheckpointError {
        let field = match self.section {
            "" => name.to_string(),
            section => format!("{section}.{name}"),
        };
        CheckpointError::field(self.path, field, problem)
    }

    /// The error of a value that is not understood, contradicts another or cannot be written.
    pub(crate) fn wrong(&self, name: &str, message: impl Into<String>) -> CheckpointError {
        self.error(name, FieldProblem::Value(message.into()))
    }

    /// The names of the fields that hold something.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        let stated = self.object.iter().filter(|(_, value)| !value.is_null());
        stated.map(|(name, _)| name.as_str())
    }

    /// Whether the field is there, `null` or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The field, with `null` counted as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match read(value) {
            Some(it) => Ok(Some(it)),
            None => {
                let found = describe(value);
                Err(self.error(name, FieldProblem::Type { expected, found }))
            }
        }
    }

    fn required<T>(
        &self,
        name: &str,
        expected: &'static str,
        value: Option<T>,
    ) -> Result<T, CheckpointError> {
        value.ok_or_else(|| self.error(name, FieldProblem::Missing { expected }))
    }

    /// An optional string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<&'a str>, CheckpointError> {
        self.typed(name, "a string", Value::as_str)
    }

    /// An optional boolean.
    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(name, "a boolean", Value::as_bool)
    }

    /// An optional object.
    pub(crate) fn object(
        &self,
        name: &str,
    ) -> Result<Option<&'a Map<String, Value>>, CheckpointError> {
        self.typed(name, "an object", Value::as_object)
    }

    /// An optional whole number that is not negative.
    pub(crate) fn size(&self, name: &str) -> Result<Option<usize>, CheckpointError> {
        self.typed(name, SIZE, as_size)
    }

    /// An optional number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(name, NUMBER, Value::as_f64)
    }

    /// An optional number that is finite and above zero.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<f64>, CheckpointError> {
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        self.typed(name, POSITIVE, |value| value.as_f64().filter(positive))
    }

    /// A number that must be there, finite and above zero.
    pub(crate) fn need_positive(&self, name: &str) -> Result<f64, CheckpointError> {
        self.required(name, POSITIVE, self.positive(name)?)
    }

    /// An optional list of numbers that are finite and above zero.
    pub(crate) fn positives(&self, name: &str) -> Result<Option<Vec<f64>>, CheckpointError> {
        self.typed(name, "a list of positive numbers", |value| {
            let numbers = value.as_array()?.iter().map(Value::as_f64);
            numbers
                .map(|it| it.filter(|it| it.is_finite() && *it > 0.0))
                .collect()
        })
    }

    /// A whole number that must be there.
    pub(crate) fn need_size(&self, name: &str) -> Result<usize, CheckpointError> {
        self.required(name, SIZE, self.size(name)?)
    }

    /// A string that must be there.
    pub(crate) fn need_string(&self, name: &str) -> Result<&'a str, CheckpointError> {
        self.required(name, "a string", self.string(name)?)
    }
}

const SIZE: &str = "a whole number";
const NUMBER: &str = "a number";
const POSITIVE: &str = "a positive number";

fn as_size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// A value as it is shown in errors: short ones in full.
pub(crate) fn describe(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 {
        format!("`{text}`")
    } else {
        kind(value).to_string()
    }
}
