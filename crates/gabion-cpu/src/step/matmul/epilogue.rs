//! The epilogues of one segment: as the kernel's form where it has one, else as operations on rows.
//! Both round after every operation, in the same order, so they give the same bits.
#![allow(unsafe_code)]

use std::fmt::Display;

use gabion_plan::{Arrangement, Epilogue, RunError};
use gabion_tensor::{BinaryFn, DType, UnaryFn};

use super::plain_rows;
use crate::access::Placed;
use crate::kernels::lanes::vector_fn;
use crate::kernels::matmul::{Form, Output, Residual, Segment};
use crate::kernels::vmath::VectorFn;
use crate::pack::{NO_ROW, TILE};
use crate::step::rows::{Rows, Scratch, scratch_bytes};
use crate::step::{Prepare, StepCx, require_float};
use crate::tiled::{Piece, TiledSegment};

/// What a segment's epilogue came to.
pub(super) struct Parsed {
    /// Columns of the result.
    pub(super) width: usize,
    /// The read that holds the cache position.
    pub(super) position: Option<usize>,
    /// The kernel's form, if it has one.
    pub(super) fused: Option<Fused>,
    /// The same as operations on rows.
    pub(super) ops: RowOps,
}

/// An epilogue that the kernel applies to finished tiles.
pub(super) struct Fused {
    scale: Option<f32>,
    bias: Option<Bias>,
    form: FusedForm,
}

enum FusedForm {
    Plain {
        activation: Option<VectorFn>,
        residual: Option<(Placed, usize)>,
    },
    Gated {
        activation: VectorFn,
    },
    Rotary {
        cos: Placed,
        sin: Placed,
        row_stride: usize,
    },
}

struct Bias {
    rows: Rows,
    /// Lanes of all pieces.
    lanes: usize,
}

/// Operations on a row of sums.
pub(super) struct RowOps(Vec<RowOp>);

#[allow(
    clippy::large_enum_variant,
    reason = "a step has a few, and they are made once"
)]
enum RowOp {
    Bias(Rows),
    Map(UnaryFn),
    Binary {
        func: BinaryFn,
        operand: Rows,
        swapped: bool,
    },
    Scalar(BinaryFn, f32),
    Glu {
        func: UnaryFn,
        block: usize,
    },
    Rope {
        cos: Rows,
        sin: Rows,
        block: usize,
    },
}

/// Checks a segment's epilogue and brings it into both forms.
///
/// # Errors
/// An operand that is missing, of the wrong shape or dtype, or pairs where the segment has none.
pub(super) fn parse(
    cx: &Prepare<'_>,
    epilogue: &[Epilogue],
    segment: &TiledSegment,
    m: usize,
) -> Result<Parsed, RunError> {
    let rows = segment.rows.len();
    let mut parser = Parser {
        cx,
        m,
        rows,
        block: segment
            .pieces
            .iter()
            .find_map(|piece| piece.pairs.as_ref())
            .map(|pairs| pairs.block),
        width: rows,
    };
    let mut position = None;
    let mut ops = Vec::new();
    for op in epilogue {
        cx.require(position.is_none(), || {
            "nothing comes after the cache write".into()
        })?;
        match parser.op(op)? {
            Step::Row(op) => ops.push(op),
            Step::CacheWrite(read) => position = Some(read),
        }
    }
    Ok(Parsed {
        width: parser.width,
        position,
        fused: fuse(cx, epilogue, segment),
        ops: RowOps(ops),
    })
}

/// What an epilogue's step is where it is not fused.
#[allow(
    clippy::large_enum_variant,
    reason = "each is taken apart where it is made"
)]
enum Step {
    Row(RowOp),
    /// The read that holds the position.
    CacheWrite(usize),
}

/// Checks the steps of an epilogue one after the other.
struct Parser<'a> {
    cx: &'a Prepare<'a>,
    m: usize,
    /// Rows of the segment.
    rows: usize,
    /// Rows of a block of pairs, if the segment has pairs.
    block: Option<usize>,
    /// Columns that are left.
    width: usize,
}

impl Parser<'_> {
    fn op(&mut self, op: &Epilogue) -> Result<Step, RunError> {
        Ok(Step::Row(match op {
            Epilogue::Bias { read } => RowOp::Bias(self.bias(*read)?),
            Epilogue::Map { func } => {
                let of_numbers = func.f32_fn().is_some() && !func.is_test();
                self.require_floats(of_numbers, func)?;
                RowOp::Map(*func)
            }
            Epilogue::Binary {
                func,
                read,
                swapped,
            } => {
                self.require_floats(func.f32_fn().is_some(), func)?;
                RowOp::Binary {
                    func: *func,
                    operand: self.matrix(*read, self.width)?,
                    swapped: *swapped,
                }
            }
            Epilogue::Scalar { func, value } => {
                self.require_floats(func.f32_fn().is_some(), func)?;
                RowOp::Scalar(*func, *value)
            }
            Epilogue::Glu { func } => self.glu(*func)?,
            Epilogue::Rope { cos, sin } => self.rope(*cos, *sin)?,
            Epilogue::CacheWrite { position } => return Ok(Step::CacheWrite(*position)),
        }))
    }

    fn require_floats(&self, fits: bool, func: &dyn Display) -> Result<(), RunError> {
        self.cx.require(fits, || format!("`{func}` of floats"))
    }

    fn bias(&self, read: usize) -> Result<Rows, RunError> {
        let (cx, width) = (self.cx, self.width);
        let placed = cx.read(read)?;
        require_float(cx, "the bias", placed.dtype)?;
        let fits = placed.shape.as_slice() == [width] && placed.dtype != DType::F64;
        cx.require(fits, || {
            format!(
                "the bias is {}{:?}, expected f32[{width}]",
                placed.dtype, placed.shape
            )
        })?;
        Ok(Rows::along(placed, &[0]))
    }

    /// An operand with as many rows as x.
    fn matrix(&self, read: usize, columns: usize) -> Result<Rows, RunError> {
        let (cx, m) = (self.cx, self.m);
        let placed = cx.read(read)?;
        require_float(cx, "an operand of the epilogue", placed.dtype)?;
        let fits = placed.dtype != DType::F64
            && placed.shape.last() == Some(&columns)
            && placed.numel() == m * columns;
        cx.require(fits, || {
            format!(
                "read {read} is {}{:?}, expected {m} rows of {columns}",
                placed.dtype, placed.shape
            )
        })?;
        Ok(Rows::along(placed, &[placed.shape.len() - 1]))
    }

    fn pairs(&self) -> Result<usize, RunError> {
        self.block.ok_or_else(|| {
            self.cx.wrong(format!(
                "pairs are asked for, and the segment is {:?}",
                Arrangement::Plain
            ))
        })
    }

    fn glu(&mut self, func: UnaryFn) -> Result<RowOp, RunError> {
        let fits = func.f32_fn().is_some() && self.width == self.rows;
        self.cx.require(fits, || format!("`{func}` of pairs"))?;
        let block = self.pairs()?;
        self.width /= 2;
        Ok(RowOp::Glu { func, block })
    }

    fn rope(&self, cos: usize, sin: usize) -> Result<RowOp, RunError> {
        self.cx.require(self.width == self.rows, || {
            "a rotation after pairs have gone".into()
        })?;
        let block = self.pairs()?;
        Ok(RowOp::Rope {
            cos: self.matrix(cos, block / 2)?,
            sin: self.matrix(sin, block / 2)?,
            block,
        })
    }
}

/// The function of an activation, as the kernel knows it.
fn activation(func: UnaryFn) -> Option<VectorFn> {
    match func {
        UnaryFn::Relu => Some(VectorFn::Relu),
        other => vector_fn(other),
    }
}

/// The kernel's form of an epilogue that [`parse`] has checked.
fn fuse(cx: &Prepare<'_>, epilogue: &[Epilogue], segment: &TiledSegment) -> Option<Fused> {
    let mut rest = epilogue;
    if let [head @ .., Epilogue::CacheWrite { .. }] = rest {
        rest = head;
    }
    let mut scale = None;
    if let [
        Epilogue::Scalar {
            func: BinaryFn::Mul,
            value,
        },
        tail @ ..,
    ] = rest
    {
        (scale, rest) = (Some(*value), tail);
    }
    let mut bias = None;
    if let [Epilogue::Bias { read }, tail @ ..] = rest {
        let lanes = segment
            .pieces
            .iter()
            .map(|piece| piece.lanes.len() * TILE)
            .sum();
        bias = Some(Bias {
            rows: Rows::along(cx.read(*read).ok()?, &[0]),
            lanes,
        });
        rest = tail;
    }
    let form = match rest {
        [Epilogue::Glu { func }] => FusedForm::Gated {
            activation: activation(*func)?,
        },
        [Epilogue::Rope { cos, sin }] => {
            let ((cos, cos_stride), (sin, sin_stride)) =
                (matrix_at(cx, *cos)?, matrix_at(cx, *sin)?);
            if cos_stride != sin_stride {
                return None;
            }
            FusedForm::Rotary {
                cos,
                sin,
                row_stride: cos_stride,
            }
        }
        _ => plain_form(cx, rest)?,
    };
    Some(Fused { scale, bias, form })
}

/// Where the rows of an operand are, and how far apart.
fn matrix_at(cx: &Prepare<'_>, read: usize) -> Option<(Placed, usize)> {
    let placed = cx.read(read).ok()?;
    let rows = Rows::along(placed, &[placed.shape.len() - 1]);
    Some((placed.clone(), plain_rows(placed, &rows)?))
}

/// An activation and then a residual, of which each may be missing.
fn plain_form(cx: &Prepare<'_>, epilogue: &[Epilogue]) -> Option<FusedForm> {
    let (mut rest, mut function) = (epilogue, None);
    if let [Epilogue::Map { func }, tail @ ..] = rest {
        (function, rest) = (Some(activation(*func)?), tail);
    }
    let residual = match rest {
        [] => None,
        // A sum is the same either way round.
        [
            Epilogue::Binary {
                func: BinaryFn::Add,
                read,
                ..
            },
        ] => Some(matrix_at(cx, *read)?),
        _ => return None,
    };
    Some(FusedForm::Plain {
        activation: function,
        residual,
    })
}

impl Fused {
    /// Bytes of scratch for biases in the order of lanes.
    pub(super) fn bias_scratch(&self) -> usize {
        let Some(bias) = &self.bias else { return 0 };
        // Each piece's lanes are rounded up to a cache line, which whole tiles are anyway.
        scratch_bytes::<f32>(bias.lanes) + scratch_bytes::<f32>(bias.rows.len())
    }

    /// The column of a piece's first row.
    pub(super) fn first_column(&self, piece: &Piece) -> usize {
        match self.form {
            FusedForm::Gated { .. } => piece.rows.start / 2,
            FusedForm::Plain { .. } | FusedForm::Rotary { .. } => piece.rows.start,
        }
    }

    /// The kernel's segment for one piece.
    pub(super) fn segment<'a>(
        &'a self,
        cx: &StepCx<'_>,
        piece: &'a Piece,
        out: Output,
        scratch: &mut Scratch,
    ) -> Segment<'a> {
        let bias = self
            .bias
            .as_ref()
            .map(|bias| bias.in_lanes(cx, piece, scratch));
        let mut columns = &piece.columns;
        let form = match &self.form {
            FusedForm::Plain {
                activation,
                residual,
            } => Form::Plain {
                activation: *activation,
                residual: residual.as_ref().map(|(placed, row_stride)| Residual {
                    ptr: cx
                        .at(placed)
                        .cast_const()
                        .cast::<f32>()
                        .wrapping_add(piece.rows.start),
                    row_stride: *row_stride,
                }),
            },
            FusedForm::Gated { activation } => {
                if let Some(pairs) = &piece.pairs {
                    columns = &pairs.columns;
                }
                Form::Gated {
                    activation: Some(*activation),
                }
            }
            FusedForm::Rotary {
                cos,
                sin,
                row_stride,
            } => Form::Rotary {
                cos: cx.at(cos).cast_const().cast(),
                sin: cx.at(sin).cast_const().cast(),
                row_stride: *row_stride,
                angles: piece
                    .pairs
                    .as_ref()
                    .map_or(&[], |pairs| pairs.angles.as_slice()),
            },
        };
        Segment {
            tiles: piece.tiles.clone(),
            columns,
            scale: self.scale,
            bias,
            form,
            out,
        }
    }
}

impl Bias {
    /// The bias of each lane of a piece.
    fn in_lanes(&self, cx: &StepCx<'_>, piece: &Piece, scratch: &mut Scratch) -> *const f32 {
        if let (Some(bias), None, true) = (
            self.rows.slice::<f32>(cx, 0),
            &piece.pairs,
            piece.rows.len().is_multiple_of(TILE),
        ) {
            // Lanes are rows in their order.
            return bias[piece.rows.clone()].as_ptr();
        }
        let lanes = scratch.take::<f32>(piece.lanes.len() * TILE);
        match self.rows.slice::<f32>(cx, 0) {
            Some(bias) => {
                for (lane, &row) in lanes.iter_mut().zip(piece.lanes.iter().flatten()) {
                    *lane = if row == NO_ROW {
                        0.0
                    } else {
                        bias[row as usize]
                    };
                }
            }
            None => {
                for (lane, &row) in lanes.iter_mut().zip(piece.lanes.iter().flatten()) {
                    let mut one = [0.0f32];
                    if row != NO_ROW {
                        self.rows.load(cx, 0, row as usize, &mut one);
                    }
                    *lane = one[0];
                }
            }
        }
        lanes.as_ptr()
    }
}

impl RowOps {
    /// Applies the operations to a row of `columns` sums in `values`; `other` is as large.
    pub(super) fn apply(
        &self,
        cx: &StepCx<'_>,
        row: usize,
        columns: usize,
        values: &mut [f32],
        other: &mut [f32],
    ) {
        let lanes = &cx.kernels.lanes;
        let mut n = columns;
        for op in &self.0 {
            // Every function reads one buffer and writes the other.
            let operand = &mut other[..n];
            match op {
                RowOp::Bias(bias) => {
                    bias.load(cx, 0, 0, operand);
                    join(values, operand, |a, b| a + b);
                }
                RowOp::Map(func) => {
                    operand.copy_from_slice(&values[..n]);
                    lanes.unary(*func, operand, &mut values[..n]);
                }
                RowOp::Binary {
                    func,
                    operand: read,
                    swapped,
                } => {
                    read.load(cx, row, 0, operand);
                    if let Some(f) = func.f32_fn() {
                        let swapped = *swapped;
                        join(
                            values,
                            operand,
                            |a, b| if swapped { f(b, a) } else { f(a, b) },
                        );
                    }
                }
                RowOp::Scalar(func, value) => {
                    if let Some(f) = func.f32_fn() {
                        values[..n].iter_mut().for_each(|x| *x = f(*x, *value));
                    }
                }
                RowOp::Glu { func, block } => {
                    lanes.unary(*func, &values[..n], operand);
                    gate(&mut values[..n], operand, *block);
                    n /= 2;
                }
                RowOp::Rope { cos, sin, block } => {
                    let (angles, rest) = other.split_at_mut(block / 2);
                    let rest = &mut rest[..block / 2];
                    cos.load(cx, row, 0, angles);
                    sin.load(cx, row, 0, rest);
                    rotate(&mut values[..n], angles, rest);
                }
            }
        }
    }
}

/// The product of each pair: its activated first and its second, into the first half of `values`.
fn gate(values: &mut [f32], activated: &[f32], block: usize) {
    let half = block / 2;
    for i in 0..values.len() / 2 {
        let first = i / half * block + i % half;
        values[i] = activated[first] * values[first + half];
    }
}

/// Turns the pairs of each head.
fn rotate(values: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in values.chunks_exact_mut(2 * half) {
        for i in 0..half {
            let (a, b, c, s) = (head[i], head[i + half], cos[i], sin[i]);
            head[i] = a * c - b * s;
            head[i + half] = b * c + a * s;
        }
    }
}

fn join(values: &mut [f32], operand: &[f32], f: impl Fn(f32, f32) -> f32) {
    for (value, &operand) in values.iter_mut().zip(operand) {
        *value = f(*value, operand);
    }
}
