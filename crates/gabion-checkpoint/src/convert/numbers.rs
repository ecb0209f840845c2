//! The fields of a decoder's `config.json` that its numbers depend on, all of them, with what absent ones mean; and the proof
//! that a file that is about to be written says the same: what it would be read back as is compared with them.
//!
//! Sizes, biases, the tied head, `hidden_act`, `rms_norm_eps` and the rotary fields are carried. A window over positions and
//! quantised storage have no place in the GGUF files that are written here, so they are refused.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::layout::Sizes;
use super::rope::{Rope, RopeContext};
use crate::error::{CheckpointError, FieldProblem};
use crate::json::Fields;

/// The end of every message about a field that GGUF cannot carry.
pub(super) const WAY_OUT: &str = "convert to a folder, which keeps the config as it is";

/// A decoder's numbers as its config says them.
pub(super) struct Numbers {
    pub(super) sizes: Sizes,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) n_layers: usize,
    pub(super) context: usize,
    pub(super) rms_norm_eps: f64,
    pub(super) tied: bool,
    pub(super) rope: Rope,
    qkv_bias: bool,
    output_bias: bool,
    mlp_bias: bool,
}

impl Numbers {
    /// Reads the config of a llama, mistral or qwen2.
    pub(super) fn read(
        path: &Path,
        config: &Value,
        family: &str,
        sizes: Sizes,
    ) -> Result<Self, CheckpointError> {
        let fields = Fields::of(path, config)?;
        refuse_activation(&fields)?;
        refuse_quantized(&fields)?;
        let size = |name: &str| match fields.need_size(name)? {
            0 => Err(fields.wrong(name, "is 0, expected at least 1")),
            size => Ok(size),
        };
        let (hidden_size, context) = (size("hidden_size")?, size("max_position_embeddings")?);
        let n_layers = size("num_hidden_layers")?;
        if !sizes.heads.is_multiple_of(sizes.kv_heads) {
            let message = format!(
                "is {}, expected a divisor of the {} heads",
                sizes.kv_heads, sizes.heads
            );
            return Err(fields.wrong("num_key_value_heads", message));
        }
        if fields.get("head_dim").is_none() && !hidden_size.is_multiple_of(sizes.heads) {
            let message = format!(
                "is {}, expected a divisor of the hidden size {hidden_size}, or a `head_dim`",
                sizes.heads
            );
            return Err(fields.wrong("num_attention_heads", message));
        }
        refuse_window(&fields, family, n_layers, context)?;
        let attention_bias = fields.bool("attention_bias")?.unwrap_or(false);
        Ok(Numbers {
            vocab_size: size("vocab_size")?,
            hidden_size,
            n_layers,
            context,
            rms_norm_eps: fields.positive("rms_norm_eps")?.unwrap_or(1e-6),
            tied: fields.bool("tie_word_embeddings")?.unwrap_or(false),
            rope: Rope::read(
                path,
                config,
                RopeContext {
                    head_dim: sizes.head_dim,
                    max_positions: context,
                },
            )?,
            qkv_bias: attention_bias || family == "qwen2",
            output_bias: attention_bias,
            mlp_bias: fields.bool("mlp_bias")?.unwrap_or(false),
            sizes,
        })
    }

    /// That `back`, which is what a file would be read as, says the same.
    pub(super) fn check_carried(&self, path: &Path, back: &Numbers) -> Result<(), CheckpointError> {
        let (here, there) = (self.normal(), back.normal());
        let names = here.0.keys().chain(there.0.keys());
        let Some(name) = names.into_iter().find(|it| here.get(it) != there.get(it)) else {
            return Ok(());
        };
        let (here, there) = (here.get(name), there.get(name));
        let message = match here.len().max(there.len()) > 40 {
            true => format!("cannot be carried by a GGUF file as it is: {WAY_OUT}"),
            false => {
                format!("is {here}, and from a GGUF file it would come back as {there}: {WAY_OUT}")
            }
        };
        let field = match name.strip_prefix(ROPE) {
            Some(field) => format!("{}.{field}", self.rope.section),
            None => name.clone(),
        };
        Err(CheckpointError::field(
            path,
            field,
            FieldProblem::Value(message),
        ))
    }

    fn normal(&self) -> Normal {
        // No `..`: a field that is added has to be compared.
        let Numbers {
            sizes,
            vocab_size,
            hidden_size,
            n_layers,
            context,
            rms_norm_eps,
            tied,
            rope,
            qkv_bias,
            output_bias,
            mlp_bias,
        } = self;
        let mut normal = Normal::default();
        for (field, size) in [
            ("vocab_size", *vocab_size),
            ("hidden_size", *hidden_size),
            ("num_hidden_layers", *n_layers),
            ("max_position_embeddings", *context),
            ("intermediate_size", sizes.intermediate),
            ("num_attention_heads", sizes.heads),
            ("num_key_value_heads", sizes.kv_heads),
            ("head_dim", sizes.head_dim),
        ] {
            normal.put(field.to_string(), size.to_string());
        }
        let attention_bias = match (qkv_bias, output_bias) {
            (true, true) => "true",
            (true, false) => "true for q, k, v alone",
            (false, _) => "false",
        };
        normal.put("attention_bias".to_string(), attention_bias.to_string());
        for (field, flag) in [("tie_word_embeddings", *tied), ("mlp_bias", *mlp_bias)] {
            normal.put(field.to_string(), flag.to_string());
        }
        // The norms compute in f32.
        let epsilon = (*rms_norm_eps as f32).to_string();
        normal.put("rms_norm_eps".to_string(), epsilon);
        rope.normal(&mut normal);
        normal
    }
}

/// What the names of rotary fields begin with in a [`Normal`].
pub(super) const ROPE: &str = "rope.";

/// Fields and their values, such that the same words mean the same numbers.
#[derive(Default)]
pub(super) struct Normal(IndexMap<String, String>);

impl Normal {
    pub(super) fn put(&mut self, field: String, value: String) {
        self.0.insert(field, value);
    }

    fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("absent", String::as_str)
    }
}

/// A positive number as GGUF stores it.
pub(super) fn f32_of(path: &Path, field: &str, value: f64) -> Result<f32, CheckpointError> {
    let stored = value as f32;
    if stored.is_finite() && stored > 0.0 {
        return Ok(stored);
    }
    let message = format!("is {value}, beyond the range of GGUF's f32: {WAY_OUT}");
    Err(CheckpointError::field(
        path,
        field,
        FieldProblem::Value(message),
    ))
}

fn refuse_activation(fields: &Fields<'_>) -> Result<(), CheckpointError> {
    const FIELD: &str = "hidden_act";
    match fields.string(FIELD)? {
        // Two names of one function.
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => {
            let message = format!(
                "is `{other}`, and GGUF has no key for it: readers of llama and qwen2 take silu: {WAY_OUT}"
            );
            Err(fields.wrong(FIELD, message))
        }
    }
}

/// Quantised checkpoints store other numbers under the same names.
fn refuse_quantized(fields: &Fields<'_>) -> Result<(), CheckpointError> {
    for field in ["quantization_config", "compression_config"] {
        if fields.get(field).is_some() {
            let message = "is there, and quantised tensors of that kind are not read: use the model before it was quantised";
            return Err(fields.wrong(field, message));
        }
    }
    Ok(())
}

/// Attention to a window of positions, unless it never bites.
fn refuse_window(
    fields: &Fields<'_>,
    family: &str,
    n_layers: usize,
    context: usize,
) -> Result<(), CheckpointError> {
    const FIELD: &str = "sliding_window";
    let some_layer_slides = layer_types(fields)?;
    let stated = fields.size(FIELD)?;
    let window = match family {
        "qwen2" => {
            let first = fields.size("max_window_layers")?;
            let all_full = first.unwrap_or(28) >= n_layers;
            let used = fields.bool("use_sliding_window")?.unwrap_or(false);
            match used && some_layer_slides.unwrap_or(!all_full) {
                true => stated.or(Some(4096)),
                false => None,
            }
        }
        // What a mistral does where the field is absent; null means no window.
        "mistral" if !fields.has(FIELD) => Some(4096),
        _ => stated,
    };
    match window {
        Some(window) if window < context => {
            let message = format!(
                "is {window} of {context} positions, which has no place in the GGUF files written here: {WAY_OUT}"
            );
            Err(fields.wrong(FIELD, message))
        }
        _ => Ok(()),
    }
}

/// Whether some layer has a window, if the config says it layer by layer.
fn layer_types(fields: &Fields<'_>) -> Result<Option<bool>, CheckpointError> {
    const FIELD: &str = "layer_types";
    let Some(types) = fields.get(FIELD) else {
        return Ok(None);
    };
    let words = types.as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    let known = |word: &&str| ["full_attention", "sliding_attention"].contains(word);
    if types.as_array().map(Vec::len) != Some(words.len()) || !words.iter().all(known) {
        let message = format!("has layers that are not full_attention: {WAY_OUT}");
        return Err(fields.wrong(FIELD, message));
    }
    Ok(Some(words.contains(&"sliding_attention")))
}
