//! The graph: operators in a petgraph store, values as (node, result), use-lists on the edges.
//!
//! Node ids are our own and never re-used, unlike petgraph's indices. What is printed, hashed or
//! compared goes through [`Graph::canonical_order`], so it depends on structure, not on history.

mod paths;

use std::fmt;
use std::sync::Arc;

use gabion_tensor::{Guard, Relations, TensorType};
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::op::Results;
use crate::ops::Op;
use crate::origins::Origins;

/// A node of one graph: stable, never re-used, meaningless in another graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The id as a number, for tables indexed by node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Result number `result` of node `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The node that makes it.
    pub node: NodeId,
    /// Which of its results.
    pub result: u32,
}

impl Value {
    /// The value `result` of `node`.
    pub fn new(node: NodeId, result: u32) -> Self {
        Self { node, result }
    }
}

/// An edge: which result of the source is which operand of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Use {
    /// Result number at the source.
    pub result: u32,
    /// Operand number at the target.
    pub operand: u32,
}

/// Where in the caller's source a node was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLoc {
    /// The file as the compiler names it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
}

impl fmt::Display for SourceLoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One operator in a graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator with its attributes.
    pub op: Op,
    /// The types of its results.
    pub results: Results,
    /// The printed names of its results, where somebody named them.
    pub names: SmallVec<[Option<Arc<str>>; 1]>,
    /// The module path that built it (`layers.3.self_attn`), carried through every pass.
    pub scope: Option<Arc<str>>,
    /// The line that built it.
    pub loc: Option<SourceLoc>,
    /// The nodes of the source graph that it was made from, carried through every pass; none before
    /// lowering. No part of what the node means.
    pub origins: Origins,
}

/// A graph input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDecl {
    /// The name callers bind.
    pub name: Arc<str>,
    /// The `input` node.
    pub node: NodeId,
}

/// A graph output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputDecl {
    /// The name callers read.
    pub name: Arc<str>,
    /// The value returned.
    pub value: Value,
}

/// A pure dataflow graph with named inputs and outputs.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The graph's name.
    pub name: Arc<str>,
    // Clones of a graph share the nodes that neither changes.
    store: StableDiGraph<Arc<Node>, Use, u32>,
    index_of: Vec<Option<NodeIndex<u32>>>,
    /// By petgraph's index; what is there for an index that is free means nothing.
    id_of: Vec<NodeId>,
    inputs: Vec<InputDecl>,
    outputs: Vec<OutputDecl>,
    /// How many outputs each value is.
    output_values: FxHashMap<Value, usize>,
    relations: Relations,
    guards: Vec<Guard>,
    names: FxHashSet<Arc<str>>,
    revision: u64,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            store: StableDiGraph::default(),
            index_of: Vec::new(),
            id_of: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            output_values: FxHashMap::default(),
            relations: Relations::default(),
            guards: Vec::new(),
            names: FxHashSet::default(),
            revision: 0,
        }
    }

    /// A number that grows with every change of the graph: equal numbers before
    /// and after a pass mean that it changed nothing.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The inputs, in declaration order.
    pub fn inputs(&self) -> &[InputDecl] {
        &self.inputs
    }

    /// The outputs, in declaration order.
    pub fn outputs(&self) -> &[OutputDecl] {
        &self.outputs
    }

    /// The relations between symbols that the graph's author declared.
    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    /// The relations, to add to.
    pub fn relations_mut(&mut self) -> &mut Relations {
        self.revision += 1;
        &mut self.relations
    }

    /// The run-time guards: what the type rules assumed and could not prove.
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// Adds a guard unless it is there already.
    pub fn add_guard(&mut self, guard: Guard) {
        if !self.guards.iter().any(|g| g.constraint == guard.constraint) {
            self.revision += 1;
            self.guards.push(guard);
        }
    }

    /// Adds a node of another graph, shared as long as its names are free here.
    fn add_shared(&mut self, mut node: Arc<Node>, operands: &[Value]) -> NodeId {
        let taken = |name: &Arc<str>| self.names.contains(name);
        if node.names.iter().flatten().any(taken) {
            return self.add_node(Arc::unwrap_or_clone(node), operands);
        }
        self.names.extend(node.names.iter().flatten().cloned());
        if node.names.len() != node.results.len() {
            let results = node.results.len();
            Arc::make_mut(&mut node).names.resize(results, None);
        }
        self.revision += 1;
        self.add_arc(node, operands)
    }

    /// Adds a node. Names that are taken get a numeric suffix.
    pub fn add_node(&mut self, mut node: Node, operands: &[Value]) -> NodeId {
        self.revision += 1;
        for name in node.names.iter_mut().flatten() {
            *name = self.claim_name(name);
        }
        node.names.resize(node.results.len(), None);
        self.add_arc(Arc::new(node), operands)
    }

    fn add_arc(&mut self, node: Arc<Node>, operands: &[Value]) -> NodeId {
        let id = NodeId(self.index_of.len() as u32);
        let index = self.store.add_node(node);
        self.index_of.push(Some(index));
        // Petgraph takes a free index, or the next.
        match self.id_of.get_mut(index.index()) {
            Some(free) => *free = id,
            None => self.id_of.push(id),
        }
        for (operand, value) in operands.iter().enumerate() {
            let usage = Use {
                result: value.result,
                operand: operand as u32,
            };
            self.store
                .add_edge(self.petgraph_index(value.node), index, usage);
        }
        id
    }

    /// Adds a node without a name, taking scope, place and origins from `like`.
    pub fn add_like(
        &mut self,
        like: NodeId,
        op: impl Into<Op>,
        operands: &[Value],
        results: Results,
    ) -> NodeId {
        let like = self.node(like);
        let node = Node {
            op: op.into(),
            results,
            names: SmallVec::new(),
            scope: like.scope.clone(),
            loc: like.loc.clone(),
            origins: like.origins.clone(),
        };
        self.add_node(node, operands)
    }

    fn claim_name(&mut self, name: &Arc<str>) -> Arc<str> {
        let mut free = name.clone();
        let mut n = 1;
        while !self.names.insert(free.clone()) {
            free = format!("{name}_{n}").into();
            n += 1;
        }
        free
    }

    /// Names a value; a taken name gets a numeric suffix.
    pub fn set_name(&mut self, value: Value, name: &str) {
        let old = self.node(value.node).names[value.result as usize].clone();
        if let Some(old) = old {
            self.names.remove(&old);
        }
        let name = self.claim_name(&name.into());
        self.node_mut(value.node).names[value.result as usize] = Some(name);
    }

    /// Takes a value's printed name away.
    pub fn clear_name(&mut self, value: Value) {
        if let Some(old) = self.node_mut(value.node).names[value.result as usize].take() {
            self.names.remove(&old);
        }
    }

    /// Declares `node` (an `input` operator) as the next input.
    pub fn push_input(&mut self, name: impl Into<Arc<str>>, node: NodeId) {
        self.revision += 1;
        self.inputs.push(InputDecl {
            name: name.into(),
            node,
        });
    }

    /// Declares the next output.
    pub fn push_output(&mut self, name: impl Into<Arc<str>>, value: Value) {
        self.revision += 1;
        *self.output_values.entry(value).or_default() += 1;
        self.outputs.push(OutputDecl {
            name: name.into(),
            value,
        });
    }

    /// Removes a node whose results nobody uses; false (and no change) if one is used.
    pub fn remove_node(&mut self, id: NodeId) -> bool {
        let used = self.uses(id).next().is_some()
            || self.has_output(id)
            || self.inputs.iter().any(|i| i.node == id);
        if used || !self.contains(id) {
            return false;
        }
        self.revision += 1;
        let index = self.petgraph_index(id);
        for name in self.node(id).names.clone().into_iter().flatten() {
            self.names.remove(&name);
        }
        self.store.remove_node(index);
        self.index_of[id.index()] = None;
        true
    }

    /// Whether a result of the node is an output.
    fn has_output(&self, id: NodeId) -> bool {
        let results = self.contains(id).then(|| self.node(id).results.len());
        (0..results.unwrap_or(0) as u32).any(|result| self.is_output(Value::new(id, result)))
    }

    /// Every use of `old`, outputs included, becomes a use of `new`.
    ///
    /// Origins are the caller's: what takes the place of `old` may be made from it
    /// ([`Graph::add_origins`]) or not.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        self.revision += 1;
        let users: Vec<_> = self
            .store
            .edges_directed(self.petgraph_index(old.node), Direction::Outgoing)
            .filter(|e| e.weight().result == old.result)
            .map(|e| (e.id(), e.target(), e.weight().operand))
            .collect();
        for (edge, target, operand) in users {
            self.store.remove_edge(edge);
            let usage = Use {
                result: new.result,
                operand,
            };
            self.store
                .add_edge(self.petgraph_index(new.node), target, usage);
        }
        let Some(count) = self.output_values.remove(&old) else {
            return;
        };
        *self.output_values.entry(new).or_default() += count;
        for output in &mut self.outputs {
            if output.value == old {
                output.value = new;
            }
        }
    }

    /// Operand `operand` of `node` becomes `value`.
    pub fn set_operand(&mut self, node: NodeId, operand: usize, value: Value) {
        self.revision += 1;
        let index = self.petgraph_index(node);
        let old = self
            .store
            .edges_directed(index, Direction::Incoming)
            .find(|e| e.weight().operand as usize == operand)
            .map(|e| e.id());
        if let Some(old) = old {
            self.store.remove_edge(old);
        }
        let usage = Use {
            result: value.result,
            operand: operand as u32,
        };
        self.store
            .add_edge(self.petgraph_index(value.node), index, usage);
    }

    /// True if the node is in the graph.
    pub fn contains(&self, id: NodeId) -> bool {
        self.index_of.get(id.index()).is_some_and(Option::is_some)
    }

    fn petgraph_index(&self, id: NodeId) -> NodeIndex<u32> {
        match self.index_of.get(id.index()) {
            Some(Some(index)) => *index,
            // Node ids are only made by this graph, and passes drop the ids they remove.
            _ => panic!("{id:?} is not in graph @{}", self.name),
        }
    }

    /// The node.
    ///
    /// # Panics
    /// If it was removed, or belongs to another graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.store[self.petgraph_index(id)]
    }

    /// The node, to change.
    ///
    /// # Panics
    /// As [`Graph::node`].
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.revision += 1;
        let index = self.petgraph_index(id);
        Arc::make_mut(&mut self.store[index])
    }

    /// Says that a node was made from these too. A node that knows them already is left as it is.
    pub fn add_origins(&mut self, id: NodeId, origins: &Origins) {
        if !self.node(id).origins.includes(origins) {
            self.node_mut(id).origins.unite(origins);
        }
    }

    /// Says that every node comes from itself: this graph is the source that passes start from. The
    /// numbers are ids, so the graph should be compact ([`Graph::compacted`]).
    pub fn set_own_origins(&mut self) {
        for id in self.node_ids().collect::<Vec<_>>() {
            self.node_mut(id).origins = id.into();
        }
    }

    /// The node with this number, if it is there: what [`NodeId::index`] was.
    pub fn node_at(&self, index: u32) -> Option<NodeId> {
        let id = NodeId(index);
        self.contains(id).then_some(id)
    }

    /// The operator of a node.
    pub fn op(&self, id: NodeId) -> &Op {
        &self.node(id).op
    }

    /// The type of a value.
    pub fn value_type(&self, value: Value) -> &TensorType {
        &self.node(value.node).results[value.result as usize]
    }

    /// The operands of a node, in order.
    pub fn operands(&self, id: NodeId) -> SmallVec<[Value; 4]> {
        let mut operands: SmallVec<[(u32, Value); 4]> = self
            .store
            .edges_directed(self.petgraph_index(id), Direction::Incoming)
            .map(|e| {
                (
                    e.weight().operand,
                    Value::new(self.id_of[e.source().index()], e.weight().result),
                )
            })
            .collect();
        operands.sort_unstable_by_key(|(operand, _)| *operand);
        operands.into_iter().map(|(_, value)| value).collect()
    }

    fn uses(&self, id: NodeId) -> impl Iterator<Item = (NodeId, Use)> + '_ {
        self.store
            .edges_directed(self.petgraph_index(id), Direction::Outgoing)
            .map(|e| (self.id_of[e.target().index()], *e.weight()))
    }

    /// The operators that use a value as (user, operand number), in id order; outputs are not
    /// counted (see [`Graph::is_output`]).
    pub fn users(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut users: Vec<_> = self
            .uses(value.node)
            .filter(|(_, usage)| usage.result == value.result)
            .map(|(user, usage)| (user, usage.operand as usize))
            .collect();
        users.sort_unstable();
        users
    }

    /// True if an operator uses the value; as [`Graph::users`], outputs are not counted.
    pub fn is_used(&self, value: Value) -> bool {
        !self.all_users(value, |_| false)
    }

    /// True if every operator that uses the value passes the test, without a list of all of them.
    pub fn all_users(&self, value: Value, test: impl Fn(NodeId) -> bool) -> bool {
        let mut uses = self.uses(value.node);
        uses.all(|(user, usage)| usage.result != value.result || test(user))
    }

    /// True if the value is a graph output.
    pub fn is_output(&self, value: Value) -> bool {
        self.output_values.contains_key(&value)
    }

    /// The only user of a value that is no output.
    pub fn single_user(&self, value: Value) -> Option<(NodeId, usize)> {
        if self.is_output(value) {
            return None;
        }
        let uses = self.uses(value.node);
        let mut uses = uses.filter(|(_, usage)| usage.result == value.result);
        match (uses.next(), uses.next()) {
            (Some((user, usage)), None) => Some((user, usage.operand as usize)),
            _ => None,
        }
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.store.node_count()
    }

    /// True without nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes in id order, which is the order they were made in.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.index_of
            .iter()
            .enumerate()
            .filter(|(_, i)| i.is_some())
            .map(|(n, _)| NodeId(n as u32))
    }

    /// The petgraph store, for its algorithms; node indices map to ids by [`Graph::id_at`].
    pub fn petgraph(&self) -> &StableDiGraph<Arc<Node>, Use, u32> {
        &self.store
    }

    /// The id of a petgraph index.
    pub fn id_at(&self, index: NodeIndex<u32>) -> Option<NodeId> {
        let is_there = self.store.contains_node(index);
        is_there.then(|| self.id_of[index.index()])
    }

    /// Operands before users; inputs first, then depth first from the outputs in order, then what
    /// no output needs. The order depends on structure alone (dead nodes excepted).
    ///
    /// A cycle cannot be ordered: its nodes come in some order, and [`crate::verify`] reports it.
    pub fn canonical_order(&self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.len());
        let mut state = vec![0u8; self.index_of.len()];
        for input in &self.inputs {
            if self.contains(input.node) && state[input.node.index()] == 0 {
                state[input.node.index()] = 2;
                order.push(input.node);
            }
        }
        for output in &self.outputs {
            self.post_order(output.value.node, &mut state, &mut order);
        }
        for id in self.node_ids() {
            self.post_order(id, &mut state, &mut order);
        }
        order
    }

    fn post_order(&self, root: NodeId, state: &mut [u8], order: &mut Vec<NodeId>) {
        if state[root.index()] != 0 {
            return;
        }
        state[root.index()] = 1;
        let mut stack = vec![(root, self.operands(root), 0)];
        while let Some((id, operands, next)) = stack.last_mut() {
            if let Some(value) = operands.get(*next) {
                *next += 1;
                let child = value.node;
                if state[child.index()] == 0 {
                    state[child.index()] = 1;
                    let operands = self.operands(child);
                    stack.push((child, operands, 0));
                }
            } else {
                state[id.index()] = 2;
                order.push(*id);
                stack.pop();
            }
        }
    }

    /// A copy with consecutive ids in canonical order: the node that was number `n` of it is number `n`.
    pub fn compacted(&self) -> Self {
        let mut graph = Self::new(self.name.clone());
        graph.relations = self.relations.clone();
        graph.guards = self.guards.clone();
        let mut new_id: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        let mut back = Vec::new();
        for id in self.canonical_order() {
            let renamed = |v: &Value| Some(Value::new(*new_id.get(&v.node)?, v.result));
            let operands = self.operands(id);
            let known: Option<SmallVec<[Value; 4]>> = operands.iter().map(renamed).collect();
            let node = self.store[self.petgraph_index(id)].clone();
            new_id.insert(id, graph.add_shared(node, known.as_deref().unwrap_or(&[])));
            if known.is_none() {
                back.push((id, operands));
            }
        }
        // Operands that come later: a cycle, which `verify` reports.
        for (id, operands) in back {
            for (at, value) in operands.iter().enumerate() {
                graph.set_operand(
                    new_id[&id],
                    at,
                    Value::new(new_id[&value.node], value.result),
                );
            }
        }
        for input in &self.inputs {
            graph.push_input(input.name.clone(), new_id[&input.node]);
        }
        for output in &self.outputs {
            let value = Value::new(new_id[&output.value.node], output.value.result);
            graph.push_output(output.name.clone(), value);
        }
        graph
    }

    /// Removes every node that no output needs (inputs stay); the number removed.
    pub fn remove_dead(&mut self) -> usize {
        let mut live = FxHashSet::default();
        let mut stack: Vec<NodeId> = self.outputs.iter().map(|o| o.value.node).collect();
        stack.extend(self.inputs.iter().map(|i| i.node));
        while let Some(id) = stack.pop() {
            if live.insert(id) {
                stack.extend(self.operands(id).iter().map(|v| v.node));
            }
        }
        let mut dead: Vec<NodeId> = self.canonical_order();
        dead.retain(|id| !live.contains(id));
        for id in dead.iter().rev() {
            self.remove_node(*id);
        }
        dead.len()
    }

    /// Removes `root` if nothing uses it, then whatever only it used; the number removed.
    pub fn sweep(&mut self, root: NodeId) -> usize {
        let mut removed = 0;
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            if !self.contains(id) {
                continue;
            }
            let operands = self.operands(id);
            if self.remove_node(id) {
                removed += 1;
                stack.extend(operands.iter().map(|v| v.node));
            }
        }
        removed
    }

    /// The weights that the graph names, in canonical order: (name, type, node).
    pub fn weights(&self) -> Vec<(Arc<str>, TensorType, NodeId)> {
        let mut weights = Vec::new();
        for id in self.canonical_order() {
            if let Op::Weight(weight) = self.op(id) {
                weights.push((weight.name.clone(), self.node(id).results[0].clone(), id));
            }
        }
        weights
    }
}
