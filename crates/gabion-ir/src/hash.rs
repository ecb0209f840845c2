//! When two graphs are the same: equality, and hashes that are stable across runs, platforms and
//! versions of the compiler.
//!
//! - `==` on [`Graph`] compares everything that the text form shows: order, operators, operands,
//!   types, names, scopes, inputs, outputs, relations and guards; never ids or source lines.
//! - [`graph_hash`] leaves out the names of values and the scopes as well.
//! - [`node_hashes`] names each node by what it computes.
//!
//! The hash is SipHash-2-4 with a 128-bit result and a fixed key (Aumasson and Bernstein, "SipHash:
//! a fast short-input PRF", 2012), over length-prefixed fields. It is not meant to resist somebody
//! who looks for collisions.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::graph::{Graph, Node, NodeId, Value};
use crate::ops::Op;
use crate::text::print::sorted_guards;

/// A stable 128-bit hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StableHash(pub u128);

impl fmt::Display for StableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Hashes fields; each is prefixed by its length, so that fields cannot run into each other.
#[derive(Clone, Debug)]
pub struct StableHasher {
    state: [u64; 4],
    tail: u64,
    n_tail: u32,
    length: u64,
}

impl Default for StableHasher {
    fn default() -> Self {
        Self::with_key(0, 0)
    }
}

impl StableHasher {
    fn with_key(k0: u64, k1: u64) -> Self {
        let state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self {
            state,
            tail: 0,
            n_tail: 0,
            length: 0,
        }
    }

    fn rounds(&mut self, n: usize) {
        let [mut a, mut b, mut c, mut d] = self.state;
        for _ in 0..n {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.state = [a, b, c, d];
    }

    fn word(&mut self, word: u64) {
        self.state[3] ^= word;
        self.rounds(2);
        self.state[0] ^= word;
    }

    fn raw(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.tail |= u64::from(byte) << (8 * self.n_tail);
            self.n_tail += 1;
            if self.n_tail == 8 {
                self.word(self.tail);
                (self.tail, self.n_tail) = (0, 0);
            }
        }
        self.length = self.length.wrapping_add(bytes.len() as u64);
    }

    /// A field of text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A field of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.raw(bytes);
        self
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_le_bytes());
        self
    }

    /// Another hash.
    pub fn hash(&mut self, hash: StableHash) -> &mut Self {
        self.raw(&hash.0.to_le_bytes());
        self
    }

    /// The hash of everything so far.
    pub fn finish(&self) -> StableHash {
        let mut end = self.clone();
        end.word(end.tail | (end.length << 56));
        end.state[2] ^= 0xee;
        end.rounds(4);
        let low = end.state.iter().fold(0, |x, s| x ^ s);
        end.state[1] ^= 0xdd;
        end.rounds(4);
        let high = end.state.iter().fold(0, |x, s| x ^ s);
        StableHash(u128::from(low) | (u128::from(high) << 64))
    }
}

/// Whether a node's hash depends on the names of the weights that it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightNames {
    /// Two weights are different values.
    Kept,
    /// Two weights of one type are the same: layers that differ in weights alone hash alike.
    Forgotten,
}

/// The operator with attributes and result types; names of weights may be left out.
fn node_fields(hasher: &mut StableHasher, node: &Node, weights: WeightNames) {
    hasher.text(node.op.name());
    match &node.op {
        Op::Weight(_) if weights == WeightNames::Forgotten => {}
        op => {
            // Attributes are in declaration order, and a JSON map of strings prints.
            hasher.text(&serde_json::Value::Object(op.attrs()).to_string());
        }
    }
    hasher.number(node.results.len() as u64);
    for ty in &node.results {
        hasher.text(&ty.to_string());
    }
}

/// A hash of what each node computes: its operator, its operands' hashes, its types. Equal hashes
/// mean equal expressions, shared or not. The graph has no cycle.
pub fn node_hashes(graph: &Graph, weights: WeightNames) -> FxHashMap<NodeId, StableHash> {
    let mut hashes: FxHashMap<NodeId, StableHash> = FxHashMap::default();
    for id in graph.canonical_order() {
        let mut hasher = StableHasher::default();
        node_fields(&mut hasher, graph.node(id), weights);
        for value in graph.operands(id) {
            // Operands come first in canonical order.
            hasher
                .hash(hashes.get(&value.node).copied().unwrap_or(StableHash(0)))
                .number(u64::from(value.result));
        }
        hashes.insert(id, hasher.finish());
    }
    hashes
}

/// The hash of a graph: of its operators, attributes, types, operand order, sharing, the names of
/// its inputs, outputs and weights, its relations and guards. Not of ids, history, the graph's name,
/// names of values, scopes, source lines, or the order of nodes that no output needs. The graph has
/// no cycle.
pub fn graph_hash(graph: &Graph) -> StableHash {
    let mut hasher = StableHasher::default();
    hasher.text("gabion graph 1");
    let order = graph.canonical_order();
    let live = live_nodes(graph, &order);
    let mut position: FxHashMap<NodeId, u64> = FxHashMap::default();
    hasher.number(graph.inputs().len() as u64);
    for input in graph.inputs() {
        hasher.text(&input.name);
    }
    hasher.number(live.len() as u64);
    for &id in order.iter().filter(|id| live.contains(id)) {
        node_fields(&mut hasher, graph.node(id), WeightNames::Kept);
        let operands = graph.operands(id);
        hasher.number(operands.len() as u64);
        for value in operands {
            hasher
                .number(position[&value.node])
                .number(u64::from(value.result));
        }
        position.insert(id, position.len() as u64);
    }
    hasher.number(graph.outputs().len() as u64);
    for output in graph.outputs() {
        hasher.text(&output.name);
        hasher
            .number(position[&output.value.node])
            .number(u64::from(output.value.result));
    }
    let mut relations: Vec<String> = graph.relations().iter().map(ToString::to_string).collect();
    relations.sort_unstable();
    hasher.number(relations.len() as u64);
    for relation in &relations {
        hasher.text(relation);
    }
    let guards = sorted_guards(graph);
    hasher.number(guards.len() as u64);
    for guard in guards {
        hasher.text(&guard.constraint.to_string());
    }
    if live.len() < order.len() {
        let all = node_hashes(graph, WeightNames::Kept);
        let mut dead: Vec<StableHash> = order
            .iter()
            .filter(|id| !live.contains(id))
            .map(|id| all[id])
            .collect();
        dead.sort_unstable();
        for hash in dead {
            hasher.hash(hash);
        }
    }
    hasher.finish()
}

/// Inputs, and every node that an output needs.
fn live_nodes(graph: &Graph, order: &[NodeId]) -> FxHashSet<NodeId> {
    let mut live: FxHashSet<NodeId> = graph.outputs().iter().map(|o| o.value.node).collect();
    for &id in order.iter().rev() {
        if live.contains(&id) {
            live.extend(graph.operands(id).iter().map(|v| v.node));
        }
    }
    live.extend(graph.inputs().iter().map(|i| i.node));
    live
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        if self.name != other.name || self.len() != other.len() {
            return false;
        }
        let (ours, theirs) = (self.canonical_order(), other.canonical_order());
        let mut same: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        for (&a, &b) in ours.iter().zip(&theirs) {
            let maps = |v: &Value| same.get(&v.node).map(|&node| Value::new(node, v.result));
            let operands: Vec<Option<Value>> = self.operands(a).iter().map(maps).collect();
            if !same_node(self.node(a), other.node(b))
                || operands.len() != other.operands(b).len()
                || operands
                    .iter()
                    .zip(other.operands(b))
                    .any(|(x, y)| *x != Some(y))
            {
                return false;
            }
            same.insert(a, b);
        }
        let maps = |node: &NodeId| same.get(node).copied();
        let inputs = |g: &Graph| g.inputs().len();
        let outputs = |g: &Graph| g.outputs().len();
        inputs(self) == inputs(other)
            && outputs(self) == outputs(other)
            && self
                .inputs()
                .iter()
                .zip(other.inputs())
                .all(|(a, b)| a.name == b.name && maps(&a.node) == Some(b.node))
            && self.outputs().iter().zip(other.outputs()).all(|(a, b)| {
                a.name == b.name
                    && maps(&a.value.node) == Some(b.value.node)
                    && a.value.result == b.value.result
            })
            && self.relations().iter().eq(other.relations().iter())
            && sorted_guards(self) == sorted_guards(other)
    }
}

impl Eq for Graph {}

fn same_node(a: &Node, b: &Node) -> bool {
    let name = |node: &Node, i: usize| node.names.get(i).cloned().flatten();
    a.op == b.op
        && a.results == b.results
        && a.scope == b.scope
        && (0..a.results.len()).all(|i| name(a, i) == name(b, i))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of the SipHash reference implementation (`vectors_sip128`): key 00..0f,
    /// message 00.. of the given length.
    #[test]
    fn siphash_128_reference_vectors() {
        let key = |from: u8| u64::from_le_bytes(std::array::from_fn(|i| from + i as u8));
        let hash = |len: u8| {
            let mut hasher = StableHasher::with_key(key(0), key(8));
            hasher.raw(&(0..len).collect::<Vec<u8>>());
            hasher.finish().0.to_le_bytes()
        };
        let empty = [
            0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
            0x02, 0x93,
        ];
        let one = [
            0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22,
            0xfc, 0x45,
        ];
        assert_eq!(hash(0), empty);
        assert_eq!(hash(1), one);
    }

    #[test]
    fn fields_do_not_run_together() {
        let hash = |fields: &[&str]| {
            let mut hasher = StableHasher::default();
            for field in fields {
                hasher.text(field);
            }
            hasher.finish()
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&[]), hash(&[""]));
    }
}
