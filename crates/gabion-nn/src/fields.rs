//! Reading a JSON object field by field while collecting every problem, so that a file with three
//! mistakes is refused once, with all three. What the fields mean is decided by the callers.

use serde_json::{Map, Value};

use crate::error::{ConfigErrors, ConfigProblem};

/// Sizes beyond this are no sizes of a model; it also keeps every product of two within 64 bits.
const MAX_SIZE: u64 = 1 << 31;

/// One JSON object being read.
pub(crate) struct Fields<'a> {
    map: Map<String, Value>,
    parent: &'a str,
    pub(crate) problems: Vec<ConfigProblem>,
}

/// The value as a message shows it: short JSON.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    let head: String = text.chars().take(57).collect();
    format!("{head}...")
}

impl<'a> Fields<'a> {
    /// The fields of `value`; `parent` (empty at the root) is shown before each field's name.
    pub(crate) fn new(value: &Value, parent: &'a str) -> Self {
        let mut problems = Vec::new();
        let map = match value {
            Value::Object(map) => map.clone(),
            other => {
                let found = shown(other);
                problems.push(if parent.is_empty() {
                    ConfigProblem::NotAnObject { found }
                } else {
                    ConfigProblem::Invalid {
                        field: parent.to_owned(),
                        expected: "an object".to_owned(),
                        found,
                    }
                });
                Map::new()
            }
        };
        Self {
            map,
            parent,
            problems,
        }
    }

    /// The field's full name.
    pub(crate) fn path(&self, field: &str) -> String {
        if self.parent.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.parent)
        }
    }

    /// The field, unless absent or null.
    pub(crate) fn get(&self, field: &str) -> Option<Value> {
        self.map.get(field).filter(|v| !v.is_null()).cloned()
    }

    /// True if the field is there, null or not.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// Records a problem.
    pub(crate) fn problem(&mut self, problem: ConfigProblem) {
        self.problems.push(problem);
    }

    /// Records that fields contradict each other.
    pub(crate) fn contradiction(&mut self, fields: &[&str], message: String) {
        let fields = fields.iter().map(|f| self.path(f)).collect();
        self.problem(ConfigProblem::Contradiction { fields, message });
    }

    /// Records a value that is understood and not supported.
    pub(crate) fn unsupported(&mut self, field: &str, found: &Value, message: &str) {
        let (field, found) = (self.path(field), shown(found));
        self.problem(ConfigProblem::Unsupported {
            field,
            found,
            message: message.to_owned(),
        });
    }

    fn missing(&mut self, field: &str, expected: &str) {
        let field = self.path(field);
        self.problem(ConfigProblem::Missing {
            field,
            expected: expected.to_owned(),
        });
    }

    /// Records a null where only a value has a meaning, unlike in fields that read null as absent.
    pub(crate) fn refuse_null(&mut self, field: &str, expected: &str) {
        if self.has(field) && self.get(field).is_none() {
            self.invalid(field, expected, &Value::Null);
        }
    }

    /// Records a value of the wrong kind.
    pub(crate) fn invalid(&mut self, field: &str, expected: &str, found: &Value) {
        let (field, found) = (self.path(field), shown(found));
        self.problem(ConfigProblem::Invalid {
            field,
            expected: expected.to_owned(),
            found,
        });
    }

    fn typed<T>(
        &mut self,
        field: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(field)?;
        let typed = read(&value);
        if typed.is_none() {
            self.invalid(field, expected, &value);
        }
        typed
    }

    /// A positive size, if present.
    pub(crate) fn size(&mut self, field: &str) -> Option<usize> {
        // Integers beyond 64 bits are read as floats.
        let too_large = |v: &Value| v.as_f64().is_some_and(|n| n > MAX_SIZE as f64);
        if self.get(field).as_ref().is_some_and(too_large) {
            return self.typed(field, &format!("{SIZE} up to {MAX_SIZE}"), as_size);
        }
        self.typed(field, SIZE, as_size)
    }

    /// A positive size that must be there; `None` after a problem.
    pub(crate) fn needed_size(&mut self, field: &str) -> Option<usize> {
        if self.get(field).is_none() {
            self.missing(field, SIZE);
        }
        self.size(field)
    }

    /// A positive size that must be there; 1 stands in for it after a problem.
    pub(crate) fn required_size(&mut self, field: &str) -> usize {
        self.needed_size(field).unwrap_or(1)
    }

    /// A positive size that must be there and is at most `most`, so that a wrong file cannot ask
    /// for work without end; `None` after a problem.
    pub(crate) fn needed_count(&mut self, field: &str, most: usize) -> Option<usize> {
        let n = self.needed_size(field)?;
        if n <= most {
            return Some(n);
        }
        self.invalid(field, &format!("{SIZE} up to {most}"), &Value::from(n));
        None
    }

    /// A finite number, if present.
    pub(crate) fn number(&mut self, field: &str) -> Option<f64> {
        self.typed(field, "a finite number", |v| {
            v.as_f64().filter(|x| x.is_finite())
        })
    }

    /// A positive number, if present.
    pub(crate) fn positive(&mut self, field: &str) -> Option<f64> {
        self.typed(field, POSITIVE, |v| {
            v.as_f64().filter(|x| x.is_finite() && *x > 0.0)
        })
    }

    /// A positive number that must be there; 1.0 stands in for it after a problem.
    pub(crate) fn required_positive(&mut self, field: &str) -> f64 {
        if self.get(field).is_none() {
            self.missing(field, POSITIVE);
        }
        self.positive(field).unwrap_or(1.0)
    }

    /// A truth value, `default` if absent.
    pub(crate) fn flag(&mut self, field: &str, default: bool) -> bool {
        self.typed(field, "true or false", Value::as_bool)
            .unwrap_or(default)
    }

    /// A word, if present.
    pub(crate) fn word(&mut self, field: &str) -> Option<String> {
        self.typed(field, "a string", |v| v.as_str().map(str::to_owned))
    }

    /// A word that must be there; empty after a problem.
    pub(crate) fn required_word(&mut self, field: &str, expected: &str) -> String {
        if self.get(field).is_none() {
            self.missing(field, expected);
        }
        self.word(field).unwrap_or_default()
    }

    /// A list of positive numbers that must be there; empty after a problem.
    pub(crate) fn required_positives(&mut self, field: &str) -> Vec<f64> {
        const EXPECTED: &str = "a list of positive numbers";
        if self.get(field).is_none() {
            self.missing(field, EXPECTED);
        }
        let read = |v: &Value| -> Option<Vec<f64>> {
            v.as_array()?
                .iter()
                .map(|x| x.as_f64().filter(|x| x.is_finite() && *x > 0.0))
                .collect()
        };
        self.typed(field, EXPECTED, read).unwrap_or_default()
    }

    /// A value that must be there; `None` after a problem.
    pub(crate) fn required(&mut self, field: &str, expected: &str) -> Option<Value> {
        let value = self.get(field);
        if value.is_none() {
            self.missing(field, expected);
        }
        value
    }

    /// Token ids: an integer or a list of them; empty if absent.
    pub(crate) fn token_ids(&mut self, field: &str) -> Vec<u32> {
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let read = |v: &Value| match v {
            Value::Array(list) => list.iter().map(id).collect(),
            one => id(one).map(|n| vec![n]),
        };
        self.typed(field, "a token id or a list of token ids", read)
            .unwrap_or_default()
    }

    /// Every field that no call above asked for becomes a problem that lists the known ones.
    pub(crate) fn refuse_others(&mut self, known: &[&str]) {
        let unknown: Vec<String> = self
            .map
            .keys()
            .filter(|k| !known.contains(&k.as_str()))
            .map(|k| self.path(k))
            .collect();
        for field in unknown {
            let known = known.iter().map(|k| (*k).to_owned()).collect();
            self.problem(ConfigProblem::Unknown { field, known });
        }
    }

    /// `made` if nothing was wrong.
    pub(crate) fn finish<T>(self, file: &str, made: T) -> Result<T, ConfigErrors> {
        if self.problems.is_empty() {
            Ok(made)
        } else {
            Err(ConfigErrors {
                file: file.to_owned(),
                problems: self.problems,
            })
        }
    }
}

/// No model has more layers.
pub(crate) const MAX_LAYERS: usize = 4096;
const SIZE: &str = "a positive integer";
pub(crate) const POSITIVE: &str = "a positive number";

/// A positive size within bounds.
pub(crate) fn as_size(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .filter(|n| (1..=MAX_SIZE).contains(n))
        .and_then(|n| usize::try_from(n).ok())
}
