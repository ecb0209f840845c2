//! What operators and kernels cost: floating-point operations, and bytes read and written if nothing is in a cache.

use gabion_ir::{Graph, NodeId, Op};
use gabion_plan::{Kernel, Plan, Step};

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
    let read: u64 = types.iter().map(|ty| sizes.bytes(ty)).sum();
    let written: u64 = node.results.iter().map(|ty| sizes.bytes(ty)).sum();
    let made: u64 = node.results.iter().map(|ty| sizes.numel(&ty.shape)).sum();
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

/// A step of a plan.
pub(super) fn step_cost(plan: &Plan, step: &Step, sizes: &Sizes) -> Cost {
    let bytes_of = |view: &gabion_plan::View| {
        let ty = gabion_tensor::TensorType::new(plan.dtype(view), view.shape.clone());
        sizes.bytes(&ty)
    };
    let views = step.reads.iter().chain(&step.writes);
    let mut bytes: u64 = views.map(bytes_of).sum();
    let elements = |views: &[gabion_plan::View]| -> u64 {
        views
            .iter()
            .map(|view| sizes.numel(&view.shape))
            .max()
            .unwrap_or(0)
    };
    let (read, made) = (elements(&step.reads), elements(&step.writes));
    let flops = match &step.kernel {
        Kernel::Matmul(matmul) => {
            let weight = plan.weight(matmul.weight);
            for part in &weight.parts {
                let share = part.rows.len() as u64;
                let stored = sizes.bytes(&part.stored);
                let rows = part.stored.shape.first().map_or(1, |d| sizes.dim(d)).max(1);
                bytes = bytes.saturating_add(stored / rows * share.min(rows));
            }
            let rows = step.reads.first().map_or(1, |x| {
                let leading = x.shape.iter().rev().skip(1).map(|d| sizes.dim(d));
                leading.fold(1, u64::saturating_mul)
            });
            2 * rows * weight.rows() as u64 * weight.row_elements() as u64
        }
        Kernel::BatchMatmul(_) => {
            let inner = step.reads.first().and_then(|a| a.shape.last());
            2 * made * inner.map_or(1, |d| sizes.dim(d))
        }
        Kernel::Attention(_) => {
            let keys = step.reads.get(1).and_then(|k| k.shape.iter().rev().nth(2));
            4 * made * keys.map_or(1, |d| sizes.dim(d))
        }
        Kernel::Copy
        | Kernel::Convert
        | Kernel::Range { .. }
        | Kernel::Fill { .. }
        | Kernel::Gather { .. }
        | Kernel::GatherElements { .. }
        | Kernel::CacheAppend { .. }
        | Kernel::Scatter { .. } => 0,
        Kernel::Map(program) => made.saturating_mul(program.instrs.len().max(1) as u64),
        Kernel::Reduce { .. }
        | Kernel::ArgReduce { .. }
        | Kernel::TopK { .. }
        | Kernel::CumSum { .. }
        | Kernel::Softmax { .. }
        | Kernel::Norm(_)
        | Kernel::Rope { .. } => made.max(read),
    };
    Cost { flops, bytes }
}
