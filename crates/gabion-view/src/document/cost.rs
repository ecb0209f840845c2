//! What operators cost: floating-point operations, and bytes read and written if nothing is in a cache. Steps of a plan have
//! their costs from [`gabion_plan::profile::step_cost`].

use gabion_ir::{Graph, NodeId, Op};

use super::Sizes;

/// Operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) flops: u64,
    pub(super) bytes: u64,
}

/// An operator of a graph. Movements, leaves and what loading computes cost bytes only.
pub(super) fn op_cost(graph: &Graph, id: NodeId, sizes: &Sizes) -> Cost {
    let node = graph.node(id);
    if node.op.is_leaf() {
        return Cost::default();
    }
    let operands = graph.operands(id);
    let types: Vec<_> = operands.iter().map(|v| graph.value_type(*v)).collect();
    let read = sum(types.iter().map(|ty| sizes.bytes(ty)));
    let written = sum(node.results.iter().map(|ty| sizes.bytes(ty)));
    let made = sum(node.results.iter().map(|ty| sizes.numel(&ty.shape)));
    let inner = |at: usize| {
        types
            .get(at)
            .and_then(|ty| ty.shape.last())
            .map_or(1, |d| sizes.dim(d))
    };
    let flops = match &node.op {
        Op::Matmul(_) => made.saturating_mul(2).saturating_mul(inner(0)),
        Op::StackedMatmul(_) => made.saturating_mul(2).saturating_mul(inner(0)),
        // Scores and their use: twice two operations for each query, key and element of a head.
        Op::Attention(_) => {
            let keys = types.get(1).and_then(|ty| ty.shape.iter().rev().nth(2));
            let keys = keys.map_or(1, |d| sizes.dim(d));
            made.saturating_mul(4).saturating_mul(keys)
        }
        _ if super::collect::moves(&node.op) => 0,
        // One for each element that is read or made, whichever are more.
        _ => {
            let read: u64 = types
                .iter()
                .map(|ty| sizes.numel(&ty.shape))
                .max()
                .unwrap_or(0);
            made.max(read)
        }
    };
    Cost {
        flops,
        bytes: read.saturating_add(written),
    }
}

/// A sum that stays at the largest number where it would be larger: sizes may be anything that was asked for.
pub(super) fn sum(all: impl IntoIterator<Item = u64>) -> u64 {
    all.into_iter().fold(0, u64::saturating_add)
}
