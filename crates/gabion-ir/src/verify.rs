//! Checks that a graph is well formed. What is checked, in this order:
//!
//! 1. every node has at least one stored type and no more names than types; every edge joins an
//!    existing result to an operand, and the operand numbers of each node are 0, 1, 2, .. without
//!    gap or double;
//! 2. the graph has no cycle (if 1 or 2 fails, the checks below have nothing to stand on and are
//!    left out);
//! 3. the operator gives as many results as types are stored;
//! 4. the stored types are what the type rule gives for the operands' stored types;
//! 5. every guard that the type rules need is in the graph;
//! 6. every `input` node is declared exactly once, under its own name, and every declaration is an
//!    `input` node;
//! 7. there is an output, and every output's value exists;
//! 8. names of inputs, of outputs and of values are identifiers and unique, each among its kind;
//! 9. all weights of one name are one node.
//!
//! Not checked: that guards and relations can hold together, and that dead nodes are gone.
//! All errors are collected.

use std::fmt;
use std::sync::Arc;

use gabion_tensor::TensorType;
use petgraph::visit::EdgeRef;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::builder::is_identifier;
use crate::diagnostics::write_list;
use crate::graph::{Graph, NodeId, Value};
use crate::op::InferCx;
use crate::ops::Op;
use crate::text::print::node_text;
use crate::text::{Names, quoted};

/// One thing that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The node, as printed (`%a, %b`); none for the graph itself.
    pub node: Option<String>,
    /// The node's line in the text form.
    pub line: Option<String>,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "{node}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.line {
            Some(line) => write!(f, "\n    {line}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a graph; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyErrors {
    /// The graph's name.
    pub graph: String,
    /// The errors, in the order of the checks.
    pub items: Vec<VerifyError>,
}

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.graph, &self.items)
    }
}

impl std::error::Error for VerifyErrors {}

/// Checks a graph; see the module.
///
/// # Errors
/// Everything that is wrong, each with the node as printed and its line.
pub fn verify(graph: &Graph) -> Result<(), VerifyErrors> {
    let mut check = Check {
        graph,
        names: None,
        items: Vec::new(),
    };
    check.edges();
    check.cycles();
    if check.items.is_empty() {
        check.types();
        check.inputs();
        check.outputs();
        check.value_names();
        check.weights();
    }
    if check.items.is_empty() {
        return Ok(());
    }
    Err(VerifyErrors {
        graph: graph.name.to_string(),
        items: check.items,
    })
}

struct Check<'g> {
    graph: &'g Graph,
    /// Made for the first error only.
    names: Option<Names>,
    items: Vec<VerifyError>,
}

impl Check<'_> {
    fn node_error(&mut self, id: NodeId, message: String) {
        let names = self.names.get_or_insert_with(|| Names::new(self.graph));
        let node = Some(names.node(id))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| format!("{id:?}"));
        let line = node_text(self.graph, id, names);
        self.items.push(VerifyError {
            node: Some(node),
            line: Some(line),
            message,
        });
    }

    fn graph_error(&mut self, message: String) {
        self.items.push(VerifyError {
            node: None,
            line: None,
            message,
        });
    }

    fn edges(&mut self) {
        let graph = self.graph;
        let store = graph.petgraph();
        let mut nodes: Vec<_> = store
            .node_indices()
            .filter_map(|i| Some((graph.id_at(i)?, i)))
            .collect();
        nodes.sort_unstable();
        for (id, index) in nodes {
            let (types, names) = (store[index].results.len(), store[index].names.len());
            if types == 0 || names > types {
                let message = format!(
                    "expected a type and at most one name per result, found {types} types and {names} names"
                );
                self.node_error(id, message);
            }
            let mut numbers: SmallVec<[u32; 4]> = SmallVec::new();
            let mut missing: SmallVec<[(u32, u32, usize); 1]> = SmallVec::new();
            for edge in store.edges_directed(index, petgraph::Direction::Incoming) {
                let usage = edge.weight();
                let results = store[edge.source()].results.len();
                if usage.result as usize >= results {
                    missing.push((usage.operand, usage.result, results));
                }
                numbers.push(usage.operand);
            }
            for (operand, result, results) in missing {
                let message = format!(
                    "operand {operand}: expected one of {results} results, found result {result}"
                );
                self.node_error(id, message);
            }
            numbers.sort_unstable();
            if numbers.iter().enumerate().any(|(i, &n)| i != n as usize) {
                let message = format!(
                    "operand numbers: expected 0..{}, found {numbers:?}",
                    numbers.len()
                );
                self.node_error(id, message);
            }
        }
    }

    fn cycles(&mut self) {
        let store = self.graph.petgraph();
        if petgraph::algo::toposort(store, None).is_ok() {
            return;
        }
        // Kosaraju's algorithm: petgraph's Tarjan recurses as deep as the graph.
        for component in petgraph::algo::kosaraju_scc(store) {
            let cyclic =
                component.len() > 1 || component.iter().any(|&n| store.contains_edge(n, n));
            let mut ids: Vec<NodeId> = component
                .iter()
                .filter_map(|&n| self.graph.id_at(n))
                .collect();
            ids.sort_unstable();
            if let (true, Some(&first)) = (cyclic, ids.first()) {
                let message = format!(
                    "expected no cycle, found one of {} nodes through this one",
                    ids.len()
                );
                self.node_error(first, message);
            }
        }
    }

    fn types(&mut self) {
        let needed: FxHashSet<_> = self
            .graph
            .guards()
            .iter()
            .map(|g| g.constraint.to_string())
            .collect();
        for id in self.graph.canonical_order() {
            let node = self.graph.node(id);
            let operands: SmallVec<[TensorType; 4]> = self
                .graph
                .operands(id)
                .iter()
                .map(|v| self.graph.value_type(*v).clone())
                .collect();
            let mut cx = InferCx::new(self.graph.relations(), Some(&node.results));
            match node.op.infer(&operands, &mut cx) {
                Err(error) => self.node_error(id, format!("{}: {error}", node.op.name())),
                Ok(inferred) if inferred.len() != node.results.len() => {
                    self.node_error(
                        id,
                        format!(
                            "results: expected {}, found {}",
                            inferred.len(),
                            node.results.len()
                        ),
                    );
                }
                Ok(inferred) => {
                    for (i, (want, have)) in inferred.iter().zip(&node.results).enumerate() {
                        if want != have {
                            self.node_error(
                                id,
                                format!("type of result {i}: expected {want}, found {have}"),
                            );
                        }
                    }
                }
            }
            for guard in cx.into_guards() {
                if !needed.contains(&guard.constraint.to_string()) {
                    self.node_error(
                        id,
                        format!(
                            "expected the guard {} ({}), found none",
                            guard.constraint, guard.why
                        ),
                    );
                }
            }
        }
    }

    fn inputs(&mut self) {
        let mut declared: FxHashSet<NodeId> = FxHashSet::default();
        let mut names: FxHashSet<Arc<str>> = FxHashSet::default();
        for input in self.graph.inputs() {
            if !self.graph.contains(input.node) {
                self.graph_error(format!(
                    "input `{}`: expected an `input` node, found none",
                    input.name
                ));
                continue;
            }
            match self.graph.op(input.node) {
                Op::Input(op) if op.name == input.name => {}
                Op::Input(op) => {
                    self.node_error(
                        input.node,
                        format!("input name: expected `{}`, found `{}`", input.name, op.name),
                    );
                }
                op => {
                    let message = format!(
                        "input `{}`: expected an `input` node, found `{}`",
                        input.name,
                        op.name()
                    );
                    self.node_error(input.node, message);
                }
            }
            if !is_identifier(&input.name) {
                self.graph_error(format!(
                    "input {}: expected an identifier",
                    quoted(&input.name)
                ));
            }
            if !declared.insert(input.node) || !names.insert(input.name.clone()) {
                self.graph_error(format!("input `{}` is declared twice", input.name));
            }
        }
        for id in self.graph.node_ids() {
            if matches!(self.graph.op(id), Op::Input(_)) && !declared.contains(&id) {
                self.node_error(
                    id,
                    "expected this `input` node among the declared inputs".to_owned(),
                );
            }
        }
    }

    fn outputs(&mut self) {
        if self.graph.outputs().is_empty() {
            self.graph_error("expected an output, found none".to_owned());
        }
        let mut names: FxHashSet<Arc<str>> = FxHashSet::default();
        for output in self.graph.outputs() {
            let value = output.value;
            let exists = self.graph.contains(value.node)
                && (value.result as usize) < self.graph.node(value.node).results.len();
            if !exists {
                self.graph_error(format!(
                    "output `{}`: expected a value of the graph, found {value:?}",
                    output.name
                ));
            }
            if !is_identifier(&output.name) {
                self.graph_error(format!(
                    "output {}: expected an identifier",
                    quoted(&output.name)
                ));
            }
            if !names.insert(output.name.clone()) {
                self.graph_error(format!("output `{}` is declared twice", output.name));
            }
        }
    }

    fn value_names(&mut self) {
        let mut names: FxHashSet<Arc<str>> = FxHashSet::default();
        for id in self.graph.node_ids() {
            for name in self.graph.node(id).names.iter().flatten() {
                if !is_identifier(name) {
                    self.node_error(
                        id,
                        format!("value name {}: expected an identifier", quoted(name)),
                    );
                }
                if !names.insert(name.clone()) {
                    self.node_error(id, format!("value name `{name}` is used twice"));
                }
            }
        }
    }

    fn weights(&mut self) {
        let mut seen: FxHashMap<Arc<str>, NodeId> = FxHashMap::default();
        for (name, ty, id) in self.graph.weights() {
            if let Some(&first) = seen.get(&name) {
                let other = self.graph.value_type(Value::new(first, 0)).clone();
                let message = format!(
                    "weight {}: expected one node, found another of type {other} (this: {ty})",
                    quoted(&name)
                );
                self.node_error(id, message);
            } else {
                seen.insert(name, id);
            }
        }
    }
}
