//! The `config.json` that a GGUF file's metadata amounts to. Tokenizer keys other than the ids of special tokens are read in
//! `tokenizer`.

use serde_json::{Map, Value, json};

use super::names::ARCHITECTURES;
use super::read::GgufFile;
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
    let epsilon = metadata.need_number(&keys.key("attention.layer_norm_rms_epsilon"))?;
    config.insert("rms_norm_eps".into(), json!(epsilon));
    insert_rope(&mut config, &keys, &sizes, context, rope_factors)?;
    let tied = !file.tensors.contains_key("output.weight");
    config.insert("tie_word_embeddings".into(), json!(tied));
    if keys.architecture == "llama" {
        config.insert(
            "attention_bias".into(),
            json!(has_bias(
                file,
                &["attn_q", "attn_k", "attn_v", "attn_output"]
            )),
        );
        config.insert(
            "mlp_bias".into(),
            json!(has_bias(file, &["ffn_gate", "ffn_up", "ffn_down"])),
        );
    }
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
struct Keys<'a> {
    metadata: &'a GgufMetadata,
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

    fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.architecture)
    }

    fn size(&self, rest: &str) -> Result<usize, CheckpointError> {
        let size = self.metadata.need_size(&self.key(rest))?;
        if size == 0 {
            return Err(self.wrong(rest, "is 0, expected at least 1"));
        }
        Ok(size)
    }

    fn wrong(&self, rest: &str, message: impl Into<String>) -> CheckpointError {
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

/// The rows of the embedding, which is what the model computes with; the metadata where there is no embedding.
fn vocab_size(keys: &Keys<'_>, file: &GgufFile) -> Result<usize, CheckpointError> {
    if let Some(embedding) = file.tensors.get("token_embd.weight")
        && let Some(&rows) = embedding.shape.first()
    {
        return Ok(rows);
    }
    match keys.metadata.strings("tokenizer.ggml.tokens")? {
        Some(tokens) => Ok(tokens.len()),
        None => keys.size("vocab_size"),
    }
}

fn has_bias(file: &GgufFile, parts: &[&str]) -> bool {
    parts
        .iter()
        .any(|part| file.tensors.contains_key(&format!("blk.0.{part}.bias")))
}

fn insert_rope(
    config: &mut Map<String, Value>,
    keys: &Keys<'_>,
    sizes: &Sizes,
    context: usize,
    factors: Option<&[f32]>,
) -> Result<(), CheckpointError> {
    let metadata = keys.metadata;
    let theta = metadata
        .number(&keys.key("rope.freq_base"))?
        .unwrap_or(10_000.0);
    config.insert("rope_theta".into(), json!(theta));
    let rotary = metadata
        .size(&keys.key("rope.dimension_count"))?
        .unwrap_or(sizes.head_dim);
    if rotary == 0 || rotary > sizes.head_dim || rotary % 2 != 0 {
        let message = format!(
            "is {rotary}, expected an even number up to the head size {}",
            sizes.head_dim
        );
        return Err(keys.wrong("rope.dimension_count", message));
    }
    if rotary != sizes.head_dim {
        let factor = rotary as f64 / sizes.head_dim as f64;
        config.insert("partial_rotary_factor".into(), json!(factor));
    }
    let scaling = match (factors, scaling_of(keys)?) {
        (None, scaling) => scaling,
        (Some(factors), None) => Some(scaling_of_factors(keys, rotary, theta, context, factors)?),
        (Some(_), Some(_)) => {
            let message = "contradicts the tensor `rope_freqs.weight`: expected one of the two";
            return Err(keys.wrong("rope.scaling.type", message));
        }
    };
    if let Some(scaling) = scaling {
        config.insert("rope_scaling".into(), scaling);
    }
    Ok(())
}

/// The scaling that the keys describe.
fn scaling_of(keys: &Keys<'_>) -> Result<Option<Value>, CheckpointError> {
    let metadata = keys.metadata;
    let scaling = metadata.string(&keys.key("rope.scaling.type"))?;
    // Files of 2023 say the linear factor under another name and have no type.
    let old_factor = metadata.number(&keys.key("rope.scale_linear"))?;
    let factor = metadata
        .number(&keys.key("rope.scaling.factor"))?
        .or(old_factor);
    match (scaling, factor) {
        (Some("none"), _) | (None, None) => Ok(None),
        (None | Some("linear"), Some(1.0)) => Ok(None),
        (None | Some("linear"), Some(factor)) => {
            Ok(Some(json!({"rope_type": "linear", "factor": factor})))
        }
        (Some("yarn"), Some(factor)) => {
            let original = keys.size("rope.scaling.original_context_length")?;
            let mut yarn = json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original,
            });
            if let Some(attention) = metadata.number(&keys.key("rope.scaling.attn_factor"))? {
                yarn["attention_factor"] = json!(attention);
            }
            Ok(Some(yarn))
        }
        (Some("linear" | "yarn"), None) => Err(CheckpointError::field(
            metadata.path(),
            keys.key("rope.scaling.factor"),
            FieldProblem::Missing { expected: "an f32" },
        )),
        (Some(other), _) => Err(keys.wrong(
            "rope.scaling.type",
            format!("is `{other}`, expected none, linear or yarn"),
        )),
    }
}

/// The scaling that a list of frequency divisors is.
fn scaling_of_factors(
    keys: &Keys<'_>,
    rotary: usize,
    theta: f64,
    context: usize,
    factors: &[f32],
) -> Result<Value, CheckpointError> {
    if factors.len() != rotary / 2 {
        let message = format!(
            "gives {} rotary pairs, and the tensor `rope_freqs.weight` has {} values",
            rotary / 2,
            factors.len()
        );
        return Err(keys.wrong("rope.dimension_count", message));
    }
    // The parameters of all Llama 3.1 to 3.3 checkpoints but for the factor.
    let (low, high, original) = (1.0, 4.0, 8192.0);
    let factor = llama3_factor(factors, &llama3_ramps(rotary, theta, low, high, original));
    let expected = llama3_factors(rotary, theta, factor, low, high, original);
    let close =
        |(&found, expected): (&f32, f64)| (f64::from(found) - expected).abs() <= 1e-4 * expected;
    if factor > 1.0 && factors.iter().zip(expected).all(close) {
        return Ok(json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": 8192,
        }));
    }
    Ok(json!({
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.0,
        "original_max_position_embeddings": context,
    }))
}

/// The divisors by Llama 3's rule: long waves are divided by `factor`, short ones not at all, with a ramp between.
pub(crate) fn llama3_factors(
    rotary: usize,
    theta: f64,
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
) -> Vec<f64> {
    let ramps = llama3_ramps(rotary, theta, low, high, original);
    ramps
        .into_iter()
        .map(|ramp| 1.0 / ((1.0 - ramp) / factor + ramp))
        .collect()
}

/// Where each pair stands between the long waves (0) and the short ones (1).
fn llama3_ramps(rotary: usize, theta: f64, low: f64, high: f64, original: f64) -> Vec<f64> {
    (0..rotary / 2)
        .map(|pair| {
            let wavelength =
                2.0 * std::f64::consts::PI * theta.powf(2.0 * pair as f64 / rotary as f64);
            ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0)
        })
        .collect()
}

/// The factor that gives the divisor of the longest wave, rounded to a whole number if it nearly is one.
fn llama3_factor(factors: &[f32], ramps: &[f64]) -> f64 {
    let (Some(&divisor), Some(&ramp)) = (factors.last(), ramps.last()) else {
        return 1.0;
    };
    let factor = (1.0 - ramp) / (1.0 / f64::from(divisor) - ramp);
    let whole = factor.round();
    if (factor - whole).abs() < 1e-4 * whole {
        whole
    } else {
        factor
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use indexmap::IndexMap;

    use super::super::value::GgufValue;
    use super::*;

    fn file(extra: &[(&str, GgufValue)]) -> GgufFile {
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

    #[test]
    fn scaling_keys_become_rope_scaling() {
        let scaled = file(&[
            ("llama.rope.scaling.type", GgufValue::String("yarn".into())),
            ("llama.rope.scaling.factor", GgufValue::F32(4.0)),
            (
                "llama.rope.scaling.original_context_length",
                GgufValue::U32(32),
            ),
            ("llama.rope.dimension_count", GgufValue::U32(8)),
        ]);
        let config = gguf_config(&scaled, None).unwrap();
        assert_eq!(
            config["rope_scaling"],
            json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32})
        );
        assert_eq!(config["partial_rotary_factor"], json!(0.5));
        let old = file(&[("llama.rope.scale_linear", GgufValue::F32(2.0))]);
        let config = gguf_config(&old, None).unwrap();
        assert_eq!(
            config["rope_scaling"],
            json!({"rope_type": "linear", "factor": 2.0})
        );
    }

    #[test]
    fn frequency_divisors_are_recognised_as_llama3_or_kept() {
        let base = file(&[("llama.rope.freq_base", GgufValue::F32(500_000.0))]);
        let by_rule: Vec<f32> = llama3_factors(16, 500_000.0, 8.0, 1.0, 4.0, 8192.0)
            .iter()
            .map(|&it| it as f32)
            .collect();
        assert!(
            by_rule.iter().any(|&it| it > 1.0 && it < 8.0),
            "the ramp is reached: {by_rule:?}"
        );
        let config = gguf_config(&base, Some(&by_rule)).unwrap();
        assert_eq!(config["rope_scaling"]["rope_type"], "llama3");
        assert_eq!(config["rope_scaling"]["factor"], 8.0);
        let other = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let config = gguf_config(&base, Some(&other)).unwrap();
        assert_eq!(config["rope_scaling"]["rope_type"], "longrope");
        assert_eq!(config["rope_scaling"]["long_factor"], json!(other));
        let error = gguf_config(&base, Some(&other[1..]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("has 7 values"), "{error}");
    }
}
