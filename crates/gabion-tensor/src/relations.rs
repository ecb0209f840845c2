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
