//! Constraints in usable form: symbols solved for, bounds of symbols, sums that are zero, not zero, or never negative.
//!
//! A divisible size is solved with a part of its own: `tokens % 16 == 0` gives `tokens = 16*p` for a fresh symbol `p`, which is
//! `tokens // 16` and at least 0. From then on the canonical form of dims does the work.

use std::collections::BTreeMap;

use crate::bindings::Symbol;
use crate::constraint::{Constraint, Relation};
use crate::dim::{Atom, Dim, DimError, Interval, Monomial, primitive};

/// Everything learned. Dims in here hold no solved symbol.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// What solved symbols are.
    solved: BTreeMap<Symbol, Dim>,
    /// Fresh symbols in the order they were made.
    pub(super) quotients: Vec<Quotient>,
    /// Bounds of symbols, narrower than "at least 0".
    bounds: BTreeMap<Symbol, Interval>,
    /// Sums that are zero, expanded.
    pub(super) zeros: Vec<Dim>,
    /// Sums that are at least zero, expanded.
    pub(super) not_negative: Vec<Dim>,
    /// Sums that are not zero, expanded.
    not_zero: Vec<Dim>,
}

/// A fresh symbol: `whole == divisor * symbol + rest`, with `0 <= rest < divisor`.
#[derive(Clone, Debug)]
pub(super) struct Quotient {
    pub(super) symbol: Symbol,
    pub(super) whole: Dim,
    pub(super) divisor: i64,
    pub(super) rest: i64,
}

/// The constraints cannot all hold.
struct Contradiction;

type Learned = Result<(), Contradiction>;

impl Facts {
    /// What the constraints say together; none if they were found to contradict each other.
    pub(super) fn from_constraints(constraints: &[Constraint]) -> Option<Facts> {
        let mut facts = Facts::default();
        facts.learn_equations(constraints).ok()?;
        // A bound may fix a symbol, which may solve an equation or narrow another bound.
        loop {
            let before = (facts.solved.len(), facts.bounds.clone());
            facts.learn_inequalities(constraints).ok()?;
            facts.solve_fixed_symbols().ok()?;
            facts.learn_equations(constraints).ok()?;
            if before == (facts.solved.len(), facts.bounds.clone()) {
                return Some(facts);
            }
        }
    }

    /// A dim with solutions in place of solved symbols.
    pub(super) fn solved_in(&self, dim: &Dim) -> Result<Dim, DimError> {
        if self.solved.is_empty() {
            Ok(dim.clone())
        } else {
            dim.substitute(&self.solved)
        }
    }

    pub(super) fn bounds_of(&self, symbol: &Symbol) -> Interval {
        self.bounds.get(symbol).copied().unwrap_or(Interval::SIZE)
    }

    pub(super) fn interval(&self, dim: &Dim) -> Interval {
        dim.interval_with(&|symbol| self.bounds_of(symbol))
    }

    /// Whether a sum, expanded, cannot be zero: it was declared so, or its terms have a common divisor that its constant has not.
    pub(super) fn is_known_nonzero(&self, sum: &Dim) -> bool {
        primitive(sum).is_none() || self.is_declared_nonzero(sum)
    }

    /// Whether a sum, expanded, was declared not to be zero.
    pub(super) fn is_declared_nonzero(&self, sum: &Dim) -> bool {
        let Some(sum) = primitive(sum) else {
            return false;
        };
        self.not_zero
            .iter()
            .any(|known| *known == sum || sum.try_neg().as_ref() == Ok(known))
    }

    /// Learns all equations, as often as one of them solves a symbol in the others.
    fn learn_equations(&mut self, constraints: &[Constraint]) -> Learned {
        let equations = constraints.iter().filter(|c| c.relation == Relation::Eq);
        loop {
            let n_solved = self.solved.len();
            self.zeros.clear();
            for equation in equations.clone() {
                if let Some(difference) = self.usable_difference(equation) {
                    self.learn_zero(difference)?;
                }
            }
            if n_solved == self.solved.len() {
                return Ok(());
            }
        }
    }

    /// `lhs - rhs` without solved symbols; none if it cannot be formed, and then the constraint is not used.
    fn usable_difference(&self, constraint: &Constraint) -> Option<Dim> {
        let lhs = self.solved_in(&constraint.lhs).ok()?;
        lhs.try_sub(&self.solved_in(&constraint.rhs).ok()?).ok()
    }

    fn learn_zero(&mut self, sum: Dim) -> Learned {
        if let Some(value) = sum.as_fixed() {
            return if value == 0 {
                Ok(())
            } else {
                Err(Contradiction)
            };
        }
        let sum = primitive(&sum).ok_or(Contradiction)?;
        if self.solve_for_symbol(&sum)? || self.solve_remainder(&sum)? {
            return Ok(());
        }
        if let Ok(expanded) = self.expanded(&sum)
            && let Some(expanded) = primitive(&expanded)
            && !expanded.is_fixed()
        {
            self.zeros.push(with_positive_lead(expanded));
        }
        Ok(())
    }

    /// Uses `±symbol + others == 0`: the symbol is `∓others`. Prefers a solution that is never negative by its form.
    fn solve_for_symbol(&mut self, sum: &Dim) -> Result<bool, Contradiction> {
        let mut best: Option<(Symbol, Dim)> = None;
        let Ok((terms, _)) = sum.parts() else {
            return Ok(false);
        };
        for term in terms {
            let [Atom::Symbol(symbol)] = term.monomial.atoms() else {
                continue;
            };
            if term.coefficient.unsigned_abs() != 1 {
                continue;
            }
            let others = Dim::from(symbol.clone()) - sum.clone() * term.coefficient;
            if others.check().is_err() || others.symbols().contains(symbol) {
                continue;
            }
            let is_size = others.interval().low.is_some_and(|low| low >= 0);
            if is_size {
                best = Some((symbol.clone(), others));
                break;
            }
            best = best.or(Some((symbol.clone(), others)));
        }
        match best {
            Some((symbol, solution)) => self.solve(symbol, solution),
            None => Ok(false),
        }
    }

    /// Uses `symbol == solution`. False if a known solution cannot be written in the new terms, for overflow; then nothing changes.
    fn solve(&mut self, symbol: Symbol, solution: Dim) -> Result<bool, Contradiction> {
        if solution.as_fixed().is_some_and(|value| value < 0) {
            return Err(Contradiction);
        }
        if solution.check().is_err() {
            return Ok(false);
        }
        let replacement = BTreeMap::from([(symbol.clone(), solution.clone())]);
        let mut solved = BTreeMap::new();
        for (other, known) in &self.solved {
            let Ok(known) = known.substitute(&replacement) else {
                return Ok(false);
            };
            solved.insert(other.clone(), known);
        }
        solved.insert(symbol, solution);
        self.solved = solved;
        Ok(true)
    }

    /// Uses `whole % divisor == rest`.
    fn solve_remainder(&mut self, sum: &Dim) -> Result<bool, Contradiction> {
        let Ok((terms, constant)) = sum.parts() else {
            return Ok(false);
        };
        let [term] = terms else { return Ok(false) };
        let [Atom::Mod(pair)] = term.monomial.atoms() else {
            return Ok(false);
        };
        let (whole, Some(divisor)) = (&pair.0, pair.1.as_fixed()) else {
            return Ok(false);
        };
        // `sum` is primitive, so the coefficient divides the constant only if it is 1 or -1.
        if term.coefficient.unsigned_abs() != 1 {
            return Err(Contradiction);
        }
        let rest = constant
            .checked_mul(-term.coefficient)
            .ok_or(Contradiction)?;
        if !(0..divisor).contains(&rest) {
            return Err(Contradiction);
        }
        if let Some((symbol, rest)) = residue_of_symbol(whole, divisor, rest) {
            let symbol_dim = Dim::from(symbol.clone());
            let part = self.fresh_quotient(symbol_dim, divisor, rest);
            return self.solve(symbol, part * divisor + rest);
        }
        let is_size = whole.interval().low.is_some_and(|low| low >= 0);
        let unit = |monomial: &Monomial, coefficient: i64| match monomial.atoms() {
            [Atom::Symbol(symbol)] if coefficient == 1 => Some(symbol.clone()),
            _ => None,
        };
        let Ok((whole_terms, _)) = whole.parts() else {
            return Ok(false);
        };
        let candidates = whole_terms
            .iter()
            .filter_map(|t| unit(&t.monomial, t.coefficient));
        for symbol in candidates {
            let others = whole.clone() - Dim::from(symbol.clone());
            if is_size && others.check().is_ok() && !others.symbols().contains(&symbol) {
                let part = self.fresh_quotient(whole.clone(), divisor, rest);
                return self.solve(symbol, part * divisor + rest - others);
            }
        }
        Ok(false)
    }

    fn fresh_quotient(&mut self, whole: Dim, divisor: i64, rest: i64) -> Dim {
        let symbol = Symbol::fresh(self.quotients.len());
        self.quotients.push(Quotient {
            symbol: symbol.clone(),
            whole,
            divisor,
            rest,
        });
        Dim::from(symbol)
    }

    fn learn_inequalities(&mut self, constraints: &[Constraint]) -> Learned {
        self.not_negative.clear();
        self.not_zero.clear();
        for solution in self.solved.values().cloned().collect::<Vec<_>>() {
            self.learn_not_negative(&solution)?;
        }
        for zero in self.zeros.clone() {
            for meaning in self.meanings(&zero) {
                self.learn_not_negative(&meaning)?;
            }
        }
        for constraint in constraints {
            let Some(difference) = self.usable_difference(constraint) else {
                continue;
            };
            let learned = match constraint.relation {
                Relation::Eq => continue,
                Relation::Ne => {
                    self.learn_not_zero(&difference)?;
                    continue;
                }
                Relation::Ge => Ok(difference),
                Relation::Gt => difference.try_sub(&Dim::ONE),
                Relation::Le => difference.try_neg(),
                Relation::Lt => difference.try_neg().and_then(|d| d.try_sub(&Dim::ONE)),
            };
            if let Ok(sum) = learned {
                self.learn_not_negative(&sum)?;
            }
        }
        Ok(())
    }

    fn learn_not_negative(&mut self, sum: &Dim) -> Learned {
        if let Some(value) = sum.as_fixed() {
            return if value >= 0 {
                Ok(())
            } else {
                Err(Contradiction)
            };
        }
        if let Some((symbol, interval)) = bound_of_symbol(sum) {
            return self.narrow(symbol, interval);
        }
        if let Ok(expanded) = self.expanded(sum)
            && !expanded.is_fixed()
            && let Some(tight) = tightened(&expanded)
        {
            self.not_negative.push(tight);
        }
        Ok(())
    }

    fn learn_not_zero(&mut self, sum: &Dim) -> Learned {
        if let Some(value) = sum.as_fixed() {
            return if value != 0 {
                Ok(())
            } else {
                Err(Contradiction)
            };
        }
        if let Some((symbol, value)) = sum.solve_for(0) {
            let (symbol, value) = (symbol.clone(), i128::from(value));
            let Interval { mut low, mut high } = self.bounds_of(&symbol);
            if low == Some(value) {
                low = Some(value + 1);
            }
            if high == Some(value) {
                high = Some(value - 1);
            }
            self.narrow(symbol, Interval { low, high })?;
        }
        if let Ok(expanded) = self.expanded(sum)
            && let Some(expanded) = primitive(&expanded)
        {
            self.not_zero.push(expanded);
        }
        Ok(())
    }

    fn narrow(&mut self, symbol: Symbol, interval: Interval) -> Learned {
        let narrowed = self.bounds_of(&symbol).intersect(interval);
        if let (Some(low), Some(high)) = (narrowed.low, narrowed.high)
            && low > high
        {
            return Err(Contradiction);
        }
        if narrowed != Interval::SIZE {
            self.bounds.insert(symbol, narrowed);
        }
        Ok(())
    }

    /// Symbols whose bounds leave one value.
    fn solve_fixed_symbols(&mut self) -> Learned {
        let fixed: Vec<(Symbol, i64)> = self
            .bounds
            .iter()
            .filter(|(symbol, interval)| {
                interval.low == interval.high && !self.solved.contains_key(*symbol)
            })
            .filter_map(|(symbol, interval)| {
                Some((symbol.clone(), i64::try_from(interval.low?).ok()?))
            })
            .collect();
        for (symbol, value) in fixed {
            self.solve(symbol, Dim::fixed(value))?;
        }
        Ok(())
    }
}

/// The symbol and its residue in `0..divisor`, if `whole` is `u*symbol + constant` with `u` invertible modulo the divisor.
fn residue_of_symbol(whole: &Dim, divisor: i64, rest: i64) -> Option<(Symbol, i64)> {
    let (terms, constant) = whole.parts().ok()?;
    let [term] = terms else { return None };
    let [Atom::Symbol(symbol)] = term.monomial.atoms() else {
        return None;
    };
    let (divisor, factor) = (i128::from(divisor), i128::from(term.coefficient));
    let inverse = inverse_modulo(factor.rem_euclid(divisor), divisor)?;
    let target = (i128::from(rest) - i128::from(constant)).rem_euclid(divisor);
    let residue = i64::try_from(inverse * target % divisor).ok()?;
    Some((symbol.clone(), residue))
}

/// The number in `0..n` that times `x` is 1 modulo `n`, by Euclid's algorithm.
fn inverse_modulo(x: i128, n: i128) -> Option<i128> {
    let (mut rest, mut next_rest) = (n, x);
    let (mut factor, mut next_factor) = (0i128, 1i128);
    while next_rest != 0 {
        let quotient = rest / next_rest;
        (rest, next_rest) = (next_rest, rest - quotient * next_rest);
        (factor, next_factor) = (next_factor, factor - quotient * next_factor);
    }
    (rest == 1).then(|| factor.rem_euclid(n))
}

/// The bound of the one symbol, from `coefficient*symbol + constant >= 0`.
fn bound_of_symbol(sum: &Dim) -> Option<(Symbol, Interval)> {
    let (terms, constant) = sum.parts().ok()?;
    let [term] = terms else { return None };
    let [Atom::Symbol(symbol)] = term.monomial.atoms() else {
        return None;
    };
    let (coefficient, constant) = (i128::from(term.coefficient), i128::from(constant));
    let interval = if coefficient > 0 {
        Interval {
            low: Some(-constant.div_euclid(coefficient)),
            high: None,
        }
    } else {
        Interval {
            low: None,
            high: Some(constant.div_euclid(-coefficient)),
        }
    };
    Some((symbol.clone(), interval))
}

/// The strongest `sum' >= 0` with the same terms up to a factor: the common divisor of the terms goes, and the constant is rounded
/// down.
pub(super) fn tightened(sum: &Dim) -> Option<Dim> {
    let (terms, constant) = sum.parts().ok()?;
    let content = terms
        .iter()
        .fold(0, |g, term| crate::dim::gcd(g, term.coefficient));
    if content <= 1 {
        return Some(sum.clone());
    }
    let terms = terms.iter().cloned().map(|mut term| {
        term.coefficient /= content;
        term
    });
    Dim::from_terms(terms.collect(), constant.div_euclid(content)).ok()
}

fn with_positive_lead(sum: Dim) -> Dim {
    let leads_negative = sum
        .parts()
        .is_ok_and(|(terms, _)| terms.first().is_some_and(|t| t.coefficient < 0));
    match sum.try_neg() {
        Ok(negative) if leads_negative => negative,
        Ok(_) | Err(_) => sum,
    }
}
