//! The nodes that a patch replaces, and who inherits their origins.

use gabion_ir::{Graph, NodeId, Origins, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Nodes looked at before the walk from the replaced values is given up. Taps cut a patch off from the
/// rest of the graph, except where it drops operands: what those were made of is no origin.
const MOST_NODES: usize = 1024;

/// Nodes between the taps of a patch and the values that it replaces, those included.
pub(super) struct Cone {
    /// Operator's name and origins, in the order in which they were met.
    nodes: Vec<(&'static str, Origins)>,
}

impl Cone {
    /// Backwards from `replaced`, not past `taps`; of side branches that read no tap only constants
    /// and what is computed from them are replaced.
    pub(super) fn of(graph: &Graph, taps: &[Value], replaced: &[Value]) -> Self {
        let taps: FxHashSet<Value> = taps.iter().copied().collect();
        let mut walk = Walk {
            graph,
            taps: &taps,
            inside: FxHashMap::default(),
            nodes: Vec::new(),
        };
        let mut ids: Vec<NodeId> = replaced.iter().map(|v| v.node).collect();
        ids.sort_unstable();
        ids.dedup();
        for &root in &ids {
            walk.visit(root);
        }
        let roots = ids.len();
        for id in walk.nodes {
            if walk.inside.get(&id) == Some(&true) && ids[..roots].binary_search(&id).is_err() {
                ids.push(id);
            }
        }
        let named = |id: &NodeId| (graph.op(*id).name(), graph.node(*id).origins.clone());
        let nodes = ids.iter().map(named).collect();
        Self { nodes }
    }

    /// All of them.
    pub(super) fn origins(&self) -> Origins {
        let ids = self.nodes.iter().flat_map(|(_, origins)| origins.ids());
        ids.copied().collect()
    }

    /// Who inherits what, if these nodes make way for those of `fragment`.
    pub(super) fn heirs(&self, fragment: &Graph) -> Heirs {
        let new: FxHashSet<&str> = fragment
            .node_ids()
            .map(|id| fragment.op(id).name())
            .collect();
        let mut by_name: FxHashMap<&'static str, Vec<u32>> = FxHashMap::default();
        let mut rest = Vec::new();
        for (name, origins) in &self.nodes {
            if new.contains(name) {
                by_name.entry(name).or_default().extend(origins.ids());
            } else {
                rest.extend(origins.ids());
            }
        }
        let rest: Origins = rest.into_iter().collect();
        let with_rest = |(name, ids): (_, Vec<u32>)| (name, Origins::from_iter(ids).union(&rest));
        Heirs {
            by_name: by_name.into_iter().map(with_rest).collect(),
            all: self.origins(),
            rest,
        }
    }
}

/// The origins of a patch's new nodes.
pub(super) struct Heirs {
    by_name: FxHashMap<&'static str, Origins>,
    /// Of operators that no new node is like.
    rest: Origins,
    all: Origins,
}

impl Heirs {
    /// Of a new operator: a rotation that is made anew is the rotation that was there; a stack that
    /// was no stack before is what has gone.
    pub(super) fn of(&self, name: &str) -> Origins {
        match self.by_name.get(name) {
            Some(own) => own.clone(),
            // Everything that was replaced has a like one: what is new is part of them all.
            None if self.rest.is_empty() => self.all.clone(),
            None => self.rest.clone(),
        }
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    taps: &'a FxHashSet<Value>,
    /// Whether a node that was met is replaced.
    inside: FxHashMap<NodeId, bool>,
    nodes: Vec<NodeId>,
}

impl Walk<'_> {
    /// Operands first, without recursion.
    fn visit(&mut self, root: NodeId) {
        let mut stack = vec![(root, 0)];
        while let Some((id, next)) = stack.pop() {
            if next == 0 {
                if self.inside.contains_key(&id) {
                    continue;
                }
                if self.inside.len() >= MOST_NODES {
                    self.inside.insert(id, false);
                    continue;
                }
                self.inside.insert(id, false);
            }
            let operands = self.graph.operands(id);
            match operands.get(next) {
                Some(value) => {
                    stack.push((id, next + 1));
                    if !self.taps.contains(value) {
                        stack.push((value.node, 0));
                    }
                }
                None => {
                    let inside = |v: &Value| {
                        self.taps.contains(v) || self.inside.get(&v.node) == Some(&true)
                    };
                    let constant = matches!(self.graph.op(id), gabion_ir::Op::Constant(_));
                    let replaced = constant || operands.iter().any(inside);
                    self.inside.insert(id, replaced);
                    self.nodes.push(id);
                }
            }
        }
    }
}
