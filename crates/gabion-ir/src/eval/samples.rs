//! Random inputs and weights that a graph accepts, with small values for its symbols. Used by pass
//! verification, conformance tests and `gabion verify`.

mod sizes;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;

use gabion_tensor::{Bindings, HostTensor, TensorType};
use smallvec::SmallVec;

use self::values::Usual;
use super::{bind, uses};
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
    /// Ranges of inputs by name, which win over what their uses ask: integers from start up to, and
    /// without, the end; floats between the two.
    pub ranges: BTreeMap<String, Range<i64>>,
    /// The range of integer inputs of which nothing is known.
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
/// integer weights use the whole range of 8-bit types (they are codes), else `0..8`, as integer
/// inputs do.
///
/// Where an operator asks more of a value, its inputs and weights are sampled accordingly: indices
/// lie in their axis, positions leave room in their cache, divisors of integers are not 0, integer
/// exponents not negative. That is followed back through casts, movement (reshape, slice, concat,
/// ..), look-ups, and sums, products, quotients, minima and maxima; not through other maths.
///
/// # Errors
/// [`EvalError::Value`] if no small symbol values satisfy relations, guards and shapes: give some
/// in `options.symbols`. [`EvalError::Binding`] for options of an input that the graph has not, for
/// a range that a dtype does not hold, and where the uses of an input leave it no value.
pub fn sample_inputs(
    graph: &Graph,
    seed: u64,
    options: &SampleOptions,
) -> Result<Samples, EvalError> {
    let mut names = options.inputs.keys().chain(options.ranges.keys());
    names.try_for_each(|name| bind::known_input(graph, name))?;
    let mut sampler = Sampler::new(seed);
    let bindings = sizes::choose_symbols(graph, &mut sampler, options)?;
    let asked = uses::of_leaves(graph, &bindings)?;
    let mut inputs = BTreeMap::new();
    for input in graph.inputs() {
        let name = &*input.name;
        let ty = &graph.node(input.node).results[0];
        let tensor = match options.inputs.get(name) {
            Some(tensor) => tensor.clone(),
            None => {
                let shape = sized("input", name, ty, &bindings)?;
                let ask = asked.get(&input.node).copied();
                let usual = Usual::of_input(ty.dtype, options);
                match options.ranges.get(name) {
                    Some(range) => values::given(&mut sampler, name, ty.dtype, &shape, range)?,
                    None => usual
                        .sample(&mut sampler, ty.dtype, &shape, ask)
                        .map_err(|e| no_value("input", name, e))?,
                }
            }
        };
        inputs.insert(name.to_owned(), tensor);
    }
    let mut weights = BTreeMap::new();
    for (name, ty, id) in graph.weights() {
        let shape = sized("weight", &name, &ty, &bindings)?;
        let usual = Usual::of_weight(ty.dtype, &shape);
        let tensor = usual
            .sample(&mut sampler, ty.dtype, &shape, asked.get(&id).copied())
            .map_err(|e| no_value("weight", &name, e))?;
        weights.insert(name.to_string(), tensor);
    }
    Ok(Samples {
        inputs,
        weights,
        bindings,
    })
}

fn no_value(kind: &'static str, name: &str, error: EvalError) -> EvalError {
    bind::wrong(kind, name, error.to_string())
}

/// The sizes of a tensor that there is room for.
fn sized(
    kind: &'static str,
    name: &str,
    ty: &TensorType,
    bindings: &Bindings,
) -> Result<SmallVec<[usize; 4]>, EvalError> {
    super::check_room(ty, bindings).map_err(|error| bind::wrong(kind, name, error.to_string()))?;
    Ok(ty.shape.eval(bindings)?)
}
