//! The reference evaluator: slow, plain, and what every executor and every pass is compared with.
//! It binds symbols from the inputs' shapes, checks relations and guards, and runs every operator's
//! own [`crate::OpDef::eval`] in canonical order, freeing each value after its last use.
//!
//! Random inputs for a graph are in [`crate::eval::samples`].

mod bind;
pub mod samples;
mod uses;

use std::collections::BTreeMap;
use std::sync::Arc;

use gabion_tensor::{Bindings, Dim, HostTensor, Shape, TensorType};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::graph::{Graph, NodeId, Value};
use crate::op::{EvalCx, EvalError, HostTensors};
use crate::ops::Op;
use crate::text::Names;

pub use samples::{SampleOptions, Samples, sample_inputs};

/// Where weights come from: a checkpoint, or a map in tests.
pub trait WeightSource {
    /// The weight of this name. The evaluator checks dtype and shape against `ty` again.
    ///
    /// # Errors
    /// [`EvalError::Binding`] if it is missing, or is not of type `ty`.
    fn weight(&self, name: &str, ty: &TensorType) -> Result<HostTensor, EvalError>;
}

impl WeightSource for BTreeMap<String, HostTensor> {
    fn weight(&self, name: &str, ty: &TensorType) -> Result<HostTensor, EvalError> {
        let Some(tensor) = self.get(name) else {
            let near = crate::text::nearest(name, self.keys().map(String::as_str));
            let hint = near
                .map(|n| format!("; the nearest name is `{n}`"))
                .unwrap_or_default();
            return Err(bind::wrong(
                "weight",
                name,
                format!("expected {ty}, found no such tensor{hint}"),
            ));
        };
        bind::check_dtype_and_rank("weight", name, ty, tensor)?;
        Ok(tensor.clone())
    }
}

/// What a graph computed.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The outputs by name, in declaration order.
    pub outputs: IndexMap<String, HostTensor>,
    /// The symbols' values.
    pub bindings: Bindings,
}

/// Every value that a graph computed.
#[derive(Clone, Debug)]
pub struct AllValues {
    /// The values of live and dead nodes alike.
    pub values: BTreeMap<Value, HostTensor>,
    /// The outputs by name, in declaration order.
    pub outputs: IndexMap<String, HostTensor>,
    /// The symbols' values.
    pub bindings: Bindings,
}

/// Evaluates a graph on inputs by name; nodes that no output needs are not run.
///
/// # Errors
/// Missing, unknown or ill-typed inputs and weights, symbols with two values, relations and guards
/// that do not hold, and what an operator says of its values, with the node's name.
pub fn evaluate(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    weights: &dyn WeightSource,
) -> Result<Evaluation, EvalError> {
    Evaluator::new(graph).run(inputs, weights)
}

/// As [`evaluate`], but runs every node and keeps every value.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_all(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    weights: &dyn WeightSource,
) -> Result<AllValues, EvalError> {
    Evaluator::new(graph).run_all(inputs, weights)
}

/// A graph made ready to be evaluated again and again: its order and its use counts.
pub struct Evaluator<'g> {
    graph: &'g Graph,
    names: Names,
    live: Vec<NodeId>,
    /// Uses of each value by live nodes and outputs.
    uses: FxHashMap<Value, usize>,
    given: Bindings,
}

impl<'g> Evaluator<'g> {
    /// An evaluator of a verified graph.
    pub fn new(graph: &'g Graph) -> Self {
        let names = Names::new(graph);
        let mut uses: FxHashMap<Value, usize> = FxHashMap::default();
        for output in graph.outputs() {
            *uses.entry(output.value).or_default() += 1;
        }
        let mut live = Vec::new();
        let mut needed: rustc_hash::FxHashSet<NodeId> =
            graph.outputs().iter().map(|o| o.value.node).collect();
        for &id in names.order().iter().rev() {
            if needed.contains(&id) {
                live.push(id);
                for value in graph.operands(id) {
                    needed.insert(value.node);
                    *uses.entry(value).or_default() += 1;
                }
            }
        }
        live.reverse();
        Self {
            graph,
            names,
            live,
            uses,
            given: Bindings::new(),
        }
    }

    /// Gives values to symbols that no shape tells. A shape that tells another value is an error.
    #[must_use]
    pub fn with_bindings(mut self, given: Bindings) -> Self {
        self.given = given;
        self
    }

    /// Evaluates; see [`evaluate`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        weights: &dyn WeightSource,
    ) -> Result<Evaluation, EvalError> {
        let bindings = bind::bind(self.graph, inputs, weights, &self.given)?;
        let mut values = FxHashMap::default();
        let mut left = self.uses.clone();
        for &id in &self.live {
            for (result, tensor) in self
                .node(id, inputs, weights, &bindings, &|v| values.get(&v).cloned())?
                .into_iter()
                .enumerate()
            {
                let value = Value::new(id, result as u32);
                if left.contains_key(&value) {
                    values.insert(value, tensor);
                }
            }
            for operand in self.graph.operands(id) {
                if let Some(count) = left.get_mut(&operand) {
                    *count -= 1;
                    if *count == 0 {
                        values.remove(&operand);
                    }
                }
            }
        }
        let outputs = self.outputs(|v| values.get(&v).cloned())?;
        Ok(Evaluation { outputs, bindings })
    }

    /// Evaluates and keeps everything; see [`evaluate_all`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run_all(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        weights: &dyn WeightSource,
    ) -> Result<AllValues, EvalError> {
        let bindings = bind::bind(self.graph, inputs, weights, &self.given)?;
        let mut values = BTreeMap::new();
        for &id in self.names.order() {
            let results =
                self.node(id, inputs, weights, &bindings, &|v| values.get(&v).cloned())?;
            for (result, tensor) in results.into_iter().enumerate() {
                values.insert(Value::new(id, result as u32), tensor);
            }
        }
        let outputs = self.outputs(|v| values.get(&v).cloned())?;
        Ok(AllValues {
            values,
            outputs,
            bindings,
        })
    }

    fn outputs(
        &self,
        get: impl Fn(Value) -> Option<HostTensor>,
    ) -> Result<IndexMap<String, HostTensor>, EvalError> {
        let outputs = self.graph.outputs().iter().map(|output| {
            let tensor = get(output.value).ok_or_else(|| {
                bind::wrong(
                    "output",
                    &output.name,
                    "has no value; is the graph verified?".to_owned(),
                )
            })?;
            Ok((output.name.to_string(), tensor))
        });
        outputs.collect()
    }

    /// The results of one node, checked against its types.
    fn node(
        &self,
        id: NodeId,
        inputs: &BTreeMap<String, HostTensor>,
        weights: &dyn WeightSource,
        bindings: &Bindings,
        get: &dyn Fn(Value) -> Option<HostTensor>,
    ) -> Result<HostTensors, EvalError> {
        let node = self.graph.node(id);
        let run = || match &node.op {
            Op::Input(op) => bind::input(&op.name, inputs).map(|t| smallvec::smallvec![t.clone()]),
            Op::Weight(op) => {
                let tensor = weights.weight(&op.name, &node.results[0])?;
                bind::check_dtype_and_rank("weight", &op.name, &node.results[0], &tensor)?;
                bind::check_shape("weight", &op.name, &node.results[0], &tensor, bindings)?;
                Ok(smallvec::smallvec![tensor])
            }
            op => {
                let mut args: SmallVec<[HostTensor; 4]> = SmallVec::new();
                for value in self.graph.operands(id) {
                    let missing = || {
                        EvalError::Value(format!("operand %{} has no value", self.names.get(value)))
                    };
                    args.push(get(value).ok_or_else(missing)?);
                }
                for ty in &node.results {
                    check_room(ty, bindings)?;
                }
                let results = op.eval(&args, &EvalCx::new(bindings, &node.results))?;
                check_results(&node.results, &results, bindings)?;
                Ok(results)
            }
        };
        run().map_err(|source| match source {
            named @ EvalError::Binding { .. } => named,
            source => EvalError::Node {
                op: node.op.name(),
                value: self.names.get(Value::new(id, 0)).to_owned(),
                source: Box::new(source),
            },
        })
    }
}

/// Below so many bytes nobody asks whether there is room.
const SMALL: usize = 64 << 20;

/// Refuses a type whose values would not fit into memory, before anything tries to make one.
///
/// # Errors
/// [`EvalError::Value`] with the type and its sizes; symbols without a value.
pub fn check_room(ty: &TensorType, bindings: &Bindings) -> Result<(), EvalError> {
    let shape = ty.shape.eval(bindings)?;
    // Most operators compute in f64, and the result is beside what it was made from.
    let bytes = shape
        .iter()
        .try_fold(2 * size_of::<f64>(), |n, &dim| n.checked_mul(dim));
    let room = |n: usize| n < SMALL || Vec::<u8>::new().try_reserve_exact(n).is_ok();
    if bytes.is_some_and(room) {
        return Ok(());
    }
    let sizes = TensorType::new(ty.dtype, Shape::from_iter(shape.into_iter().map(Dim::from)));
    Err(EvalError::Value(format!(
        "{sizes} is more than this machine has memory for"
    )))
}

/// An operator's meaning must agree with its type rule.
fn check_results(
    types: &[TensorType],
    results: &[HostTensor],
    bindings: &Bindings,
) -> Result<(), EvalError> {
    if types.len() != results.len() {
        return Err(EvalError::Value(format!(
            "expected {} results, computed {}",
            types.len(),
            results.len()
        )));
    }
    for (i, (ty, tensor)) in types.iter().zip(results).enumerate() {
        let shape = ty.shape.eval(bindings)?;
        if tensor.dtype() != ty.dtype || tensor.shape() != &shape[..] {
            let found = format!("{}{:?}", tensor.dtype(), tensor.shape());
            return Err(EvalError::Value(format!(
                "result {i}: expected {ty} = {:?}, computed {found}",
                &shape[..]
            )));
        }
    }
    Ok(())
}

/// The names of all inputs of a graph, for messages.
fn input_names(graph: &Graph) -> Vec<Arc<str>> {
    graph.inputs().iter().map(|i| i.name.clone()).collect()
}
