//! Proofs that a sum is never negative: by bounds, by taking out facts that are never negative, and by cases of `min` and `max`.

use super::facts::{Facts, tightened};
use crate::dim::{Atom, Dim, DimError, Monomial, gcd};

/// Deepest chain of facts in one proof.
const MAX_DEPTH: usize = 5;
/// Most sums looked at in one proof.
const MAX_SUMS: usize = 200;

impl Facts {
    /// Whether an expanded sum is proved to be at least `bound`.
    pub(super) fn proves_at_least(&self, sum: &Dim, bound: i64) -> bool {
        let goal = sum.try_sub(&Dim::fixed(bound));
        goal.is_ok_and(|goal| {
            self.proves_not_negative(&goal) || self.proves_not_negative_by_exclusion(&goal)
        })
    }

    /// What is at least -1 and is known not to be -1 is not negative.
    fn proves_not_negative_by_exclusion(&self, goal: &Dim) -> bool {
        let next = goal.try_add(&Dim::ONE);
        next.is_ok_and(|next| self.is_declared_nonzero(&next) && self.proves_not_negative(&next))
    }

    /// Whether an expanded sum is proved to be at most `bound`.
    pub(super) fn proves_at_most(&self, sum: &Dim, bound: i64) -> bool {
        sum.try_neg()
            .is_ok_and(|negative| self.proves_at_least(&negative, -bound))
    }

    fn proves_not_negative(&self, goal: &Dim) -> bool {
        if self.interval(goal).low.is_some_and(|low| low >= 0) {
            return true;
        }
        let mut facts = self.not_negative.clone();
        facts.extend(self.meanings(goal));
        let more: Vec<Dim> = facts.iter().flat_map(|fact| self.meanings(fact)).collect();
        for fact in more {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        let mut search = Search {
            known: self,
            facts,
            sums_left: MAX_SUMS,
        };
        search.proves(goal, MAX_DEPTH)
    }

    /// What the atoms of a sum mean, as sums that are at least zero: `0 <= a - b*(a//b) < b`, and a minimum is below its arguments.
    pub(super) fn meanings(&self, sum: &Dim) -> Vec<Dim> {
        let mut found = Vec::new();
        let atoms = sum
            .parts()
            .map(|(terms, _)| terms.iter().flat_map(|t| t.monomial.atoms()));
        for atom in atoms.into_iter().flatten() {
            let meaning = self.meanings_of(atom).unwrap_or_default();
            found.extend(meaning.into_iter().filter_map(|fact| {
                let expanded = self.expanded(&fact).ok()?;
                tightened(&expanded).filter(|fact| !fact.is_fixed())
            }));
        }
        found
    }

    fn meanings_of(&self, atom: &Atom) -> Result<Vec<Dim>, DimError> {
        let own = Dim::from_atom(atom.clone())?;
        match atom {
            Atom::FloorDiv(pair) if self.interval(&pair.1).low.is_some_and(|low| low >= 0) => {
                let rest = pair.0.try_sub(&own.try_mul(&pair.1)?)?;
                let room = pair.1.try_sub(&rest)?.try_sub(&Dim::ONE)?;
                Ok(vec![rest, room])
            }
            Atom::Min(args) => args.iter().map(|arg| arg.try_sub(&own)).collect(),
            Atom::Max(args) => args.iter().map(|arg| own.try_sub(arg)).collect(),
            Atom::Symbol(_) | Atom::FloorDiv(_) | Atom::Mod(_) => Ok(Vec::new()),
        }
    }
}

struct Search<'a> {
    known: &'a Facts,
    facts: Vec<Dim>,
    sums_left: usize,
}

impl Search<'_> {
    fn proves(&mut self, goal: &Dim, depth: usize) -> bool {
        if self.sums_left == 0 {
            return false;
        }
        self.sums_left -= 1;
        let Some(goal) = tightened(goal) else {
            return false;
        };
        if self.known.interval(&goal).low.is_some_and(|low| low >= 0) {
            return true;
        }
        if depth == 0 || goal.is_fixed() {
            return false;
        }
        if let Some(proved) = self.proves_by_cases(&goal, depth) {
            return proved;
        }
        self.smaller_goals(&goal)
            .iter()
            .any(|smaller| self.proves(smaller, depth - 1))
    }

    /// Sums `goal'` with `scale*goal + scale - 1 = fact*factor + goal'`: if `goal'` is never negative, then `goal` is above -1.
    fn smaller_goals(&self, goal: &Dim) -> Vec<Dim> {
        let mut found = Vec::new();
        let terms = goal.parts().map(|(terms, _)| terms).unwrap_or_default();
        for term in terms {
            let own = term
                .monomial
                .interval_with(&|symbol| self.known.bounds_of(symbol));
            let drags = own
                .scaled(term.coefficient.into())
                .low
                .is_none_or(|low| low < 0);
            if !drags {
                continue;
            }
            for fact in &self.facts {
                let smaller = self.without(goal, &term.monomial, term.coefficient, fact);
                found.extend(
                    smaller
                        .into_iter()
                        .filter(|g| !found.contains(g))
                        .collect::<Vec<_>>(),
                );
            }
        }
        found
    }

    /// The goal less a multiple of the fact, such that the term goes.
    fn without(&self, goal: &Dim, monomial: &Monomial, coefficient: i64, fact: &Dim) -> Vec<Dim> {
        let fact_terms = fact.parts().map(|(terms, _)| terms).unwrap_or_default();
        let of_term = |(fact_monomial, fact_coefficient): (&Monomial, i64)| {
            if (fact_coefficient < 0) != (coefficient < 0) {
                return None;
            }
            let factor = monomial.divided_by(fact_monomial)?;
            let bounds = factor.interval_with(&|symbol| self.known.bounds_of(symbol));
            bounds.low.filter(|&low| low >= 0)?;
            let common = gcd(coefficient, fact_coefficient);
            let scale = (fact_coefficient / common).checked_abs()?;
            let multiple = (coefficient / common).checked_abs()?;
            let taken = Dim::from_product(factor, multiple)
                .ok()?
                .try_mul(fact)
                .ok()?;
            let scaled = goal.try_mul(&Dim::fixed(scale)).ok()?;
            scaled
                .try_add(&Dim::fixed(scale - 1))
                .ok()?
                .try_sub(&taken)
                .ok()
        };
        fact_terms
            .iter()
            .filter_map(|t| of_term((&t.monomial, t.coefficient)))
            .collect()
    }

    /// Puts each argument in place of a minimum or maximum; none if there is no such atom.
    fn proves_by_cases(&mut self, goal: &Dim, depth: usize) -> Option<bool> {
        let (terms, _) = goal.parts().ok()?;
        let atom = terms
            .iter()
            .flat_map(|t| t.monomial.atoms())
            .find(|a| matches!(a, Atom::Min(_) | Atom::Max(_)))?;
        let (Atom::Min(args) | Atom::Max(args)) = atom else {
            return None;
        };
        let is_min = matches!(atom, Atom::Min(_));
        let n_facts = self.facts.len();
        for arg in args.iter() {
            let replace =
                |dim: &Dim| dim.map_atoms(&mut |other| Ok((other == atom).then(|| arg.clone())));
            let beaten = args.iter().filter(|other| *other != arg);
            let differences = beaten.filter_map(|other| {
                if is_min {
                    other.try_sub(arg)
                } else {
                    arg.try_sub(other)
                }
                .ok()
            });
            let differences: Vec<Dim> = differences
                .filter_map(|d| self.known.expanded(&d).ok())
                .collect();
            let case = replace(goal).and_then(|case| self.known.expanded(&case));
            let known: Vec<Dim> = self.facts[..n_facts]
                .iter()
                .filter_map(|fact| replace(fact).ok())
                .collect();
            let saved = std::mem::replace(&mut self.facts, known);
            self.facts.extend(differences);
            let proved = case.is_ok_and(|case| self.proves(&case, depth - 1));
            self.facts = saved;
            if !proved {
                return Some(false);
            }
        }
        Some(true)
    }
}
