//! JSON as the user wrote it: a key that stands twice in one object is an error, since whichever of
//! the two is read, the other was meant as well. What the fields mean lives with their readers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The value of a JSON text (RFC 8259).
///
/// # Errors
/// The text is no JSON, or an object names a key twice; with the line and column. The caller names the file.
pub fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` appears twice: leave one of the two out"
                )));
            }
            let Strict(value) = object.next_value()?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_json as parse;

    #[test]
    fn texts_mean_what_they_mean_elsewhere_and_no_key_stands_twice() {
        let text = r#"{"a": [1, -2, 1.5, true, null, "\u00e9\n"], "b": {"a": {}, "b": []}}"#;
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text).unwrap(), expected);
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            said("[{\"a\": 1,\n \"\\u0061\": 1}]"),
            "the key `a` appears twice: leave one of the two out at line 2 column 9"
        );
        assert!(said("{} {}").starts_with("trailing characters"));
        assert!(said("1e999").starts_with("number out of range"));
        assert!(said(&"[".repeat(1000)).starts_with("recursion limit exceeded"));
    }
}
