//! Prints a graph. The order is [`Graph::canonical_order`], unnamed values are numbered in that
//! order, and guards are sorted, so the text depends on structure alone.

use std::fmt::Write;
use std::sync::Arc;

use gabion_tensor::Guard;
use rustc_hash::FxHashMap;
use serde_json::Value as Json;
use smallvec::SmallVec;

use super::attrs::write_attrs;
use crate::builder::is_identifier;
use crate::graph::{Graph, NodeId, Value};
use crate::ops::Op;

/// A header or `return` that would be longer is broken into one item per line.
const WIDTH: usize = 100;

/// The printed names of a graph's values.
#[derive(Clone, Debug)]
pub struct Names {
    of: FxHashMap<NodeId, SmallVec<[Arc<str>; 1]>>,
    order: Vec<NodeId>,
}

impl Names {
    /// The names that [`Graph::to_text`] prints.
    pub fn new(graph: &Graph) -> Self {
        let order = graph.canonical_order();
        let mut of = FxHashMap::default();
        let mut unnamed = 0usize;
        for &id in &order {
            let node = graph.node(id);
            let names = (0..node.results.len()).map(|result| match node.names.get(result) {
                Some(Some(name)) => name.clone(),
                _ => {
                    unnamed += 1;
                    (unnamed - 1).to_string().into()
                }
            });
            of.insert(id, names.collect());
        }
        Self { of, order }
    }

    /// The name, without `%`; `?` for a result that does not exist.
    pub fn get(&self, value: Value) -> &str {
        let names = self.of.get(&value.node);
        names
            .and_then(|n| n.get(value.result as usize))
            .map_or("?", |name| name)
    }

    /// All names of a node, as printed before `=`: `%a, %b`.
    pub fn node(&self, id: NodeId) -> String {
        let names: Vec<String> = self
            .of
            .get(&id)
            .into_iter()
            .flatten()
            .map(|name| format!("%{name}"))
            .collect();
        names.join(", ")
    }

    /// The canonical order that the names follow.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }
}

/// A graph's or declaration's name as text: bare if it is an identifier, else a JSON string.
fn bare_or_quoted(name: &str) -> String {
    if is_identifier(name) {
        name.to_owned()
    } else {
        Json::String(name.to_owned()).to_string()
    }
}

fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string()
}

/// The guards as printed, sorted.
pub(crate) fn sorted_guards(graph: &Graph) -> Vec<&Guard> {
    let mut guards: Vec<_> = graph.guards().iter().collect();
    guards.sort_by_cached_key(|g| (g.constraint.to_string(), g.why.clone()));
    guards
}

/// `guard tokens == seq "matmul: inner dims"`.
pub(crate) fn guard_text(guard: &Guard) -> String {
    format!("guard {} {}", guard.constraint, quoted(&guard.why))
}

/// `donate %cache: f32[cap, 64]`.
pub(crate) fn input_text(graph: &Graph, index: usize, value_name: &str) -> String {
    let input = &graph.inputs()[index];
    let node = graph.node(input.node);
    let mut text = String::new();
    if let Op::Input(op) = &node.op
        && op.donated
    {
        text.push_str("donate ");
    }
    if *input.name != *value_name {
        let _ = write!(text, "{} = ", input.name);
    }
    let _ = write!(text, "%{value_name}");
    if let Some(ty) = node.results.first() {
        let _ = write!(text, ": {ty}");
    }
    text
}

/// `%y`, or `logits = %y`.
pub(crate) fn output_text(graph: &Graph, index: usize, value_name: &str) -> String {
    let output = &graph.outputs()[index];
    if *output.name == *value_name {
        format!("%{value_name}")
    } else {
        format!("{} = %{value_name}", output.name)
    }
}

/// One node's line, without indentation.
pub fn node_text(graph: &Graph, id: NodeId, names: &Names) -> String {
    node_text_with(graph, id, &|value| names.get(value))
}

/// One node's line under any naming.
pub(crate) fn node_text_with<'n>(
    graph: &Graph,
    id: NodeId,
    name: &dyn Fn(Value) -> &'n str,
) -> String {
    let node = graph.node(id);
    let mut line = String::new();
    for result in 0..node.results.len() {
        let comma = if result > 0 { ", " } else { "" };
        let _ = write!(line, "{comma}%{}", name(Value::new(id, result as u32)));
    }
    let _ = write!(line, " = {}", node.op.name());
    for (operand, value) in graph.operands(id).iter().enumerate() {
        let comma = if operand > 0 { "," } else { "" };
        let _ = write!(line, "{comma} %{}", name(*value));
    }
    let attrs = node.op.attrs();
    if !attrs.is_empty() {
        line.push(' ');
        write_attrs(&mut line, &attrs);
    }
    for (result, ty) in node.results.iter().enumerate() {
        let _ = write!(line, "{} {ty}", if result > 0 { "," } else { " :" });
    }
    if let Some(scope) = &node.scope {
        let _ = write!(line, " in {}", quoted(scope));
    }
    line
}

/// `(a, b)`, or one item per line if that is too long.
fn write_list(out: &mut String, items: &[String], used: usize, indent: &str) {
    let width: usize = items.iter().map(|i| i.len() + 2).sum();
    if used + width <= WIDTH || items.is_empty() {
        out.push_str(&items.join(", "));
        return;
    }
    for (i, item) in items.iter().enumerate() {
        let comma = if i + 1 < items.len() { "," } else { "" };
        let _ = write!(out, "\n{indent}{item}{comma}");
    }
}

/// The type of a value, `?` if there is none (which [`crate::verify`] reports).
fn type_text(graph: &Graph, value: Value) -> String {
    if !graph.contains(value.node) {
        return "?".to_owned();
    }
    graph
        .node(value.node)
        .results
        .get(value.result as usize)
        .map_or_else(|| "?".to_owned(), ToString::to_string)
}

fn header(graph: &Graph, names: &Names) -> String {
    let mut out = format!("graph @{}(", bare_or_quoted(&graph.name));
    let inputs: Vec<String> = graph
        .inputs()
        .iter()
        .enumerate()
        .filter(|(_, input)| graph.contains(input.node))
        .map(|(i, input)| input_text(graph, i, names.get(Value::new(input.node, 0))))
        .collect();
    let used = out.len();
    write_list(&mut out, &inputs, used, "  ");
    if out.contains('\n') {
        out.push('\n');
    }
    out.push_str(") -> (");
    let outputs: Vec<String> = graph
        .outputs()
        .iter()
        .map(|o| type_text(graph, o.value))
        .collect();
    let line = out.rfind('\n').map_or(out.len(), |i| out.len() - i);
    let before = out.len();
    write_list(&mut out, &outputs, line, "  ");
    if out[before..].contains('\n') {
        out.push('\n');
    }
    out.push(')');
    for (i, relation) in graph.relations().iter().enumerate() {
        let _ = write!(out, "{} {relation}", if i == 0 { " where" } else { "," });
    }
    out.push_str(" {\n");
    out
}

/// The whole text.
pub(super) fn graph_text(graph: &Graph) -> String {
    let names = Names::new(graph);
    let mut out = header(graph, &names);
    for guard in sorted_guards(graph) {
        let _ = writeln!(out, "  {}", guard_text(guard));
    }
    let declared: rustc_hash::FxHashSet<NodeId> = graph.inputs().iter().map(|i| i.node).collect();
    for &id in names.order() {
        if !declared.contains(&id) {
            let _ = writeln!(out, "  {}", node_text(graph, id, &names));
        }
    }
    let outputs: Vec<String> = graph
        .outputs()
        .iter()
        .enumerate()
        .map(|(i, output)| output_text(graph, i, names.get(output.value)))
        .collect();
    let mut list = String::new();
    write_list(&mut list, &outputs, "  return ".len(), "    ");
    let space = if list.starts_with('\n') || list.is_empty() {
        ""
    } else {
        " "
    };
    let _ = write!(out, "  return{space}{list}\n}}\n");
    out
}
