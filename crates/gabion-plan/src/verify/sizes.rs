//! Claims about symbolic sizes: proved from their form, or tried on values that the plan allows.

use std::collections::{BTreeMap, BTreeSet};

use gabion_tensor::{Bindings, Constraint, Dim, DimError, Proof, Relation, Relations, Symbol};

use super::PlanItem;
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
}

impl Sizes {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut facts = plan.relations.clone();
        for guard in &plan.guards {
            // A guard that contradicts the others teaches nothing: no run passes it.
            let _ = facts.declare(guard.constraint.clone());
        }
        let constraints: Vec<&Constraint> = plan
            .relations
            .iter()
            .chain(plan.guards.iter().map(|g| &g.constraint))
            .collect();
        let dims: Vec<&Dim> = all_dims(plan)
            .map(|(_, dim)| dim)
            .filter(|dim| !dim.is_fixed())
            .collect();
        let symbols: BTreeSet<Symbol> = dims.iter().flat_map(|dim| dim.symbols()).collect();
        let mut samples = samples(&symbols, &constraints);
        // Sizes that overflow, and inputs of negative sizes, cannot be bound.
        let inputs: Vec<&Dim> = plan
            .inputs
            .iter()
            .flat_map(|input| input.ty.shape.iter())
            .collect();
        samples.retain(|values| {
            dims.iter()
                .all(|dim| dim.eval(values) != Err(DimError::Overflow))
                && inputs
                    .iter()
                    .all(|dim| dim.eval(values).is_ok_and(|size| size >= 0))
        });
        Self { facts, samples }
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
        views
            .chain(step.kernel.dims())
            .map(move |dim| (PlanItem::Step(i), dim))
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
            let near = [size.saturating_sub(1), size, size.saturating_add(1)];
            pool.extend(near.into_iter().filter(|&n| n >= 0));
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

/// Changes symbols so that equations that do not hold do, where one symbol can do it.
fn settle(values: &mut BTreeMap<Symbol, i64>, constraints: &[&Constraint]) {
    for constraint in constraints.iter().filter(|c| c.relation == Relation::Eq) {
        let difference = |values: &BTreeMap<Symbol, i64>| -> Option<i64> {
            let bindings = bind(values)?;
            constraint
                .lhs
                .eval(&bindings)
                .ok()?
                .checked_sub(constraint.rhs.eval(&bindings).ok()?)
        };
        for symbol in constraint.lhs.symbols().union(&constraint.rhs.symbols()) {
            let with = |value: i64| -> Option<BTreeMap<Symbol, i64>> {
                let mut changed = values.clone();
                changed.insert(symbol.clone(), value);
                (value > 0).then_some(changed)
            };
            let (Some(off), Some(&value)) = (difference(values), values.get(symbol)) else {
                break;
            };
            if off == 0 {
                break;
            }
            // Off by as much as the symbol is (`n == 5`, `n % 16 == 0`), or linear in it (`32*n == 256`).
            let slope =
                with(value.saturating_add(1)).and_then(|next| difference(&next)?.checked_sub(off));
            let root = slope
                .filter(|&slope| slope != 0)
                .and_then(|slope| value.checked_sub(off.checked_div(slope)?));
            let tried = [value.checked_sub(off), value.checked_add(off), root];
            let solved = tried
                .into_iter()
                .flatten()
                .filter_map(with)
                .find(|changed| difference(changed) == Some(0));
            if let Some(solved) = solved {
                *values = solved;
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
