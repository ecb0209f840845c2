//! What a model expects of a checkpoint, and why a model cannot be built on one. Reading and
//! comparing checkpoints is the work of `gabion-checkpoint`.

use std::fmt;

use gabion_ir::Graph;
use gabion_tensor::{DType, Format};

use crate::error::list;
use crate::stack::StackErrors;

/// One tensor that a model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedWeight {
    /// The full name.
    pub name: String,
    /// The shape: `[out, in]` for matrices.
    pub shape: Vec<usize>,
    /// How the model was told that it is stored.
    pub dtype: DType,
    /// How else it may be stored; a model built for another one reads the same numbers.
    pub accepted: Vec<DType>,
}

const FLOATS: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F64];

/// The stored dtypes that a tensor of this shape may have: plain floats, and for matrices the block
/// formats whose blocks divide a row.
pub(crate) fn accepted(shape: &[usize]) -> Vec<DType> {
    let mut dtypes = FLOATS.to_vec();
    if let [_, columns] = shape {
        let blocks = Format::all()
            .iter()
            .map(|f| f.dtype)
            .filter(|d| d.is_block());
        dtypes.extend(blocks.filter(|d| columns.is_multiple_of(d.block_elems())));
    }
    dtypes
}

/// Every tensor that the graph reads, sorted by name as people count (`layers.2` before
/// `layers.10`).
pub fn expected_weights(graph: &Graph) -> Vec<ExpectedWeight> {
    let mut all: Vec<ExpectedWeight> = graph
        .weights()
        .into_iter()
        .map(|(name, ty, _)| {
            let shape: Vec<usize> = ty.shape.as_fixed().map(|s| s.to_vec()).unwrap_or_default();
            ExpectedWeight {
                name: name.to_string(),
                accepted: accepted(&shape),
                dtype: ty.dtype,
                shape,
            }
        })
        .collect();
    all.sort_by_cached_key(|w| natural(&w.name));
    all
}

fn natural(name: &str) -> Vec<(Option<u64>, String)> {
    name.split('.')
        .map(|s| (s.parse().ok(), s.to_owned()))
        .collect()
}

/// How the checkpoint stores each tensor, by full name; `None` where it has no such tensor.
pub type StoredDTypes<'a> = dyn Fn(&str) -> Option<DType> + 'a;

/// Looks up how tensors are stored and collects what cannot be used.
pub(crate) struct Stored<'a> {
    lookup: &'a StoredDTypes<'a>,
    default: DType,
    problems: Vec<ModelProblem>,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(lookup: &'a StoredDTypes<'a>, default: DType) -> Self {
        Self {
            lookup,
            default,
            problems: Vec::new(),
        }
    }

    /// The dtype of the tensor `name` of this shape.
    pub(crate) fn dtype(&mut self, name: &str, shape: &[usize]) -> DType {
        let Some(found) = (self.lookup)(name) else {
            return self.default;
        };
        let accepted = accepted(shape);
        if accepted.contains(&found) {
            return found;
        }
        self.problems.push(ModelProblem::DType {
            tensor: name.to_owned(),
            shape: shape.to_vec(),
            found,
            accepted,
        });
        DType::F32
    }

    /// The stack, or `None` after its problems were noted.
    pub(crate) fn stack<T>(&mut self, scope: &str, made: Result<T, StackErrors>) -> Option<T> {
        made.map_err(|errors| {
            self.problems.push(ModelProblem::Stack {
                scope: scope.to_owned(),
                errors,
            });
        })
        .ok()
    }

    pub(crate) fn finish<T>(self, model: &str, made: Option<T>) -> Result<T, ModelErrors> {
        match made {
            Some(made) if self.problems.is_empty() => Ok(made),
            _ => Err(ModelErrors {
                model: model.to_owned(),
                problems: self.problems,
            }),
        }
    }
}

/// One reason why a model cannot be built on a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelProblem {
    /// A tensor is stored as something that no layer reads.
    DType {
        /// The tensor.
        tensor: String,
        /// Its expected shape.
        shape: Vec<usize>,
        /// How it is stored.
        found: DType,
        /// How it may be stored.
        accepted: Vec<DType>,
    },
    /// A stack's arguments do not fit.
    Stack {
        /// The parent module.
        scope: String,
        /// What is wrong.
        errors: StackErrors,
    },
}

impl fmt::Display for ModelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelProblem::DType {
                tensor,
                shape,
                found,
                accepted,
            } => {
                let accepted: Vec<&str> = accepted.iter().map(|d| d.name()).collect();
                write!(
                    f,
                    "tensor `{tensor}` {shape:?} is stored as {found}: expected {}",
                    accepted.join(", ")
                )
            }
            ModelProblem::Stack { scope, errors } => write!(f, "{scope}: {errors}"),
        }
    }
}

/// Every reason why a model cannot be built on a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelErrors {
    /// The model's type.
    pub model: String,
    /// The reasons; never empty.
    pub problems: Vec<ModelProblem>,
}

impl fmt::Display for ModelErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.model, &self.problems)
    }
}

impl std::error::Error for ModelErrors {}
