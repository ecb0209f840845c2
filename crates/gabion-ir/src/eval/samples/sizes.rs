//! Chooses small values for a graph's symbols, so that its relations and guards hold and no size is
//! negative.

use std::collections::BTreeSet;

use gabion_tensor::{Bindings, Constraint, Dim, Guard, Relation, Symbol};
use smallvec::SmallVec;

use super::SampleOptions;
use crate::eval::bind;
use crate::graph::Graph;
use crate::op::EvalError;
use crate::sample::Sampler;

/// Tried values per symbol, and the search's limit.
const MAX_TRIES: usize = 200_000;

/// A search, symbol by symbol, over small values and the numbers that the constraints mention.
struct Search {
    symbols: Vec<Symbol>,
    candidates: Vec<Vec<i64>>,
    /// Every constraint, at the last of its symbols.
    checks: Vec<Vec<Constraint>>,
    tries: usize,
}

pub(super) fn choose_symbols(
    graph: &Graph,
    sampler: &mut Sampler,
    options: &SampleOptions,
) -> Result<Bindings, EvalError> {
    let mut fixed = Bindings::new();
    for (name, value) in &options.symbols {
        fixed.bind(name, *value)?;
    }
    for input in graph.inputs() {
        if let Some(tensor) = options.inputs.get(&*input.name) {
            let ty = &graph.node(input.node).results[0];
            let error = |problem: String| bind::wrong("input", &input.name, problem);
            ty.accepts(tensor, &mut fixed)
                .map_err(|e| error(e.to_string()))?;
        }
    }
    let (dims, constraints) = facts(graph);
    let mut symbols: BTreeSet<Symbol> = BTreeSet::new();
    for dim in &dims {
        symbols.extend(dim.symbols());
    }
    for constraint in &constraints {
        symbols.extend(constraint.lhs.symbols());
        symbols.extend(constraint.rhs.symbols());
    }
    let known: BTreeSet<Symbol> = fixed.iter().map(|(s, _)| s.clone()).collect();
    let symbols: Vec<Symbol> = symbols.into_iter().filter(|s| !known.contains(s)).collect();
    let candidates = candidates(&constraints, &dims, &fixed, symbols.len(), sampler);
    let mut checks: Vec<Vec<Constraint>> = vec![Vec::new(); symbols.len() + 1];
    for constraint in constraints {
        let mentions = |s: &Symbol| {
            constraint.lhs.symbols().contains(s) || constraint.rhs.symbols().contains(s)
        };
        let last = symbols.iter().rposition(mentions).map_or(0, |i| i + 1);
        checks[last].push(constraint);
    }
    let mut search = Search {
        symbols,
        candidates,
        checks,
        tries: 0,
    };
    if !search.holds(0, &fixed) {
        return Err(EvalError::Value(
            "the given symbol values break a relation, a guard or a shape".to_owned(),
        ));
    }
    search.assign(0, &fixed).ok_or_else(|| {
        let names: Vec<String> = search.symbols.iter().map(ToString::to_string).collect();
        EvalError::Value(format!(
            "found no small values of {} that satisfy relations, guards and shapes: give some of them",
            names.join(", ")
        ))
    })
}

impl Search {
    fn holds(&self, depth: usize, bindings: &Bindings) -> bool {
        self.checks[depth].iter().all(|constraint| {
            Guard {
                constraint: constraint.clone(),
                why: String::new(),
            }
            .check(bindings)
            .is_ok()
        })
    }

    /// The value that an equation gives to the symbol at `depth`, all others in it being known.
    fn forced(&self, depth: usize, bindings: &Bindings) -> Option<i64> {
        let symbol = &self.symbols[depth];
        self.checks[depth + 1]
            .iter()
            .filter(|c| c.relation == Relation::Eq)
            .find_map(|equation| {
                let sides = [
                    (&equation.lhs, &equation.rhs),
                    (&equation.rhs, &equation.lhs),
                ];
                let (_, other) = sides
                    .into_iter()
                    .find(|(side, _)| side.as_symbol() == Some(symbol))?;
                other.eval(bindings).ok()
            })
    }

    /// Values for the symbols from `depth` on. The recursion is as deep as there are symbols.
    fn assign(&mut self, depth: usize, bindings: &Bindings) -> Option<Bindings> {
        if depth == self.symbols.len() {
            return Some(bindings.clone());
        }
        let values = match self.forced(depth, bindings) {
            Some(value) => vec![value],
            None => self.candidates[depth].clone(),
        };
        for value in values {
            self.tries += 1;
            if self.tries > MAX_TRIES {
                return None;
            }
            let mut next = bindings.clone();
            if next.bind(self.symbols[depth].name(), value).is_err()
                || !self.holds(depth + 1, &next)
            {
                continue;
            }
            if let Some(found) = self.assign(depth + 1, &next) {
                return Some(found);
            }
        }
        None
    }
}

/// Every dim of every value, and every constraint: relations, guards, and no dim below zero.
fn facts(graph: &Graph) -> (Vec<Dim>, Vec<Constraint>) {
    let mut dims: Vec<Dim> = Vec::new();
    let mut seen: rustc_hash::FxHashSet<Dim> = rustc_hash::FxHashSet::default();
    for id in graph.canonical_order() {
        for ty in &graph.node(id).results {
            for dim in ty.shape.iter().filter(|d| !d.is_fixed()) {
                if seen.insert(dim.clone()) {
                    dims.push(dim.clone());
                }
            }
        }
    }
    let mut constraints: Vec<Constraint> = graph.relations().iter().cloned().collect();
    constraints.extend(graph.guards().iter().map(|g| g.constraint.clone()));
    constraints.extend(dims.iter().map(|dim| Constraint {
        lhs: Dim::fixed(0),
        relation: Relation::Le,
        rhs: dim.clone(),
    }));
    (dims, constraints)
}

/// Small sizes in random order, then the numbers that constraints, dims and given symbols mention,
/// their neighbours and doubles.
fn candidates(
    constraints: &[Constraint],
    dims: &[Dim],
    fixed: &Bindings,
    n: usize,
    sampler: &mut Sampler,
) -> Vec<Vec<i64>> {
    let mut mentioned: BTreeSet<i64> = BTreeSet::new();
    mentioned.extend(
        fixed
            .iter()
            .flat_map(|(_, value)| [value - 1, value, value.saturating_add(1)]),
    );
    let texts = constraints
        .iter()
        .map(ToString::to_string)
        .chain(dims.iter().map(ToString::to_string));
    for text in texts {
        for number in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if let Ok(number) = number.parse::<i64>() {
                mentioned.extend([number - 1, number, number + 1, number.saturating_mul(2)]);
            }
        }
    }
    let small = 1..=9i64;
    let more: Vec<i64> = mentioned
        .into_iter()
        .filter(|m| !small.contains(m) && (0..1 << 20).contains(m))
        .take(64)
        .collect();
    (0..n)
        .map(|_| {
            let mut order: SmallVec<[i64; 16]> = small.clone().collect();
            for i in (1..order.len()).rev() {
                order.swap(i, sampler.size(0, i));
            }
            order
                .into_iter()
                .chain(more.iter().copied())
                .chain([0])
                .collect()
        })
        .collect()
}
