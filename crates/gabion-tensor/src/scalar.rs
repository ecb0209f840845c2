//! The one table of scalar maths: what `exp` or `gelu_erf` of a number is. Tensors, broadcasting and operators are elsewhere.
//!
//! # Accuracy
//! `neg`, `abs`, `sqrt`, `recip`, `square`, `+ - * /`, rounding, comparisons: as IEEE 754 says, each operation rounded once.
//! Everything else in f32 is computed in f64 and rounded once, so it is within 0.501 ulp of the true value and the same on every
//! machine. In f64, functions are those of the `libm` crate (a port of musl's), within a few ulp.
//! f16 and bf16 are computed in f32 and rounded by the caller.
//!
//! # Integers
//! Computed in 64 bits, wrapping; the caller keeps the low bits of a narrower dtype, which gives that dtype's wrapping result.
//! Functions that can fail on integers say so through [`ScalarError`].

mod binary;
mod compare;
mod unary;

pub use binary::BinaryFn;
pub use compare::CompareFn;
pub use unary::UnaryFn;

use crate::dtype::DType;

/// Why a scalar function has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScalarError {
    /// Integer division or remainder by zero.
    #[error("`{function}` of integers: division by zero")]
    DivisionByZero {
        /// The function.
        function: &'static str,
    },
    /// Integer power with an exponent below zero.
    #[error("`pow` of integers: the exponent {exponent} is negative")]
    NegativeExponent {
        /// The exponent.
        exponent: i64,
    },
    /// The function is not defined on such numbers.
    #[error("`{function}` is not defined on {kind}")]
    NotDefined {
        /// The function.
        function: &'static str,
        /// `floats`, `integers`, `unsigned integers` or `bools`.
        kind: &'static str,
    },
}

/// A name that is no scalar function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown function `{name}`")]
pub struct UnknownFn {
    /// The name as given.
    pub name: String,
}

/// The dtypes that a function takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Domain {
    /// Floats.
    Float,
    /// Floats and signed integers.
    Signed,
    /// Floats and integers.
    Number,
    /// Bools and integers, bit by bit.
    Bits,
    /// All plain dtypes.
    Any,
}

impl Domain {
    const fn accepts(self, dtype: DType) -> bool {
        match self {
            Domain::Float => dtype.is_float(),
            Domain::Signed => dtype.is_float() || dtype.is_signed_int(),
            Domain::Number => dtype.is_float() || dtype.is_int(),
            Domain::Bits => dtype.is_bool() || dtype.is_int(),
            Domain::Any => !dtype.is_block(),
        }
    }
}

/// Name, parsing and serde of a function enum whose variants have `name()` and `ALL`.
macro_rules! function_names {
    ($type:ty) => {
        impl $type {
            /// The function of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|f| f.name() == name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::scalar::UnknownFn;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::from_name(name).ok_or_else(|| $crate::scalar::UnknownFn {
                    name: name.to_string(),
                })
            }
        }

        $crate::serde_text::serde_as_text!($type, "the name of a function");
    };
}
use function_names;
