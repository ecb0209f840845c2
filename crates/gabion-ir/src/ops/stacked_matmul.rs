//! `stacked_matmul`: a stack of weights times one activation, with what follows folded in. The
//! compiler makes it from `matmul` and its neighbours; its meaning is its decomposition into them.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::stack_segment::{Fused, Segment, StackNorm};
use crate::ops::stacked_eval;
use crate::sample::{Sample, Sampler};

/// Operands: `x f32[.., K]`, then the norm's weight (and bias) if there is a norm, then `parts`
/// weights `f32[n_i, K]`, then extras that epilogues name by their number among the extras.
/// Results: one per segment, `f32[.., width]`, or the cache's type after a cache write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackedMatmul {
    /// How many weights are stacked.
    pub parts: usize,
    /// A norm of x over K, computed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<StackNorm>,
    /// What becomes of the stack's rows: consecutive ranges that cover them all.
    pub segments: Vec<Segment>,
}

impl StackedMatmul {
    /// The number of operands before the parts.
    pub fn first_part(&self) -> usize {
        1 + self.norm.map_or(0, |n| n.kind.operands())
    }

    /// The number of operands before the extras.
    pub fn first_extra(&self) -> usize {
        // A count that no list of operands has is refused with the operands.
        self.first_part().saturating_add(self.parts)
    }

    /// The number of extras that the epilogues name (they name all of `0..n`).
    pub fn n_extras(&self) -> usize {
        let named = self
            .segments
            .iter()
            .flat_map(|s| &s.epilogue)
            .flat_map(Fused::extras);
        named.max().map_or(0, |n| n.saturating_add(1))
    }
}

impl OpDef for StackedMatmul {
    const NAME: &'static str = "stacked_matmul";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let expected = self.first_extra().saturating_add(self.n_extras());
        if self.parts == 0 || args.len() != expected {
            return Err(TypeError::arity(
                &format!("{expected} (x, norm, {} parts, extras)", self.parts),
                args.len(),
            ));
        }
        let x = &args[0];
        let Some(k) = x.shape.last().filter(|_| x.dtype == DType::F32) else {
            return Err(TypeError::new(format!(
                "operand 0: expected f32[.., K], found {x}"
            )));
        };
        for (i, arg) in args.iter().enumerate().take(self.first_part()).skip(1) {
            if arg.dtype != DType::F32 || arg.shape.rank() != 1 {
                return Err(TypeError::new(format!(
                    "operand {i}: expected the norm's f32[K], found {arg}"
                )));
            }
            cx.require_eq(
                &arg.shape[0],
                k,
                &format!("operand {i} is the norm's f32[K]"),
            )?;
        }
        let rows = self.infer_parts(args, k, cx)?;
        let mut next = 0;
        for segment in &self.segments {
            if segment.rows[0] != next || segment.rows[1] <= segment.rows[0] {
                return Err(TypeError::new(format!(
                    "segment {:?}: expected rows from {next}, at least one",
                    segment.rows
                )));
            }
            next = segment.rows[1];
        }
        if next != rows {
            return Err(TypeError::new(format!(
                "segments cover {next} rows, the parts have {rows}"
            )));
        }
        self.segments
            .iter()
            .map(|s| self.infer_segment(s, args, cx))
            .collect()
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        stacked_eval::eval_by_decomposition(&self.clone().into(), args)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        stacked_eval::decompose(self, args)
    }

    fn tolerance(&self) -> Tolerance {
        // The executor's sum is an f32 chain over K; the evaluator's is in f64.
        Tolerance::Norm(1e-5)
    }

    fn sample(s: &mut Sampler) -> Sample {
        stacked_eval::sample(s)
    }
}
