//! The `config.json` that a GGUF file's metadata amounts to. Tokenizer keys other than the ids of special tokens are read in
//! `tokenizer`.

use serde_json::{Map, Value, json};

use super::names::ARCHITECTURES;
use super::read::GgufFile;
use super::rope;
use super::value::GgufMetadata;
use crate::error::{CheckpointError, FieldProblem};

/// The config of the model in Hugging Face's words, as `config.json` would have it.
///
/// `rope_factors` is the content of the tensor `rope_freqs.weight`, by which the file divides the rotary frequencies: where
/// it is what Llama 3's rule gives, the config says so (`llama3`); any other list becomes a `longrope` with that one list.
///
/// # Errors
/// An architecture that is not known, a key that is missing or of another type, or keys that contradict each other.
pub fn gguf_config(
    file: &GgufFile,
    rope_factors: Option<&[f32]>,
) -> Result<Value, CheckpointError> {
    let metadata = &file.metadata;
    let keys = Keys::new(metadata)?;
    let sizes = Sizes::read(&keys)?;
    let mut config = Map::new();
    let (class, model_type) = match keys.architecture {
        "qwen2" => ("Qwen2ForCausalLM", "qwen2"),
        _ => ("LlamaForCausalLM", "llama"),
    };
    config.insert("architectures".into(), json!([class]));
    config.insert("model_type".into(), json!(model_type));
    config.insert("vocab_size".into(), json!(vocab_size(&keys, file)?));
    config.insert("hidden_size".into(), json!(sizes.hidden));
    config.insert(
        "intermediate_size".into(),
        json!(keys.size("feed_forward_length")?),
    );
    config.insert("num_hidden_layers".into(), json!(keys.size("block_count")?));
    config.insert("num_attention_heads".into(), json!(sizes.heads));
    config.insert("num_key_value_heads".into(), json!(sizes.kv_heads));
    config.insert("head_dim".into(), json!(sizes.head_dim));
    config.insert("hidden_act".into(), json!("silu"));
    let context = keys.size("context_length")?;
    config.insert("max_position_embeddings".into(), json!(context));
    let epsilon = metadata.need_positive(&keys.key("attention.layer_norm_rms_epsilon"))?;
    config.insert("rms_norm_eps".into(), json!(epsilon));
    insert_attention(&mut config, &keys)?;
    rope::insert(&mut config, &keys, sizes.head_dim, context, rope_factors)?;
    let tied = !file.tensors.contains_key("output.weight");
    config.insert("tie_word_embeddings".into(), json!(tied));
    insert_biases(&mut config, &keys, file);
    for (field, key) in [
        ("bos_token_id", "tokenizer.ggml.bos_token_id"),
        ("eos_token_id", "tokenizer.ggml.eos_token_id"),
        ("pad_token_id", "tokenizer.ggml.padding_token_id"),
    ] {
        if let Some(id) = metadata.size(key)? {
            config.insert(field.into(), json!(id));
        }
    }
    Ok(Value::Object(config))
}

/// The query heads and the key heads, for the row order of q and k.
pub(crate) fn gguf_heads(metadata: &GgufMetadata) -> Result<(usize, usize), CheckpointError> {
    let sizes = Sizes::read(&Keys::new(metadata)?)?;
    Ok((sizes.heads, sizes.kv_heads))
}

/// The keys of one architecture: `llama.block_count` and the like.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a GgufMetadata,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    fn new(metadata: &'a GgufMetadata) -> Result<Self, CheckpointError> {
        let architecture = metadata.need_string("general.architecture")?;
        if !ARCHITECTURES.contains(&architecture) {
            let known = ARCHITECTURES.join(", ");
            return Err(CheckpointError::field(
                metadata.path(),
                "general.architecture",
                FieldProblem::Value(format!("is `{architecture}`, expected one of {known}")),
            ));
        }
        let keys = Keys {
            metadata,
            architecture,
        };
        if metadata.size(&keys.key("expert_count"))?.unwrap_or(0) > 0 {
            return Err(keys.wrong(
                "expert_count",
                "says that this is a mixture of experts, which is not supported",
            ));
        }
        Ok(keys)
    }

    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.architecture)
    }

    pub(super) fn size(&self, rest: &str) -> Result<usize, CheckpointError> {
        let size = self.metadata.need_size(&self.key(rest))?;
        if size == 0 {
            return Err(self.wrong(rest, "is 0, expected at least 1"));
        }
        Ok(size)
    }

    /// A number that is finite and above zero, if the key is there.
    pub(super) fn positive(&self, rest: &str) -> Result<Option<f64>, CheckpointError> {
        self.metadata.positive(&self.key(rest))
    }

    /// The error of a value that is not understood or contradicts another.
    pub(super) fn wrong(&self, rest: &str, message: impl Into<String>) -> CheckpointError {
        CheckpointError::field(
            self.metadata.path(),
            self.key(rest),
            FieldProblem::Value(message.into()),
        )
    }
}

struct Sizes {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Sizes {
    fn read(keys: &Keys<'_>) -> Result<Self, CheckpointError> {
        let metadata = keys.metadata;
        let hidden = keys.size("embedding_length")?;
        let heads = keys.size("attention.head_count")?;
        let kv_heads = metadata
            .size(&keys.key("attention.head_count_kv"))?
            .unwrap_or(heads);
        if kv_heads == 0 || heads % kv_heads != 0 {
            let message = format!("is {kv_heads}, expected a divisor of the {heads} heads");
            return Err(keys.wrong("attention.head_count_kv", message));
        }
        let head_dim = match metadata.size(&keys.key("attention.key_length"))? {
            Some(0) => return Err(keys.wrong("attention.key_length", "is 0, expected at least 1")),
            Some(length) => length,
            None if hidden % heads == 0 => hidden / heads,
            None => {
                let message =
                    format!("is {heads}, expected a divisor of the embedding length {hidden}");
                return Err(keys.wrong("attention.head_count", message));
            }
        };
        let value_length = metadata
            .size(&keys.key("attention.value_length"))?
            .unwrap_or(head_dim);
        if value_length != head_dim {
            let message = format!("is {value_length}, expected the key length {head_dim}");
            return Err(keys.wrong("attention.value_length", message));
        }
        Ok(Sizes {
            hidden,
            heads,
            kv_heads,
            head_dim,
        })
    }
}

/// The rows of the embedding, which the metadata must not contradict; the metadata where there is no embedding.
fn vocab_size(keys: &Keys<'_>, file: &GgufFile) -> Result<usize, CheckpointError> {
    let stated = keys.metadata.size(&keys.key("vocab_size"))?;
    if let Some(embedding) = file.tensors.get("token_embd.weight")
        && let Some(&rows) = embedding.shape.first()
    {
        return match stated {
            Some(stated) if stated != rows => Err(keys.wrong(
                "vocab_size",
                format!(
                    "is {stated}, which contradicts the {rows} rows of the tensor `token_embd.weight`: write the file again, with the number of its rows"
                ),
            )),
            _ => Ok(rows),
        };
    }
    match keys.metadata.strings("tokenizer.ggml.tokens")? {
        Some(tokens) => Ok(tokens.len()),
        None => keys.size("vocab_size"),
    }
}

/// What positions see. A window goes into the config, whose reader knows whether it can be built.
fn insert_attention(
    config: &mut Map<String, Value>,
    keys: &Keys<'_>,
) -> Result<(), CheckpointError> {
    let metadata = keys.metadata;
    if metadata.bool(&keys.key("attention.causal"))? == Some(false) {
        let message = "is false, and models whose positions see later ones are not read from GGUF files: use the folder that the file was made of";
        return Err(keys.wrong("attention.causal", message));
    }
    let window = metadata.size(&keys.key("attention.sliding_window"))?;
    if let Some(window) = window.filter(|window| *window > 0) {
        config.insert("sliding_window".into(), json!(window));
        if keys.architecture == "qwen2" {
            config.insert("use_sliding_window".into(), json!(true));
            config.insert("max_window_layers".into(), json!(0));
        }
    }
    Ok(())
}

/// Which projections have a bias, by the tensors of the first layer. Those of q, k and v belong to every qwen2.
fn insert_biases(config: &mut Map<String, Value>, keys: &Keys<'_>, file: &GgufFile) {
    let has = |parts: &[&str]| {
        let mut names = parts.iter().map(|part| format!("blk.0.{part}.bias"));
        names.any(|name| file.tensors.contains_key(&name))
    };
    let is_llama = keys.architecture == "llama";
    let attention = match is_llama {
        true => has(&["attn_q", "attn_k", "attn_v", "attn_output"]),
        false => has(&["attn_output"]),
    };
    let mlp = has(&["ffn_gate", "ffn_up", "ffn_down"]);
    for (field, bias) in [("attention_bias", attention), ("mlp_bias", mlp)] {
        if is_llama || bias {
            config.insert(field.into(), json!(bias));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use indexmap::IndexMap;

    use super::super::read::GgufTensor;
    use super::super::value::GgufValue;
    use super::*;
    use crate::stored::GgmlType;

    pub(in crate::gguf) fn file(extra: &[(&str, GgufValue)]) -> GgufFile {
        let mut values = IndexMap::new();
        let base = [
            ("general.architecture", GgufValue::String("llama".into())),
            ("llama.block_count", GgufValue::U32(2)),
            ("llama.context_length", GgufValue::U32(128)),
            ("llama.embedding_length", GgufValue::U64(64)),
            ("llama.feed_forward_length", GgufValue::U32(96)),
            ("llama.attention.head_count", GgufValue::U32(4)),
            ("llama.attention.head_count_kv", GgufValue::U32(2)),
            (
                "llama.attention.layer_norm_rms_epsilon",
                GgufValue::F32(1e-5),
            ),
            ("llama.vocab_size", GgufValue::U32(320)),
        ];
        for (key, value) in base.iter().chain(extra) {
            values.insert((*key).to_string(), value.clone());
        }
        GgufFile {
            version: 3,
            metadata: GgufMetadata::new(Path::new("m.gguf"), values),
            tensors: IndexMap::new(),
        }
    }

    #[test]
    fn the_plain_config_has_every_field() {
        let config = gguf_config(
            &file(&[("tokenizer.ggml.eos_token_id", GgufValue::U32(2))]),
            None,
        )
        .unwrap();
        assert_eq!(
            config,
            json!({
                "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 320, "hidden_size": 64,
                "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "head_dim": 16, "hidden_act": "silu", "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
                "eos_token_id": 2,
            })
        );
    }

    #[test]
    fn each_missing_key_is_named_with_the_file() {
        for key in [
            "general.architecture",
            "llama.block_count",
            "llama.context_length",
            "llama.embedding_length",
            "llama.feed_forward_length",
            "llama.attention.head_count",
            "llama.attention.layer_norm_rms_epsilon",
            "llama.vocab_size",
        ] {
            let mut file = file(&[]);
            file.metadata.values.shift_remove(key);
            let error = gguf_config(&file, None).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("m.gguf: `{key}` is missing")),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_that_are_none_are_named() {
        let keys = [
            "llama.attention.layer_norm_rms_epsilon",
            "llama.rope.freq_base",
            "llama.rope.scaling.factor",
            "llama.rope.scale_linear",
            "llama.rope.scaling.attn_factor",
        ];
        for key in keys {
            for (value, found) in [
                (f32::NAN, "NaN"),
                (f32::INFINITY, "inf"),
                (f32::NEG_INFINITY, "-inf"),
                (-1.5, "-1.5"),
            ] {
                let error = gguf_config(&file(&[(key, GgufValue::F32(value))]), None)
                    .unwrap_err()
                    .to_string();
                assert_eq!(
                    error,
                    format!("m.gguf: `{key}` is the f32 {found}, expected a finite f32 above 0")
                );
            }
        }
    }

    #[test]
    fn the_rows_of_the_embedding_are_the_vocabulary() {
        let mut file = file(&[]);
        let embedding = GgufTensor {
            stored: GgmlType::F32,
            shape: vec![300, 64],
            range: 0..0,
        };
        file.tensors.insert("token_embd.weight".into(), embedding);
        let error = gguf_config(&file, None).unwrap_err().to_string();
        let expected = "m.gguf: `llama.vocab_size` is 320, which contradicts the 300 rows of the tensor `token_embd.weight`";
        assert!(error.starts_with(expected), "{error}");
        file.metadata.values.shift_remove("llama.vocab_size");
        assert_eq!(gguf_config(&file, None).unwrap()["vocab_size"], 300);
    }

    #[test]
    fn contradictions_are_named() {
        let cases: &[(&str, GgufValue, &str)] = &[
            (
                "llama.attention.head_count_kv",
                GgufValue::U32(3),
                "`llama.attention.head_count_kv` is 3, expected a divisor of the 4 heads",
            ),
            (
                "llama.attention.head_count",
                GgufValue::F32(4.0),
                "`llama.attention.head_count` is the f32 4, expected a whole number",
            ),
            (
                "llama.attention.value_length",
                GgufValue::U32(8),
                "expected the key length 16",
            ),
            (
                "llama.rope.dimension_count",
                GgufValue::U32(18),
                "up to the head size 16",
            ),
            (
                "llama.rope.scaling.type",
                GgufValue::String("wild".into()),
                "expected none, linear or yarn",
            ),
            (
                "llama.block_count",
                GgufValue::U32(0),
                "is 0, expected at least 1",
            ),
            (
                "llama.expert_count",
                GgufValue::U32(8),
                "mixture of experts",
            ),
            (
                "general.architecture",
                GgufValue::String("bloom".into()),
                "is `bloom`, expected one of llama, qwen2",
            ),
        ];
        for (key, value, expected) in cases {
            let error = gguf_config(&file(&[(key, value.clone())]), None)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
