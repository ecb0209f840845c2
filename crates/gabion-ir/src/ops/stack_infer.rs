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
        let mut width = segment.n_rows();
        if segment
            .halves
            .is_some_and(|h| h < 2 || !h.is_multiple_of(2) || !width.is_multiple_of(h))
        {
            return Err(TypeError::new(format!(
                "segment {:?}: halves {:?} must be even and divide the rows",
                segment.rows, segment.halves
            )));
        }
        let given = Given {
            x: &args[0],
            extras: &args[self.first_extra()..],
        };
        let mut cache = None;
        for fused in &segment.epilogue {
            if cache.is_some() {
                return Err(TypeError::new("a cache write ends its epilogue"));
            }
            match *fused {
                Fused::Glu { .. } if segment.halves != Some(width) => {
                    return Err(TypeError::new(
                        "glu needs `halves` to be the segment's rows",
                    ));
                }
                Fused::Glu { .. } => width /= 2,
                Fused::CacheWrite {
                    cache: to,
                    position,
                } => {
                    cache = Some(given.cache_write(to, position, width, cx)?);
                }
                ref other => given.elementwise(other, segment.halves, width, cx)?,
            }
        }
        Ok(cache.unwrap_or_else(|| TensorType::new(DType::F32, given.shape(width))))
    }
}

/// What an epilogue may read.
struct Given<'a> {
    x: &'a TensorType,
    extras: &'a [TensorType],
}

impl Given<'_> {
    /// The axes of x before the last.
    fn lead(&self) -> &[Dim] {
        self.x.shape.split_last().map_or(&[], |(_, lead)| lead)
    }

    /// x's rows with another width.
    fn shape(&self, width: usize) -> Shape {
        let lead = self.lead().iter().cloned();
        lead.chain([Dim::from(width)]).collect()
    }

    /// Extra `n` is f32 and of this shape.
    fn expect(&self, n: usize, shape: &Shape, cx: &mut InferCx<'_>) -> Result<(), TypeError> {
        let found = &self.extras[n];
        if found.dtype != DType::F32 || found.shape.rank() != shape.rank() {
            return Err(TypeError::new(format!(
                "extra {n}: expected f32{shape}, found {found}"
            )));
        }
        for (a, b) in found.shape.iter().zip(shape.iter()) {
            cx.require_eq(a, b, &format!("extra {n} has shape {shape}"))?;
        }
        Ok(())
    }

    /// Steps that keep the width.
    fn elementwise(
        &self,
        fused: &Fused,
        halves: Option<usize>,
        width: usize,
        cx: &mut InferCx<'_>,
    ) -> Result<(), TypeError> {
        match fused {
            Fused::Bias { extra } => {
                let vector = [Dim::from(width)].into_iter().collect();
                self.expect(*extra, &vector, cx)
            }
            Fused::Binary { extra, .. } => self.expect(*extra, &self.shape(width), cx),
            Fused::Scalar { func, value } => {
                let number = value.get();
                if f64::from(number as f32).to_bits() == number.to_bits() || number.is_nan() {
                    return Ok(());
                }
                Err(TypeError::new(format!(
                    "{} {value}: the number must be exact in f32",
                    func.name()
                )))
            }
            Fused::Rope { cos, sin } => {
                let head = halves
                    .ok_or_else(|| TypeError::new("rope needs `halves`: the rows of one head"))?;
                let angles = self.shape(head / 2);
                self.expect(*cos, &angles, cx)?;
                self.expect(*sin, &angles, cx)
            }
            Fused::Map { .. } | Fused::Glu { .. } | Fused::CacheWrite { .. } => Ok(()),
        }
    }

    /// The cache that a segment of this width is written into.
    fn cache_write(
        &self,
        cache: usize,
        position: usize,
        width: usize,
        cx: &mut InferCx<'_>,
    ) -> Result<TensorType, TypeError> {
        let (ty, at) = (&self.extras[cache], &self.extras[position]);
        if self.lead().len() != 1 || ty.dtype != DType::F32 || ty.shape.rank() < 2 {
            return Err(TypeError::new(format!(
                "a cache write needs x of rank 2 and a cache f32[capacity, ..], found {} and {ty}",
                self.x
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
        Ok(ty.clone())
    }
}
