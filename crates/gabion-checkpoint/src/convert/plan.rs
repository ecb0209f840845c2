//! Which rows of which input tensors make up each output tensor, and in which element type. No bytes are read here.

use std::ops::Range;

use gabion_tensor::DType;

use super::ConvertOptions;
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::error::{CheckpointError, TensorProblem};
use crate::sink::TensorDecl;
use crate::stored::{GgmlType, SafetensorsType, StoredType};
use crate::view::RowMap;

/// One tensor of the output.
#[derive(Clone, Debug)]
pub(super) struct OutTensor {
    /// The name in the output.
    pub(super) name: String,
    /// The shape, row-major.
    pub(super) shape: Vec<usize>,
    /// The input's rows, one part after the other.
    pub(super) parts: Vec<Part>,
    /// The element type in the output.
    pub(super) stored: StoredType,
    /// The order of the rows in the output, if it is not the model's.
    pub(super) order: Option<RowMap>,
}

/// Rows of one input tensor, in the model's order.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The input tensor.
    pub(super) source: String,
    /// Its rows.
    pub(super) rows: Range<usize>,
    /// The element type in the input.
    pub(super) stored: StoredType,
}

impl OutTensor {
    /// Bytes in the output.
    pub(super) fn byte_len(&self) -> u64 {
        let bytes = match self.stored {
            StoredType::Safetensors(it) => it.bytes_for(&self.shape),
            StoredType::Ggml(it) => it.bytes_for(&self.shape),
        };
        bytes.unwrap_or(0)
    }

    pub(super) fn safetensors_decl(&self) -> TensorDecl<SafetensorsType> {
        let stored = match self.stored {
            StoredType::Safetensors(it) => it,
            // `encode_for_safetensors` has made every type one of safetensors.
            StoredType::Ggml(_) => SafetensorsType::F32,
        };
        TensorDecl {
            name: self.name.clone(),
            stored,
            shape: self.shape.clone(),
        }
    }

    pub(super) fn ggml_decl(&self) -> TensorDecl<GgmlType> {
        let stored = match self.stored {
            StoredType::Ggml(it) => it,
            // `encode_for_gguf` has made every type one of GGUF.
            StoredType::Safetensors(_) => GgmlType::F32,
        };
        TensorDecl {
            name: self.name.clone(),
            stored,
            shape: self.shape.clone(),
        }
    }

    /// The dtype that all parts can be read in without loss: `None` if one of them cannot be decoded.
    fn common_dtype(&self) -> Option<DType> {
        let mut parts = self.parts.iter();
        let first = parts.next()?.stored.dtype()?;
        parts.try_fold(first, |common, part| {
            let dtype = part.stored.dtype()?;
            match dtype == common {
                true => Some(common),
                // Two block formats, or a block format and a plain dtype, meet in f32.
                false if dtype.is_block() || common.is_block() => Some(DType::F32),
                false => DType::promote(common, dtype),
            }
        })
    }
}

/// The output that is the input.
pub(super) fn keep(checkpoint: &Checkpoint) -> Vec<OutTensor> {
    checkpoint.tensors().values().map(whole).collect()
}

/// An output tensor that is an input tensor.
pub(super) fn whole(info: &TensorInfo) -> OutTensor {
    OutTensor {
        name: info.name.clone(),
        shape: info.shape.clone(),
        parts: vec![Part {
            source: info.name.clone(),
            rows: 0..info.shape.first().copied().unwrap_or(1),
            stored: info.stored,
        }],
        stored: info.stored,
        order: None,
    }
}

/// Chooses the element types of a safetensors file.
pub(super) fn encode_for_safetensors(
    checkpoint: &Checkpoint,
    tensors: &mut [OutTensor],
    asked: Option<DType>,
) -> Result<(), CheckpointError> {
    for tensor in tensors {
        let unchanged = match tensor.parts.as_slice() {
            [part] => match part.stored {
                StoredType::Safetensors(it) => Some(it),
                StoredType::Ggml(_) => None,
            },
            _ => None,
        };
        let stored = match (tensor.common_dtype(), unchanged) {
            // Only whole tensors of types that cannot be decoded can be copied: their rows need not be whole bytes.
            (None, Some(raw)) if asked.is_none() && is_whole(checkpoint, tensor) => raw,
            (None, _) => return Err(unsupported(checkpoint, tensor)),
            (Some(dtype), _) => {
                let dtype = match asked {
                    Some(asked) if dtype.is_float() || dtype.is_block() => asked,
                    _ if dtype.is_block() => DType::F32,
                    _ => dtype,
                };
                SafetensorsType::of(dtype).ok_or_else(|| unsupported(checkpoint, tensor))?
            }
        };
        tensor.stored = StoredType::Safetensors(stored);
    }
    Ok(())
}

/// Chooses the element types of a GGUF file: matrices in the format or dtype that was asked for, vectors in f32 unless a dtype
/// was asked for or they need no change.
pub(super) fn encode_for_gguf(
    checkpoint: &Checkpoint,
    tensors: &mut [OutTensor],
    options: &ConvertOptions,
) -> Result<(), CheckpointError> {
    for tensor in tensors {
        let Some(dtype) = tensor.common_dtype() else {
            return Err(unsupported(checkpoint, tensor));
        };
        let is_float = dtype.is_float() || dtype.is_block();
        let is_matrix = tensor.shape.len() >= 2;
        let quantized = options.quantize.map(DType::Block).filter(|format| {
            let row = tensor.shape.last().copied().unwrap_or(1);
            is_matrix && row.is_multiple_of(format.block_elems())
        });
        let dtype = match (quantized, options.dtype) {
            (Some(format), _) if is_float => format,
            (None, Some(asked)) if is_float && is_matrix => asked,
            // Other readers of GGUF multiply f32 vectors only.
            _ if is_float && !is_matrix => DType::F32,
            _ => dtype,
        };
        let stored = GgmlType::of(dtype).ok_or_else(|| unsupported(checkpoint, tensor))?;
        tensor.stored = StoredType::Ggml(stored);
    }
    Ok(())
}

fn is_whole(checkpoint: &Checkpoint, tensor: &OutTensor) -> bool {
    tensor.parts.iter().all(|part| {
        checkpoint
            .info(&part.source)
            .is_some_and(|info| info.shape == tensor.shape)
    })
}

fn unsupported(checkpoint: &Checkpoint, tensor: &OutTensor) -> CheckpointError {
    let stored = tensor
        .parts
        .iter()
        .map(|part| part.stored)
        .find(|stored| stored.dtype().is_none())
        .unwrap_or(tensor.stored);
    let problem = TensorProblem::Unsupported {
        stored: stored.to_string(),
        supported: stored.supported(),
    };
    CheckpointError::tensor(checkpoint.path(), &tensor.name, problem)
}
