//! A condition on sizes that could not be proved and is checked when the sizes are known.

use serde::{Deserialize, Serialize};

use crate::bindings::Bindings;
use crate::constraint::Constraint;
use crate::dim::DimError;

/// A condition on sizes to check at run time, with the reason for it.
///
/// ```
/// use gabion_tensor::{Bindings, Guard};
/// let guard = Guard::new("tokens % 16 == 0".parse().unwrap(), "reshape of %x at model.rs:12");
/// let mut bindings = Bindings::new();
/// bindings.bind("tokens", 33).unwrap();
/// assert_eq!(
///     guard.check(&bindings).unwrap_err().to_string(),
///     "`tokens % 16 == 0` does not hold: the left side is 1, the right side is 0 (reshape of %x at model.rs:12; tokens = 33)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    /// What has to hold.
    pub constraint: Constraint,
    /// Who needs it.
    pub why: String,
}

/// A guard that does not hold, or cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// It does not hold.
    #[error(
        "`{constraint}` does not hold: the left side is {lhs}, the right side is {rhs} ({why}; {bindings})"
    )]
    Fails {
        /// What has to hold.
        constraint: Box<Constraint>,
        /// The value of the left side.
        lhs: i64,
        /// The value of the right side.
        rhs: i64,
        /// Who needs it.
        why: String,
        /// The sizes.
        bindings: Bindings,
    },
    /// A side has no value.
    #[error("`{constraint}` cannot be checked ({why}): {source}")]
    NoValue {
        /// What has to hold.
        constraint: Box<Constraint>,
        /// Who needs it.
        why: String,
        /// Why there is no value.
        source: DimError,
    },
}

impl Guard {
    /// A guard with its reason.
    pub fn new(constraint: Constraint, why: impl Into<String>) -> Self {
        Guard {
            constraint,
            why: why.into(),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// If it does not hold (the error names both sides and their values), or a side has no value.
    pub fn check(&self, bindings: &Bindings) -> Result<(), GuardError> {
        let Constraint { lhs, relation, rhs } = &self.constraint;
        let value = |dim: &crate::Dim| {
            dim.eval(bindings).map_err(|source| GuardError::NoValue {
                constraint: Box::new(self.constraint.clone()),
                why: self.why.clone(),
                source,
            })
        };
        let (lhs, rhs) = (value(lhs)?, value(rhs)?);
        if relation.holds(lhs, rhs) {
            return Ok(());
        }
        Err(GuardError::Fails {
            constraint: Box::new(self.constraint.clone()),
            lhs,
            rhs,
            why: self.why.clone(),
            bindings: bindings.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_hold_fail_or_cannot_be_checked() {
        let guard = Guard::new("a + 1 == b".parse().unwrap(), "concat of %x");
        let mut bindings = Bindings::new();
        let error = guard.check(&bindings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a + 1 == b` cannot be checked (concat of %x): symbol `a` in `a + 1` has no value"
        );
        bindings.bind("a", 3).unwrap();
        bindings.bind("b", 4).unwrap();
        assert_eq!(guard.check(&bindings), Ok(()));
        let mut other = Bindings::new();
        other.bind("a", 3).unwrap();
        other.bind("b", 5).unwrap();
        let error = guard.check(&other).unwrap_err().to_string();
        assert_eq!(
            error,
            "`a + 1 == b` does not hold: the left side is 4, the right side is 5 (concat of %x; a = 3, b = 5)"
        );
        let json = serde_json::to_string(&guard).unwrap();
        assert_eq!(json, r#"{"constraint":"a + 1 == b","why":"concat of %x"}"#);
        assert_eq!(serde_json::from_str::<Guard>(&json).unwrap(), guard);
    }
}
