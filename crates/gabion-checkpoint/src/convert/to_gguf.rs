//! The metadata and the names of a GGUF file for a model in Hugging Face's words. The tokenizer's part is in
//! `tokenizer_to_gguf`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use super::layout::Sizes;
use super::plan::OutTensor;
use super::{model_type, tokenizer_to_gguf};
use crate::error::{CheckpointError, FieldProblem, TensorProblem};
use crate::folder::ModelFiles;
use crate::gguf::{GgufMetadata, GgufValue, NameMap, ROPE_FACTORS, llama3_factors};
use crate::json::{self, Fields};
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

/// Gives every tensor its GGUF name and, for llama, the order of its rows; returns tensors that the file needs beside them.
pub(super) fn rename(
    model: &ModelFiles,
    config: &Value,
    tensors: &mut [OutTensor],
) -> Result<Vec<Extra>, CheckpointError> {
    let architecture = architecture(model, config)?;
    let sizes = Sizes::read(model)?;
    let checkpoint = model.checkpoint();
    let names = NameMap::of(architecture, sizes.heads, sizes.kv_heads);
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
    rope_factors(model, config, sizes.head_dim)
}

/// The metadata of the output. A GGUF input keeps its own, but for the keys that say how the tensors are stored.
pub(super) fn metadata(
    model: &ModelFiles,
    config: &Value,
    out: &Path,
    tensors: &[OutTensor],
) -> Result<GgufMetadata, CheckpointError> {
    let mut values = match model.checkpoint().gguf() {
        Some(gguf) => gguf.metadata.values().clone(),
        None => from_config(model, config)?,
    };
    // The writer aligns as its default says.
    values.shift_remove("general.alignment");
    values.insert("general.quantization_version".into(), GgufValue::U32(2));
    if let Some(file_type) = file_type(tensors) {
        values.insert("general.file_type".into(), GgufValue::U32(file_type));
    }
    Ok(GgufMetadata::new(out, values))
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

fn from_config(
    model: &ModelFiles,
    config: &Value,
) -> Result<IndexMap<String, GgufValue>, CheckpointError> {
    let path = model.config_path();
    let architecture = architecture(model, config)?;
    let fields = Fields::of(path, config)?;
    let sizes = Sizes::read(model)?;
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
    let number = |field: &str, value: usize| {
        u32::try_from(value).map(GgufValue::U32).map_err(|_| {
            CheckpointError::field(
                path,
                field,
                FieldProblem::Value(format!("is {value}, beyond the range of GGUF's u32")),
            )
        })
    };
    for (key, field) in [
        ("vocab_size", "vocab_size"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("block_count", "num_hidden_layers"),
        ("feed_forward_length", "intermediate_size"),
    ] {
        values.insert(
            format!("{architecture}.{key}"),
            number(field, fields.need_size(field)?)?,
        );
    }
    for (key, field, value) in [
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
        values.insert(format!("{architecture}.{key}"), number(field, value)?);
    }
    if fields.get("sliding_window").is_some() && model_type(config) == "mistral" {
        let message = "has no place in a GGUF file of the architecture llama".to_string();
        return Err(CheckpointError::field(
            path,
            "sliding_window",
            FieldProblem::Value(message),
        ));
    }
    let epsilon = fields.number("rms_norm_eps")?.unwrap_or(1e-6);
    values.insert(
        format!("{architecture}.attention.layer_norm_rms_epsilon"),
        GgufValue::F32(epsilon as f32),
    );
    let rope = Rope::read(path, config)?;
    values.insert(
        format!("{architecture}.rope.freq_base"),
        GgufValue::F32(rope.theta as f32),
    );
    rope.insert_scaling(path, architecture, &mut values)?;
    tokenizer_to_gguf::insert(model, fields.need_size("vocab_size")?, &mut values)?;
    Ok(values)
}

/// The rotary fields of a config, in the new form (`rope_parameters`) or the old one.
struct Rope<'a> {
    theta: f64,
    section: Option<(&'static str, &'a Value)>,
    rope_type: &'a str,
}

impl<'a> Rope<'a> {
    fn read(path: &'a Path, config: &'a Value) -> Result<Self, CheckpointError> {
        let fields = Fields::of(path, config)?;
        let section = ["rope_parameters", "rope_scaling"]
            .into_iter()
            .find_map(|name| Some((name, fields.get(name)?)));
        let word = |section: &'a Value, field: &str| section.get(field).and_then(Value::as_str);
        let rope_type =
            section.and_then(|(_, it)| word(it, "rope_type").or_else(|| word(it, "type")));
        let inner_theta = section
            .and_then(|(_, it)| it.get("rope_theta"))
            .and_then(Value::as_f64);
        let partial = section
            .and_then(|(_, it)| it.get("partial_rotary_factor"))
            .or_else(|| fields.get("partial_rotary_factor"))
            .and_then(Value::as_f64);
        if partial.is_some_and(|partial| partial != 1.0) {
            let message =
                "is not 1, which the GGUF architectures written here do not know".to_string();
            return Err(CheckpointError::field(
                path,
                "partial_rotary_factor",
                FieldProblem::Value(message),
            ));
        }
        Ok(Rope {
            theta: inner_theta
                .or(fields.number("rope_theta")?)
                .unwrap_or(10_000.0),
            section,
            rope_type: rope_type.unwrap_or("default"),
        })
    }

    fn number(&self, path: &Path, field: &str) -> Result<f64, CheckpointError> {
        let (name, section) = self.section.unwrap_or(("rope_parameters", &Value::Null));
        let Some(value) = section.get(field) else {
            return Err(CheckpointError::field(
                path,
                format!("{name}.{field}"),
                FieldProblem::Missing {
                    expected: "a number",
                },
            ));
        };
        value.as_f64().ok_or_else(|| {
            let found = json::describe(value);
            CheckpointError::field(
                path,
                format!("{name}.{field}"),
                FieldProblem::Type {
                    expected: "a number",
                    found,
                },
            )
        })
    }

    fn insert_scaling(
        &self,
        path: &Path,
        architecture: &str,
        values: &mut IndexMap<String, GgufValue>,
    ) -> Result<(), CheckpointError> {
        let mut insert = |key: &str, value: GgufValue| {
            values.insert(format!("{architecture}.rope.scaling.{key}"), value);
        };
        match self.rope_type {
            // Llama 3's rule goes into a tensor.
            "default" | "llama3" => Ok(()),
            "linear" => {
                insert("type", GgufValue::String("linear".into()));
                insert(
                    "factor",
                    GgufValue::F32(self.number(path, "factor")? as f32),
                );
                Ok(())
            }
            "yarn" => {
                insert("type", GgufValue::String("yarn".into()));
                insert(
                    "factor",
                    GgufValue::F32(self.number(path, "factor")? as f32),
                );
                let original = self.number(path, "original_max_position_embeddings")?;
                insert("original_context_length", GgufValue::U32(original as u32));
                Ok(())
            }
            other => {
                let name = self.section.map_or("rope_parameters", |(name, _)| name);
                let message = format!(
                    "is `{other}`, and GGUF files are written with default, linear, yarn and llama3"
                );
                Err(CheckpointError::field(
                    path,
                    format!("{name}.rope_type"),
                    FieldProblem::Value(message),
                ))
            }
        }
    }
}

/// The divisors of the rotary frequencies, which GGUF keeps as a tensor: those of the input, or Llama 3's by its rule.
fn rope_factors(
    model: &ModelFiles,
    config: &Value,
    head_dim: usize,
) -> Result<Vec<Extra>, CheckpointError> {
    let factors = match model.checkpoint().gguf() {
        Some(_) => model.checkpoint().rope_factors()?,
        None => {
            let path = model.config_path();
            let rope = Rope::read(path, config)?;
            match rope.rope_type {
                "llama3" => {
                    let factors = llama3_factors(
                        head_dim,
                        rope.theta,
                        rope.number(path, "factor")?,
                        rope.number(path, "low_freq_factor")?,
                        rope.number(path, "high_freq_factor")?,
                        rope.number(path, "original_max_position_embeddings")?,
                    );
                    Some(factors.into_iter().map(|factor| factor as f32).collect())
                }
                _ => None,
            }
        }
    };
    Ok(factors.into_iter().map(factor_tensor).collect())
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
