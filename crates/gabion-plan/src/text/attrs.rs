//! Attributes in the text form: JSON values, with `key = value` in place of `"key": value`, and the
//! serde form of enums as `word {attributes}`. Printing and parsing, side by side.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::cursor::{Cursor, is_word};
use super::error::Fault;

type Attrs = Map<String, Value>;

/// Brackets within brackets of one attribute.
const MAX_DEPTH: usize = 32;

/// The word and the attributes of a variant; none for a unit variant.
pub(super) fn variant_of<T: Serialize>(value: &T) -> (String, Option<Attrs>) {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => (word, None),
        Ok(Value::Object(tagged)) => match tagged.into_iter().next() {
            Some((word, Value::Object(attrs))) => (word, Some(attrs)),
            Some((word, _)) => (word, None),
            None => (String::new(), None),
        },
        // The enums of a plan are words, or words with attributes; nothing else comes here.
        Ok(_) | Err(_) => (String::new(), None),
    }
}

/// `halves {block = 64}`.
pub(super) fn write_variant<T: Serialize>(out: &mut String, value: &T) {
    let (word, attrs) = variant_of(value);
    out.push_str(&word);
    if let Some(attrs) = attrs.filter(|attrs| !attrs.is_empty()) {
        out.push(' ');
        write_attrs(out, &attrs);
    }
}

/// `{key = value, ..}` on one line.
pub(super) fn write_attrs(out: &mut String, attrs: &Attrs) {
    out.push('{');
    for (i, (key, value)) in attrs.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_key(out, key);
        write_json(out, value);
    }
    out.push('}');
}

/// The same with one attribute a line, and one element a line of lists that hold lists or objects.
pub(super) fn write_attrs_tall(out: &mut String, attrs: &Attrs, indent: &str) {
    out.push('{');
    for (i, (key, value)) in attrs.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        out.push_str(&format!("\n{indent}  "));
        write_key(out, key);
        match value {
            Value::Array(items) if items.iter().any(|v| v.is_object() || v.is_array()) => {
                out.push('[');
                for (j, item) in items.iter().enumerate() {
                    out.push_str(if j > 0 { "," } else { "" });
                    out.push_str(&format!("\n{indent}    "));
                    write_json(out, item);
                }
                out.push_str(&format!("\n{indent}  ]"));
            }
            _ => write_json(out, value),
        }
    }
    out.push_str(&format!("\n{indent}}}"));
}

fn write_key(out: &mut String, key: &str) {
    if is_word(key) {
        out.push_str(key);
    } else {
        out.push_str(&Value::from(key).to_string());
    }
    out.push_str(" = ");
}

fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(attrs) => write_attrs(out, attrs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string())
        }
    }
}

/// A variant made of its word and attributes, as serde reads it. Both are at byte `at` of the text.
pub(super) fn variant_from<T: DeserializeOwned>(
    kind: &str,
    at: usize,
    word: &str,
    attrs: Option<Attrs>,
) -> Result<T, Fault> {
    let tagged =
        |attrs: Attrs| Value::Object(Attrs::from_iter([(word.to_owned(), Value::Object(attrs))]));
    let result = match attrs {
        Some(attrs) => serde_json::from_value(tagged(attrs)),
        // A word alone is a unit variant, or one whose attributes all have defaults.
        None => serde_json::from_value(Value::from(word)).or_else(|unit| {
            serde_json::from_value(tagged(Attrs::new())).map_err(|e| {
                if e.to_string().contains(word) {
                    unit
                } else {
                    e
                }
            })
        }),
    };
    result.map_err(|e| Fault {
        at,
        expected: kind.to_owned(),
        found: format!("`{word}`: {e}"),
    })
}

impl Cursor<'_> {
    /// `halves {block = 64}`.
    pub(super) fn variant<T: DeserializeOwned>(&mut self, kind: &str) -> Result<T, Fault> {
        let at = self.at();
        let word = self.word(kind)?;
        let attrs = if self.peek("{") {
            Some(self.attrs()?)
        } else {
            None
        };
        variant_from(kind, at, word, attrs)
    }

    /// `{key = value, ..}`.
    pub(super) fn attrs(&mut self) -> Result<Attrs, Fault> {
        self.attrs_within(0)
    }

    fn attrs_within(&mut self, depth: usize) -> Result<Attrs, Fault> {
        self.expect("{")?;
        let mut attrs = Attrs::new();
        while !self.peek("}") {
            let at = self.at();
            let key = if self.peek("\"") {
                self.string()?
            } else {
                self.word("an attribute, `key = value`, or `}`")?.to_owned()
            };
            self.expect("=")?;
            let value = self.json(depth)?;
            if attrs.contains_key(&key) {
                let expected = "each attribute once".to_owned();
                return Err(Fault {
                    at,
                    expected,
                    found: format!("a second `{key}`"),
                });
            }
            attrs.insert(key, value);
            if !self.eat(",") {
                break;
            }
        }
        if self.eat("}") {
            Ok(attrs)
        } else {
            Err(self.fault("`,` or `}`"))
        }
    }

    fn json(&mut self, depth: usize) -> Result<Value, Fault> {
        if depth >= MAX_DEPTH {
            return Err(self.fault(format!("at most {MAX_DEPTH} nested lists")));
        }
        if self.peek("{") {
            return Ok(Value::Object(self.attrs_within(depth + 1)?));
        }
        if self.peek("\"") {
            return Ok(Value::String(self.string()?));
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.peek("]") {
                items.push(self.json(depth + 1)?);
                if !self.eat(",") {
                    break;
                }
            }
            return if self.eat("]") {
                Ok(Value::Array(items))
            } else {
                Err(self.fault("`,` or `]`"))
            };
        }
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.eat_word(word) {
                return Ok(value);
            }
        }
        let at = self.at();
        match serde_json::from_str(self.number_token()) {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => {
                self.move_to(at);
                Err(self.fault(
                    "a value: a number, a string, `true`, `false`, `null`, `[..]` or `{..}`",
                ))
            }
        }
    }
}
