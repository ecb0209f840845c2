//! Names of unknown sizes, and the sizes they have in one run.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::dim::DimError;

/// The name of a size that is known at run time: an identifier, `[A-Za-z_][A-Za-z0-9_]*`. Equal names mean equal sizes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// A symbol of this name.
    ///
    /// # Errors
    /// If the name is no identifier.
    pub fn new(name: &str) -> Result<Symbol, DimError> {
        let mut chars = name.chars();
        let starts = chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(Symbol(Arc::from(name)));
        }
        Err(DimError::BadSymbol {
            name: name.to_string(),
        })
    }

    /// A symbol that no user can name: for proofs only.
    pub(crate) fn fresh(index: usize) -> Symbol {
        Symbol(Arc::from(format!("#{index}")))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The values of symbols in one run. Each symbol has one value; giving it another is an error.
///
/// ```
/// use gabion_tensor::{Bindings, Dim};
/// let mut bindings = Bindings::new();
/// bindings.bind("tokens", 33).unwrap();
/// let dim: Dim = "ceil_div(tokens, 16)".parse().unwrap();
/// assert_eq!(dim.eval(&bindings).unwrap(), 3);
/// let error = bindings.bind("tokens", 34).unwrap_err();
/// assert_eq!(error.to_string(), "symbol `tokens` is 33 and cannot also be 34");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings(BTreeMap<Symbol, i64>);

impl Bindings {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a symbol its value.
    ///
    /// # Errors
    /// If the name is no identifier, if the value is negative, or if the symbol already has another value.
    pub fn bind(&mut self, name: &str, value: i64) -> Result<(), DimError> {
        if let Some(bound) = self.get(name) {
            if bound == value {
                return Ok(());
            }
            return Err(DimError::Rebound {
                symbol: name.to_string(),
                bound,
                value,
            });
        }
        if value < 0 {
            return Err(DimError::NegativeSize {
                dim: name.to_string(),
                value,
            });
        }
        self.0.insert(Symbol::new(name)?, value);
        Ok(())
    }

    /// The value of a symbol.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }

    /// All values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, i64)> {
        self.0.iter().map(|(symbol, &value)| (symbol, value))
    }

    /// The number of bound symbols.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `tokens = 33, past = 7`.
impl fmt::Display for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (symbol, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{symbol} = {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers() {
        for name in ["a", "_", "past_tokens", "A9"] {
            assert_eq!(Symbol::new(name).unwrap().name(), name);
        }
        for name in ["", "9a", "a-b", "a b", "é", "#0"] {
            assert!(
                matches!(Symbol::new(name), Err(DimError::BadSymbol { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_symbol_has_one_value() {
        let mut bindings = Bindings::new();
        bindings.bind("tokens", 3).unwrap();
        bindings.bind("tokens", 3).unwrap();
        bindings.bind("past", 0).unwrap();
        let error = bindings.bind("tokens", 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "symbol `tokens` is 3 and cannot also be 4"
        );
        let error = bindings.bind("batch", -1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "size `batch` is -1; sizes are not negative"
        );
        assert_eq!(bindings.to_string(), "past = 0, tokens = 3");
        assert_eq!((bindings.len(), bindings.get("batch")), (2, None));
    }
}
