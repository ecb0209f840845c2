//! Which node is computed from which.

use std::sync::Arc;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use rustc_hash::FxHashSet;

use super::{Graph, Node, NodeId, Use};

impl Graph {
    /// As [`Graph::depends_on`], in a graph that may have cycles.
    pub(crate) fn leads_to(&self, from: NodeId, to: NodeId) -> bool {
        let (from, to) = (self.petgraph_index(from), self.petgraph_index(to));
        petgraph::algo::has_path_connecting(&self.store, from, to, None)
    }

    /// True if `to` is computed from `from` (or is `from`), in a graph without cycles.
    ///
    /// Searches from both ends at once, and is done when either has nothing left: what uses `to` leads away from it, and so
    /// does what `from` is made of. Neighbours are told apart without walking the graph.
    pub fn depends_on(&self, to: NodeId, from: NodeId) -> bool {
        if to == from {
            return true;
        }
        let (to, from) = (self.petgraph_index(to), self.petgraph_index(from));
        let mut after = Search::new(&self.store, from, to, Direction::Outgoing);
        let mut before = Search::new(&self.store, to, from, Direction::Incoming);
        loop {
            match (after.step(&before.seen), before.step(&after.seen)) {
                (Found::Met, _) | (_, Found::Met) => return true,
                (Found::Nothing, _) | (_, Found::Nothing) => return false,
                (Found::More, Found::More) => {}
            }
        }
    }
}

/// One of the two sides of a search for a path.
struct Search<'g> {
    store: &'g StableDiGraph<Arc<Node>, Use, u32>,
    direction: Direction,
    seen: FxHashSet<NodeIndex<u32>>,
    /// Beyond the other end: nothing there leads to it.
    beyond: FxHashSet<NodeIndex<u32>>,
    stack: Vec<NodeIndex<u32>>,
}

enum Found {
    /// A node that the other side has seen.
    Met,
    /// Another node.
    More,
    /// There is no other node.
    Nothing,
}

impl<'g> Search<'g> {
    fn new(
        store: &'g StableDiGraph<Arc<Node>, Use, u32>,
        start: NodeIndex<u32>,
        end: NodeIndex<u32>,
        direction: Direction,
    ) -> Self {
        Self {
            store,
            direction,
            seen: FxHashSet::from_iter([start]),
            beyond: store.neighbors_directed(end, direction).collect(),
            stack: vec![start],
        }
    }

    fn step(&mut self, other: &FxHashSet<NodeIndex<u32>>) -> Found {
        let Some(at) = self.stack.pop() else {
            return Found::Nothing;
        };
        for next in self.store.neighbors_directed(at, self.direction) {
            if other.contains(&next) {
                return Found::Met;
            }
            if !self.beyond.contains(&next) && self.seen.insert(next) {
                self.stack.push(next);
            }
        }
        Found::More
    }
}
