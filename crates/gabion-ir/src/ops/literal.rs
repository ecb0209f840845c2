//! The literal form of a constant: what the text form and JSON hold.

use gabion_tensor::{DType, HostTensor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ops::leaf::Constant;

/// What the text form and JSON hold. Numbers that JSON lacks are words: "nan", "inf", "-inf".
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Literal {
    dtype: DType,
    shape: Vec<usize>,
    value: LiteralValue,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LiteralValue {
    Fill(Number),
    Each(Vec<Number>),
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Word(String),
}

impl Number {
    fn float(value: f64) -> Self {
        if value.is_nan() {
            Number::Word("nan".to_owned())
        } else if value.is_infinite() {
            Number::Word(if value > 0.0 { "inf" } else { "-inf" }.to_owned())
        } else {
            Number::Float(value)
        }
    }

    fn to_f64(&self) -> Result<f64, String> {
        match self {
            Number::Bool(b) => Ok(f64::from(u8::from(*b))),
            Number::Unsigned(n) => Ok(*n as f64),
            Number::Signed(n) => Ok(*n as f64),
            Number::Float(x) => Ok(*x),
            Number::Word(w) => match w.as_str() {
                "nan" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                _ => Err(format!("`{w}` is no number")),
            },
        }
    }

    fn to_u64(&self) -> Result<u64, String> {
        match self {
            Number::Unsigned(n) => Ok(*n),
            _ => Err("expected an unsigned integer".to_owned()),
        }
    }

    fn to_i64(&self) -> Result<i64, String> {
        match self {
            Number::Unsigned(n) => i64::try_from(*n).map_err(|_| format!("{n} is out of range")),
            Number::Signed(n) => Ok(*n),
            Number::Bool(b) => Ok(i64::from(*b)),
            Number::Float(_) | Number::Word(_) => Err("expected an integer".to_owned()),
        }
    }
}

impl Constant {
    fn numbers(&self) -> Result<Vec<Number>, gabion_tensor::TensorError> {
        Ok(match self.value().dtype() {
            DType::Bool => self
                .value()
                .to_i64_vec()?
                .into_iter()
                .map(|v| Number::Bool(v != 0))
                .collect(),
            DType::U64 => self
                .value()
                .to_vec::<u64>()?
                .into_iter()
                .map(Number::Unsigned)
                .collect(),
            dtype if dtype.is_int() => self
                .value()
                .to_i64_vec()?
                .into_iter()
                .map(|v| u64::try_from(v).map_or(Number::Signed(v), Number::Unsigned))
                .collect(),
            DType::F64 => self
                .value()
                .to_f64_vec()?
                .into_iter()
                .map(Number::float)
                .collect(),
            _ => self
                .value()
                .to_f32_vec()?
                .into_iter()
                .map(|v| Number::float(shortest(v)))
                .collect(),
        })
    }
}

/// The f64 that prints as the shortest decimal of an f32, if that reads back as the same f32;
/// `1e-10` instead of `1.000000013351432e-10`.
fn shortest(value: f32) -> f64 {
    let exact = f64::from(value);
    match format!("{value:e}").parse::<f64>() {
        Ok(short) if (short as f32).to_bits() == value.to_bits() => short,
        _ => exact,
    }
}

impl Serialize for Constant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut numbers = self.numbers().map_err(serde::ser::Error::custom)?;
        let same = numbers.windows(2).all(|w| match (&w[0], &w[1]) {
            (Number::Float(a), Number::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        });
        let value = if same && !numbers.is_empty() {
            LiteralValue::Fill(numbers.swap_remove(0))
        } else {
            LiteralValue::Each(numbers)
        };
        let shape = self.value().shape().to_vec();
        Literal {
            dtype: self.value().dtype(),
            shape,
            value,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Constant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = Literal::deserialize(deserializer)?;
        literal
            .tensor()
            .map(Constant::new)
            .map_err(serde::de::Error::custom)
    }
}

/// A constant in text is for small tensors; more belongs into a checkpoint.
const MAX_ELEMENTS: usize = 1 << 24;

impl Literal {
    fn tensor(&self) -> Result<HostTensor, String> {
        let numel = self
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .filter(|&n| n <= MAX_ELEMENTS)
            .ok_or_else(|| {
                format!(
                    "a constant has at most {MAX_ELEMENTS} elements, found shape {:?}",
                    self.shape
                )
            })?;
        let numbers: Vec<&Number> = match &self.value {
            LiteralValue::Fill(number) => vec![number; numel],
            LiteralValue::Each(numbers) if numbers.len() == numel => numbers.iter().collect(),
            LiteralValue::Each(numbers) => {
                return Err(format!(
                    "shape {:?} has {numel} elements, found {}",
                    self.shape,
                    numbers.len()
                ));
            }
        };
        let wide = match self.dtype {
            DType::U64 => {
                let values: Vec<u64> = numbers
                    .iter()
                    .map(|n| n.to_u64())
                    .collect::<Result<_, _>>()?;
                return HostTensor::from_slice(&self.shape, &values).map_err(|e| e.to_string());
            }
            dtype if dtype.is_int() || dtype.is_bool() => {
                let values: Vec<i64> = numbers
                    .iter()
                    .map(|n| n.to_i64())
                    .collect::<Result<_, _>>()?;
                let wide =
                    HostTensor::from_slice(&self.shape, &values).map_err(|e| e.to_string())?;
                let cast = wide.cast(dtype).map_err(|e| e.to_string())?;
                if cast.to_i64_vec().map_err(|e| e.to_string())? != values {
                    return Err(format!("a value is outside the range of {dtype}"));
                }
                return Ok(cast);
            }
            DType::Block(_) => return Err(format!("a constant cannot be {}", self.dtype)),
            _ => numbers
                .iter()
                .map(|n| n.to_f64())
                .collect::<Result<Vec<f64>, _>>()?,
        };
        HostTensor::from_slice(&self.shape, &wide)
            .and_then(|t| t.cast(self.dtype))
            .map_err(|e| e.to_string())
    }
}
