//! The files of a model folder beside its tensors: config, tokenizer, templates, pooling. Copied as they are from a folder,
//! written from the metadata of a GGUF file.

use std::fs;
use std::path::Path;

use gabion_tensor::DType;
use serde_json::{Map, Value, json};

use super::layout::config_dtype;
use super::plan::OutTensor;
use super::write_json;
use crate::atomic;
use crate::error::CheckpointError;
use crate::folder::ModelFiles;

/// Names of files that say something about tokens, texts or rights. Weights in other formats are not among them.
const COPIED: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
    "hf_quant_config.json",
    "quantize_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
];

/// Says the dtype of the floating tensors in the config: the one that was asked for, or that of the matrices that a GGUF file
/// was decoded to.
pub(super) fn set_dtype(
    config: &mut Value,
    tensors: &[OutTensor],
    asked: Option<DType>,
    from_gguf: bool,
) {
    let largest = tensors
        .iter()
        .filter(|tensor| tensor.stored.dtype().is_some_and(DType::is_float))
        .max_by_key(|tensor| tensor.byte_len());
    let dtype = match asked {
        Some(asked) => Some(asked),
        None if from_gguf => largest.and_then(|tensor| tensor.stored.dtype()),
        None => None,
    };
    let (Some(name), Value::Object(fields)) = (dtype.and_then(config_dtype), config) else {
        return;
    };
    let field = match fields.contains_key("dtype") {
        true => {
            fields.shift_remove("torch_dtype");
            "dtype"
        }
        false => "torch_dtype",
    };
    fields.insert(field.to_string(), json!(name));
}

/// Writes everything but the tensors into `folder`.
pub(super) fn write_beside(
    model: &ModelFiles,
    folder: &Path,
    config: &Value,
) -> Result<(), CheckpointError> {
    let config_path = folder.join("config.json");
    if model.checkpoint().gguf().is_some() {
        write_json(&config_path, config)?;
        return write_gguf_side(model, folder);
    }
    match config == model.config() {
        true => copy(model.config_path(), &config_path)?,
        false => write_json(&config_path, config)?,
    }
    for name in COPIED {
        // The files of a sentence transformer lie beside the folder of its encoder.
        for source in [model.root(), model.path()] {
            let source = source.join(name);
            let target = folder.join(name);
            if source.is_file() && !target.exists() {
                copy(&source, &target)?;
            }
        }
    }
    copy_module_folders(model.path(), folder)
}

fn copy(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    let bytes = fs::read(from).map_err(|source| CheckpointError::io(from, "read", source))?;
    atomic::write_bytes(to, &bytes)
}

/// The folders of a sentence transformer's modules hold one small config each.
fn copy_module_folders(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    let error = |source| CheckpointError::io(from, "read", source);
    if !from.join("modules.json").is_file() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(from).map_err(error)? {
        let entry = entry.map_err(error)?;
        let config = entry.path().join("config.json");
        if config.is_file() && !entry.path().join("model.safetensors").exists() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    for name in names {
        let target = to.join(&name);
        fs::create_dir_all(&target)
            .map_err(|source| CheckpointError::io(&target, "create", source))?;
        copy(
            &from.join(&name).join("config.json"),
            &target.join("config.json"),
        )?;
    }
    Ok(())
}

/// What a GGUF file says about tokens, as files.
fn write_gguf_side(model: &ModelFiles, folder: &Path) -> Result<(), CheckpointError> {
    let ids = model.generation_ids()?;
    let mut generation = Map::new();
    for (name, id) in [("bos_token_id", ids.bos), ("pad_token_id", ids.pad)] {
        if let Some(id) = id {
            generation.insert(name.to_string(), json!(id));
        }
    }
    match ids.eos.as_slice() {
        [] => {}
        [one] => drop(generation.insert("eos_token_id".into(), json!(one))),
        many => drop(generation.insert("eos_token_id".into(), json!(many))),
    }
    if !generation.is_empty() {
        write_json(
            &folder.join("generation_config.json"),
            &Value::Object(generation),
        )?;
    }
    if !model.has_tokenizer() {
        return Ok(());
    }
    let tokenizer = model.tokenizer()?;
    atomic::write_bytes(
        &folder.join("tokenizer.json"),
        tokenizer.to_json()?.as_bytes(),
    )?;
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    if let Some(length) = model.config().get("max_position_embeddings") {
        config.insert("model_max_length".into(), length.clone());
    }
    let texts = [
        ("bos_token", ids.bos),
        ("eos_token", ids.eos.first().copied()),
        ("pad_token", ids.pad),
    ];
    for (name, id) in texts {
        if let Some(text) = id.and_then(|id| tokenizer.id_to_token(id)) {
            config.insert(name.to_string(), json!(text));
        }
    }
    if let Some(template) = model.chat_template()? {
        if let Some(unknown) = template.unk_token {
            config.insert("unk_token".into(), json!(unknown));
        }
        config.insert("chat_template".into(), json!(template.template));
    }
    write_json(
        &folder.join("tokenizer_config.json"),
        &Value::Object(config),
    )
}
