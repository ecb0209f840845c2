//! A comparison of two dims: `tokens % 16 == 0`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::bindings::{Bindings, Symbol};
use crate::dim::{Dim, DimError, Parser};
use crate::serde_text::serde_as_text;

/// How two dims compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<=`
    Le,
    /// `<`
    Lt,
    /// `>=`
    Ge,
    /// `>`
    Gt,
}

impl Relation {
    /// All relations; a sign that starts another comes after it.
    pub const ALL: [Relation; 6] = [
        Relation::Eq,
        Relation::Ne,
        Relation::Le,
        Relation::Lt,
        Relation::Ge,
        Relation::Gt,
    ];

    /// The sign: `==`.
    pub const fn sign(self) -> &'static str {
        match self {
            Relation::Eq => "==",
            Relation::Ne => "!=",
            Relation::Le => "<=",
            Relation::Lt => "<",
            Relation::Ge => ">=",
            Relation::Gt => ">",
        }
    }

    /// Whether two values compare so.
    pub fn holds(self, lhs: i64, rhs: i64) -> bool {
        match self {
            Relation::Eq => lhs == rhs,
            Relation::Ne => lhs != rhs,
            Relation::Le => lhs <= rhs,
            Relation::Lt => lhs < rhs,
            Relation::Ge => lhs >= rhs,
            Relation::Gt => lhs > rhs,
        }
    }

    /// The relation that holds where this one does not.
    pub const fn negated(self) -> Relation {
        match self {
            Relation::Eq => Relation::Ne,
            Relation::Ne => Relation::Eq,
            Relation::Le => Relation::Gt,
            Relation::Lt => Relation::Ge,
            Relation::Ge => Relation::Lt,
            Relation::Gt => Relation::Le,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

/// A comparison of two dims.
///
/// ```
/// use gabion_tensor::Constraint;
/// let whole: Constraint = "tokens % 16 == 0".parse().unwrap();
/// assert_eq!(whole.to_string(), "tokens % 16 == 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// Left of the sign.
    pub lhs: Dim,
    /// The sign.
    pub relation: Relation,
    /// Right of the sign.
    pub rhs: Dim,
}

impl Constraint {
    /// `lhs relation rhs`.
    pub fn new(lhs: impl Into<Dim>, relation: Relation, rhs: impl Into<Dim>) -> Self {
        Constraint {
            lhs: lhs.into(),
            relation,
            rhs: rhs.into(),
        }
    }

    /// `lhs == rhs`.
    pub fn eq(lhs: impl Into<Dim>, rhs: impl Into<Dim>) -> Self {
        Self::new(lhs, Relation::Eq, rhs)
    }

    /// `lhs <= rhs`.
    pub fn le(lhs: impl Into<Dim>, rhs: impl Into<Dim>) -> Self {
        Self::new(lhs, Relation::Le, rhs)
    }

    /// `dim % n == 0`.
    ///
    /// # Errors
    /// If `n` is 0.
    pub fn multiple_of(dim: &Dim, n: i64) -> Result<Self, DimError> {
        Ok(Self::eq(dim.rem(&Dim::fixed(n))?, Dim::ZERO))
    }

    /// Whether it holds for these values.
    ///
    /// # Errors
    /// If a side has no value.
    pub fn eval(&self, bindings: &Bindings) -> Result<bool, DimError> {
        let (lhs, rhs) = (self.lhs.eval(bindings)?, self.rhs.eval(bindings)?);
        Ok(self.relation.holds(lhs, rhs))
    }

    /// Dims in place of symbols, on both sides.
    ///
    /// # Errors
    /// As [`Dim::substitute`].
    pub fn substitute(&self, values: &BTreeMap<Symbol, Dim>) -> Result<Constraint, DimError> {
        Ok(Constraint {
            lhs: self.lhs.substitute(values)?,
            relation: self.relation,
            rhs: self.rhs.substitute(values)?,
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.lhs, self.relation, self.rhs)
    }
}

impl FromStr for Constraint {
    type Err = DimError;

    fn from_str(text: &str) -> Result<Self, DimError> {
        let mut parser = Parser::new(text);
        let lhs = parser.sum()?;
        let Some(relation) = Relation::ALL.into_iter().find(|r| parser.take(r.sign())) else {
            return Err(parser.expected("`==`, `!=`, `<=`, `<`, `>=` or `>`"));
        };
        let rhs = parser.sum()?;
        parser.end()?;
        Ok(Constraint { lhs, relation, rhs })
    }
}

serde_as_text!(Constraint, "a comparison of two sizes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_back() {
        for text in [
            "a == b",
            "tokens % 16 == 0",
            "a != 3",
            "a + b <= 4096",
            "a < min(b, c)",
            "a >= 1",
            "2*a > b",
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint.to_string(), text);
            let json = serde_json::to_string(&constraint).unwrap();
            assert_eq!(
                serde_json::from_str::<Constraint>(&json).unwrap(),
                constraint
            );
        }
        let error = "a = b".parse::<Constraint>().unwrap_err().to_string();
        assert_eq!(
            error,
            "in `a = b` at byte 2: expected `==`, `!=`, `<=`, `<`, `>=` or `>`"
        );
        let error = "a == b == c".parse::<Constraint>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "in `a == b == c` at byte 7: expected an operator or the end"
        );
    }

    #[test]
    fn relations_and_their_negations_divide_all_pairs() {
        for relation in Relation::ALL {
            for (a, b) in [(1, 2), (2, 2), (3, 2)] {
                assert_ne!(
                    relation.holds(a, b),
                    relation.negated().holds(a, b),
                    "{a} {relation} {b}"
                );
            }
            assert_eq!(relation.negated().negated(), relation);
        }
    }

    #[test]
    fn values_decide() {
        let mut bindings = Bindings::new();
        bindings.bind("tokens", 32).unwrap();
        let tokens = Dim::symbol("tokens").unwrap();
        let whole = Constraint::multiple_of(&tokens, 16).unwrap();
        assert_eq!(whole.to_string(), "tokens % 16 == 0");
        assert_eq!(whole.eval(&bindings), Ok(true));
        assert_eq!(Constraint::le(&tokens, 31).eval(&bindings), Ok(false));
        let past = Dim::symbol("past").unwrap();
        let error = Constraint::eq(&tokens, past).eval(&bindings).unwrap_err();
        assert_eq!(error.to_string(), "symbol `past` in `past` has no value");
        let error = Constraint::multiple_of(&tokens, 0).unwrap_err();
        assert_eq!(error.to_string(), "division by zero in `(tokens) % 0`");
        let to = BTreeMap::from([(Symbol::new("tokens").unwrap(), Dim::fixed(48))]);
        assert_eq!(whole.substitute(&to), Ok(Constraint::eq(0, 0)));
    }
}
