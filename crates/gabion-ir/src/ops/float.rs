//! A float attribute: compares and hashes by its bits, prints as the shortest text that reads back.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An f64 that an operator holds as an attribute. Serialises as a number, or as `"nan"`, `"inf"`,
/// `"-inf"`, which JSON's numbers lack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Float(pub f64);

impl Float {
    /// The value.
    pub fn get(self) -> f64 {
        self.0
    }

    /// All NaNs are one.
    fn bits(self) -> u64 {
        if self.0.is_nan() {
            f64::NAN.to_bits()
        } else {
            self.0.to_bits()
        }
    }
}

impl From<f64> for Float {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match word(self.0) {
            Some(word) => f.write_str(word),
            None => write!(f, "{:?}", self.0),
        }
    }
}

fn word(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("nan"),
        f64::INFINITY => Some("inf"),
        f64::NEG_INFINITY => Some("-inf"),
        _ => None,
    }
}

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match word(self.0) {
            Some(word) => serializer.serialize_str(word),
            None => serializer.serialize_f64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FloatVisitor)
    }
}

struct FloatVisitor;

impl de::Visitor<'_> for FloatVisitor {
    type Value = Float;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Float, E> {
        Ok(Float(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Float, E> {
        Ok(Float(value as f64))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Float, E> {
        match value {
            "nan" => Ok(Float(f64::NAN)),
            "inf" => Ok(Float(f64::INFINITY)),
            "-inf" => Ok(Float(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_compares_by_bits() {
        for value in [
            1e-5,
            0.1,
            -0.0,
            0.0,
            3.0,
            f64::MIN_POSITIVE,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            let text = serde_json::to_string(&Float(value)).unwrap();
            assert_eq!(
                serde_json::from_str::<Float>(&text).unwrap(),
                Float(value),
                "{text}"
            );
        }
        assert_ne!(Float(0.0), Float(-0.0));
        assert_eq!(Float(1e-5).to_string(), "1e-5");
        assert_eq!(serde_json::from_str::<Float>("2").unwrap(), Float(2.0));
        assert!(
            serde_json::from_str::<Float>("\"two\"")
                .unwrap_err()
                .to_string()
                .contains("\"-inf\"")
        );
    }
}
