//! Claims about symbolic sizes: proved from their form, or tried on values that the plan allows.

use std::collections::{BTreeMap, BTreeSet};

use gabion_tensor::{Bindings, Constraint, Dim, Proof, Relation, Relations, Symbol};

use super::PlanItem;
use crate::kernel::Kernel;
use crate::plan::{Place, Plan};

/// Values that symbols are given: small, odd, round, and next to round.
const POOL: [i64; 24] = [
    1, 2, 3, 16, 7, 64, 0, 5, 32, 17, 31, 128, 4, 48, 96, 33, 63, 100, 256, 65, 127, 512, 1000,
    1024,
];
/// How many assignments a claim is tried on.
const SAMPLES: usize = 12;
/// How many assignments are drawn to find those that relations and guards allow.
const DRAWS: usize = 4000;

/// What is known about the symbols of a plan.
pub(super) struct Sizes {
    facts: Relations,
    samples: Vec<Bindings>,
    problem: Option<String>,
}

impl Sizes {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut facts = plan.relations.clone();
        let mut problem = None;
        for guard in &plan.guards {
            if let Err(e) = facts.declare(guard.constraint.clone()) {
                problem.get_or_insert_with(|| format!("guard: {e}"));
            }
        }
        let constraints: Vec<&Constraint> = facts.iter().collect();
        let symbols: BTreeSet<Symbol> = all_dims(plan).flat_map(|(_, dim)| dim.symbols()).collect();
        let samples = samples(&symbols, &constraints);
        if samples.is_empty() && problem.is_none() {
            problem = Some(format!(
                "no sizes were found that they allow, of {DRAWS} assignments tried"
            ));
        }
        Self {
            facts,
            samples,
            problem,
        }
    }

    /// Why relations and guards cannot be used.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// The assignments on which claims are tried, the small ones first.
    pub(super) fn samples(&self) -> &[Bindings] {
        &self.samples
    }

    /// `None` if the constraint holds; else the values for which it does not, as an appendix to a
    /// message.
    pub(super) fn refute(&self, constraint: &Constraint) -> Option<String> {
        match self.facts.prove(constraint) {
            Proof::True => None,
            Proof::False => Some(String::new()),
            Proof::Unknown => {
                self.samples
                    .iter()
                    .find_map(|values| match constraint.eval(values) {
                        Ok(true) => None,
                        Ok(false) => Some(with(values, [&constraint.lhs, &constraint.rhs])),
                        Err(e) => Some(format!(
                            ": {e}{}",
                            with(values, [&constraint.lhs, &constraint.rhs])
                        )),
                    })
            }
        }
    }

    /// As [`Sizes::refute`], of `a == b`.
    pub(super) fn differ(&self, a: &Dim, b: &Dim) -> Option<String> {
        if a == b {
            return None;
        }
        self.refute(&Constraint::eq(a, b))
    }

    /// As [`Sizes::differ`], of two lists.
    pub(super) fn shapes_differ(&self, a: &[Dim], b: &[Dim]) -> Option<String> {
        if a.len() != b.len() {
            return Some(String::new());
        }
        a.iter().zip(b).find_map(|(a, b)| self.differ(a, b))
    }

    /// As [`Sizes::refute`], of `dim >= 0`.
    pub(super) fn negative(&self, dim: &Dim) -> Option<String> {
        self.refute(&Constraint::new(dim, Relation::Ge, Dim::ZERO))
    }
}

/// ` (tokens = 3)`: the values of the symbols in these sizes; nothing if they have none.
pub(super) fn with<'d>(values: &Bindings, dims: impl IntoIterator<Item = &'d Dim>) -> String {
    let symbols: BTreeSet<Symbol> = dims.into_iter().flat_map(Dim::symbols).collect();
    let shown: Vec<String> = values
        .iter()
        .filter(|(symbol, _)| symbols.contains(*symbol))
        .map(|(s, n)| format!("{s} = {n}"))
        .collect();
    if shown.is_empty() {
        String::new()
    } else {
        format!(" ({})", shown.join(", "))
    }
}

/// Every size of a plan, with what it belongs to.
pub(super) fn all_dims(plan: &Plan) -> impl Iterator<Item = (PlanItem, &Dim)> {
    let facts = plan
        .relations
        .iter()
        .chain(plan.guards.iter().map(|guard| &guard.constraint));
    let facts = facts.flat_map(|c| [(PlanItem::Relations, &c.lhs), (PlanItem::Relations, &c.rhs)]);
    let inputs = plan.inputs.iter().enumerate().flat_map(|(i, input)| {
        input
            .ty
            .shape
            .iter()
            .map(move |dim| (PlanItem::Input(i), dim))
    });
    let weights = plan.weights.iter().enumerate().flat_map(|(i, weight)| {
        let stored = weight
            .parts
            .iter()
            .flat_map(|part| part.stored.shape.iter());
        weight
            .ty
            .shape
            .iter()
            .chain(stored)
            .map(move |dim| (PlanItem::Weight(i), dim))
    });
    let buffers = plan.buffers.iter().enumerate().flat_map(|(i, buffer)| {
        let offset = match &buffer.place {
            Place::Arena { offset, .. } => Some(offset),
            Place::Input(_) | Place::Constant(_) => None,
        };
        offset
            .into_iter()
            .chain([&buffer.elements])
            .map(move |dim| (PlanItem::Buffer(i), dim))
    });
    let steps = plan.steps.iter().enumerate().flat_map(|(i, step)| {
        let views = step.reads.iter().chain(&step.writes).flat_map(dims_of_view);
        let own = match &step.kernel {
            Kernel::Range { start, step } => vec![start, step],
            _ => Vec::new(),
        };
        views.chain(own).map(move |dim| (PlanItem::Step(i), dim))
    });
    let outputs = plan.outputs.iter().enumerate().flat_map(|(i, output)| {
        let dims = output.ty.shape.iter().chain(dims_of_view(&output.view));
        dims.map(move |dim| (PlanItem::Output(i), dim))
    });
    facts
        .chain(inputs)
        .chain(weights)
        .chain(buffers)
        .chain(steps)
        .chain(outputs)
}

/// The sizes of a view.
pub(super) fn dims_of_view(view: &crate::view::View) -> impl Iterator<Item = &Dim> {
    view.shape.iter().chain(&view.strides).chain([&view.offset])
}

/// Assignments that all constraints allow.
fn samples(symbols: &BTreeSet<Symbol>, constraints: &[&Constraint]) -> Vec<Bindings> {
    let wanted = if symbols.is_empty() { 1 } else { SAMPLES };
    let mut pool = POOL.to_vec();
    // Sizes near those that constraints name.
    for dim in constraints.iter().flat_map(|c| [&c.lhs, &c.rhs]) {
        if let Some(size) = dim.as_fixed() {
            pool.extend([size - 1, size, size + 1].into_iter().filter(|&n| n >= 0));
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut found: Vec<Bindings> = Vec::new();
    for draw in 0..DRAWS {
        let mut values = BTreeMap::new();
        for symbol in symbols {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The first draws give all symbols one small value, to be legible in messages.
            let index = if draw < 4 {
                draw
            } else {
                (random >> 33) as usize % pool.len()
            };
            values.insert(symbol.clone(), pool[index]);
        }
        settle(&mut values, constraints);
        let Some(bindings) = bind(&values) else {
            continue;
        };
        let allowed = constraints.iter().all(|c| c.eval(&bindings) == Ok(true));
        if allowed && !found.contains(&bindings) {
            found.push(bindings);
        }
        if found.len() == wanted {
            break;
        }
    }
    // Sizes of 0 hide what other sizes show.
    found.sort_by_key(|bindings| {
        let values = || bindings.iter().map(|(_, value)| value);
        (
            values().any(|n| n == 0),
            values().fold(0i64, i64::saturating_add),
        )
    });
    found
}

/// Gives a symbol that an equation determines its value.
fn settle(values: &mut BTreeMap<Symbol, i64>, constraints: &[&Constraint]) {
    for constraint in constraints.iter().filter(|c| c.relation == Relation::Eq) {
        for (symbol, other) in [
            (&constraint.lhs, &constraint.rhs),
            (&constraint.rhs, &constraint.lhs),
        ] {
            if let (Some(symbol), Some(bindings)) = (symbol.as_symbol(), bind(values))
                && let Ok(value) = other.eval(&bindings)
            {
                values.insert(symbol.clone(), value);
                break;
            }
        }
    }
}

fn bind(values: &BTreeMap<Symbol, i64>) -> Option<Bindings> {
    let mut bindings = Bindings::new();
    for (symbol, &value) in values {
        bindings.bind(symbol.name(), value).ok()?;
    }
    Some(bindings)
}
