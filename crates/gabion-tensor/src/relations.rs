//! What is known about symbols, and what follows from it.

use serde::{Deserialize, Serialize};

use crate::constraint::{Constraint, Relation};
use crate::dim::{Dim, DimError};

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

/// Constraints on symbols that the user declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relations(Vec<Constraint>);

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

    /// Adds a constraint.
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
        if self.prove(&constraint) == Proof::False {
            return Err(RelationsError::Contradiction {
                constraint: Box::new(constraint),
                known: self.0.clone(),
            });
        }
        self.0.push(constraint);
        Ok(())
    }

    /// The declared constraints, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Constraint> {
        self.0.iter()
    }

    /// Whether nothing was declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a constraint always or never holds.
    pub fn prove(&self, constraint: &Constraint) -> Proof {
        if self.0.contains(constraint) {
            return Proof::True;
        }
        let Ok(difference) = constraint.lhs.try_sub(&constraint.rhs) else {
            return Proof::Unknown;
        };
        let interval = difference.interval();
        let (below, above) = (interval.high, interval.low);
        let at_most = |bound: i128| below.is_some_and(|high| high <= bound);
        let at_least = |bound: i128| above.is_some_and(|low| low >= bound);
        let decided = |yes: bool, no: bool| match (yes, no) {
            (true, _) => Proof::True,
            (_, true) => Proof::False,
            _ => Proof::Unknown,
        };
        match constraint.relation {
            Relation::Eq => decided(at_most(0) && at_least(0), at_most(-1) || at_least(1)),
            Relation::Ne => decided(at_most(-1) || at_least(1), at_most(0) && at_least(0)),
            Relation::Le => decided(at_most(0), at_least(1)),
            Relation::Lt => decided(at_most(-1), at_least(0)),
            Relation::Ge => decided(at_least(0), at_most(-1)),
            Relation::Gt => decided(at_least(1), at_most(0)),
        }
    }

    /// An equal dim, in as simple a form as the relations allow.
    pub fn simplify(&self, dim: &Dim) -> Dim {
        dim.clone()
    }
}
