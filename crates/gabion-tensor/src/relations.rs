//! What is known about symbols, and what follows from it.
//!
//! The declared constraints and the public questions live here. `facts` turns constraints into a form that can be used, `expand`
//! rewrites dims so that more of them cancel, `search` proves inequalities, `normal_form` simplifies.

mod expand;
mod facts;
mod normal_form;
mod search;

use serde::{Deserialize, Serialize};

use crate::constraint::{Constraint, Relation};
use crate::dim::{Dim, DimError};
use facts::Facts;

/// What is known of a constraint, for all sizes for which the relations hold and both sides have values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It always holds.
    True,
    /// It never holds.
    False,
    /// Neither could be shown.
    Unknown,
}

impl Proof {
    fn negated(self) -> Proof {
        match self {
            Proof::True => Proof::False,
            Proof::False => Proof::True,
            Proof::Unknown => Proof::Unknown,
        }
    }
}

/// Constraints on symbols that the user declares, and proofs from them.
///
/// A proof is never wrong; where none is found, the answer is [`Proof::Unknown`]. What is used: equations solved for a symbol,
/// divisibility (`tokens % 16 == 0` makes `tokens` sixteen times something), bounds, what `//`, `%`, `min` and `max` mean, and sums
/// of inequalities.
///
/// ```
/// use gabion_tensor::{Proof, Relations};
/// let mut relations = Relations::new();
/// relations.declare("tokens % 16 == 0".parse().unwrap()).unwrap();
/// relations.declare("tokens <= 4096".parse().unwrap()).unwrap();
/// let prove = |text: &str| relations.prove(&text.parse().unwrap());
/// assert_eq!(prove("tokens//16*16 == tokens"), Proof::True);
/// assert_eq!(prove("tokens//8 <= 512"), Proof::True);
/// assert_eq!(prove("tokens == 4097"), Proof::False);
/// assert_eq!(prove("tokens % 32 == 0"), Proof::Unknown);
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Constraint>", try_from = "Vec<Constraint>")]
pub struct Relations {
    declared: Vec<Constraint>,
    facts: Facts,
}

/// Why a constraint cannot be declared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelationsError {
    /// It never holds, given what was declared before.
    #[error("`{constraint}` never holds{}", together(.known))]
    Contradiction {
        /// The constraint.
        constraint: Box<Constraint>,
        /// What was declared before.
        known: Vec<Constraint>,
    },
    /// A side is no proper dim.
    #[error("`{constraint}` cannot be used: {source}")]
    Dim {
        /// The constraint.
        constraint: Box<Constraint>,
        /// What is wrong with it.
        source: DimError,
    },
}

fn together(known: &[Constraint]) -> String {
    if known.is_empty() {
        return String::new();
    }
    let known: Vec<String> = known.iter().map(|c| format!("`{c}`")).collect();
    format!(" together with {}", known.join(", "))
}

impl Relations {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a constraint. One that is declared already, or is always true, changes nothing that can be proved.
    ///
    /// # Errors
    /// If it never holds, or a side carries an error.
    pub fn declare(&mut self, constraint: Constraint) -> Result<(), RelationsError> {
        let usable = constraint.lhs.check().and_then(|()| constraint.rhs.check());
        if let Err(source) = usable {
            return Err(RelationsError::Dim {
                constraint: Box::new(constraint),
                source,
            });
        }
        let mut all = self.declared.clone();
        all.push(constraint.clone());
        let facts = match self.prove(&constraint) {
            Proof::False => None,
            Proof::True | Proof::Unknown => Facts::from_constraints(&all),
        };
        let Some(facts) = facts else {
            return Err(RelationsError::Contradiction {
                constraint: Box::new(constraint),
                known: self.declared.clone(),
            });
        };
        self.declared = all;
        self.facts = facts;
        Ok(())
    }

    /// The declared constraints, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Constraint> {
        self.declared.iter()
    }

    /// Whether nothing was declared.
    pub fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }

    /// Whether a constraint always or never holds.
    pub fn prove(&self, constraint: &Constraint) -> Proof {
        if self.declared.contains(constraint) {
            return Proof::True;
        }
        let Ok(difference) = self.difference(&constraint.lhs, &constraint.rhs) else {
            return Proof::Unknown;
        };
        let compared = |low: i64, high: i64| self.compared(&difference, low, high);
        match constraint.relation {
            Relation::Eq => self.prove_zero(&difference),
            Relation::Ne => self.prove_zero(&difference).negated(),
            Relation::Le => compared(1, 0).negated(),
            Relation::Lt => compared(0, -1).negated(),
            Relation::Ge => compared(0, -1),
            Relation::Gt => compared(1, 0),
        }
    }

    /// Whether `a == b` is proved.
    pub fn proves_equal(&self, a: &Dim, b: &Dim) -> bool {
        a == b || self.prove(&Constraint::eq(a, b)) == Proof::True
    }

    /// An equal dim in a form that the relations make as simple as they can: solved symbols are replaced by their solutions,
    /// `tokens//16*16` becomes `tokens` where 16 divides it, arguments of `min` and `max` that are never met go.
    ///
    /// A dim for which nothing is known, or whose simple form would overflow, is returned as it is.
    pub fn simplify(&self, dim: &Dim) -> Dim {
        if self.is_empty() || dim.is_fixed() {
            return dim.clone();
        }
        self.facts.normal_form(dim).unwrap_or_else(|_| dim.clone())
    }

    /// `a - b` with all that is known put in.
    fn difference(&self, a: &Dim, b: &Dim) -> Result<Dim, DimError> {
        let difference = self
            .facts
            .solved_in(a)?
            .try_sub(&self.facts.solved_in(b)?)?;
        self.facts.expanded(&difference)
    }

    fn prove_zero(&self, difference: &Dim) -> Proof {
        if let Some(value) = difference.as_fixed() {
            return if value == 0 {
                Proof::True
            } else {
                Proof::False
            };
        }
        if self.facts.is_known_nonzero(difference) {
            return Proof::False;
        }
        let never_below = self.facts.proves_at_least(difference, 0);
        let never_above = self.facts.proves_at_most(difference, 0);
        match (never_below, never_above) {
            (true, true) => Proof::True,
            (true, false) if self.facts.proves_at_least(difference, 1) => Proof::False,
            (false, true) if self.facts.proves_at_most(difference, -1) => Proof::False,
            _ => Proof::Unknown,
        }
    }

    /// True if the difference is at least `low`, false if it is at most `high`.
    fn compared(&self, difference: &Dim, low: i64, high: i64) -> Proof {
        if self.facts.proves_at_least(difference, low) {
            Proof::True
        } else if self.facts.proves_at_most(difference, high) {
            Proof::False
        } else {
            Proof::Unknown
        }
    }
}

/// Equal if the same constraints were declared in the same order.
impl PartialEq for Relations {
    fn eq(&self, other: &Self) -> bool {
        self.declared == other.declared
    }
}

impl Eq for Relations {}

impl From<Relations> for Vec<Constraint> {
    fn from(relations: Relations) -> Self {
        relations.declared
    }
}

impl TryFrom<Vec<Constraint>> for Relations {
    type Error = RelationsError;

    fn try_from(constraints: Vec<Constraint>) -> Result<Self, RelationsError> {
        let mut relations = Relations::new();
        for constraint in constraints {
            relations.declare(constraint)?;
        }
        Ok(relations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relations(known: &[&str]) -> Relations {
        let mut relations = Relations::new();
        for text in known {
            relations.declare(text.parse().unwrap()).unwrap();
        }
        relations
    }

    #[track_caller]
    fn check(known: &[&str], goal: &str, expected: Proof) {
        let goal: Constraint = goal.parse().unwrap();
        assert_eq!(
            relations(known).prove(&goal),
            expected,
            "{goal} from {known:?}"
        );
    }

    #[test]
    fn forms_prove_without_relations() {
        check(&[], "x >= 0", Proof::True);
        check(&[], "x + 1 > x", Proof::True);
        check(&[], "x == x + 1", Proof::False);
        check(&[], "2*x + 1 == 4*y", Proof::False);
        check(&[], "2*x + 1 != 4*y", Proof::True);
        check(&[], "16*(x//16) + x % 16 == x", Proof::True);
        check(&[], "x//16*16 <= x", Proof::True);
        check(&[], "16*ceil_div(x, 16) >= x", Proof::True);
        check(&[], "16*ceil_div(x, 16) < x + 16", Proof::True);
        check(&[], "ceil_div(x, 16) <= x", Proof::True);
        check(&[], "17*x//16 == x + x//16", Proof::True);
        check(&[], "min(a, b) + max(a, b) == a + b", Proof::True);
        check(&[], "min(a, b) <= max(a, c)", Proof::True);
        check(&[], "x == y", Proof::Unknown);
        check(&[], "x//16*16 == x", Proof::Unknown);
        check(&[], "x <= 100", Proof::Unknown);
    }

    #[test]
    fn equations_are_solved() {
        check(&["k == 4096"], "k//128 == 32", Proof::True);
        check(&["k == 4096"], "k == 4095", Proof::False);
        check(
            &["total == past + tokens"],
            "total - past == tokens",
            Proof::True,
        );
        check(&["total == past + tokens"], "past <= total", Proof::True);
        check(
            &["total == past + tokens", "total <= 4096"],
            "tokens <= 4096",
            Proof::True,
        );
        check(&["a == b", "b == c"], "a*c == b*b", Proof::True);
        check(&["3*n == 2*m"], "6*n == 4*m", Proof::True);
        check(&["3*n == 2*m"], "m//5 == 3*n//5", Proof::Unknown);
        check(
            &["heads*head_dim == 576", "head_dim == 64"],
            "heads == 9",
            Proof::True,
        );
        check(&["a*b == c*d"], "2*a*b == d*c + a*b", Proof::True);
        check(&["x//16 == 4"], "x >= 64", Proof::True);
        check(&["x//16 == 4"], "x < 80", Proof::True);
        check(&["x//16 == 4"], "x < 79", Proof::Unknown);
        check(&["a + b == 0"], "a == 0", Proof::True);
    }

    #[test]
    fn divisibility_is_used() {
        check(
            &["tokens % 16 == 0"],
            "tokens//16*16 == tokens",
            Proof::True,
        );
        check(
            &["tokens % 16 == 0"],
            "tokens//8 == 2*(tokens//16)",
            Proof::True,
        );
        check(
            &["tokens % 16 == 0"],
            "ceil_div(tokens, 16) == tokens//16",
            Proof::True,
        );
        check(&["tokens % 16 == 0"], "tokens % 8 == 0", Proof::True);
        check(&["tokens % 16 == 0"], "(tokens + 3) % 16 == 3", Proof::True);
        check(&["tokens % 16 == 0"], "tokens % 32 == 0", Proof::Unknown);
        check(&["tokens % 16 == 0"], "tokens == 40", Proof::False);
        check(
            &["tokens % 8 == 0", "tokens % 3 == 0"],
            "tokens % 24 == 0",
            Proof::True,
        );
        check(&["tokens % 16 == 5"], "tokens % 4 == 1", Proof::True);
        check(&["3*tokens % 16 == 0"], "tokens % 16 == 0", Proof::True);
        check(
            &["(a + b) % 16 == 0"],
            "(a + b)//16*16 == a + b",
            Proof::True,
        );
        check(&["a*b % 16 == 0"], "a*b//16*16 == b*a", Proof::True);
        check(&["a*b % 16 == 0"], "a*b//8 == 2*(a*b//16)", Proof::True);
        check(
            &["(a - b) % 16 == 0"],
            "(a - b)//16*16 == a - b",
            Proof::True,
        );
        check(&["(a - b) % 16 == 0"], "a >= b", Proof::Unknown);
        check(&["n == 2*k"], "n % 2 == 0", Proof::True);
        check(&["x == 4*y"], "x % y == 0", Proof::True);
    }

    #[test]
    fn inequalities_add_up() {
        check(&["a <= b", "b <= c"], "a <= c", Proof::True);
        check(&["a < b", "b < c"], "a + 2 <= c", Proof::True);
        check(&["a <= b", "b <= c"], "a > c", Proof::False);
        check(&["a <= b"], "a < b", Proof::Unknown);
        check(&["a <= b", "a != b"], "a < b", Proof::True);
        check(&["a >= 1"], "a == 0", Proof::False);
        check(&["a != 0"], "a >= 1", Proof::True);
        check(&["a <= 10", "b <= 10"], "a*b <= 100", Proof::True);
        check(&["a <= b"], "a*c <= b*c", Proof::True);
        check(&["a <= b"], "a//16 <= b//16", Proof::True);
        check(
            &["a <= b"],
            "ceil_div(a, 16) <= ceil_div(b, 16)",
            Proof::True,
        );
        check(&["a <= b"], "min(a, b) == a", Proof::True);
        check(&["a <= 7", "b <= 9"], "max(a, b) <= 9", Proof::True);
        check(&["x >= 64", "x < 80"], "x//16 == 4", Proof::True);
        // A factor that may be negative turns the inequality round.
        check(
            &["b <= a"],
            "b*((c - d)//e) <= a*((c - d)//e)",
            Proof::Unknown,
        );
        check(&["x <= 4", "x >= 4"], "x == 4", Proof::True);
        check(&["2*x <= 7"], "x <= 3", Proof::True);
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |known: &[&str], text: &str| {
            let mut relations = relations(known);
            let before = relations.clone();
            let error = relations.declare(text.parse().unwrap()).unwrap_err();
            assert_eq!(relations, before);
            error.to_string()
        };
        assert_eq!(refused(&[], "x < 0"), "`x < 0` never holds");
        assert_eq!(
            refused(&["x <= 4", "y == x"], "y == 5"),
            "`y == 5` never holds together with `x <= 4`, `y == x`"
        );
        refused(&["x % 16 == 0"], "x % 32 == 8");
        refused(&["x % 16 == 3"], "x % 4 == 2");
        refused(&["x == 3"], "x != 3");
        refused(&[], "x % 4 == 5");
        refused(&["x > 5"], "3*x == 14");
        let poisoned = Constraint::eq(Dim::from(usize::MAX), 1);
        assert!(matches!(
            Relations::new().declare(poisoned),
            Err(RelationsError::Dim { .. })
        ));
    }

    #[test]
    fn simple_forms() {
        let simple = |known: &[&str], text: &str| {
            relations(known)
                .simplify(&text.parse().unwrap())
                .to_string()
        };
        assert_eq!(simple(&[], "x//16*16"), "16*(x//16)");
        assert_eq!(simple(&["x % 16 == 0"], "x//16*16 + 1"), "x + 1");
        assert_eq!(simple(&["x % 16 == 0"], "x//8 + x % 4"), "x//8");
        assert_eq!(simple(&["x % 16 == 5"], "x//16*16"), "x - 5");
        assert_eq!(
            simple(&["x % 16 == 0"], "(x//16)*(x//16)*y"),
            "y*(x//16)*(x//16)"
        );
        assert_eq!(
            simple(&["x % 16 == 0"], "min(x//16*16, y)//3"),
            "min(x, y)//3"
        );
        assert_eq!(simple(&["x % 16 == 0", "x % 3 == 0"], "x//48*48"), "x");
        assert_eq!(simple(&["k == 4096"], "k*x"), "4096*x");
        assert_eq!(simple(&["x < 16"], "x//16 + x % 16"), "x");
        assert_eq!(simple(&["x >= 32", "x < 48"], "x//16"), "2");
        assert_eq!(
            simple(&["a <= b"], "max(a, b) + min(a, b, c)"),
            "b + min(a, c)"
        );
        assert_eq!(simple(&["a < b"], "a//b + a % b"), "a");
        assert_eq!(simple(&["a <= b"], "a//b"), "a//b");
        assert_eq!(
            simple(&["total == past + tokens"], "total - past"),
            "tokens"
        );
    }

    #[test]
    fn relations_serialise_as_their_constraints() {
        let known = relations(&["tokens % 16 == 0", "tokens <= 4096"]);
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(json, r#"["tokens % 16 == 0","tokens <= 4096"]"#);
        let back: Relations = serde_json::from_str(&json).unwrap();
        assert_eq!(back, known);
        assert!(back.proves_equal(
            &"tokens//16*16".parse().unwrap(),
            &"tokens".parse().unwrap()
        ));
        let error = serde_json::from_str::<Relations>(r#"["x == 1","x == 2"]"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`x == 2` never holds together with `x == 1`"
        );
    }
}
