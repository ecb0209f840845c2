//! Writing a GGUF v3 file, tensor by tensor, atomically.

use std::path::Path;

use indexmap::IndexSet;

use super::read::alignment;
use super::value::{GgufArray, GgufMetadata, GgufValue};
use crate::atomic;
use crate::error::{CheckpointError, FileProblem, TensorProblem};
use crate::sink::{TensorDecl, TensorSink};
use crate::stored::GgmlType;

/// Padding is written in memory, so it stays small.
const MAX_ALIGNMENT: u64 = 1 << 16;

/// Writes a GGUF v3 file: the metadata and the tensors in the order given, data aligned as `general.alignment` says (32 if
/// it is absent).
///
/// `produce` is called once for each tensor, in order, with its index and the place to write its bytes to.
///
/// # Errors
/// A name that appears twice, more than four dims, a row that is not a whole number of blocks, a size that overflows, bytes
/// that are more or fewer than declared, an error of `produce`, or of the disk. Whatever fails, the old file stays as it was.
pub fn write_gguf(
    path: &Path,
    metadata: &GgufMetadata,
    tensors: &[TensorDecl<GgmlType>],
    mut produce: impl FnMut(usize, &mut TensorSink<'_>) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let alignment = alignment(metadata, MAX_ALIGNMENT)?;
    let sizes = sizes(path, tensors)?;
    let header = header(metadata, tensors, &sizes, alignment);
    atomic::write_file(path, |out| {
        let io = |source| CheckpointError::io(path, "write", source);
        out.write_all(&header).map_err(io)?;
        for (index, (tensor, &size)) in tensors.iter().zip(&sizes).enumerate() {
            let mut sink = TensorSink::new(&mut *out);
            produce(index, &mut sink)?;
            sink.finish(path, &tensor.name, size)?;
            let padding = size.next_multiple_of(alignment) - size;
            out.write_all(&vec![0; padding as usize]).map_err(io)?;
        }
        Ok(())
    })
}

fn sizes(path: &Path, tensors: &[TensorDecl<GgmlType>]) -> Result<Vec<u64>, CheckpointError> {
    let mut names = IndexSet::new();
    let mut total = 0_u64;
    let mut sizes = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let fail = |problem| CheckpointError::tensor(path, &tensor.name, problem);
        if !names.insert(tensor.name.as_str()) {
            return Err(fail(TensorProblem::Duplicate));
        }
        if tensor.shape.len() > 4 {
            return Err(fail(TensorProblem::Rank {
                found: tensor.shape.len() as u64,
                limit: 4,
            }));
        }
        let size = tensor.stored.bytes_for(&tensor.shape).ok_or_else(|| {
            fail(TensorProblem::PartialBlock {
                dtype: tensor.stored.name().to_string(),
                shape: tensor.shape.clone(),
                block: tensor.stored.block_elems() as usize,
            })
        })?;
        total = total
            .checked_add(size)
            .filter(|&total| total <= 1 << 60)
            .ok_or_else(|| {
                let too_much = "the tensors are more than 2^60 bytes".to_string();
                CheckpointError::file(path, FileProblem::Write(too_much))
            })?;
        sizes.push(size);
    }
    Ok(sizes)
}

fn header(
    metadata: &GgufMetadata,
    tensors: &[TensorDecl<GgmlType>],
    sizes: &[u64],
    alignment: u64,
) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.values.len() as u64).to_le_bytes());
    for (key, value) in &metadata.values {
        put_string(&mut out, key);
        out.extend(value.value_type().to_le_bytes());
        put_value(&mut out, value);
    }
    let mut offset = 0_u64;
    for (tensor, size) in tensors.iter().zip(sizes) {
        put_string(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for &dim in tensor.shape.iter().rev() {
            out.extend((dim as u64).to_le_bytes());
        }
        out.extend(tensor.stored.id().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = (offset + size).next_multiple_of(alignment);
    }
    let padded = out.len().next_multiple_of(alignment as usize);
    out.resize(padded, 0);
    out
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &GgufValue) {
    match value {
        GgufValue::U8(it) => out.extend(it.to_le_bytes()),
        GgufValue::I8(it) => out.extend(it.to_le_bytes()),
        GgufValue::U16(it) => out.extend(it.to_le_bytes()),
        GgufValue::I16(it) => out.extend(it.to_le_bytes()),
        GgufValue::U32(it) => out.extend(it.to_le_bytes()),
        GgufValue::I32(it) => out.extend(it.to_le_bytes()),
        GgufValue::F32(it) => out.extend(it.to_le_bytes()),
        GgufValue::Bool(it) => out.push(u8::from(*it)),
        GgufValue::String(it) => put_string(out, it),
        GgufValue::Array(it) => put_array(out, it),
        GgufValue::U64(it) => out.extend(it.to_le_bytes()),
        GgufValue::I64(it) => out.extend(it.to_le_bytes()),
        GgufValue::F64(it) => out.extend(it.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &GgufArray) {
    out.extend(array.element_type().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        GgufArray::U8(it) => out.extend(it),
        GgufArray::I8(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::U16(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::I16(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::U32(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::I32(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::F32(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::Bool(it) => out.extend(it.iter().map(|&value| u8::from(value))),
        GgufArray::String(it) => it.iter().for_each(|text| put_string(out, text)),
        GgufArray::Array(it) => it.iter().for_each(|inner| put_array(out, inner)),
        GgufArray::U64(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::I64(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
        GgufArray::F64(it) => out.extend(it.iter().flat_map(|value| value.to_le_bytes())),
    }
}
