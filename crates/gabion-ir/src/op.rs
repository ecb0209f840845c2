//! What every operator must say of itself: its name, its type rule, its meaning, an optional
//! decomposition, its tolerance and samples. The list of operators is in [`crate::ops`].

use std::fmt;

use gabion_tensor::{
    Bindings, Constraint, DType, Dim, DimError, Guard, HostTensor, Proof, Relation, Relations,
    TensorError, TensorType,
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::builder::TensorValue;
use crate::sample::{Sample, Sampler};

/// The result types of one operator; nearly always one.
pub type Results = SmallVec<[TensorType; 1]>;
/// The result values of one evaluated operator.
pub type HostTensors = SmallVec<[HostTensor; 1]>;

/// Attributes in declaration order: what the text form prints between braces.
pub type Attrs = serde_json::Map<String, serde_json::Value>;

/// One operator: attributes are the struct's fields, and they print, parse and hash through serde.
pub trait OpDef:
    Clone + fmt::Debug + PartialEq + Eq + std::hash::Hash + Serialize + for<'de> Deserialize<'de>
{
    /// The word in the text form; for a family of operators (`exp`, `tanh`, .. are one struct) the
    /// family's name.
    const NAME: &'static str;

    /// The word of this operator in the text form.
    fn word(&self) -> &'static str {
        Self::NAME
    }

    /// Every word that this struct answers to.
    fn words() -> Vec<&'static str> {
        vec![Self::NAME]
    }

    /// The operator from its word and its attributes.
    ///
    /// # Errors
    /// What serde says of a missing, unknown or ill-typed attribute.
    fn from_word(word: &str, attrs: Attrs) -> Result<Self, serde_json::Error> {
        let _ = word;
        serde_json::from_value(serde_json::Value::Object(attrs))
    }

    /// The type rule. The verifier recomputes it and compares.
    ///
    /// # Errors
    /// A [`TypeError`] that names the operand, what was expected and what was found.
    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError>;

    /// The meaning, in plain loops. Every executor is compared with it.
    ///
    /// # Errors
    /// [`EvalError`] where the values (not the types) make the operator meaningless, such as an
    /// index out of range.
    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError>;

    /// The operator in smaller operators, if it has such a form. `args` are values of a fresh
    /// builder; the returned values replace the results.
    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        let _ = args;
        None
    }

    /// How far an executor may be from [`OpDef::eval`].
    fn tolerance(&self) -> Tolerance {
        Tolerance::Exact
    }

    /// Random valid attributes and inputs, for the conformance suite.
    fn sample(s: &mut Sampler) -> Sample;
}

/// How far an executor's result may be from the reference evaluator's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// The same bits (NaN payloads aside).
    Exact,
    /// Elementwise: `|a - b| <= ulps * ulp(max(|a|, |b|))`, plus equal NaN and infinities. For
    /// functions whose last bits depend on the implementation (exp, tanh, ..).
    Ulps(f64),
    /// `||a - b|| <= rel * ||b||` over the whole tensor: for sums in another order.
    Norm(f64),
}

/// Facts that a type rule may use, and the run-time guards that it had to assume.
pub struct InferCx<'a> {
    relations: &'a Relations,
    declared: Option<&'a [TensorType]>,
    guards: Vec<Guard>,
}

impl<'a> InferCx<'a> {
    /// `declared` are the result types that the text or the caller states, needed by leaves
    /// (`weight`) whose type nothing else determines.
    pub fn new(relations: &'a Relations, declared: Option<&'a [TensorType]>) -> Self {
        Self {
            relations,
            declared,
            guards: Vec::new(),
        }
    }

    /// The stated result types, if any.
    pub fn declared(&self) -> Option<&'a [TensorType]> {
        self.declared
    }

    /// The relations that the graph declares.
    pub fn relations(&self) -> &'a Relations {
        self.relations
    }

    /// Requires `a == b`: proved, refuted (an error naming both), or turned into a guard.
    ///
    /// # Errors
    /// [`TypeError`] if the two can never be equal.
    pub fn require_eq(&mut self, a: &Dim, b: &Dim, why: &str) -> Result<(), TypeError> {
        if a == b {
            return Ok(());
        }
        self.require(
            Constraint {
                lhs: a.clone(),
                relation: Relation::Eq,
                rhs: b.clone(),
            },
            why,
        )
    }

    /// Requires a constraint: proved, refuted (an error), or turned into a run-time guard.
    ///
    /// # Errors
    /// [`TypeError`] if the constraint can never hold.
    pub fn require(&mut self, constraint: Constraint, why: &str) -> Result<(), TypeError> {
        // A size that overflowed can be neither printed nor checked at run time.
        for side in [&constraint.lhs, &constraint.rhs] {
            side.check()
                .map_err(|e| TypeError::new(format!("{why}: {e}")))?;
        }
        match self.relations.prove(&constraint) {
            Proof::True => Ok(()),
            Proof::False => Err(TypeError::new(format!(
                "{why}: needs {constraint}, which can never hold"
            ))),
            Proof::Unknown => {
                self.guards.push(Guard {
                    constraint,
                    why: why.to_owned(),
                });
                Ok(())
            }
        }
    }

    /// The guards collected so far.
    pub fn into_guards(self) -> Vec<Guard> {
        self.guards
    }
}

/// What an evaluation knows beside its operands.
pub struct EvalCx<'a> {
    bindings: &'a Bindings,
    results: &'a [TensorType],
}

impl<'a> EvalCx<'a> {
    /// `results` are the inferred result types (symbolic); `bindings` the symbols' values.
    pub fn new(bindings: &'a Bindings, results: &'a [TensorType]) -> Self {
        Self { bindings, results }
    }

    /// The values of the symbols.
    pub fn bindings(&self) -> &'a Bindings {
        self.bindings
    }

    /// The inferred type of result `index`.
    pub fn result(&self, index: usize) -> &'a TensorType {
        &self.results[index]
    }

    /// The concrete shape of result `index`.
    ///
    /// # Errors
    /// A symbol without a value.
    pub fn shape(&self, index: usize) -> Result<SmallVec<[usize; 4]>, EvalError> {
        Ok(self.results[index].shape.eval(self.bindings)?)
    }

    /// The value of a dimension.
    ///
    /// # Errors
    /// A symbol without a value.
    pub fn dim(&self, dim: &Dim) -> Result<i64, EvalError> {
        Ok(dim.eval(self.bindings)?)
    }
}

/// Operands that an operator does not accept. The caller adds the operator and the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What was expected and what was found.
    pub message: String,
}

impl TypeError {
    /// An error with a complete message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// The wrong number of operands.
    pub fn arity(expected: &str, found: usize) -> Self {
        Self::new(format!("expected {expected} operands, found {found}"))
    }

    /// Operand `index` has a dtype that is not accepted.
    pub fn dtype(index: usize, expected: &str, found: DType) -> Self {
        Self::new(format!(
            "operand {index}: expected {expected}, found {found}"
        ))
    }

    /// Operand `index` has a rank that is not accepted.
    pub fn rank(index: usize, expected: &str, found: &TensorType) -> Self {
        Self::new(format!(
            "operand {index}: expected {expected}, found {found} of rank {}",
            found.shape.rank()
        ))
    }

    /// An axis outside the rank.
    pub fn axis(axis: i64, rank: usize) -> Self {
        Self::new(format!("axis {axis} is outside rank {rank}"))
    }
}

impl From<DimError> for TypeError {
    fn from(error: DimError) -> Self {
        Self::new(error.to_string())
    }
}

/// Takes exactly `N` operands.
///
/// # Errors
/// [`TypeError`] when the count differs.
pub fn operands<const N: usize>(args: &[TensorType]) -> Result<&[TensorType; N], TypeError> {
    args.try_into()
        .map_err(|_| TypeError::arity(&N.to_string(), args.len()))
}

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// An index operand points outside its axis.
    #[error("{what}: index {index} is outside 0..{size}")]
    Index {
        /// The operator and operand.
        what: String,
        /// The index found.
        index: i64,
        /// The size of the axis.
        size: usize,
    },
    /// The values do not fit the operator.
    #[error("{0}")]
    Value(String),
    /// A dimension could not be computed.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A shape could not be computed.
    #[error(transparent)]
    Shape(#[from] gabion_tensor::ShapeError),
    /// A tensor could not be read or made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A guard failed.
    #[error(transparent)]
    Guard(#[from] gabion_tensor::GuardError),
    /// The weight, input or output named here is wrong or absent.
    #[error("{kind} {}: {problem}", crate::text::quoted(.name))]
    Binding {
        /// "input", "weight" or "output".
        kind: &'static str,
        /// Its name.
        name: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// The error of one node, with its place.
    #[error("{op} at %{value}: {source}")]
    Node {
        /// The operator's name.
        op: &'static str,
        /// The node's printed name.
        value: String,
        /// What went wrong there.
        source: Box<EvalError>,
    },
}

/// Normalises an axis that may be negative.
///
/// # Errors
/// [`TypeError`] when outside `-rank..rank`.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, TypeError> {
    let signed = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(signed)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| TypeError::axis(axis, rank))
}
