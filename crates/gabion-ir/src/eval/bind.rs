//! Binds a graph's symbols from the shapes of the tensors it is given, and checks everything that
//! can be checked before the first operator runs.

use std::collections::BTreeMap;

use gabion_tensor::{Bindings, Dim, Guard, HostTensor, Symbol, TensorType};

use super::{WeightSource, input_names};
use crate::graph::Graph;
use crate::op::EvalError;
use crate::ops::Op;
use crate::text::quoted;

pub(super) fn wrong(kind: &'static str, name: &str, problem: String) -> EvalError {
    EvalError::Binding {
        kind,
        name: name.to_owned(),
        problem,
    }
}

fn shown(tensor: &HostTensor) -> String {
    let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
    format!("{}[{}]", tensor.dtype(), dims.join(", "))
}

pub(super) fn check_dtype_and_rank(
    kind: &'static str,
    name: &str,
    ty: &TensorType,
    tensor: &HostTensor,
) -> Result<(), EvalError> {
    if tensor.dtype() == ty.dtype && tensor.rank() == ty.shape.rank() {
        return Ok(());
    }
    Err(wrong(
        kind,
        name,
        format!("expected {ty}, found {}", shown(tensor)),
    ))
}

pub(super) fn check_shape(
    kind: &'static str,
    name: &str,
    ty: &TensorType,
    tensor: &HostTensor,
    bindings: &Bindings,
) -> Result<(), EvalError> {
    let shape = ty.shape.eval(bindings)?;
    match shape
        .iter()
        .zip(tensor.shape())
        .position(|(want, have)| want != have)
    {
        None => Ok(()),
        Some(axis) => Err(wrong(
            kind,
            name,
            format!(
                "expected {ty}, found {}: axis {axis} is {}, not {}",
                shown(tensor),
                tensor.shape()[axis],
                shape[axis]
            ),
        )),
    }
}

/// The graph has an input of this name.
pub(super) fn known_input(graph: &Graph, name: &str) -> Result<(), EvalError> {
    let names = input_names(graph);
    if names.iter().any(|n| **n == *name) {
        return Ok(());
    }
    let hint = match crate::text::nearest(name, names.iter().map(|n| &**n)) {
        Some(near) => format!("; the nearest name is `{near}`"),
        None => format!("; the inputs are {}", names.join(", ")),
    };
    Err(wrong(
        "input",
        name,
        format!("the graph has no such input{hint}"),
    ))
}

/// The input of this name.
pub(super) fn input<'t>(
    name: &str,
    inputs: &'t BTreeMap<String, HostTensor>,
) -> Result<&'t HostTensor, EvalError> {
    inputs
        .get(name)
        .ok_or_else(|| wrong("input", name, "expected a tensor, found none".to_owned()))
}

/// A tensor whose shape binds symbols.
struct Bound<'a> {
    kind: &'static str,
    name: &'a str,
    ty: &'a TensorType,
    tensor: HostTensor,
}

/// Which tensor gave a symbol its value.
struct Origin {
    size: usize,
    place: String,
}

/// The symbols' values; relations and guards hold for them.
pub(super) fn bind(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    weights: &dyn WeightSource,
    given: &Bindings,
) -> Result<Bindings, EvalError> {
    inputs
        .keys()
        .try_for_each(|name| known_input(graph, name))?;
    let mut tensors = Vec::new();
    for declared in graph.inputs() {
        let ty = &graph.node(declared.node).results[0];
        let tensor = inputs.get(&*declared.name).ok_or_else(|| {
            wrong(
                "input",
                &declared.name,
                format!("expected a tensor {ty}, found none"),
            )
        })?;
        check_dtype_and_rank("input", &declared.name, ty, tensor)?;
        tensors.push(Bound {
            kind: "input",
            name: &declared.name,
            ty,
            tensor: tensor.clone(),
        });
    }
    let mut origins: BTreeMap<Symbol, Origin> = BTreeMap::new();
    for (symbol, value) in given.iter() {
        // Bound values are sizes, at least 0.
        let size = usize::try_from(value).unwrap_or(0);
        origins.insert(
            symbol.clone(),
            Origin {
                size,
                place: "the given bindings".to_owned(),
            },
        );
    }
    for bound in &tensors {
        bind_symbols(bound, &mut origins)?;
    }
    let first_weight = tensors.len();
    bind_weights(graph, weights, &mut origins, &mut tensors)?;
    let mut bindings = Bindings::new();
    for (symbol, origin) in &origins {
        bindings.bind(symbol.name(), origin.size as i64)?;
    }
    for bound in &tensors[..first_weight] {
        check_solvable(bound, &bindings)?;
        bound
            .ty
            .accepts(&bound.tensor, &mut bindings)
            .map_err(|e| wrong(bound.kind, bound.name, e.to_string()))?;
    }
    for constraint in graph.relations().iter() {
        Guard {
            constraint: constraint.clone(),
            why: "declared by the graph".to_owned(),
        }
        .check(&bindings)?;
    }
    for guard in graph.guards() {
        guard.check(&bindings)?;
    }
    Ok(bindings)
}

/// A dim tells one symbol at most.
fn check_solvable(bound: &Bound<'_>, bindings: &Bindings) -> Result<(), EvalError> {
    for (axis, dim) in bound.ty.shape.iter().enumerate() {
        let unknown: Vec<String> = dim
            .symbols()
            .iter()
            .filter(|s| bindings.get(s.name()).is_none())
            .map(|s| format!("`{s}`"))
            .collect();
        if unknown.len() > 1 {
            let problem = format!(
                "axis {axis} is {dim}, and no shape tells {}: give their values (`Evaluator::with_bindings`)",
                unknown.join(" or ")
            );
            return Err(wrong(bound.kind, bound.name, problem));
        }
    }
    Ok(())
}

/// Weights that bring symbols of their own are read now; all others when they are used.
fn bind_weights<'a>(
    graph: &'a Graph,
    weights: &dyn WeightSource,
    origins: &mut BTreeMap<Symbol, Origin>,
    tensors: &mut Vec<Bound<'a>>,
) -> Result<(), EvalError> {
    for id in graph.canonical_order() {
        let node = graph.node(id);
        let Op::Weight(op) = &node.op else { continue };
        let ty = &node.results[0];
        let unbound = |dim: &Dim| dim.symbols().iter().any(|s| !origins.contains_key(s));
        if !ty.shape.iter().any(unbound) {
            continue;
        }
        let tensor = weights.weight(&op.name, ty)?;
        check_dtype_and_rank("weight", &op.name, ty, &tensor)?;
        let bound = Bound {
            kind: "weight",
            name: &op.name,
            ty,
            tensor,
        };
        bind_symbols(&bound, origins)?;
        tensors.push(bound);
    }
    Ok(())
}

fn bind_symbols(
    bound: &Bound<'_>,
    origins: &mut BTreeMap<Symbol, Origin>,
) -> Result<(), EvalError> {
    for (axis, (dim, &size)) in bound.ty.shape.iter().zip(bound.tensor.shape()).enumerate() {
        let Some(symbol) = dim.as_symbol() else {
            continue;
        };
        let here = format!("axis {axis} of {} {}", bound.kind, quoted(bound.name));
        match origins.get(symbol) {
            Some(origin) if origin.size != size => {
                let problem = format!(
                    "`{symbol}` is {size} at {here}, but {} at {}",
                    origin.size, origin.place
                );
                return Err(wrong(bound.kind, bound.name, problem));
            }
            Some(_) => {}
            None => {
                origins.insert(symbol.clone(), Origin { size, place: here });
            }
        }
    }
    Ok(())
}
