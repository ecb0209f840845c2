//! Files of named tensors for and from graphs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use gabion::checkpoint::{
    Checkpoint, CheckpointError, Expected, LoadReport, SafetensorsType, TensorDecl,
    write_safetensors,
};
use gabion::ir::Graph;
use gabion::tensor::HostTensor;

use super::error::CliError;

/// Every tensor of a file, by name.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, HostTensor>, CheckpointError> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint
        .names()
        .map(|name| Ok((name.to_owned(), checkpoint.get(name)?)))
        .collect()
}

/// Writes tensors to a safetensors file, whole or not at all.
///
/// # Errors
/// A dtype that the format does not have; the disk's.
pub(crate) fn write(path: &Path, tensors: &[(String, HostTensor)]) -> anyhow::Result<()> {
    let mut decls = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = tensor.dtype();
        let stored = SafetensorsType::of(dtype).ok_or_else(|| {
            CliError::file(path, format!("tensor `{name}` is {dtype}, which safetensors files do not have: cast it in the graph"))
        })?;
        decls.push(TensorDecl {
            name: name.clone(),
            stored,
            shape: tensor.shape().to_vec(),
        });
    }
    write_safetensors(path, &Default::default(), &decls, |index, sink| {
        let write = |source| CheckpointError::Io {
            path: path.to_owned(),
            action: "write",
            source,
        };
        sink.write_all(tensors[index].1.bytes()).map_err(write)
    })?;
    Ok(())
}

/// Compares a graph's weights with the checkpoint of `files`, which may hold much else: what is missing
/// gets its nearest names from all that is there, and only what is not `elsewhere` is unexpected.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn check(
    graph: &Graph,
    checkpoint: &Checkpoint,
    files: &[PathBuf],
    elsewhere: &dyn Fn(&str) -> bool,
) -> Result<(), Box<LoadReport>> {
    let expected = expected(graph);
    checkpoint
        .check(&expected, &[elsewhere])
        .map_err(|mut report| {
            if let Err(whole) = checkpoint.check(&expected, &[]) {
                report.missing = whole.missing;
                report.hints = whole.hints;
            }
            let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
            report.path = files.join(", ").into();
            report
        })
}

/// The tensors that a graph reads, in the load report's words.
fn expected(graph: &Graph) -> Vec<Expected> {
    let weights = graph.weights().into_iter();
    weights
        .filter_map(|(name, ty, _)| {
            let shape = ty.shape.as_fixed()?.to_vec();
            Some(Expected {
                name: name.to_string(),
                dtypes: vec![ty.dtype],
                shape,
            })
        })
        .collect()
}
