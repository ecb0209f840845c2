//! Puts a node that was read (from text or JSON) into a graph: infers its types again, compares
//! them with the stated ones, and adds the guards that the type rule needs.

use std::fmt;
use std::sync::Arc;

use gabion_tensor::TensorType;
use smallvec::SmallVec;

use crate::graph::{Graph, Node, NodeId, SourceLoc, Value};
use crate::op::{InferCx, Results, TypeError};
use crate::ops::Op;
use crate::origins::Origins;

/// A node that its graph does not accept.
pub(crate) enum PlaceError {
    /// The type rule refuses the operands.
    Type {
        /// What the rule says.
        error: TypeError,
        /// The operands' types.
        operands: Vec<String>,
    },
    /// The rule gives another number of results than are named or stated.
    Count {
        /// What the rule gives.
        inferred: usize,
        /// What is written.
        stated: usize,
    },
    /// The rule gives another type than is stated.
    Mismatch {
        /// Which result.
        result: usize,
        /// What the rule gives.
        inferred: Box<TensorType>,
        /// What is written.
        stated: Box<TensorType>,
    },
    /// A weight of this name is there already.
    Weight {
        /// The weight's name.
        name: Arc<str>,
        /// Its value.
        known: Value,
    },
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaceError::Type { error, operands } if operands.is_empty() => write!(f, "{error}"),
            PlaceError::Type { error, operands } => {
                write!(f, "{error} (operands: {})", operands.join(", "))
            }
            PlaceError::Count { inferred, stated } => {
                write!(f, "the operator has {inferred} results, found {stated}")
            }
            PlaceError::Mismatch {
                result,
                inferred,
                stated,
            } => {
                write!(f, "result {result}: expected {inferred}, found {stated}")
            }
            PlaceError::Weight { name, .. } => {
                write!(f, "weight {} is declared twice", crate::text::quoted(name))
            }
        }
    }
}

/// What a reader knows of a node beside its operands.
#[derive(Clone)]
pub(crate) struct Stated {
    /// The operator.
    pub(crate) op: Op,
    /// The names of the results; their number is the stated number of results.
    pub(crate) names: SmallVec<[Option<Arc<str>>; 1]>,
    /// The stated types, if any.
    pub(crate) types: Option<Results>,
    /// The module path.
    pub(crate) scope: Option<Arc<str>>,
    /// Where it was read.
    pub(crate) loc: Option<SourceLoc>,
}

/// Adds the node. `weights` knows the weights that were placed before.
pub(crate) fn place(
    graph: &mut Graph,
    weights: &mut rustc_hash::FxHashMap<Arc<str>, Value>,
    operands: &[Value],
    stated: Stated,
) -> Result<NodeId, PlaceError> {
    let Stated {
        op,
        names,
        types,
        scope,
        loc,
    } = stated;
    let args: SmallVec<[TensorType; 4]> = operands
        .iter()
        .map(|v| graph.value_type(*v).clone())
        .collect();
    let mut cx = InferCx::new(graph.relations(), types.as_deref());
    let results = op.infer(&args, &mut cx).map_err(|error| PlaceError::Type {
        error,
        operands: args.iter().map(ToString::to_string).collect(),
    })?;
    let guards = cx.into_guards();
    let written = types.as_ref().map_or(names.len(), |t| t.len());
    for stated in [names.len(), written] {
        if stated != results.len() {
            return Err(PlaceError::Count {
                inferred: results.len(),
                stated,
            });
        }
    }
    for (result, (inferred, stated)) in results.iter().zip(types.iter().flatten()).enumerate() {
        if inferred != stated {
            let (inferred, stated) = (Box::new(inferred.clone()), Box::new(stated.clone()));
            return Err(PlaceError::Mismatch {
                result,
                inferred,
                stated,
            });
        }
    }
    let weight = if let Op::Weight(weight) = &op {
        Some(weight.name.clone())
    } else {
        None
    };
    if let Some(name) = &weight
        && let Some(known) = weights.get(name)
    {
        return Err(PlaceError::Weight {
            name: name.clone(),
            known: *known,
        });
    }
    for guard in guards {
        graph.add_guard(guard);
    }
    let id = graph.add_node(
        Node {
            op,
            results,
            names,
            scope,
            loc,
            origins: Origins::NONE,
        },
        operands,
    );
    if let Some(name) = weight {
        weights.insert(name, Value::new(id, 0));
    }
    Ok(id)
}
