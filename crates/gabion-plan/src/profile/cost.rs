//! What a step costs: floating-point operations, and bytes read and written if nothing is in a cache.

use gabion_tensor::{Bindings, DType, Dim};

use crate::kernel::{Epilogue, Kernel, Matmul};
use crate::plan::{Plan, Step};
use crate::view::View;
use crate::weight::Layout;

/// Operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCost {
    /// Floating-point operations (a multiplication and an addition are two).
    pub flops: u64,
    /// Bytes read; weights in the format in which they are stored.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl StepCost {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.read.saturating_add(self.written)
    }
}

struct Sizes<'a> {
    plan: &'a Plan,
    sizes: &'a Bindings,
}

impl Sizes<'_> {
    /// A size that cannot be computed counts as 1.
    fn dim(&self, dim: &Dim) -> u64 {
        let value = dim.eval(self.sizes).ok();
        value.and_then(|n| u64::try_from(n).ok()).unwrap_or(1)
    }

    fn numel(&self, view: &View) -> u64 {
        let sizes = view.shape.iter().map(|d| self.dim(d));
        sizes.fold(1, u64::saturating_mul)
    }

    /// Elements that are looked at: a broadcast axis is read once.
    fn distinct(&self, view: &View) -> u64 {
        let axes = view.shape.iter().zip(&view.strides);
        let moved = axes.filter(|(_, stride)| stride.as_fixed() != Some(0));
        moved.fold(1, |n, (d, _)| n.saturating_mul(self.dim(d)))
    }

    fn bytes(&self, view: &View) -> u64 {
        bytes_of(self.plan.dtype(view), self.distinct(view))
    }
}

fn bytes_of(dtype: DType, elements: u64) -> u64 {
    let blocks = elements.div_ceil(dtype.block_elems().max(1) as u64);
    blocks.saturating_mul(dtype.block_bytes() as u64)
}

/// Sizes may be anything that a user names.
fn product(factors: &[u64]) -> u64 {
    factors.iter().copied().fold(1, u64::saturating_mul)
}

/// What step `step` costs with these sizes; counts that overflow stay at the largest.
pub fn step_cost(plan: &Plan, step: &Step, sizes: &Bindings) -> StepCost {
    let of = Sizes { plan, sizes };
    let most = |views: &[View]| views.iter().map(|v| of.numel(v)).max().unwrap_or(0);
    let (read, made) = (most(&step.reads), most(&step.writes));
    let flops = match &step.kernel {
        Kernel::Matmul(matmul) => return matmul_cost(&of, step, matmul),
        Kernel::BatchMatmul(_) => {
            let inner = step.reads.first().and_then(|a| a.shape.last());
            product(&[2, made, inner.map_or(1, |d| of.dim(d))])
        }
        // Scores and their use: twice two operations for each query, key and element of a head.
        Kernel::Attention(_) => {
            let keys = step.reads.get(1).and_then(|k| k.shape.iter().rev().nth(2));
            product(&[4, made, keys.map_or(1, |d| of.dim(d))])
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
    let all = |views: &[View]| {
        let bytes = views.iter().map(|v| of.bytes(v));
        bytes.fold(0, u64::saturating_add)
    };
    let (read, written): (u64, u64) = (all(&step.reads), all(&step.writes));
    let (read, written) = match &step.kernel {
        // Only the rows that are looked up are read, and only the new rows of a cache are written.
        Kernel::Gather { .. } | Kernel::GatherElements { .. } => {
            (written.saturating_add(all(&step.reads[1..])), written)
        }
        Kernel::CacheAppend { .. } => (read, all(&step.reads[..1])),
        _ => (read, written),
    };
    StepCost {
        flops,
        read,
        written,
    }
}

/// The weight in its stored format, the activation, what epilogues read; each segment's own columns
/// are written, into a cache too.
fn matmul_cost(of: &Sizes<'_>, step: &Step, matmul: &Matmul) -> StepCost {
    let weight = of.plan.weight(matmul.weight);
    let rows = step.reads.first().map_or(1, |x| {
        let leading = x.shape.iter().rev().skip(1).map(|d| of.dim(d));
        leading.fold(1, u64::saturating_mul)
    });
    let (n, k) = (weight.rows() as u64, weight.row_elements() as u64);
    let mut read: u64 = weight
        .parts
        .iter()
        .map(|part| {
            let dtype = match weight.layout {
                Layout::Tiles => part.stored.dtype,
                Layout::Dense => weight.ty.dtype,
            };
            bytes_of(dtype, (part.rows.len() as u64).saturating_mul(k))
        })
        .fold(0, u64::saturating_add);
    let written_to = |view: &View| step.writes.iter().any(|w| w.source == view.source);
    let others = step.reads.iter().filter(|view| !written_to(view));
    read = others.fold(read, |sum, view| sum.saturating_add(of.bytes(view)));
    let mut written = 0;
    for (segment, output) in weight.segments.iter().zip(&matmul.outputs) {
        let glu = |e: &Epilogue| matches!(e, Epilogue::Glu { .. });
        let columns = segment.rows.len()
            / if output.epilogue.iter().any(glu) {
                2
            } else {
                1
            };
        written = u64::saturating_add(written, product(&[rows, columns as u64, 4]));
    }
    StepCost {
        flops: product(&[2, rows, n, k]),
        read,
        written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 3 rows of 64 f32, a stack of 64 + 64 rows of bf16 paired by a gate.
    #[test]
    fn a_stack_costs_its_stored_bytes_and_the_columns_it_writes() {
        let plan = Plan::parse(include_str!("gate.plan")).unwrap_or_else(|e| panic!("{e}"));
        let mut sizes = Bindings::default();
        sizes.bind("n", 3).expect("bound once");
        assert_eq!(
            step_cost(&plan, &plan.steps[0], &sizes),
            StepCost {
                flops: 2 * 3 * 128 * 64,
                read: 128 * 64 * 2 + 3 * 64 * 4,
                written: 3 * 64 * 4,
            }
        );
    }
}
