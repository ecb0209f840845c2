//! MODEL: a preset, a folder or a file, found or fetched.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use gabion::checkpoint::ModelFiles;
use gabion::presets::{PRESETS, Preset, cache_folder};

use super::error::CliError;
use super::output::Output;

/// A model that exists.
pub(crate) struct Located {
    /// What it was called.
    pub(crate) name: String,
    /// Its folder or file.
    pub(crate) path: PathBuf,
}

/// The names of the presets, for messages.
pub(crate) fn preset_names() -> String {
    PRESETS
        .iter()
        .map(|p| p.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The preset's folder or file, fetched if it is not in the cache.
pub(crate) fn fetch(preset: &Preset, out: &Output) -> anyhow::Result<PathBuf> {
    let cache = cache_folder(|name| std::env::var_os(name))?;
    if let Some(path) = preset.cached(&cache) {
        return Ok(path);
    }
    let _progress = out.spinner(preset.name);
    Ok(preset.fetch(&cache, &|note| out.note(note))?)
}

/// Finds MODEL: a preset's name wins over a file of that name (`./smollm2` is always a file).
pub(crate) fn locate(model: &OsStr, out: &Output) -> anyhow::Result<Located> {
    let name = model.to_string_lossy().into_owned();
    if let Some(preset) = Preset::by_name(&name) {
        return Ok(Located {
            path: fetch(preset, out)?,
            name,
        });
    }
    let path = PathBuf::from(model);
    if !path.exists() {
        return Err(CliError::NoModel {
            name,
            presets: preset_names(),
        }
        .into());
    }
    Ok(Located { name, path })
}

/// Finds and opens MODEL.
pub(crate) fn open(model: &OsStr, out: &Output) -> anyhow::Result<(Located, ModelFiles)> {
    let located = locate(model, out)?;
    let files = ModelFiles::open(&located.path)?;
    Ok((located, files))
}

/// Whether a path is a model rather than a graph in text form.
pub(crate) fn is_model(path: &Path) -> bool {
    let model_file = |e: &OsStr| e == "gguf" || e == "safetensors";
    path.is_dir() || path.extension().is_some_and(model_file)
}

/// Whether the config is one of a sentence encoder.
pub(crate) fn is_encoder(files: &ModelFiles) -> bool {
    model_type(files) == "bert"
}

/// `model_type` of the config.
pub(crate) fn model_type(files: &ModelFiles) -> &str {
    files
        .config()
        .get("model_type")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("")
}
