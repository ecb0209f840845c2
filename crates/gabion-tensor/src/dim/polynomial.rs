//! The canonical form: a sum of products of atoms, with sums, products and exact quotients.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Dim, DimError, Repr};
use crate::bindings::Symbol;

/// Most parts (terms and atoms, counted through all nesting) of one expression.
pub(crate) const MAX_PARTS: u32 = 4096;
/// Deepest nesting of divisions, remainders, minima and maxima.
pub(crate) const MAX_DEPTH: u32 = 64;

/// What products are made of.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Atom {
    Symbol(Symbol),
    /// `.0 // .1`, which does not simplify.
    FloorDiv(Arc<(Dim, Dim)>),
    /// `.0 % .1`, which does not simplify.
    Mod(Arc<(Dim, Dim)>),
    /// Sorted, at least two.
    Min(Arc<[Dim]>),
    /// Sorted, at least two.
    Max(Arc<[Dim]>),
}

/// A product of atoms: sorted, repeated for powers, not empty in a [`Term`].
///
/// Ordered by degree, largest first, then by atoms: so `x*x < x*y < x < y`, which multiplication respects.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Monomial(SmallVec<[Atom; 1]>);

/// A product with its coefficient, which is not zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term {
    pub(crate) monomial: Monomial,
    pub(crate) coefficient: i64,
}

/// A canonical sum with at least one term; terms are sorted by monomial, which are distinct.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sum {
    pub(crate) terms: Vec<Term>,
    pub(crate) constant: i64,
    parts: u32,
    depth: u32,
}

impl Ord for Monomial {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_degree = other.0.len().cmp(&self.0.len());
        by_degree.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Monomial {
    pub(crate) fn atoms(&self) -> &[Atom] {
        &self.0
    }

    pub(crate) fn of(atom: Atom) -> Self {
        Monomial(SmallVec::from_iter([atom]))
    }

    pub(crate) fn times(&self, other: &Monomial) -> Monomial {
        let mut atoms = self.0.clone();
        atoms.extend(other.0.iter().cloned());
        atoms.sort();
        Monomial(atoms)
    }

    /// The quotient, if `other` divides this.
    pub(crate) fn divided_by(&self, other: &Monomial) -> Option<Monomial> {
        let mut rest = self.0.clone();
        for atom in &other.0 {
            let at = rest.binary_search(atom).ok()?;
            rest.remove(at);
        }
        Some(Monomial(rest))
    }

    /// The largest product that divides both.
    pub(crate) fn common(&self, other: &Monomial) -> Monomial {
        let mut left = other.0.clone();
        let shared = self.0.iter().filter(|atom| {
            let found = left.binary_search(atom);
            found.is_ok_and(|at| {
                left.remove(at);
                true
            })
        });
        Monomial(shared.cloned().collect())
    }

    /// Without the atom at an index.
    pub(crate) fn without(&self, at: usize) -> Monomial {
        let mut atoms = self.0.clone();
        atoms.remove(at);
        Monomial(atoms)
    }

    pub(crate) fn is_one(&self) -> bool {
        self.0.is_empty()
    }
}

impl Atom {
    const fn kind(&self) -> u8 {
        match self {
            Atom::Symbol(_) => 0,
            Atom::FloorDiv(_) => 1,
            Atom::Mod(_) => 2,
            Atom::Min(_) => 3,
            Atom::Max(_) => 4,
        }
    }

    /// Parts and depth, with everything inside.
    fn extent(&self) -> (u32, u32) {
        let mut parts = 1u32;
        let mut depth = 0;
        let mut add = |dim: &Dim| {
            let (inner_parts, inner_depth) = dim.sum().map_or((1, 0), |s| (s.parts, s.depth));
            parts = parts.saturating_add(inner_parts);
            depth = depth.max(inner_depth + 1);
        };
        match self {
            Atom::Symbol(_) => {}
            Atom::FloorDiv(pair) | Atom::Mod(pair) => {
                add(&pair.0);
                add(&pair.1);
            }
            Atom::Min(args) | Atom::Max(args) => args.iter().for_each(add),
        }
        (parts, depth)
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        let dims = |a: &[Dim], b: &[Dim]| {
            let pairs = a.iter().zip(b).map(|(a, b)| a.canonical_cmp(b));
            pairs
                .fold(Ordering::Equal, Ordering::then)
                .then(a.len().cmp(&b.len()))
        };
        let pair = |a: &(Dim, Dim), b: &(Dim, Dim)| {
            a.0.canonical_cmp(&b.0)
                .then_with(|| a.1.canonical_cmp(&b.1))
        };
        match (self, other) {
            (Atom::Symbol(a), Atom::Symbol(b)) => a.cmp(b),
            (Atom::FloorDiv(a), Atom::FloorDiv(b)) | (Atom::Mod(a), Atom::Mod(b)) => pair(a, b),
            (Atom::Min(a), Atom::Min(b)) | (Atom::Max(a), Atom::Max(b)) => dims(a, b),
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Sum {
    /// The atom, if that is all there is.
    pub(crate) fn as_atom(&self) -> Option<&Atom> {
        match (self.terms.as_slice(), self.constant) {
            ([term], 0) if term.coefficient == 1 => match term.monomial.atoms() {
                [atom] => Some(atom),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Collects terms into canonical form.
#[derive(Default)]
pub(crate) struct Collector {
    terms: BTreeMap<Monomial, i64>,
    constant: i64,
}

impl Collector {
    pub(crate) fn add_constant(&mut self, value: i64) -> Result<(), DimError> {
        self.constant = self.constant.checked_add(value).ok_or(DimError::Overflow)?;
        Ok(())
    }

    pub(crate) fn add_term(
        &mut self,
        monomial: Monomial,
        coefficient: i64,
    ) -> Result<(), DimError> {
        if monomial.is_one() {
            return self.add_constant(coefficient);
        }
        let entry = self.terms.entry(monomial).or_insert(0);
        *entry = entry.checked_add(coefficient).ok_or(DimError::Overflow)?;
        if self.terms.len() > MAX_PARTS as usize {
            return Err(DimError::TooComplex);
        }
        Ok(())
    }

    /// Adds `factor * dim`.
    pub(crate) fn add_scaled(&mut self, dim: &Dim, factor: i64) -> Result<(), DimError> {
        let (terms, constant) = dim.parts()?;
        for term in terms {
            let coefficient = term
                .coefficient
                .checked_mul(factor)
                .ok_or(DimError::Overflow)?;
            self.add_term(term.monomial.clone(), coefficient)?;
        }
        self.add_constant(constant.checked_mul(factor).ok_or(DimError::Overflow)?)
    }

    /// Adds `dim * term`.
    pub(crate) fn add_product(&mut self, dim: &Dim, term: &Term) -> Result<(), DimError> {
        let (terms, constant) = dim.parts()?;
        let scaled = |c: i64| c.checked_mul(term.coefficient).ok_or(DimError::Overflow);
        for other in terms {
            let monomial = other.monomial.times(&term.monomial);
            self.add_term(monomial, scaled(other.coefficient)?)?;
        }
        self.add_term(term.monomial.clone(), scaled(constant)?)
    }

    pub(crate) fn finish(self) -> Result<Dim, DimError> {
        let terms = self.terms.into_iter().filter(|&(_, c)| c != 0);
        let terms = terms.map(|(monomial, coefficient)| Term {
            monomial,
            coefficient,
        });
        Dim::from_terms(terms.collect(), self.constant)
    }
}

impl Dim {
    pub(crate) fn from_atom(atom: Atom) -> Result<Dim, DimError> {
        Dim::from_product(Monomial::of(atom), 1)
    }

    pub(crate) fn from_product(monomial: Monomial, coefficient: i64) -> Result<Dim, DimError> {
        if monomial.is_one() || coefficient == 0 {
            return Ok(Dim::fixed(coefficient));
        }
        Dim::from_terms(
            vec![Term {
                monomial,
                coefficient,
            }],
            0,
        )
    }

    /// The sum.
    ///
    /// # Errors
    /// If a coefficient overflows, or the result is too complex.
    pub fn try_add(&self, other: &Dim) -> Result<Dim, DimError> {
        self.try_add_scaled(other, 1)
    }

    /// The difference.
    ///
    /// # Errors
    /// If a coefficient overflows, or the result is too complex.
    pub fn try_sub(&self, other: &Dim) -> Result<Dim, DimError> {
        self.try_add_scaled(other, -1)
    }

    /// The negative.
    ///
    /// # Errors
    /// If a coefficient overflows.
    pub fn try_neg(&self) -> Result<Dim, DimError> {
        Dim::ZERO.try_sub(self)
    }

    /// The product.
    ///
    /// # Errors
    /// If a coefficient overflows, or the result is too complex.
    pub fn try_mul(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Some(a), Some(b)) = (self.as_fixed(), other.as_fixed()) {
            return a.checked_mul(b).map(Dim::fixed).ok_or(DimError::Overflow);
        }
        let (terms, constant) = self.parts()?;
        let mut product = Collector::default();
        product.add_scaled(other, constant)?;
        for term in terms {
            product.add_product(other, term)?;
        }
        product.finish()
    }

    fn try_add_scaled(&self, other: &Dim, factor: i64) -> Result<Dim, DimError> {
        if let (Some(a), Some(b)) = (self.as_fixed(), other.as_fixed()) {
            let sum = b.checked_mul(factor).and_then(|b| a.checked_add(b));
            return sum.map(Dim::fixed).ok_or(DimError::Overflow);
        }
        let mut sum = Collector::default();
        sum.add_scaled(self, 1)?;
        sum.add_scaled(other, factor)?;
        sum.finish()
    }

    /// From sorted, distinct, non-zero terms.
    pub(crate) fn from_terms(terms: Vec<Term>, constant: i64) -> Result<Dim, DimError> {
        if terms.is_empty() {
            return Ok(Dim::fixed(constant));
        }
        let mut parts = 0u32;
        let mut depth = 0;
        for atom in terms.iter().flat_map(|term| term.monomial.atoms()) {
            let (inner_parts, inner_depth) = atom.extent();
            parts = parts.saturating_add(inner_parts);
            depth = depth.max(inner_depth);
        }
        if parts > MAX_PARTS || depth > MAX_DEPTH {
            return Err(DimError::TooComplex);
        }
        Ok(Dim(Repr::Sum(Arc::new(Sum {
            terms,
            constant,
            parts,
            depth,
        }))))
    }
}

/// Greatest common divisor, not negative; `gcd(0, x)` is `|x|`, and `i64::MIN` counts as 2^62, which divides it.
pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    let magnitude = |x: i64| x.checked_abs().unwrap_or(1 << 62);
    let (mut a, mut b) = (magnitude(a), magnitude(b));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The sum with the common divisor of its terms divided out: zero where the sum is. None if the constant is no multiple of that
/// divisor, and then the sum is never zero.
pub(crate) fn primitive(sum: &Dim) -> Option<Dim> {
    let (terms, constant) = sum.parts().ok()?;
    let content = terms.iter().fold(0, |g, term| gcd(g, term.coefficient));
    if content <= 1 {
        return Some(sum.clone());
    }
    if constant % content != 0 {
        return None;
    }
    let terms = terms.iter().cloned().map(|mut term| {
        term.coefficient /= content;
        term
    });
    Dim::from_terms(terms.collect(), constant / content).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dim(text: &str) -> Dim {
        text.parse().unwrap()
    }

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(dim(a), dim(b), "{a} and {b}");
    }

    #[test]
    fn sums_and_products_are_canonical() {
        same("2*x + 3*x", "5*x");
        same("x*y - y*x", "0");
        same("(x + y)*(x - y)", "x*x - y*y");
        same("x*(y + 2) + 1", "1 + 2*x + y*x");
        same("x - x + 4", "4");
        same("(x//2)*(y % 3)", "(y % 3)*(x//2)");
        assert_ne!(dim("x"), dim("y"));
    }

    #[test]
    fn the_order_of_products_respects_multiplication() {
        let products = ["x*x*x", "x*x", "x*y", "y*y", "x", "y", "z"].map(|text| {
            let dim = dim(text);
            dim.parts().unwrap().0[0].monomial.clone()
        });
        assert!(products.is_sorted());
        for pair in products.windows(2) {
            for factor in &products {
                assert!(pair[0].times(factor) < pair[1].times(factor));
            }
        }
    }

    #[test]
    fn overflow_is_an_error_and_operators_carry_it() {
        let most = Dim::fixed(i64::MAX);
        assert_eq!(most.try_add(&Dim::ONE), Err(DimError::Overflow));
        assert_eq!(
            dim("x").try_mul(&most).unwrap().try_mul(&Dim::fixed(2)),
            Err(DimError::Overflow)
        );
        let carried = (most + 1) * dim("x") - 5;
        assert_eq!(carried.check(), Err(DimError::Overflow));
        assert_eq!(
            carried.eval(&crate::Bindings::new()),
            Err(DimError::Overflow)
        );
        assert_eq!(carried.floor_div(&Dim::fixed(2)), Err(DimError::Overflow));
        assert_eq!(carried.min(&Dim::ONE).check(), Err(DimError::Overflow));
        assert_eq!(carried.range(), (None, None));
        assert_eq!(carried.to_string(), "<overflow>");
        assert_eq!(Dim::from(usize::MAX).check(), Err(DimError::Overflow));
    }

    #[test]
    fn growth_is_limited() {
        let sum: Dim = (0..40).map(|i| dim(&format!("s{i}"))).sum();
        let cube = sum.try_mul(&sum).and_then(|square| square.try_mul(&sum));
        assert_eq!(cube, Err(DimError::TooComplex));
        let mut deep = dim("x");
        let nested = (0..200).try_for_each(|i| {
            deep = (&deep * dim("y") + i).rem(&dim("z"))?;
            Ok(())
        });
        assert_eq!(nested, Err(DimError::TooComplex));
    }

    #[test]
    fn known_sizes_take_no_memory_of_their_own() {
        assert_eq!(size_of::<Dim>(), 16);
        let sum = Dim::fixed(3) * 4 + 5;
        assert_eq!((sum.as_fixed(), sum.sum().is_none()), (Some(17), true));
    }

    #[test]
    fn common_divisors() {
        assert_eq!(
            [gcd(12, -18), gcd(0, 5), gcd(0, 0), gcd(i64::MIN, 6)],
            [6, 5, 0, 2]
        );
        assert_eq!(primitive(&dim("4*x + 6*y - 2")), Some(dim("2*x + 3*y - 1")));
        assert_eq!(primitive(&dim("4*x + 6*y - 1")), None);
        assert_eq!(primitive(&dim("7")), Some(dim("7")));
    }
}
