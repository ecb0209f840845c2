//! Sizes that may be unknown: integers, symbols, and exact arithmetic over them in one canonical form.
//!
//! The representation and its invariants live here; each operation has its file under `dim/`. What is known *about* symbols
//! (relations between them) is in `relations`.

mod division;
mod error;
mod evaluate;
mod extremum;
mod interval;
mod operators;
mod polynomial;
mod text;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use error::DimError;
pub(crate) use interval::Interval;
pub(crate) use polynomial::{Atom, Monomial, Sum, Term, gcd, primitive};
pub(crate) use text::Parser;

use crate::bindings::Symbol;

/// A size of a tensor: an integer, a symbol, or an expression over symbols.
///
/// Expressions are kept canonical: a sum of products with integer coefficients, over symbols, floor divisions, remainders, minima
/// and maxima. So equality (`==`) of two dims is equality of the expressions after collecting like terms, distributing products,
/// cancelling in divisions and folding constants; order and grouping of operands do not show. Symbols are at least 0.
/// Where equality needs more than that, [`crate::Relations::prove`] may still find it.
///
/// Division and remainder round down, as Python's `//` and `%` do. A canonical form may have a value where the
/// written one has none: `(x*y)//y` is `x`, although the left side is undefined at `y = 0`.
///
/// ```
/// use gabion_tensor::Dim;
/// let tokens = Dim::symbol("tokens").unwrap();
/// let dim = (&tokens * 4 + 2).floor_div(&Dim::fixed(2)).unwrap();
/// assert_eq!(dim, 2 * &tokens + 1);
/// assert_eq!(dim.to_string(), "2*tokens + 1");
/// ```
#[derive(Clone)]
pub struct Dim(Repr);

#[derive(Clone)]
pub(crate) enum Repr {
    Fixed(i64),
    Sum(Arc<Sum>),
    Poison(Poison),
}

/// Why an expression has no value. Operators cannot return errors, so the result carries it until someone asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Poison {
    Overflow,
    TooComplex,
}

impl Dim {
    /// Zero.
    pub const ZERO: Dim = Dim::fixed(0);
    /// One.
    pub const ONE: Dim = Dim::fixed(1);

    /// A known size.
    pub const fn fixed(value: i64) -> Dim {
        Dim(Repr::Fixed(value))
    }

    /// The symbol of this name.
    ///
    /// # Errors
    /// If the name is no identifier.
    pub fn symbol(name: &str) -> Result<Dim, DimError> {
        Symbol::new(name).map(Dim::from)
    }

    /// The value, if it does not depend on symbols.
    pub const fn as_fixed(&self) -> Option<i64> {
        match self.0 {
            Repr::Fixed(value) => Some(value),
            Repr::Sum(_) | Repr::Poison(_) => None,
        }
    }

    /// Whether the value does not depend on symbols.
    pub const fn is_fixed(&self) -> bool {
        self.as_fixed().is_some()
    }

    /// The symbol, if that is all there is.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match self.sum()?.as_atom()? {
            Atom::Symbol(symbol) => Some(symbol),
            Atom::FloorDiv(_) | Atom::Mod(_) | Atom::Min(_) | Atom::Max(_) => None,
        }
    }

    /// All symbols in the expression.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        let mut found = BTreeSet::new();
        self.collect_symbols(&mut found);
        found
    }

    fn collect_symbols(&self, found: &mut BTreeSet<Symbol>) {
        let Some(sum) = self.sum() else { return };
        for atom in sum.terms.iter().flat_map(|t| t.monomial.atoms()) {
            match atom {
                Atom::Symbol(symbol) => {
                    found.insert(symbol.clone());
                }
                Atom::FloorDiv(pair) | Atom::Mod(pair) => {
                    pair.0.collect_symbols(found);
                    pair.1.collect_symbols(found);
                }
                Atom::Min(args) | Atom::Max(args) => {
                    args.iter().for_each(|arg| arg.collect_symbols(found));
                }
            }
        }
    }

    /// The error that the expression carries: an operator overflowed, or it grew past its limits.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self) -> Result<(), DimError> {
        match self.0 {
            Repr::Fixed(_) | Repr::Sum(_) => Ok(()),
            Repr::Poison(poison) => Err(poison.into()),
        }
    }

    /// An order of the written forms, the same everywhere; it says nothing about sizes. Integers come first.
    ///
    /// Dims have no `Ord`: its `min` and `max` would pass for [`Dim::min`] and [`Dim::max`].
    pub fn canonical_cmp(&self, other: &Dim) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Fixed(a), Repr::Fixed(b)) => a.cmp(b),
            (Repr::Sum(a), Repr::Sum(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Repr::Sum(a), Repr::Sum(b)) => a.cmp(b),
            (Repr::Poison(a), Repr::Poison(b)) => a.cmp(b),
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }

    pub(crate) fn sum(&self) -> Option<&Sum> {
        match &self.0 {
            Repr::Sum(sum) => Some(sum),
            Repr::Fixed(_) | Repr::Poison(_) => None,
        }
    }

    /// The products, largest first, and the constant: of any dim that is not poisoned.
    pub(crate) fn parts(&self) -> Result<(&[Term], i64), DimError> {
        match &self.0 {
            Repr::Fixed(value) => Ok((&[], *value)),
            Repr::Sum(sum) => Ok((&sum.terms, sum.constant)),
            Repr::Poison(poison) => Err((*poison).into()),
        }
    }
}

impl PartialEq for Dim {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Fixed(a), Repr::Fixed(b)) => a == b,
            (Repr::Sum(a), Repr::Sum(b)) => Arc::ptr_eq(a, b) || a == b,
            (Repr::Poison(a), Repr::Poison(b)) => a == b,
            (Repr::Fixed(_) | Repr::Sum(_) | Repr::Poison(_), _) => false,
        }
    }
}

impl Eq for Dim {}

impl std::hash::Hash for Dim {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Fixed(value) => value.hash(state),
            Repr::Sum(sum) => sum.hash(state),
            Repr::Poison(poison) => poison.hash(state),
        }
    }
}

impl Repr {
    const fn kind(&self) -> u8 {
        match self {
            Repr::Fixed(_) => 0,
            Repr::Sum(_) => 1,
            Repr::Poison(_) => 2,
        }
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Self {
        Dim::or_poison(Dim::from_atom(Atom::Symbol(symbol)))
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Dim::fixed(value)
    }
}

impl From<i32> for Dim {
    fn from(value: i32) -> Self {
        Dim::fixed(value.into())
    }
}

impl From<u32> for Dim {
    fn from(value: u32) -> Self {
        Dim::fixed(value.into())
    }
}

/// A size past `i64::MAX` becomes an overflow that evaluation reports.
impl From<usize> for Dim {
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or(Dim(Repr::Poison(Poison::Overflow)), Dim::fixed)
    }
}

impl From<&Dim> for Dim {
    fn from(dim: &Dim) -> Self {
        dim.clone()
    }
}

impl PartialEq<i64> for Dim {
    fn eq(&self, other: &i64) -> bool {
        self.as_fixed() == Some(*other)
    }
}
