//! What the steps and weights of a plan were made from. A view is no step: what it was made from goes
//! to the steps that read through it.

use gabion_ir::{Graph, NodeId, Origins, Value};
use gabion_plan::{Plan, View, WeightId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Selector;

/// For each step and each weight of a plan, the nodes of the source graph that it was made from. They
/// lie beside the plan: its text and equality know nothing of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanOrigins {
    /// One set per step.
    pub steps: Vec<Origins>,
    /// One set per weight: the stored tensors and what is done to them while loading.
    pub weights: Vec<Origins>,
}

impl PlanOrigins {
    /// Of a step; none if there is no such step.
    pub fn step(&self, step: usize) -> &Origins {
        self.steps.get(step).unwrap_or(&Origins::NONE)
    }

    /// Of a weight; none if there is no such weight.
    pub fn weight(&self, weight: WeightId) -> &Origins {
        let set = self.weights.get(weight.0 as usize);
        set.unwrap_or(&Origins::NONE)
    }

    /// The steps that were made from one of these nodes.
    pub fn steps_of<'a>(&'a self, origins: &'a Origins) -> impl Iterator<Item = usize> + 'a {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(move |(at, it)| it.intersects(origins).then_some(at))
    }

    /// The weights that were made from one of these nodes.
    pub fn weights_of<'a>(&'a self, origins: &'a Origins) -> impl Iterator<Item = usize> + 'a {
        let weights = self.weights.iter().enumerate();
        weights.filter_map(move |(at, it)| it.intersects(origins).then_some(at))
    }
}

/// Sets that grow while a plan is selected.
#[derive(Default)]
pub(super) struct Collector {
    /// Of the node being selected, with the views that it reads through.
    pub(super) current: Origins,
    /// Of views that no step was made for.
    views: FxHashMap<Value, Origins>,
    first_step: usize,
    done: PlanOrigins,
}

impl Collector {
    pub(super) fn push_step(&mut self) {
        self.done.steps.push(self.current.clone());
    }

    pub(super) fn add_weight(&mut self, id: WeightId, origins: &Origins) {
        let at = id.0 as usize;
        if self.done.weights.len() <= at {
            self.done.weights.resize(at + 1, Origins::NONE);
        }
        self.done.weights[at].unite(origins);
    }

    pub(super) fn finish(self) -> PlanOrigins {
        self.done
    }
}

impl Selector<'_> {
    /// Of a value as a step sees it: its node's, and those of the views that it is looked at through.
    pub(super) fn seen_origins(&self, value: Value) -> Origins {
        let own = &self.graph.node(value.node).origins;
        let views = self.origins.views.get(&value);
        views.map_or_else(|| own.clone(), |views| views.union(own))
    }

    pub(super) fn begin_node(&mut self, id: NodeId) {
        let mut origins = self.graph.node(id).origins.clone();
        for operand in self.graph.operands(id) {
            if let Some(views) = self.origins.views.get(&operand) {
                origins.unite(views);
            }
        }
        self.origins.current = origins;
        self.origins.first_step = self.origins.done.steps.len();
    }

    /// A node that became no step is a view: readers of its results inherit what it was made from.
    pub(super) fn end_node(&mut self, id: NodeId) {
        let op = self.graph.op(id);
        let made_step = self.origins.done.steps.len() > self.origins.first_step;
        if made_step || op.is_leaf() || self.recipes.contains(&Value::new(id, 0)) {
            return;
        }
        for result in 0..self.graph.node(id).results.len() as u32 {
            let origins = self.origins.current.clone();
            self.origins.views.insert(Value::new(id, result), origins);
        }
    }

    /// An output that is a view of what a step wrote: that step gets the view's origins.
    pub(super) fn note_writer(&mut self, view: &View) {
        let writes = |plan: &Plan, step: usize| {
            let mut writes = plan.steps[step].writes.iter();
            writes.any(|it| it.source == view.source)
        };
        let mut steps = (0..self.plan.steps.len()).rev();
        if let Some(step) = steps.find(|&step| writes(&self.plan, step)) {
            let origins = self.origins.current.clone();
            self.origins.done.steps[step].unite(&origins);
        }
    }

    /// A weight is made from everything that its recipe is computed from.
    pub(super) fn note_weight(&mut self, id: WeightId, values: &[Value]) {
        let origins = all_origins(self.graph, values);
        self.origins.add_weight(id, &origins);
    }
}

/// Of all nodes that values are computed from.
fn all_origins(graph: &Graph, values: &[Value]) -> Origins {
    let mut seen = FxHashSet::default();
    let mut stack: Vec<NodeId> = values.iter().map(|v| v.node).collect();
    let mut ids = Vec::new();
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            ids.extend(graph.node(id).origins.ids());
            stack.extend(graph.operands(id).iter().map(|v| v.node));
        }
    }
    ids.into_iter().collect()
}
