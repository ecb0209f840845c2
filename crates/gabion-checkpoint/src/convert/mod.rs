//! Converting a model: between formats and dtypes, between separate and stacked projections. Nothing is changed that was not
//! asked for, and the output appears whole or not at all.
//!
//! `plan` says which rows of which tensors make up each output tensor, `layout` stacks and separates, `emit` writes the rows,
//! `files` carries the files beside the tensors, `to_gguf` and `tokenizer_to_gguf` write the metadata of GGUF, `numbers` and
//! `rope` see to it that nothing that a model computes with is lost there.

mod emit;
mod files;
mod layout;
mod numbers;
mod plan;
mod rope;
mod to_gguf;
mod tokenizer_to_gguf;

use std::path::Path;

use gabion_tensor::{BlockFormat, DType};
use indexmap::IndexMap;
use serde_json::Value;

use crate::atomic::{self, NewFolder};
use crate::checkpoint::{FileKind, SINGLE_FILE};
use crate::error::CheckpointError;
use crate::folder::ModelFiles;
use crate::gguf::write_gguf;
use crate::safetensors::write_safetensors;
use plan::OutTensor;

/// How projections are stored in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// As in the input.
    #[default]
    Keep,
    /// q, k, v as one tensor, gate and up as one tensor: Phi-3's layout.
    Fuse,
    /// Each projection in a tensor of its own.
    Unfuse,
}

/// What to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The dtype of floating tensors: f32, f16 or bf16. `None` leaves plain tensors as they are and decodes block formats to
    /// f32 where the output cannot hold them.
    pub dtype: Option<DType>,
    /// How projections are stored.
    pub layout: Layout,
    /// The block format of matrices. It makes the output a GGUF file.
    pub quantize: Option<BlockFormat>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertSummary {
    /// The tensors.
    pub n_tensors: usize,
    /// Their bytes.
    pub tensor_bytes: u64,
    /// `model_type` of the output.
    pub model_type: String,
}

/// Converts `model` and writes it to `out`: a folder in the Hugging Face layout, or a GGUF file if the name ends in `.gguf`.
///
/// Tensors go from file to file in pieces, so memory stays small. Converting again gives the same bytes.
///
/// # Errors
/// What was asked for is impossible for this model, a tensor is wrong or does not fit the dtype, a folder that is not empty is
/// at `out`, or the disk refuses. Whatever fails, nothing appears at `out`; a GGUF file that was there stays.
pub fn convert(
    model: &ModelFiles,
    out: &Path,
    options: &ConvertOptions,
) -> Result<ConvertSummary, CheckpointError> {
    check_dtype(model, options)?;
    let to_gguf = out.extension().is_some_and(|extension| extension == "gguf");
    if options.quantize.is_some() && !to_gguf {
        return Err(CheckpointError::unsupported(
            out,
            "block formats are written to GGUF files: give the output a name that ends in `.gguf`",
        ));
    }
    if options.layout == Layout::Fuse && to_gguf {
        return Err(CheckpointError::unsupported(
            out,
            "GGUF has no stacked projections of these models: leave `--fuse` out, or convert to a folder",
        ));
    }
    let mut tensors = plan::keep(model.checkpoint());
    let mut config = model.config().clone();
    match options.layout {
        Layout::Keep => {}
        Layout::Fuse => layout::fuse(model, &mut tensors, &mut config)?,
        Layout::Unfuse => layout::unfuse(model, &mut tensors, &mut config)?,
    }
    let written = if to_gguf {
        write_gguf_model(model, out, options, tensors, &config)?
    } else {
        write_folder(model, out, options, tensors, &mut config)?
    };
    Ok(ConvertSummary {
        n_tensors: written.len(),
        tensor_bytes: written.iter().map(OutTensor::byte_len).sum(),
        model_type: model_type(&config).to_string(),
    })
}

fn check_dtype(model: &ModelFiles, options: &ConvertOptions) -> Result<(), CheckpointError> {
    match options.dtype {
        None | Some(DType::F32 | DType::F16 | DType::BF16) => Ok(()),
        Some(other) => Err(CheckpointError::unsupported(
            model.path(),
            format!("cannot be converted to {other}: expected f32, f16 or bf16"),
        )),
    }
}

fn model_type(config: &Value) -> &str {
    config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or("")
}

fn write_folder(
    model: &ModelFiles,
    out: &Path,
    options: &ConvertOptions,
    mut tensors: Vec<OutTensor>,
    config: &mut Value,
) -> Result<Vec<OutTensor>, CheckpointError> {
    plan::encode_for_safetensors(model.checkpoint(), &mut tensors, options.dtype)?;
    files::set_dtype(
        config,
        &tensors,
        options.dtype,
        model.checkpoint().gguf().is_some(),
    );
    let folder = NewFolder::new(out)?;
    folder.fill(|place| {
        files::write_beside(model, place, config)?;
        let decls = tensors
            .iter()
            .map(OutTensor::safetensors_decl)
            .collect::<Vec<_>>();
        let path = place.join(SINGLE_FILE);
        write_safetensors(&path, &string_pairs(model), &decls, |index, sink| {
            emit::emit(model.checkpoint(), &tensors[index], &path, sink)
        })
    })?;
    folder.finish()?;
    Ok(tensors)
}

/// The free string pairs of the input, or the one that other programs look for.
fn string_pairs(model: &ModelFiles) -> IndexMap<String, String> {
    let first = model.checkpoint().files().first().map(|file| &file.kind);
    match first {
        Some(FileKind::Safetensors(pairs)) => pairs.clone(),
        Some(FileKind::Gguf(_)) | None => {
            IndexMap::from([("format".to_string(), "pt".to_string())])
        }
    }
}

fn write_gguf_model(
    model: &ModelFiles,
    out: &Path,
    options: &ConvertOptions,
    mut tensors: Vec<OutTensor>,
    config: &Value,
) -> Result<Vec<OutTensor>, CheckpointError> {
    plan::encode_for_gguf(model.checkpoint(), &mut tensors, options)?;
    let (metadata, extra) = to_gguf::describe(model, config, out, &mut tensors)?;
    let mut decls = tensors.iter().map(OutTensor::ggml_decl).collect::<Vec<_>>();
    decls.extend(extra.iter().map(|(decl, _)| decl.clone()));
    write_gguf(out, &metadata, &decls, |index, sink| {
        match tensors.get(index) {
            Some(tensor) => emit::emit(model.checkpoint(), tensor, out, sink),
            None => emit::write_all(sink, out, &extra[index - tensors.len()].1),
        }
    })?;
    Ok(tensors)
}

/// Writes JSON as other programs write it: two spaces, a line end.
fn write_json(path: &Path, value: &Value) -> Result<(), CheckpointError> {
    let mut text = format!("{value:#}");
    text.push('\n');
    atomic::write_bytes(path, text.as_bytes())
}
