//! Selection: a lowered graph becomes a plan. One operator is one step or a view; weights become
//! plan weights with recipes; buffers get lifetimes and places in the arena.

mod arena;
mod dtypes;
mod steps;
mod views;
mod weights;

use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::{
    Buffer, BufferId, Kernel, Place, Plan, PlanInput, PlanOutput, Source, Step, Target, View,
};
use gabion_tensor::{DType, Dim, DimError, Shape, TensorError, TensorType};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::recipe::{is_weight_only, parts_of};

pub(crate) use weights::is_plannable;

/// Why no plan could be selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The target has no kernel for an operator that is left.
    #[error("{target} has no kernel for `{op}` ({detail})")]
    NoKernel {
        /// The target.
        target: String,
        /// The operator.
        op: String,
        /// Its printed value or types.
        detail: String,
    },
    /// A stack's weight has no recipe; the passes never leave one.
    #[error("`{op}`: operand {operand} is no load-time recipe of weights")]
    NoRecipe {
        /// The operator.
        op: String,
        /// The operand.
        operand: usize,
    },
    /// A plan loads weights before it knows any symbol.
    #[error(
        "weight `{name}` is {ty}: a plan needs weights of fixed sizes, so state the sizes that the checkpoint has"
    )]
    SymbolicWeight {
        /// The checkpoint's name of the weight.
        name: String,
        /// Its type.
        ty: String,
    },
    /// A size could not be computed.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A constant could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// True if the target runs this operator as it is.
pub fn has_kernel(op: &Op, target: &Target) -> bool {
    match op {
        Op::Softmax(_)
        | Op::LogSoftmax(_)
        | Op::RmsNorm(_)
        | Op::LayerNorm(_)
        | Op::Rope(_)
        | Op::Attention(_) => target.has_composite(op.name()),
        Op::OneHot(_) => false,
        Op::Input(_)
        | Op::Weight(_)
        | Op::Constant(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Where(_)
        | Op::Clamp(_)
        | Op::Cast(_)
        | Op::Matmul(_)
        | Op::Reduce(_)
        | Op::ArgReduce(_)
        | Op::TopK(_)
        | Op::Cumsum(_)
        | Op::Concat(_)
        | Op::Split(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Broadcast(_)
        | Op::Range(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::Scatter(_)
        | Op::CacheAppend(_)
        | Op::Quantize(_)
        | Op::Dequantize(_)
        | Op::StackedMatmul(_)
        | Op::FusedMap(_) => true,
    }
}

/// Selects a plan for a target.
///
/// # Errors
/// An operator that the target cannot run.
pub fn select(graph: &Graph, target: &Target) -> Result<Plan, SelectError> {
    for (name, ty, _) in graph.weights() {
        if ty.shape.as_fixed().is_none() {
            let (name, ty) = (name.to_string(), ty.to_string());
            return Err(SelectError::SymbolicWeight { name, ty });
        }
    }
    let mut selector = Selector::new(graph, target);
    selector.declare_inputs();
    selector.tile_weights()?;
    for id in graph.canonical_order() {
        selector.select_node(id)?;
    }
    selector.declare_outputs()?;
    arena::place(&mut selector.plan)?;
    Ok(selector.plan)
}

struct Selector<'a> {
    graph: &'a Graph,
    target: &'a Target,
    plan: Plan,
    views: FxHashMap<Value, View>,
    recipes: FxHashSet<Value>,
    tiles: Vec<weights::TileKey>,
    dense: Vec<(Value, gabion_plan::WeightId)>,
    names: FxHashSet<String>,
}

impl<'a> Selector<'a> {
    fn new(graph: &'a Graph, target: &'a Target) -> Self {
        let plan = Plan {
            name: graph.name.to_string(),
            target: target.name.clone(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            relations: graph.relations().clone(),
            guards: graph.guards().to_vec(),
            weights: Vec::new(),
            buffers: Vec::new(),
            steps: Vec::new(),
        };
        Self {
            graph,
            target,
            plan,
            views: FxHashMap::default(),
            recipes: FxHashSet::default(),
            tiles: Vec::new(),
            dense: Vec::new(),
            names: FxHashSet::default(),
        }
    }

    fn declare_inputs(&mut self) {
        for (i, input) in self.graph.inputs().iter().enumerate() {
            let ty = self.graph.node(input.node).results[0].clone();
            let donated = matches!(self.graph.op(input.node), Op::Input(op) if op.donated);
            let buffer = self.add_buffer(&input.name, ty.dtype, &ty.shape, Place::Input(i));
            let view = View::contiguous(Source::Buffer(buffer), ty.shape.clone());
            self.views.insert(Value::new(input.node, 0), view);
            self.plan.inputs.push(PlanInput {
                name: input.name.to_string(),
                ty,
                buffer,
                donated,
            });
        }
    }

    /// Every output must be where the caller can read it: in the arena, or in a donated input.
    fn declare_outputs(&mut self) -> Result<(), SelectError> {
        for output in self.graph.outputs() {
            let ty = self.graph.value_type(output.value).clone();
            let view = self.view(output.value)?;
            let owned = view
                .buffer()
                .is_some_and(|id| match &self.plan.buffer(id).place {
                    Place::Arena { .. } => true,
                    Place::Input(i) => self.plan.inputs[*i].donated,
                    Place::Constant(_) => false,
                });
            let view = if owned && view.is_contiguous() {
                view
            } else {
                self.copy(&view, &ty, "")?
            };
            self.plan.outputs.push(PlanOutput {
                name: output.name.to_string(),
                ty,
                view,
            });
        }
        Ok(())
    }

    fn fresh_name(&mut self, wanted: &str) -> String {
        let base = if wanted.is_empty() {
            format!("t{}", self.plan.buffers.len())
        } else {
            wanted.to_owned()
        };
        let mut name = base.clone();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{n}");
            n += 1;
        }
        name
    }

    fn add_buffer(&mut self, name: &str, dtype: DType, shape: &Shape, place: Place) -> BufferId {
        let name = self.fresh_name(name);
        let id = BufferId(self.plan.buffers.len() as u32);
        self.plan.buffers.push(Buffer {
            name,
            dtype,
            elements: shape.numel(),
            place,
        });
        id
    }

    /// A new arena buffer, seen whole.
    fn allocate(&mut self, name: &str, ty: &TensorType) -> View {
        let live = gabion_plan::Lifetime { first: 0, last: 0 };
        let place = Place::Arena {
            offset: Dim::fixed(0),
            live,
        };
        let id = self.add_buffer(name, ty.dtype, &ty.shape, place);
        View::contiguous(Source::Buffer(id), ty.shape.clone())
    }

    /// The printed name of a value, or "".
    fn name_of(&self, value: Value) -> String {
        self.graph.node(value.node).names[value.result as usize]
            .as_deref()
            .unwrap_or_default()
            .to_owned()
    }

    /// A new arena buffer for a result of a node.
    fn allocate_result(&mut self, value: Value) -> View {
        let ty = self.graph.value_type(value).clone();
        let name = self.name_of(value);
        self.allocate(&name, &ty)
    }

    fn push_step(&mut self, kernel: Kernel, reads: Vec<View>, writes: Vec<View>, scope: &str) {
        self.plan.steps.push(Step {
            kernel,
            reads,
            writes,
            scope: scope.to_owned(),
        });
    }

    fn scope_of(&self, id: NodeId) -> String {
        self.graph
            .node(id)
            .scope
            .as_deref()
            .unwrap_or_default()
            .to_owned()
    }

    fn copy(&mut self, view: &View, ty: &TensorType, scope: &str) -> Result<View, SelectError> {
        let to = self.allocate("", ty);
        self.push_step(Kernel::Copy, vec![view.clone()], vec![to.clone()], scope);
        Ok(to)
    }

    /// Where a value is; weights and constants get their place when first asked for.
    fn view(&mut self, value: Value) -> Result<View, SelectError> {
        if let Some(view) = self.views.get(&value) {
            return Ok(view.clone());
        }
        let ty = self.graph.value_type(value).clone();
        let view = match self.graph.op(value.node) {
            Op::Constant(constant) => {
                let place = Place::constant(constant.value().clone());
                let name = self.name_of(value);
                let id = self.add_buffer(&name, ty.dtype, &ty.shape, place);
                View::contiguous(Source::Buffer(id), ty.shape)
            }
            _ => {
                let id = self.dense_weight(value)?;
                View::contiguous(Source::Weight(id), ty.shape)
            }
        };
        self.views.insert(value, view.clone());
        Ok(view)
    }

    /// True for values that are evaluated while loading.
    fn is_recipe(&mut self, value: Value) -> bool {
        if self.recipes.contains(&value) {
            return true;
        }
        let recipe = match self.graph.op(value.node) {
            Op::Weight(_) => true,
            Op::Concat(_)
            | Op::Cast(_)
            | Op::Dequantize(_)
            | Op::Clamp(_)
            | Op::Transpose(_)
            | Op::Reshape(_)
            | Op::Slice(_) => {
                is_weight_only(self.graph, value)
                    && parts_of(self.graph, value)
                        .is_some_and(|parts| is_plannable(self.graph, &parts))
            }
            _ => false,
        };
        if recipe {
            self.recipes.insert(value);
        }
        recipe
    }
}
