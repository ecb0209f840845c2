//! A patch: a little graph, the wires it takes in, the values it replaces, and a label.

mod cone;

use gabion_ir::{Builder, Diagnostics, Graph, NodeId, Origins, TensorValue, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::ledger::TensorRows;

/// A replacement for some values of a graph.
#[derive(Debug)]
pub struct Patch {
    /// What the patch does, for the ledger.
    pub label: String,
    /// The rows of stored tensors that it concerns; empty where it is all that it replaces.
    pub rows: Vec<TensorRows>,
    fragment: Graph,
    taps: Vec<Value>,
    replaced: Vec<Value>,
    scope_of: Option<NodeId>,
}

impl Patch {
    /// Builds a patch in `graph`: `build` gets the values of `taps` inside the fragment and returns
    /// one value for each of `replaced`. Nodes take their scope and place from `like`.
    ///
    /// # Errors
    /// The diagnostics of the fragment: a pass that builds ill-typed nodes is wrong.
    pub fn build(
        graph: &Graph,
        label: impl Into<String>,
        taps: &[Value],
        replaced: &[Value],
        build: impl for<'g> FnOnce(&'g Builder, &[TensorValue<'g>]) -> Vec<TensorValue<'g>>,
    ) -> Result<Self, Diagnostics> {
        let mut base = Graph::new("patch");
        *base.relations_mut() = graph.relations().clone();
        let builder = Builder::extending(base);
        {
            let inputs: Vec<TensorValue<'_>> = taps
                .iter()
                .enumerate()
                .map(|(i, tap)| builder.input(&format!("t{i}"), graph.value_type(*tap).clone()))
                .collect();
            let outputs = build(&builder, &inputs);
            for (i, value) in outputs.iter().enumerate() {
                builder.output(&format!("o{i}"), *value);
            }
        }
        let fragment = builder.finish()?;
        Ok(Self {
            label: label.into(),
            rows: Vec::new(),
            fragment,
            taps: taps.to_vec(),
            replaced: replaced.to_vec(),
            scope_of: None,
        })
    }

    /// New nodes take their scope and place from `node`, not from the node that the rule looked at.
    pub fn in_scope_of(mut self, node: NodeId) -> Self {
        self.scope_of = Some(node);
        self
    }

    /// True if every replacement has the type of what it replaces.
    pub fn keeps_types(&self, graph: &Graph) -> bool {
        self.replaced.len() == self.fragment.outputs().len()
            && self
                .replaced
                .iter()
                .zip(self.fragment.outputs())
                .all(|(old, new)| graph.value_type(*old) == self.fragment.value_type(new.value))
    }

    /// What of the source graph the replaced values come from: the origins of the nodes between the
    /// taps and them.
    pub fn origins(&self, graph: &Graph) -> Origins {
        cone::Cone::of(graph, &self.taps, &self.replaced).origins()
    }

    /// Puts the fragment into the graph and moves every use of the replaced values to it. New nodes
    /// take the scope and place of `like`, and the origins of what they replace: an operator that is
    /// made anew keeps its own, all others get those of what is no more, and who makes a value in
    /// place of another has that one's. Where a tap takes the place of a value it takes over the
    /// origins of all that is gone. Replacements take over the printed names. Returns
    /// the new nodes.
    pub fn apply(self, graph: &mut Graph, like: NodeId) -> Vec<NodeId> {
        let cone = cone::Cone::of(graph, &self.taps, &self.replaced);
        let inherited = cone.heirs(&self.fragment);
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for (input, tap) in self.fragment.inputs().iter().zip(&self.taps) {
            map.insert(Value::new(input.node, 0), *tap);
        }
        let mut added = Vec::new();
        let like = self.scope_of.unwrap_or(like);
        let (scope, loc) = (graph.node(like).scope.clone(), graph.node(like).loc.clone());
        for id in self.fragment.canonical_order() {
            if map.contains_key(&Value::new(id, 0)) {
                continue;
            }
            let operands: SmallVec<[Value; 4]> =
                self.fragment.operands(id).iter().map(|v| map[v]).collect();
            let mut node = self.fragment.node(id).clone();
            node.names = SmallVec::from_elem(None, node.results.len());
            node.scope = scope.clone();
            node.loc = loc.clone();
            node.origins = inherited.of(node.op.name());
            let n = node.results.len() as u32;
            let new = graph.add_node(node, &operands);
            for result in 0..n {
                map.insert(Value::new(id, result), Value::new(new, result));
            }
            added.push(new);
        }
        for (old, output) in self.replaced.iter().zip(self.fragment.outputs()) {
            let new = map[&output.value];
            let name = graph.node(old.node).names[old.result as usize].clone();
            graph.replace_uses(*old, new);
            let made_from = if added.contains(&new.node) {
                graph.node(old.node).origins.clone()
            } else {
                cone.origins()
            };
            graph.add_origins(new.node, &made_from);
            if let Some(name) = name
                && added.contains(&new.node)
            {
                graph.clear_name(*old);
                graph.set_name(new, &name);
            }
        }
        for guard in self.fragment.guards() {
            graph.add_guard(guard.clone());
        }
        added
    }
}
