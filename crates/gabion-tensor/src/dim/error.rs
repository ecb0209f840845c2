//! What can be wrong with a dim.

use super::Poison;

/// Why a dim cannot be made or has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    /// A coefficient or a value leaves 64 bits.
    #[error("size overflows 64 bits")]
    Overflow,
    /// The canonical form has too many parts.
    #[error(
        "size expression is too complex: more than {} parts, or nested deeper than {}",
        super::polynomial::MAX_PARTS,
        super::polynomial::MAX_DEPTH
    )]
    TooComplex,
    /// Division or remainder by zero.
    #[error("division by zero in `{dim}`")]
    DivisionByZero {
        /// The division.
        dim: String,
    },
    /// A symbol without a value.
    #[error("symbol `{symbol}` in `{dim}` has no value")]
    Unbound {
        /// The symbol.
        symbol: String,
        /// The expression that needs it.
        dim: String,
    },
    /// A symbol given two values.
    #[error("symbol `{symbol}` is {bound} and cannot also be {value}")]
    Rebound {
        /// The symbol.
        symbol: String,
        /// The value it has.
        bound: i64,
        /// The other value.
        value: i64,
    },
    /// A size below zero.
    #[error("size `{dim}` is {value}; sizes are not negative")]
    NegativeSize {
        /// The expression or symbol.
        dim: String,
        /// Its value.
        value: i64,
    },
    /// A name that is no identifier.
    #[error("`{name}` is no symbol: expected a letter or `_`, then letters, digits or `_`")]
    BadSymbol {
        /// The name as given.
        name: String,
    },
    /// Text that is no dim.
    #[error("in `{text}` at byte {at}: expected {expected}")]
    Text {
        /// The text.
        text: String,
        /// Where in the text.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
}

impl From<Poison> for DimError {
    fn from(poison: Poison) -> Self {
        match poison {
            Poison::Overflow => DimError::Overflow,
            Poison::TooComplex => DimError::TooComplex,
        }
    }
}
