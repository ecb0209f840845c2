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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_differ() {
        let unary = UnaryFn::ALL.iter().map(|f| {
            assert_eq!(f.name().parse(), Ok(*f));
            assert_eq!(
                serde_json::from_str::<UnaryFn>(&serde_json::to_string(f).unwrap()).unwrap(),
                *f
            );
            assert!(!f.doc().is_empty());
            f.name()
        });
        let binary = BinaryFn::ALL.iter().map(|f| {
            assert_eq!(f.name().parse(), Ok(*f));
            f.name()
        });
        let compare = CompareFn::ALL.iter().map(|f| {
            assert_eq!(f.name().parse(), Ok(*f));
            f.name()
        });
        let mut names: Vec<&str> = unary.chain(binary).chain(compare).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(
            (n, names.len()),
            (
                UnaryFn::ALL.len() + BinaryFn::ALL.len() + CompareFn::ALL.len(),
                n
            )
        );
        let error = "gelu".parse::<UnaryFn>().unwrap_err();
        assert_eq!(error.to_string(), "unknown function `gelu`");
    }

    /// What a function accepts is what it can evaluate.
    #[test]
    fn accepted_dtypes_are_those_with_a_value() {
        for dtype in DType::PLAIN {
            for f in UnaryFn::ALL {
                let has_value = match dtype {
                    DType::Bool => f.eval_bool(true).is_ok(),
                    _ if dtype.is_signed_int() => f.eval_i64(1).is_ok(),
                    _ if dtype.is_unsigned_int() => f.eval_u64(1).is_ok(),
                    _ => f.eval_f32(1.0).is_ok() && f.eval_f64(1.0).is_ok(),
                };
                assert_eq!(f.accepts(dtype), has_value, "{f} of {dtype}");
            }
            for f in BinaryFn::ALL {
                let has_value = match dtype {
                    DType::Bool => f.eval_bool(true, true).is_ok(),
                    _ if dtype.is_signed_int() => f.eval_i64(1, 1).is_ok(),
                    _ if dtype.is_unsigned_int() => f.eval_u64(1, 1).is_ok(),
                    _ => f.eval_f32(1.0, 1.0).is_ok() && f.eval_f64(1.0, 1.0).is_ok(),
                };
                assert_eq!(f.accepts(dtype), has_value, "{f} of {dtype}");
            }
        }
        let block = DType::Block(crate::BlockFormat::Q8_0);
        assert!(
            UnaryFn::ALL.iter().all(|f| !f.accepts(block))
                && BinaryFn::ALL.iter().all(|f| !f.accepts(block))
        );
        assert!(
            CompareFn::Eq.accepts(DType::Bool)
                && !CompareFn::Lt.accepts(DType::Bool)
                && !CompareFn::Ne.accepts(block)
        );
    }
}
