//! The type rules of `stacked_matmul` for its parts and its segments.

use gabion_tensor::{DType, Dim, Shape, TensorType};

use crate::op::{InferCx, TypeError};
use crate::ops::stack_segment::{Fused, Segment};
use crate::ops::stacked_matmul::StackedMatmul;

impl StackedMatmul {
    pub(super) fn infer_parts(
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

    pub(super) fn infer_segment(
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
