//! `convert`: decodes block formats to floats and encodes floats to block formats, along the last
//! axis; between plain dtypes it casts.
#![allow(unsafe_code)]

use gabion_plan::RunError;
use gabion_tensor::{BlockFormat, DType};

use super::rows::{Flat, Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, TILE};
use crate::access::Placed;
use crate::value::{self, Kind, Value, Values, ValuesMut, with_kind};

pub(super) fn prepare(cx: &Prepare<'_>) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    match (x.dtype, y.dtype) {
        (DType::Block(format), to) if to.is_float() => blocks(cx, format, x, y, true),
        (from, DType::Block(format)) if from.is_float() => blocks(cx, format, y, x, false),
        (from, to) if !from.is_block() && !to.is_block() => {
            cx.require(x.shape == y.shape, || {
                format!("{:?} from {:?}", y.shape, x.shape)
            })?;
            Ok(Box::new(CastStep {
                x: Flat::new(x),
                y: Flat::new(y),
            }))
        }
        (from, to) => Err(cx.wrong(format!("no conversion from {from} to {to}; go through f32"))),
    }
}

fn blocks(
    cx: &Prepare<'_>,
    format: BlockFormat,
    codes: &Placed,
    values: &Placed,
    decode: bool,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let n = format.block_elems();
    let rank = codes.shape.len();
    let fits = rank > 0
        && rank == values.shape.len()
        && codes.shape[..rank - 1] == values.shape[..rank - 1]
        && codes.shape[rank - 1] * n == values.shape[rank - 1];
    cx.require(fits, || {
        format!(
            "blocks {:?} of {n} for {:?} values",
            codes.shape, values.shape
        )
    })?;
    let inner = codes.access_of(std::iter::once(rank - 1));
    cx.require(inner.is_contiguous(), || {
        "blocks along the last axis have to be neighbours".into()
    })?;
    Ok(Box::new(BlockStep {
        format,
        decode,
        codes: codes.clone(),
        outer: codes.access_of(0..rank - 1),
        values: Rows::along(values, &[rank - 1]),
        row_blocks: codes.shape[rank - 1],
    }))
}

struct BlockStep {
    format: BlockFormat,
    decode: bool,
    codes: Placed,
    /// Where rows of blocks start.
    outer: crate::access::Access,
    values: Rows,
    row_blocks: usize,
}

impl PreparedStep for BlockStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<f32>(TILE) + scratch_bytes::<f64>(TILE)
    }

    fn cost(&self) -> usize {
        self.values.count() * self.values.len() * if self.decode { 1 } else { 4 }
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let mut scratch = Scratch::of(cx);
        let (f32s, f64s) = (scratch.take::<f32>(TILE), scratch.take::<f64>(TILE));
        let (format, n) = (self.format.format(), self.format.block_elems());
        let at_once = TILE / n;
        let pieces = self.row_blocks.div_ceil(at_once);
        for item in cx.share(self.values.count() * pieces) {
            let (row, first) = (item / pieces, item % pieces * at_once);
            let blocks = at_once.min(self.row_blocks - first);
            let offset = (self.outer.offset(row) + first as isize) * format.block_bytes as isize;
            let at = cx.at(&self.codes).wrapping_offset(offset);
            let (bytes, start) = (blocks * format.block_bytes, first * n);
            let f32s = &mut f32s[..blocks * n];
            let f64s = &mut f64s[..blocks * n];
            let wide = Kind::of(self.values.dtype()) == Kind::F64;
            if self.decode {
                // SAFETY: the view lies inside its memory, its blocks are neighbours, and the
                // schedule lets nobody write them now.
                (format.decode_block)(unsafe { value::slice(at, bytes) }, f32s);
                if wide {
                    value::cast(&Values::F32(f32s), DType::F64, &mut ValuesMut::F64(f64s));
                    self.values.store(cx, row, start, f64s);
                } else {
                    self.values.store(cx, row, start, f32s);
                }
            } else {
                if wide {
                    self.values.load(cx, row, start, f64s);
                    value::cast(&Values::F64(f64s), DType::F32, &mut ValuesMut::F32(f32s));
                } else {
                    self.values.load(cx, row, start, f32s);
                }
                // SAFETY: as above; each block is written by one worker.
                (format.encode_block)(f32s, unsafe { value::slice_mut(at, bytes) });
            }
        }
        Ok(())
    }
}

struct CastStep {
    x: Flat,
    y: Flat,
}

impl CastStep {
    fn tile<A: Value, B: Value>(
        &self,
        cx: &StepCx<'_>,
        start: usize,
        len: usize,
        scratch: &mut Scratch,
    ) {
        let (a, b) = (scratch.take::<A>(len), scratch.take::<B>(len));
        self.x.load(cx, start, a);
        value::cast(&A::values(a), self.y.dtype(), &mut B::values_mut(b));
        self.y.store(cx, start, b);
    }
}

impl PreparedStep for CastStep {
    fn scratch(&self) -> usize {
        2 * scratch_bytes::<u64>(TILE)
    }

    fn cost(&self) -> usize {
        self.x.len() / 2
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let mine = cx.share(self.x.len().div_ceil(64));
        let (mut start, end) = (mine.start * 64, (mine.end * 64).min(self.x.len()));
        while start < end {
            let len = TILE.min(end - start);
            let mut scratch = Scratch::of(cx);
            with_kind!(Kind::of(self.x.dtype()), A => with_kind!(Kind::of(self.y.dtype()), B => {
                self.tile::<A, B>(cx, start, len, &mut scratch);
            }));
            start += len;
        }
        Ok(())
    }
}
