//! The structural difference of two graphs. Nodes are matched by what they compute, not by their
//! text: names of values, numbering, order and scopes make no difference.
//!
//! 1. Nodes with equal [`node_hashes`] are the same.
//! 2. From the outputs of equal name downwards, operands of matched nodes that are not matched
//!    themselves are paired if they have one operator: they are *changed*.
//! 3. What is left was removed, or added.

use std::collections::VecDeque;
use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::{Graph, NodeId, Value};
use crate::hash::{StableHash, WeightNames, node_hashes};
use crate::ops::Op;
use crate::text::Names;
use crate::text::print::{guard_text, input_text, node_text_with, output_text, sorted_guards};

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 2;

/// One line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// In both graphs.
    Same(String),
    /// In the old graph alone.
    Removed(String),
    /// In the new graph alone.
    Added(String),
}

/// What turns one graph into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    old_name: String,
    new_name: String,
    /// Nodes of the old graph that have no counterpart.
    pub removed: Vec<NodeId>,
    /// Nodes of the new graph that have no counterpart.
    pub added: Vec<NodeId>,
    /// Counterparts (old, new) that differ in attributes, types or operands.
    pub changed: Vec<(NodeId, NodeId)>,
    /// The whole text, line by line: relations, inputs, guards, nodes, outputs.
    pub lines: Vec<DiffLine>,
}

impl Diff {
    /// True if the graphs compute the same, from the same inputs, to the same outputs.
    pub fn is_equal(&self) -> bool {
        self.lines
            .iter()
            .all(|line| matches!(line, DiffLine::Same(_)))
    }
}

/// Compares two graphs without cycles.
pub fn diff(old: &Graph, new: &Graph) -> Diff {
    let pairs = Pairs::new(old, new);
    let new_names = Names::new(new);
    let old_names = old_names(old, &pairs, &new_names);
    let mut lines = Vec::new();
    let list = |g: &Graph| {
        g.relations()
            .iter()
            .map(|r| format!("where {r}"))
            .collect::<Vec<_>>()
    };
    diff_lists(&list(old), &list(new), &mut lines);
    let list = |g: &Graph, name: &dyn Fn(Value) -> String| -> Vec<String> {
        (0..g.inputs().len())
            .map(|i| input_text(g, i, &name(Value::new(g.inputs()[i].node, 0))))
            .collect()
    };
    let old_name = |v: Value| old_names.get(&v).cloned().unwrap_or_default();
    let new_name = |v: Value| new_names.get(v).to_owned();
    diff_lists(&list(old, &old_name), &list(new, &new_name), &mut lines);
    let list = |g: &Graph| {
        sorted_guards(g)
            .into_iter()
            .map(guard_text)
            .collect::<Vec<_>>()
    };
    diff_lists(&list(old), &list(new), &mut lines);
    node_lines(old, new, &pairs, &old_names, &new_names, &mut lines);
    let list = |g: &Graph, name: &dyn Fn(Value) -> String| -> Vec<String> {
        (0..g.outputs().len())
            .map(|i| format!("return {}", output_text(g, i, &name(g.outputs()[i].value))))
            .collect()
    };
    diff_lists(&list(old, &old_name), &list(new, &new_name), &mut lines);
    Diff {
        old_name: old.name.to_string(),
        new_name: new.name.to_string(),
        removed: old
            .canonical_order()
            .into_iter()
            .filter(|id| !pairs.new_of.contains_key(id))
            .collect(),
        added: new
            .canonical_order()
            .into_iter()
            .filter(|id| !pairs.old_of.contains_key(id))
            .collect(),
        changed: pairs.changed,
        lines,
    }
}

/// Which node of the old graph is which of the new.
struct Pairs {
    new_of: FxHashMap<NodeId, NodeId>,
    old_of: FxHashMap<NodeId, NodeId>,
    changed: Vec<(NodeId, NodeId)>,
}

impl Pairs {
    fn new(old: &Graph, new: &Graph) -> Self {
        let mut pairs = Self {
            new_of: FxHashMap::default(),
            old_of: FxHashMap::default(),
            changed: Vec::new(),
        };
        let mut waiting: FxHashMap<StableHash, VecDeque<NodeId>> = FxHashMap::default();
        let new_hashes = node_hashes(new, WeightNames::Kept);
        for id in new.canonical_order() {
            waiting.entry(new_hashes[&id]).or_default().push_back(id);
        }
        let old_hashes = node_hashes(old, WeightNames::Kept);
        for id in old.canonical_order() {
            if let Some(twin) = waiting
                .get_mut(&old_hashes[&id])
                .and_then(VecDeque::pop_front)
            {
                pairs.join(id, twin);
            }
        }
        let mut queue: VecDeque<(NodeId, NodeId)> = VecDeque::new();
        for a in old.outputs() {
            let twin = new.outputs().iter().find(|b| b.name == a.name);
            queue.extend(twin.map(|b| (a.value.node, b.value.node)));
        }
        for a in old.inputs() {
            let twin = new.inputs().iter().find(|b| b.name == a.name);
            queue.extend(twin.map(|b| (a.node, b.node)));
        }
        while let Some((a, b)) = queue.pop_front() {
            let free = !pairs.new_of.contains_key(&a) && !pairs.old_of.contains_key(&b);
            if !free || old.op(a).name() != new.op(b).name() {
                continue;
            }
            pairs.join(a, b);
            pairs.changed.push((a, b));
            let operands = old.operands(a).into_iter().zip(new.operands(b));
            queue.extend(operands.map(|(x, y)| (x.node, y.node)));
        }
        pairs
    }

    fn join(&mut self, old: NodeId, new: NodeId) {
        self.new_of.insert(old, new);
        self.old_of.insert(new, old);
    }
}

/// Names for the old graph's values: the new graph's where there is a counterpart, so that a line
/// differs only where the structure does.
fn old_names(old: &Graph, pairs: &Pairs, new_names: &Names) -> FxHashMap<Value, String> {
    let own = Names::new(old);
    let mut names = FxHashMap::default();
    for &id in own.order() {
        for result in 0..old.node(id).results.len() as u32 {
            let value = Value::new(id, result);
            let name = match pairs.new_of.get(&id) {
                Some(&twin) => new_names.get(Value::new(twin, result)).to_owned(),
                None => match &old.node(id).names.get(result as usize) {
                    Some(Some(name)) => name.to_string(),
                    _ => format!("old.{}", own.get(value)),
                },
            };
            names.insert(value, name);
        }
    }
    names
}

fn node_lines(
    old: &Graph,
    new: &Graph,
    pairs: &Pairs,
    old_names: &FxHashMap<Value, String>,
    new_names: &Names,
    lines: &mut Vec<DiffLine>,
) {
    let is_input = |g: &Graph, id: NodeId| matches!(g.op(id), Op::Input(_));
    let changed: FxHashSet<NodeId> = pairs.changed.iter().map(|(_, new)| *new).collect();
    let old_line = |id| node_text_with(old, id, &|v| old_names.get(&v).map_or("?", String::as_str));
    // Removed lines stand after the counterpart of the line that they stood after.
    let mut after: FxHashMap<Option<NodeId>, Vec<String>> = FxHashMap::default();
    let mut anchor = None;
    for id in old.canonical_order() {
        match pairs.new_of.get(&id) {
            Some(&twin) => anchor = Some(twin),
            None if !is_input(old, id) => after.entry(anchor).or_default().push(old_line(id)),
            None => {}
        }
    }
    let removed = |lines: &mut Vec<DiffLine>, anchor: Option<NodeId>| {
        lines.extend(
            after
                .get(&anchor)
                .into_iter()
                .flatten()
                .cloned()
                .map(DiffLine::Removed),
        );
    };
    removed(lines, None);
    for &id in new_names.order() {
        if !is_input(new, id) {
            let line = node_text_with(new, id, &|v| new_names.get(v));
            match pairs.old_of.get(&id) {
                None => lines.push(DiffLine::Added(line)),
                Some(&twin) => {
                    let before = old_line(twin);
                    if changed.contains(&id) && before != line {
                        lines.extend([DiffLine::Removed(before), DiffLine::Added(line)]);
                    } else {
                        lines.push(DiffLine::Same(line));
                    }
                }
            }
        }
        removed(lines, Some(id));
    }
}

/// Lines of two short lists, position by position.
fn diff_lists(old: &[String], new: &[String], lines: &mut Vec<DiffLine>) {
    for i in 0..old.len().max(new.len()) {
        match (old.get(i), new.get(i)) {
            (Some(a), Some(b)) if a == b => lines.push(DiffLine::Same(b.clone())),
            (a, b) => {
                lines.extend(a.cloned().map(DiffLine::Removed));
                lines.extend(b.cloned().map(DiffLine::Added));
            }
        }
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return writeln!(
                f,
                "the graphs @{} and @{} are equal",
                self.old_name, self.new_name
            );
        }
        writeln!(f, "--- @{}\n+++ @{}", self.old_name, self.new_name)?;
        let change = |line: &DiffLine| !matches!(line, DiffLine::Same(_));
        let mut shown = vec![false; self.lines.len()];
        for (i, line) in self.lines.iter().enumerate() {
            if change(line) {
                shown[i.saturating_sub(CONTEXT)..(i + CONTEXT + 1).min(self.lines.len())]
                    .fill(true);
            }
        }
        let mut hidden = false;
        for (line, shown) in self.lines.iter().zip(shown) {
            if !shown {
                hidden = true;
                continue;
            }
            if std::mem::take(&mut hidden) {
                writeln!(f, "@@")?;
            }
            match line {
                DiffLine::Same(text) => writeln!(f, "  {text}")?,
                DiffLine::Removed(text) => writeln!(f, "- {text}")?,
                DiffLine::Added(text) => writeln!(f, "+ {text}")?,
            }
        }
        Ok(())
    }
}
