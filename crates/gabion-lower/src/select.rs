//! Selection: a lowered graph becomes a plan. One operator is one step or a view; weights become
//! plan weights with recipes; buffers get lifetimes and places in the arena.

mod arena;
mod dtypes;
mod origins;
mod steps;
mod views;
mod weights;

use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::{
    Buffer, BufferId, Kernel, Place, Plan, PlanInput, PlanOutput, Source, Step, Target, View,
};
use gabion_tensor::{DType, Dim, DimError, Shape, TensorError, TensorType};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::class::{Class, class_of};
use crate::recipe::parts_of;
use crate::weight_only::is_weight_only;

pub use origins::PlanOrigins;
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
    match class_of(op) {
        Class::Composite(_) => target.has_composite(op.name()),
        Class::Decomposed => false,
        Class::Leaf(_) | Class::Elementwise(_) | Class::Movement(_) | Class::Work(_) => true,
    }
}

/// Selects a plan for a target.
///
/// # Errors
/// An operator that the target cannot run.
pub fn select(graph: &Graph, target: &Target) -> Result<Plan, SelectError> {
    Ok(select_with_origins(graph, target)?.0)
}

/// As [`select`], and what the steps and weights were made from, as the graph's nodes know it.
///
/// # Errors
/// As [`select`].
pub fn select_with_origins(
    graph: &Graph,
    target: &Target,
) -> Result<(Plan, PlanOrigins), SelectError> {
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
        selector.begin_node(id);
        selector.select_node(id)?;
        selector.end_node(id);
    }
    selector.declare_outputs()?;
    arena::place(&mut selector.plan)?;
    let origins = selector.origins.finish();
    Ok((selector.plan, origins))
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
    simple: FxHashMap<Dim, Dim>,
    origins: origins::Collector,
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
            simple: FxHashMap::default(),
            origins: origins::Collector::default(),
        }
    }

    fn declare_inputs(&mut self) {
        for (i, input) in self.graph.inputs().iter().enumerate() {
            let ty = self.graph.node(input.node).results[0].clone();
            let donated = matches!(self.graph.op(input.node), Op::Input(op) if op.donated);
            let buffer = self.add_buffer(&input.name, ty.dtype, &ty.shape, Place::Input(i));
            let view = View::contiguous(Source::Buffer(buffer), ty.shape.clone());
            self.place(Value::new(input.node, 0), view);
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
            self.origins.current = self.seen_origins(output.value);
            let view = self.view(output.value)?;
            let owned = view
                .buffer()
                .is_some_and(|id| match &self.plan.buffer(id).place {
                    Place::Arena { .. } => true,
                    Place::Input(i) => self.plan.inputs[*i].donated,
                    Place::Constant(_) => false,
                });
            let view = if owned && view.is_contiguous() {
                self.note_writer(&view);
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
        let elements = self.simple(&shape.numel());
        self.plan.buffers.push(Buffer {
            name,
            dtype,
            elements,
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

    /// Says where a value is.
    fn place(&mut self, value: Value, view: View) {
        let view = self.simple_view(view);
        self.views.insert(value, view);
    }

    /// A size in the simplest form that the relations give it.
    fn simple(&mut self, dim: &Dim) -> Dim {
        let relations = self.graph.relations();
        if dim.is_fixed() || relations.is_empty() {
            return dim.clone();
        }
        let known = self.simple.entry(dim.clone());
        known.or_insert_with(|| relations.simplify(dim)).clone()
    }

    fn simple_view(&mut self, view: View) -> View {
        if self.graph.relations().is_empty() {
            return view;
        }
        let shape: Shape = view.shape.iter().map(|dim| self.simple(dim)).collect();
        // What is row-major stays row-major in the form that its sizes have now.
        let strides = if view.is_contiguous() {
            View::row_major(&shape)
        } else {
            view.strides.iter().map(|dim| self.simple(dim)).collect()
        };
        View {
            source: view.source,
            offset: self.simple(&view.offset),
            shape,
            strides,
        }
    }

    fn push_step(&mut self, kernel: Kernel, reads: Vec<View>, writes: Vec<View>, scope: &str) {
        let mut simple = |views: Vec<View>| -> Vec<View> {
            views.into_iter().map(|v| self.simple_view(v)).collect()
        };
        let (reads, writes) = (simple(reads), simple(writes));
        self.origins.push_step();
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
        let source = if let Op::Constant(constant) = self.graph.op(value.node) {
            let place = Place::constant(constant.value().clone());
            let name = self.name_of(value);
            Source::Buffer(self.add_buffer(&name, ty.dtype, &ty.shape, place))
        } else {
            Source::Weight(self.dense_weight(value)?)
        };
        let view = View::contiguous(source, ty.shape);
        self.place(value, view.clone());
        Ok(view)
    }

    /// True for values that are evaluated while loading.
    fn is_recipe(&mut self, value: Value) -> bool {
        if self.recipes.contains(&value) {
            return true;
        }
        let recipe = parts_of(self.graph, value)
            .is_some_and(|parts| is_plannable(self.graph, &parts))
            && is_weight_only(self.graph, value);
        if recipe {
            self.recipes.insert(value);
        }
        recipe
    }
}
