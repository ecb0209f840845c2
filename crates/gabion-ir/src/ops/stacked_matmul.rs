//! `stacked_matmul`: a stack of weights times one activation, with what follows folded in. The
//! compiler makes it from `matmul` and its neighbours; its meaning is its decomposition into them.

use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
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

    fn infer_parts(
        &self,
        args: &[TensorType],
        k: &Dim,
        cx: &mut InferCx<'_>,
    ) -> Result<usize, TypeError> {
        let mut rows = 0;
        for (i, part) in args[self.first_part()..self.first_extra()]
            .iter()
            .enumerate()
        {
            let index = self.first_part() + i;
            match &part.shape[..] {
                [n, part_k] if part.dtype == DType::F32 => {
                    cx.require_eq(
                        part_k,
                        k,
                        &format!("operand {index}: a stacked weight is f32[rows, K] with x's K"),
                    )?;
                    rows += n.as_fixed().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
                        TypeError::new(format!("operand {index}: a stacked weight has a fixed number of rows, found {part}"))
                    })?;
                }
                _ => {
                    return Err(TypeError::new(format!(
                        "operand {index}: expected a weight f32[rows, K], found {part}"
                    )));
                }
            }
        }
        Ok(rows)
    }

    fn infer_segment(
        &self,
        segment: &Segment,
        args: &[TensorType],
        cx: &mut InferCx<'_>,
    ) -> Result<TensorType, TypeError> {
        let x = &args[0];
        let lead = &x.shape[..x.shape.rank() - 1];
        let with_width =
            |n: usize| -> Shape { lead.iter().cloned().chain([Dim::from(n)]).collect() };
        let mut width = segment.n_rows();
        let mut result = None;
        if segment
            .halves
            .is_some_and(|h| h < 2 || !h.is_multiple_of(2) || !width.is_multiple_of(h))
        {
            return Err(TypeError::new(format!(
                "segment {:?}: halves {:?} must be even and divide the rows",
                segment.rows, segment.halves
            )));
        }
        for fused in &segment.epilogue {
            if result.is_some() {
                return Err(TypeError::new("a cache write ends its epilogue"));
            }
            let extra = |n: usize| &args[self.first_extra() + n];
            let expect = |n: usize, shape: Shape, cx: &mut InferCx<'_>| -> Result<(), TypeError> {
                let found = extra(n);
                if found.dtype != DType::F32 || found.shape.rank() != shape.rank() {
                    return Err(TypeError::new(format!(
                        "extra {n}: expected f32{shape}, found {found}"
                    )));
                }
                for (a, b) in found.shape.iter().zip(shape.iter()) {
                    cx.require_eq(a, b, &format!("extra {n} has shape {shape}"))?;
                }
                Ok(())
            };
            match fused {
                Fused::Bias { extra } => {
                    expect(*extra, [Dim::from(width)].into_iter().collect(), cx)?
                }
                Fused::Map { .. } => {}
                Fused::Scalar { func, value } => {
                    if f64::from(value.get() as f32).to_bits() != value.get().to_bits()
                        && !value.get().is_nan()
                    {
                        return Err(TypeError::new(format!(
                            "{} {value}: the number must be exact in f32",
                            func.name()
                        )));
                    }
                }
                Fused::Binary { extra, .. } => expect(*extra, with_width(width), cx)?,
                Fused::Glu { .. } if segment.halves == Some(width) => width /= 2,
                Fused::Glu { .. } => {
                    return Err(TypeError::new(
                        "glu needs `halves` to be the segment's rows",
                    ));
                }
                Fused::Rope { cos, sin } => {
                    let head = segment.halves.ok_or_else(|| {
                        TypeError::new("rope needs `halves`: the rows of one head")
                    })?;
                    expect(*cos, with_width(head / 2), cx)?;
                    expect(*sin, with_width(head / 2), cx)?;
                }
                Fused::CacheWrite { cache, position } => {
                    let (ty, at) = (extra(*cache), extra(*position));
                    if lead.len() != 1 || ty.dtype != DType::F32 || ty.shape.rank() < 2 {
                        return Err(TypeError::new(format!(
                            "a cache write needs x of rank 2 and a cache f32[capacity, ..], found {x} and {ty}"
                        )));
                    }
                    if *at != TensorType::new(DType::I64, Shape::default()) {
                        return Err(TypeError::new(format!(
                            "extra {position}: expected i64[], found {at}"
                        )));
                    }
                    let row: Dim = ty.shape.iter().skip(1).fold(Dim::fixed(1), |n, d| &n * d);
                    cx.require_eq(
                        &row,
                        &Dim::from(width),
                        "a cache row has as many elements as the segment",
                    )?;
                    result = Some(ty.clone());
                }
            }
        }
        Ok(result.unwrap_or_else(|| TensorType::new(DType::F32, with_width(width))))
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
