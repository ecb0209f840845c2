//! The metadata and the names of a GGUF file for a model in Hugging Face's words. The tokenizer's part is in
//! `tokenizer_to_gguf`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::layout::Sizes;
use super::numbers::{Numbers, f32_of};
use super::plan::OutTensor;
use super::{model_type, tokenizer_to_gguf};
use crate::error::{CheckpointError, FieldProblem, TensorProblem};
use crate::folder::ModelFiles;
use crate::gguf::{
    GgufFile, GgufMetadata, GgufTensor, GgufValue, NameMap, ROPE_FACTORS, gguf_config,
};
use crate::head::HEAD;
use crate::sink::TensorDecl;
use crate::stored::{GgmlType, StoredType};
use crate::view::RowMap;

/// A tensor that is made here, with its bytes.
pub(super) type Extra = (TensorDecl<GgmlType>, Vec<u8>);

/// GGUF's name of an architecture.
fn architecture(model: &ModelFiles, config: &Value) -> Result<&'static str, CheckpointError> {
    match model_type(config) {
        "llama" | "mistral" => Ok("llama"),
        "qwen2" => Ok("qwen2"),
        other => {
            let hint = match model.checkpoint().has_stacked_projections() {
                true => "; stacked projections can be separated with --unfuse",
                false => "",
            };
            let message = format!(
                "is `{other}`, and GGUF files are written for llama, mistral and qwen2{hint}"
            );
            Err(CheckpointError::field(
                model.config_path(),
                "model_type",
                FieldProblem::Value(message),
            ))
        }
    }
}

/// Gives every tensor its GGUF name and, for llama, the order of its rows; returns the metadata, and the tensors that the
/// file needs beside those.
///
/// # Errors
/// Something that the file could not say, so that the model would be another one when it is read.
pub(super) fn describe(
    model: &ModelFiles,
    config: &Value,
    out: &Path,
    tensors: &mut Vec<OutTensor>,
) -> Result<(GgufMetadata, Vec<Extra>), CheckpointError> {
    let architecture = architecture(model, config)?;
    let sizes = Sizes::read(model)?;
    let names = NameMap::of(architecture, sizes.heads, sizes.kv_heads);
    // A GGUF input keeps its own metadata, but for the keys that say how the tensors are stored.
    if let Some(gguf) = model.checkpoint().gguf() {
        rename(model, architecture, names, tensors)?;
        let factors = model.checkpoint().rope_factors()?;
        let metadata = with_storage(out, gguf.metadata.values().clone(), tensors);
        return Ok((metadata, factors.into_iter().map(factor_tensor).collect()));
    }
    let path = model.config_path();
    let mut numbers = Numbers::read(path, config, model_type(config), sizes)?;
    numbers.tied &= !model.checkpoint().has_own_head();
    settle_head(model, &numbers, tensors)?;
    rename(model, architecture, names, tensors)?;
    let values = from_numbers(model, architecture, &numbers)?;
    let metadata = with_storage(out, values, tensors);
    let factors = numbers.rope.divisors();
    let (metadata, back) = read_back(metadata, tensors, factors.as_deref())?;
    let sizes = Sizes::of(out, &back, None)?;
    let back = Numbers::read(out, &back, model_type(&back), sizes)?;
    numbers.check_carried(path, &back)?;
    Ok((metadata, factors.into_iter().map(factor_tensor).collect()))
}

/// The metadata again, and the config that the file with it will be read as.
fn read_back(
    metadata: GgufMetadata,
    tensors: &[OutTensor],
    factors: Option<&[f32]>,
) -> Result<(GgufMetadata, Value), CheckpointError> {
    let tensors = tensors.iter().map(|tensor| {
        let decl = tensor.ggml_decl();
        let tensor = GgufTensor {
            stored: decl.stored,
            shape: decl.shape,
            range: 0..0,
        };
        (decl.name, tensor)
    });
    let file = GgufFile {
        version: 3,
        metadata,
        tensors: tensors.collect(),
    };
    let config = gguf_config(&file, factors)?;
    Ok((file.metadata, config))
}

/// GGUF says by the tensor of the head whether it is tied: a tied model's stored head, which is the embedding again, is left
/// out.
fn settle_head(
    model: &ModelFiles,
    numbers: &Numbers,
    tensors: &mut Vec<OutTensor>,
) -> Result<(), CheckpointError> {
    if numbers.tied {
        tensors.retain(|tensor| tensor.name != HEAD);
    } else if !tensors.iter().any(|tensor| tensor.name == HEAD) {
        let message = format!(
            "is not true, and there is no tensor `{HEAD}`: set it to true if the embedding is the head"
        );
        return Err(CheckpointError::field(
            model.config_path(),
            "tie_word_embeddings",
            FieldProblem::Value(message),
        ));
    }
    Ok(())
}

fn rename(
    model: &ModelFiles,
    architecture: &str,
    names: Option<NameMap>,
    tensors: &mut [OutTensor],
) -> Result<(), CheckpointError> {
    let checkpoint = model.checkpoint();
    for tensor in tensors {
        let mapped = names
            .and_then(|names| names.to_gguf(&tensor.name))
            .ok_or_else(|| {
                CheckpointError::unsupported(
                    checkpoint.path(),
                    format!(
                        "tensor `{}` has no name in a GGUF file of the architecture {architecture}",
                        tensor.name
                    ),
                )
            })?;
        if let Some(heads) = mapped.permuted_heads {
            let rows = tensor.shape.first().copied().unwrap_or(1);
            if heads == 0 || !rows.is_multiple_of(heads) || !(rows / heads).is_multiple_of(2) {
                let problem = TensorProblem::Shape {
                    expected: format!("rows in {heads} heads of an even width"),
                    found: tensor.shape.clone(),
                };
                return Err(CheckpointError::tensor(
                    checkpoint.path(),
                    &tensor.name,
                    problem,
                ));
            }
            tensor.order = Some(RowMap::pairs_from_halves(rows / heads));
        }
        tensor.name = mapped.name;
    }
    Ok(())
}

/// The metadata of the output, with the keys that say how its tensors are stored.
fn with_storage(
    out: &Path,
    mut values: IndexMap<String, GgufValue>,
    tensors: &[OutTensor],
) -> GgufMetadata {
    // The writer aligns as its default says.
    values.shift_remove("general.alignment");
    values.insert("general.quantization_version".into(), GgufValue::U32(2));
    if let Some(file_type) = file_type(tensors) {
        values.insert("general.file_type".into(), GgufValue::U32(file_type));
    }
    GgufMetadata::new(out, values)
}

/// The number by which GGUF calls the type of most of a file's matrices.
fn file_type(tensors: &[OutTensor]) -> Option<u32> {
    let mut bytes: IndexMap<&str, u64> = IndexMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.shape.len() >= 2) {
        if let StoredType::Ggml(stored) = tensor.stored {
            *bytes.entry(stored.name()).or_insert(0) += tensor.byte_len();
        }
    }
    match bytes.into_iter().max_by_key(|(_, bytes)| *bytes)?.0 {
        "F32" => Some(0),
        "F16" => Some(1),
        "Q4_0" => Some(2),
        "Q4_1" => Some(3),
        "Q8_0" => Some(7),
        "Q5_0" => Some(8),
        "Q5_1" => Some(9),
        "BF16" => Some(32),
        _ => None,
    }
}

fn from_numbers(
    model: &ModelFiles,
    architecture: &str,
    numbers: &Numbers,
) -> Result<IndexMap<String, GgufValue>, CheckpointError> {
    let path = model.config_path();
    let sizes = &numbers.sizes;
    let mut values = IndexMap::new();
    let name = model
        .path()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    values.insert(
        "general.architecture".to_string(),
        GgufValue::String(architecture.to_string()),
    );
    values.insert(
        "general.name".to_string(),
        GgufValue::String(name.unwrap_or_default()),
    );
    for (key, field, value) in [
        ("vocab_size", "vocab_size", numbers.vocab_size),
        ("context_length", "max_position_embeddings", numbers.context),
        ("embedding_length", "hidden_size", numbers.hidden_size),
        ("block_count", "num_hidden_layers", numbers.n_layers),
        (
            "feed_forward_length",
            "intermediate_size",
            sizes.intermediate,
        ),
        ("attention.head_count", "num_attention_heads", sizes.heads),
        (
            "attention.head_count_kv",
            "num_key_value_heads",
            sizes.kv_heads,
        ),
        ("attention.key_length", "head_dim", sizes.head_dim),
        ("attention.value_length", "head_dim", sizes.head_dim),
        ("rope.dimension_count", "head_dim", sizes.head_dim),
    ] {
        let value = u32::try_from(value).map_err(|_| {
            let message = format!("is {value}, beyond the range of GGUF's u32");
            CheckpointError::field(path, field, FieldProblem::Value(message))
        })?;
        values.insert(format!("{architecture}.{key}"), GgufValue::U32(value));
    }
    values.insert(
        format!("{architecture}.attention.layer_norm_rms_epsilon"),
        GgufValue::F32(f32_of(path, "rms_norm_eps", numbers.rms_norm_eps)?),
    );
    numbers.rope.insert(path, architecture, &mut values)?;
    tokenizer_to_gguf::insert(model, numbers.vocab_size, &mut values)?;
    Ok(values)
}

fn factor_tensor(factors: Vec<f32>) -> Extra {
    let decl = TensorDecl {
        name: ROPE_FACTORS.to_string(),
        stored: GgmlType::F32,
        shape: vec![factors.len()],
    };
    (
        decl,
        factors
            .iter()
            .flat_map(|factor| factor.to_le_bytes())
            .collect(),
    )
}
