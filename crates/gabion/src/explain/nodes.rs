//! Whether a pass changed the nodes that were made from one, whatever numbers they have.

use gabion_ir::{Graph, NodeId, Op, Origins, Value};
use gabion_tensor::TensorType;

/// The nodes that were made from others.
pub(super) fn made_from(graph: &Graph, origins: &Origins) -> Vec<NodeId> {
    let from = |id: &NodeId| graph.node(*id).origins.intersects(origins);
    graph.node_ids().filter(from).collect()
}

/// The two lists have equal nodes, in whatever order.
pub(super) fn same_nodes((a, of_a): (&Graph, &[NodeId]), (b, of_b): (&Graph, &[NodeId])) -> bool {
    if of_a.len() != of_b.len() {
        return false;
    }
    let mut left: Vec<Looks<'_>> = of_b.iter().map(|id| Looks::of(b, *id)).collect();
    of_a.iter().all(|id| {
        let looks = Looks::of(a, *id);
        let at = left.iter().position(|other| *other == looks);
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

/// What a node is: its operator with its attributes, its types, and what it reads.
#[derive(PartialEq)]
struct Looks<'g> {
    op: &'g Op,
    results: &'g [TensorType],
    operands: Vec<Operand<'g>>,
}

/// What an operand is: who makes it, which result of it, and its type. Of a leaf, which one; what else makes it has
/// attributes of its own, and they change with it.
#[derive(PartialEq)]
struct Operand<'g> {
    op: &'static str,
    leaf: Option<&'g Op>,
    result: u32,
    ty: &'g TensorType,
}

impl<'g> Looks<'g> {
    fn of(graph: &'g Graph, id: NodeId) -> Self {
        let node = graph.node(id);
        let operand = |value: &Value| {
            let op = graph.op(value.node);
            Operand {
                op: op.name(),
                leaf: op.is_leaf().then_some(op),
                result: value.result,
                ty: graph.value_type(*value),
            }
        };
        Self {
            op: &node.op,
            results: &node.results,
            operands: graph.operands(id).iter().map(operand).collect(),
        }
    }
}
