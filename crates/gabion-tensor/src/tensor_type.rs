//! Types of tensors: `f32[tokens, 576]`.

use std::fmt;
use std::str::FromStr;

use crate::bindings::Bindings;
use crate::dim::{Dim, DimError};
use crate::dtype::{DType, UnknownDType};
use crate::host_tensor::HostTensor;
use crate::serde_text::serde_as_text;
use crate::shape::{Shape, ShapeError};

/// A dtype and a shape. Printed as `f32[tokens, 576]`; a scalar is `f32[]`.
///
/// ```
/// use gabion_tensor::{Bindings, DType, HostTensor, TensorType};
/// let ty: TensorType = "f32[tokens, 2]".parse().unwrap();
/// let mut bindings = Bindings::new();
/// ty.accepts(&HostTensor::zeros(DType::F32, &[7, 2]).unwrap(), &mut bindings).unwrap();
/// assert_eq!(bindings.get("tokens"), Some(7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// What an element is.
    pub dtype: DType,
    /// The sizes of the axes.
    pub shape: Shape,
}

/// Why a type is wrong, or a tensor is not of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorTypeError {
    /// A shape without sizes.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The byte count overflows.
    #[error("{ty} has no byte size: {source}")]
    NoSize {
        /// The type.
        ty: Box<TensorType>,
        /// Why.
        source: DimError,
    },
    /// Blocks do not fill the last axis, or may not.
    #[error("{ty}: the last axis has to be a multiple of {block_elems}, the block of {}", ty.dtype)]
    Block {
        /// The type.
        ty: Box<TensorType>,
        /// Values in a block.
        block_elems: usize,
    },
    /// Another dtype.
    #[error("expected {ty}, found {found}: the dtype differs; cast it")]
    DType {
        /// The type.
        ty: Box<TensorType>,
        /// The tensor's type.
        found: Box<TensorType>,
    },
    /// Another number of axes.
    #[error("expected {ty}, found {found}: the rank differs")]
    Rank {
        /// The type.
        ty: Box<TensorType>,
        /// The tensor's type.
        found: Box<TensorType>,
    },
    /// Another size.
    #[error("expected {ty}, found {found}: axis {axis} is {size}, expected {dim}{}", value_of(.dim, *.value, .bindings))]
    Size {
        /// The type.
        ty: Box<TensorType>,
        /// The tensor's type.
        found: Box<TensorType>,
        /// The axis that differs.
        axis: usize,
        /// Its size.
        size: usize,
        /// The dim.
        dim: Box<Dim>,
        /// The value of the dim, if it has one.
        value: Option<i64>,
        /// The sizes known so far.
        bindings: Bindings,
    },
}

fn value_of(dim: &Dim, value: Option<i64>, bindings: &Bindings) -> String {
    match value {
        _ if dim.is_fixed() => String::new(),
        Some(value) if bindings.is_empty() => format!(" = {value}"),
        Some(value) => format!(" = {value} (with {bindings})"),
        None => ", which no size gives".to_string(),
    }
}

impl TensorType {
    /// A type.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        TensorType {
            dtype,
            shape: shape.into(),
        }
    }

    /// The type of rank 0.
    pub fn scalar(dtype: DType) -> Self {
        Self::new(dtype, Shape::default())
    }

    /// The type of a host tensor.
    pub fn of(tensor: &HostTensor) -> Self {
        Self::new(tensor.dtype(), Shape::fixed(tensor.shape()))
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Checks that the type makes sense: no dim carries an error or is negative, and blocks can fill the last axis.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(&self) -> Result<(), TensorTypeError> {
        self.shape.check()?;
        let block = self.dtype.block_elems();
        let fits = match self.shape.last() {
            None => block == 1,
            Some(dim) => dim.as_fixed().is_none_or(|size| size % block as i64 == 0),
        };
        if fits {
            Ok(())
        } else {
            Err(self.block_error())
        }
    }

    /// The bytes of a tensor of this type.
    ///
    /// # Errors
    /// If it overflows, or if blocks are not known to fill the last axis.
    pub fn byte_size(&self) -> Result<Dim, TensorTypeError> {
        let no_size = |source| TensorTypeError::NoSize {
            ty: Box::new(self.clone()),
            source,
        };
        let block = Dim::from(self.dtype.block_elems());
        let mut size = Dim::from(self.dtype.block_bytes());
        if self.dtype.is_block() && self.shape.is_empty() {
            return Err(self.block_error());
        }
        for (axis, dim) in self.shape.iter().enumerate() {
            let mut blocks = dim.clone();
            if axis + 1 == self.rank() {
                if dim.rem(&block).map_err(no_size)? != Dim::ZERO {
                    return Err(self.block_error());
                }
                blocks = dim.floor_div(&block).map_err(no_size)?;
            }
            size = size.try_mul(&blocks).map_err(no_size)?;
        }
        Ok(size)
    }

    /// Checks that a tensor is of this type, and binds the symbols that its sizes determine. On error nothing is bound.
    ///
    /// A dim that holds one symbol of unknown value, linearly, determines it: `2*tokens` accepts 14 and binds `tokens = 7`.
    ///
    /// # Errors
    /// If dtype, rank or a size differs.
    pub fn accepts(
        &self,
        tensor: &HostTensor,
        bindings: &mut Bindings,
    ) -> Result<(), TensorTypeError> {
        if self.dtype != tensor.dtype() {
            return Err(TensorTypeError::DType {
                ty: Box::new(self.clone()),
                found: Box::new(TensorType::of(tensor)),
            });
        }
        if self.rank() != tensor.rank() {
            return Err(TensorTypeError::Rank {
                ty: Box::new(self.clone()),
                found: Box::new(TensorType::of(tensor)),
            });
        }
        let mut found = bindings.clone();
        let axes = || self.shape.iter().zip(tensor.shape()).enumerate();
        // Symbols on their own first: they may make other dims known.
        for alone in [true, false] {
            for (axis, (dim, &size)) in
                axes().filter(|(_, (dim, _))| dim.as_symbol().is_some() == alone)
            {
                let value = match_dim(dim, size, &mut found);
                value.map_err(|value| TensorTypeError::Size {
                    ty: Box::new(self.clone()),
                    found: Box::new(TensorType::of(tensor)),
                    axis,
                    size,
                    dim: Box::new(dim.clone()),
                    value,
                    bindings: found.clone(),
                })?;
            }
        }
        *bindings = found;
        Ok(())
    }

    fn block_error(&self) -> TensorTypeError {
        TensorTypeError::Block {
            ty: Box::new(self.clone()),
            block_elems: self.dtype.block_elems(),
        }
    }

    /// Reads the type that `text` starts with, and gives the text after it.
    ///
    /// # Errors
    /// If the text starts with no type.
    pub fn parse_prefix(text: &str) -> Result<(TensorType, &str), TypeTextError> {
        let text = text.trim_start();
        let open = text.find('[').ok_or_else(|| TypeTextError::Form {
            text: text.to_string(),
            expected: "`dtype[dim, ..]`",
        })?;
        let dtype = text[..open].trim_end().parse()?;
        let mut rest = text[open + 1..].trim_start();
        let mut dims: Vec<Dim> = Vec::new();
        while !rest.starts_with(']') {
            let (dim, after) = Dim::parse_prefix(rest)?;
            dims.push(dim);
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with(']') => {}
                None => {
                    return Err(TypeTextError::Form {
                        text: text.to_string(),
                        expected: "`,` or `]` after a dim",
                    });
                }
            }
        }
        let ty = TensorType::new(dtype, dims);
        ty.check().map_err(|e| TypeTextError::Type(Box::new(e)))?;
        Ok((ty, &rest[1..]))
    }
}

/// Checks a size against a dim, and binds the symbol that it determines. The error is the dim's value, if it has one.
fn match_dim(dim: &Dim, size: usize, bindings: &mut Bindings) -> Result<(), Option<i64>> {
    let size = i64::try_from(size).map_err(|_| None)?;
    if let Ok(value) = dim.eval(bindings) {
        return if value == size {
            Ok(())
        } else {
            Err(Some(value))
        };
    }
    let known = bindings
        .iter()
        .map(|(symbol, value)| (symbol.clone(), Dim::fixed(value)));
    let dim = dim.substitute(&known.collect()).map_err(|_| None)?;
    let (symbol, value) = dim.solve_for(size).ok_or(None)?;
    bindings.bind(symbol.name(), value).map_err(|_| None)
}

/// Why a text is no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeTextError {
    /// Not of the form.
    #[error("`{text}` is no type: expected {expected}")]
    Form {
        /// The text.
        text: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The dtype is unknown.
    #[error(transparent)]
    DType(#[from] UnknownDType),
    /// A dim is wrong.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// The type makes no sense.
    #[error(transparent)]
    Type(Box<TensorTypeError>),
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

impl FromStr for TensorType {
    type Err = TypeTextError;

    fn from_str(text: &str) -> Result<Self, TypeTextError> {
        let (ty, rest) = TensorType::parse_prefix(text)?;
        if rest.trim().is_empty() {
            return Ok(ty);
        }
        Err(TypeTextError::Form {
            text: text.to_string(),
            expected: "nothing after `]`",
        })
    }
}

serde_as_text!(TensorType, "a type such as `f32[tokens, 576]`");

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(text: &str) -> TensorType {
        text.parse().unwrap()
    }

    #[test]
    fn types_read_back() {
        for text in [
            "f32[tokens, 576]",
            "f32[]",
            "q4_0[576, 32]",
            "bool[min(a, b), 2*c + 1]",
            "i64[ceil_div(a, 16), a % 16]",
        ] {
            assert_eq!(ty(text).to_string(), text);
            assert_eq!(
                serde_json::to_string(&ty(text)).unwrap(),
                format!("\"{text}\"")
            );
        }
        assert_eq!(ty(" bf16 [ 2,3 ] "), TensorType::new(DType::BF16, [2, 3]));
        assert_eq!(ty("f32[2, 3,]"), TensorType::new(DType::F32, [2, 3]));
        assert_eq!(
            TensorType::parse_prefix("f16[a], i8[b]"),
            Ok((ty("f16[a]"), ", i8[b]"))
        );
    }

    #[test]
    fn wrong_types_say_why() {
        let error = |text: &str| text.parse::<TensorType>().unwrap_err().to_string();
        assert_eq!(error("f32"), "`f32` is no type: expected `dtype[dim, ..]`");
        assert!(error("f31[2]").starts_with("unknown dtype `f31`"));
        assert_eq!(
            error("f32[2 3]"),
            "`f32[2 3]` is no type: expected `,` or `]` after a dim"
        );
        assert!(error("f32[2").contains("expected `,` or `]`"));
        assert_eq!(
            error("f32[2] x"),
            "`f32[2] x` is no type: expected nothing after `]`"
        );
        assert_eq!(
            error("f32[a, -1]"),
            "axis 1 of [a, -1]: size `-1` is -1; sizes are not negative"
        );
        assert_eq!(
            error("q8_0[4, 33]"),
            "q8_0[4, 33]: the last axis has to be a multiple of 32, the block of q8_0"
        );
        assert!(error("q8_0[]").contains("multiple of 32"));
        assert!(error("f32[2,,3]").contains("expected a symbol"));
    }

    #[test]
    fn byte_sizes() {
        let size = |text: &str| ty(text).byte_size().map(|dim| dim.to_string());
        assert_eq!(size("f32[tokens, 576]").unwrap(), "2304*tokens");
        assert_eq!(size("q4_0[tokens, 576]").unwrap(), "324*tokens");
        assert_eq!(size("q4_0[8, 64*a]").unwrap(), "288*a");
        assert_eq!(size("bf16[]").unwrap(), "2");
        assert!(matches!(
            size("q4_0[8, a]"),
            Err(TensorTypeError::Block { .. })
        ));
        assert!(matches!(
            size("f32[9223372036854775807]"),
            Err(TensorTypeError::NoSize { .. })
        ));
    }

    #[test]
    fn tensors_bind_symbols() {
        let zeros = |shape: &[usize]| HostTensor::zeros(DType::F32, shape).unwrap();
        let mut bindings = Bindings::new();
        ty("f32[2*tokens + 1, tokens, past + tokens]")
            .accepts(&zeros(&[15, 7, 9]), &mut bindings)
            .unwrap();
        assert_eq!(bindings.to_string(), "past = 2, tokens = 7");
        ty("f32[tokens//2]")
            .accepts(&zeros(&[3]), &mut bindings)
            .unwrap();
        ty("f32[4*heads]")
            .accepts(&zeros(&[36]), &mut bindings)
            .unwrap();
        assert_eq!(bindings.get("heads"), Some(9));
    }

    #[test]
    fn refused_tensors_bind_nothing() {
        let zeros = |shape: &[usize]| HostTensor::zeros(DType::F32, shape).unwrap();
        let mut bindings = Bindings::new();
        bindings.bind("past", 2).unwrap();
        let before = bindings.clone();
        let mut error = |text: &str, shape: &[usize]| {
            ty(text)
                .accepts(&zeros(shape), &mut bindings)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("f16[tokens]", &[2]),
            "expected f16[tokens], found f32[2]: the dtype differs; cast it"
        );
        assert_eq!(
            error("f32[tokens]", &[2, 1]),
            "expected f32[tokens], found f32[2, 1]: the rank differs"
        );
        assert_eq!(
            error("f32[tokens, 3]", &[2, 4]),
            "expected f32[tokens, 3], found f32[2, 4]: axis 1 is 4, expected 3"
        );
        assert_eq!(
            error("f32[tokens, tokens]", &[2, 4]),
            "expected f32[tokens, tokens], found f32[2, 4]: axis 1 is 4, expected tokens = 2 (with past = 2, tokens = 2)"
        );
        assert_eq!(
            error("f32[2*n]", &[5]),
            "expected f32[2*n], found f32[5]: axis 0 is 5, expected 2*n, which no size gives"
        );
        assert!(error("f32[past]", &[5]).contains("expected past = 2"));
        assert_eq!(bindings, before);
    }
}
