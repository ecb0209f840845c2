//! Writing the rows of one output tensor: gathered in the output's order, converted piece by piece.

use std::io::Write;
use std::path::Path;

use gabion_tensor::{DType, HostTensor, f16};

use super::plan::{OutTensor, Part};
use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, TensorProblem};
use crate::sink::TensorSink;
use crate::view::TensorView;

/// Bytes that are gathered before they are converted and written.
const PIECE: usize = 4 << 20;

/// Writes all rows of `tensor`. `out` names the output in errors of the disk.
pub(super) fn emit(
    checkpoint: &Checkpoint,
    tensor: &OutTensor,
    out: &Path,
    sink: &mut TensorSink<'_>,
) -> Result<(), CheckpointError> {
    if let [part] = tensor.parts.as_slice()
        && part.stored.dtype().is_none()
    {
        return copy_whole(checkpoint, part, out, sink);
    }
    let parts = tensor
        .parts
        .iter()
        .map(|part| Ok((part, checkpoint.view(&part.source)?)))
        .collect::<Result<Vec<_>, CheckpointError>>()?;
    let n_rows = tensor.shape.first().copied().unwrap_or(1);
    let mut piece: Option<Piece<'_>> = None;
    for row in 0..n_rows {
        let row = tensor.order.map_or(row, |order| order.source_row(row));
        let Some((part, view, row)) = find_row(&parts, row) else {
            break;
        };
        let fits = piece.as_ref().is_some_and(|it| {
            it.view.tensor.dtype() == view.tensor.dtype() && it.bytes.len() < PIECE
        });
        if !fits {
            if let Some(full) = piece.take() {
                full.write(checkpoint, tensor, out, sink)?;
            }
            piece = Some(Piece::new(part, view));
        }
        if let (Some(piece), Some(bytes)) = (&mut piece, view.row(row)) {
            piece.bytes.extend_from_slice(bytes);
            piece.n_rows += 1;
        }
    }
    if let Some(last) = piece {
        last.write(checkpoint, tensor, out, sink)?;
    }
    for (_, view) in &parts {
        view.tensor.shared_bytes().advise_dontneed();
    }
    Ok(())
}

/// The part and the row in it that is row `row` of all parts together.
fn find_row<'a>(
    parts: &'a [(&'a Part, TensorView)],
    row: usize,
) -> Option<(&'a Part, &'a TensorView, usize)> {
    let mut left = row;
    for (part, view) in parts {
        if left < part.rows.len() {
            return Some((part, view, part.rows.start + left));
        }
        left -= part.rows.len();
    }
    None
}

fn copy_whole(
    checkpoint: &Checkpoint,
    part: &Part,
    out: &Path,
    sink: &mut TensorSink<'_>,
) -> Result<(), CheckpointError> {
    let bytes = checkpoint
        .info(&part.source)
        .and_then(|info| checkpoint.raw_bytes(info));
    let bytes = bytes.ok_or_else(|| {
        CheckpointError::tensor(
            checkpoint.path(),
            &part.source,
            TensorProblem::Missing {
                nearest: Vec::new(),
            },
        )
    })?;
    write_all(sink, out, &bytes)?;
    bytes.advise_dontneed();
    Ok(())
}

pub(super) fn write_all(
    sink: &mut TensorSink<'_>,
    out: &Path,
    bytes: &[u8],
) -> Result<(), CheckpointError> {
    sink.write_all(bytes)
        .map_err(|source| CheckpointError::io(out, "write", source))
}

/// Gathered rows of one dtype.
struct Piece<'a> {
    part: &'a Part,
    view: &'a TensorView,
    bytes: Vec<u8>,
    n_rows: usize,
}

impl<'a> Piece<'a> {
    fn new(part: &'a Part, view: &'a TensorView) -> Self {
        Piece {
            part,
            view,
            bytes: Vec::new(),
            n_rows: 0,
        }
    }

    fn write(
        self,
        checkpoint: &Checkpoint,
        tensor: &OutTensor,
        out: &Path,
        sink: &mut TensorSink<'_>,
    ) -> Result<(), CheckpointError> {
        let from = self.view.tensor.dtype();
        // The output's types were chosen among those that can be decoded.
        let to = tensor.stored.dtype().unwrap_or(from);
        if from == to {
            return write_all(sink, out, &self.bytes);
        }
        let fail = |problem| CheckpointError::tensor(checkpoint.path(), &self.part.source, problem);
        let mut shape = self.view.tensor.shape().to_vec();
        if let Some(first) = shape.first_mut() {
            *first = self.n_rows;
        }
        let refused =
            |error: gabion_tensor::TensorError| fail(TensorProblem::Tensor(error.to_string()));
        let rows = HostTensor::new(from, &shape, self.bytes).map_err(refused)?;
        // A block format meets another one in f32.
        let rows = match from.is_block() && to != DType::F32 {
            true => rows.cast(DType::F32).map_err(refused)?,
            false => rows,
        };
        let converted = rows.cast(to).map_err(refused)?;
        if let Some(value) = overflow(&rows, &converted) {
            return Err(fail(TensorProblem::Tensor(format!(
                "holds {value}, which is beyond the range of f16: convert to bf16 or f32"
            ))));
        }
        write_all(sink, out, converted.bytes())
    }
}

/// A finite value that became infinite.
fn overflow(from: &HostTensor, to: &HostTensor) -> Option<f32> {
    if to.dtype() != DType::F16 {
        return None;
    }
    let halves = to.to_vec::<f16>().ok()?;
    if !halves.iter().any(|half| half.is_infinite()) {
        return None;
    }
    let values = from.to_f32_vec().ok()?;
    let pairs = values.into_iter().zip(halves);
    pairs
        .filter(|(value, half)| value.is_finite() && half.is_infinite())
        .map(|(value, _)| value)
        .next()
}
