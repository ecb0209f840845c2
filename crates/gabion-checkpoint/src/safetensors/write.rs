//! Writing a safetensors file, tensor by tensor, atomically.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::atomic;
use crate::error::{CheckpointError, FileProblem, TensorProblem};
use crate::sink::{TensorDecl, TensorSink};
use crate::stored::SafetensorsType;

/// Writes a safetensors file: the tensors in the order given, the header padded with spaces to a multiple of eight bytes.
///
/// `produce` is called once for each tensor, in order, with its index and the place to write its bytes to, so no more than
/// the caller wants is ever in memory. The same arguments give the same file, byte for byte.
///
/// # Errors
/// A name that appears twice or is reserved, a size that overflows, bytes that are more or fewer than declared, an error of
/// `produce`, or of the disk. Whatever fails, the old file stays as it was and nothing is left beside it.
pub fn write_safetensors(
    path: &Path,
    metadata: &IndexMap<String, String>,
    tensors: &[TensorDecl<SafetensorsType>],
    mut produce: impl FnMut(usize, &mut TensorSink<'_>) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let (header, sizes) = header(path, metadata, tensors)?;
    atomic::write_file(path, |out| {
        let io = |source| CheckpointError::io(path, "write", source);
        out.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(io)?;
        out.write_all(header.as_bytes()).map_err(io)?;
        for (index, (tensor, &size)) in tensors.iter().zip(&sizes).enumerate() {
            let mut sink = TensorSink::new(&mut *out);
            produce(index, &mut sink)?;
            sink.finish(path, &tensor.name, size)?;
        }
        Ok(())
    })
}

/// The padded header and each tensor's size in bytes.
fn header(
    path: &Path,
    metadata: &IndexMap<String, String>,
    tensors: &[TensorDecl<SafetensorsType>],
) -> Result<(String, Vec<u64>), CheckpointError> {
    let mut object = Map::new();
    if !metadata.is_empty() {
        let pairs = metadata
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        object.insert("__metadata__".to_string(), Value::Object(pairs.collect()));
    }
    let mut sizes = Vec::with_capacity(tensors.len());
    let mut begin = 0_u64;
    for tensor in tensors {
        let overflow = || {
            let problem = TensorProblem::Overflow {
                dtype: tensor.stored.name().to_string(),
                shape: tensor.shape.iter().map(|&dim| dim as u64).collect(),
            };
            CheckpointError::tensor(path, &tensor.name, problem)
        };
        if tensor.name == "__metadata__" {
            let reserved = "`__metadata__` is no tensor name: the format reserves it";
            return Err(CheckpointError::file(
                path,
                FileProblem::Write(reserved.to_string()),
            ));
        }
        let size = tensor
            .stored
            .bytes_for(&tensor.shape)
            .ok_or_else(overflow)?;
        let end = begin.checked_add(size).ok_or_else(overflow)?;
        let entry = json!({
            "dtype": tensor.stored.name(),
            "shape": tensor.shape,
            "data_offsets": [begin, end],
        });
        if object.insert(tensor.name.clone(), entry).is_some() {
            return Err(CheckpointError::tensor(
                path,
                &tensor.name,
                TensorProblem::Duplicate,
            ));
        }
        sizes.push(size);
        begin = end;
    }
    let mut header = Value::Object(object).to_string();
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    Ok((header, sizes))
}
