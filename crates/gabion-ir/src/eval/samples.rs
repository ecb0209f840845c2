//! Random inputs and weights that a graph accepts, with small values for its symbols. Used by pass
//! verification, conformance tests and `gabion verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use gabion_tensor::{
    Bindings, Constraint, DType, Dim, Guard, HostTensor, Relation, Symbol, TensorType,
};
use smallvec::SmallVec;

use crate::graph::Graph;
use crate::op::EvalError;
use crate::sample::Sampler;

/// Choices that random ones must not override.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// Values of symbols.
    pub symbols: BTreeMap<String, i64>,
    /// Inputs given outright. Their shapes bind symbols.
    pub inputs: BTreeMap<String, HostTensor>,
    /// Ranges of integer inputs, by name (ids of a vocabulary, positions in a cache).
    pub ranges: BTreeMap<String, Range<i64>>,
    /// The range of all other integer inputs.
    pub default_range: Range<i64>,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            symbols: BTreeMap::new(),
            inputs: BTreeMap::new(),
            ranges: BTreeMap::new(),
            default_range: 0..8,
        }
    }
}

/// Random inputs and weights for one graph.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The inputs by name.
    pub inputs: BTreeMap<String, HostTensor>,
    /// The weights by name.
    pub weights: BTreeMap<String, HostTensor>,
    /// The values chosen for the symbols.
    pub bindings: Bindings,
}

/// Samples that are the same for the same seed. Floats are about 1 in inputs, about `1 / sqrt(K)`
/// in weights of rank 2 and more (K is the last dim), and `0.5..1.5` in vectors (norms, scales);
/// integer weights use the whole range of 8-bit types (they are codes), else `0..8`.
///
/// # Errors
/// [`EvalError::Value`] if no small symbol values satisfy relations, guards and shapes: give some
/// in `options.symbols`.
pub fn sample_inputs(
    graph: &Graph,
    seed: u64,
    options: &SampleOptions,
) -> Result<Samples, EvalError> {
    let mut sampler = Sampler::new(seed);
    let bindings = choose_symbols(graph, &mut sampler, options)?;
    let mut inputs = BTreeMap::new();
    for input in graph.inputs() {
        let tensor = match options.inputs.get(&*input.name) {
            Some(tensor) => tensor.clone(),
            None => {
                let ty = &graph.node(input.node).results[0];
                let range = options
                    .ranges
                    .get(&*input.name)
                    .unwrap_or(&options.default_range);
                let shape = sized("input", &input.name, ty, &bindings)?;
                if ty.dtype.is_int() {
                    integers(&mut sampler, ty.dtype, &shape, range)?
                } else {
                    floats(&mut sampler, ty.dtype, &shape, -1.0, 1.0)?
                }
            }
        };
        inputs.insert(input.name.to_string(), tensor);
    }
    let mut weights = BTreeMap::new();
    for (name, ty, _) in graph.weights() {
        let shape = sized("weight", &name, &ty, &bindings)?;
        weights.insert(name.to_string(), weight(&mut sampler, &ty, &shape)?);
    }
    Ok(Samples {
        inputs,
        weights,
        bindings,
    })
}

/// The sizes of a tensor that there is room for.
fn sized(
    kind: &'static str,
    name: &str,
    ty: &TensorType,
    bindings: &Bindings,
) -> Result<SmallVec<[usize; 4]>, EvalError> {
    super::check_room(ty, bindings)
        .map_err(|error| super::bind::wrong(kind, name, error.to_string()))?;
    Ok(ty.shape.eval(bindings)?)
}

fn weight(
    sampler: &mut Sampler,
    ty: &TensorType,
    shape: &[usize],
) -> Result<HostTensor, EvalError> {
    match ty.dtype {
        DType::I8 => integers(sampler, ty.dtype, shape, &(-128..128)),
        DType::U8 => integers(sampler, ty.dtype, shape, &(0..256)),
        dtype if dtype.is_int() => integers(sampler, dtype, shape, &(0..8)),
        dtype if shape.len() < 2 => floats(sampler, dtype, shape, 0.5, 1.5),
        dtype => {
            let k = shape.last().copied().unwrap_or(1).max(1) as f64;
            let bound = (3.0 / k).sqrt();
            floats(sampler, dtype, shape, -bound, bound)
        }
    }
}

fn integers(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    range: &Range<i64>,
) -> Result<HostTensor, EvalError> {
    if range.is_empty() {
        return Err(EvalError::Value(format!(
            "the range {range:?} of integer inputs is empty"
        )));
    }
    let n = shape.iter().product();
    let values: Vec<i64> = (0..n)
        .map(|_| sampler.int(range.start, range.end - 1))
        .collect();
    Ok(HostTensor::from_slice(shape, &values)?.cast(dtype)?)
}

/// Floats, bools, and blocks (through their encoder).
fn floats(
    sampler: &mut Sampler,
    dtype: DType,
    shape: &[usize],
    low: f64,
    high: f64,
) -> Result<HostTensor, EvalError> {
    let n = shape.iter().product();
    if dtype.is_bool() {
        let bits: Vec<u8> = (0..n).map(|_| (sampler.bits() & 1) as u8).collect();
        return Ok(HostTensor::new(DType::Bool, shape, bits)?);
    }
    let values: Vec<f32> = (0..n).map(|_| sampler.uniform(low, high) as f32).collect();
    Ok(HostTensor::from_slice(shape, &values)?.cast(dtype)?)
}

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

fn choose_symbols(
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
            let error = |problem: String| super::bind::wrong("input", &input.name, problem);
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
