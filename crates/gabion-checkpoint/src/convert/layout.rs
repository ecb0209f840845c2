//! Stacking separate projections and separating stacked ones, with the config that goes with it. The stacked layout is
//! Phi-3's: `self_attn.qkv_proj` with the rows of q, k, v, and `mlp.gate_up_proj` with those of gate, up.

use std::path::Path;

use gabion_tensor::DType;
use serde_json::{Map, Value, json};

use super::model_type;
use super::plan::{OutTensor, Part, whole};
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::error::{CheckpointError, FieldProblem, TensorProblem};
use crate::folder::ModelFiles;
use crate::json::Fields;

/// Parts and their stack, in the order of the rows.
const STACKS: &[(&[&str], &str)] = &[
    (
        &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attn.qkv_proj",
    ),
    (&["mlp.gate_proj", "mlp.up_proj"], "mlp.gate_up_proj"),
];

/// Splits `model.layers.0.mlp.up_proj.weight` into the path before `mlp.up_proj` (with its dot) and `weight`.
fn split_name<'a>(name: &'a str, projection: &str) -> Option<(&'a str, &'a str)> {
    let (rest, kind) = name.rsplit_once('.')?;
    let path = rest.strip_suffix(projection)?;
    (path.is_empty() || path.ends_with('.')).then_some((path, kind))
}

impl Checkpoint {
    /// Whether the projections are stored as Phi-3 stores them, whatever the config says.
    pub fn has_stacked_projections(&self) -> bool {
        self.names().any(|name| {
            STACKS
                .iter()
                .any(|(_, stack)| split_name(name, stack).is_some())
        })
    }
}

/// Stacks q, k, v and gate, up. The config becomes Phi-3's where Phi-3 can say all of it (no biases, plain or long RoPE), so
/// that other programs can read the folder; elsewhere it stays as it is.
pub(super) fn fuse(
    model: &ModelFiles,
    tensors: &mut Vec<OutTensor>,
    config: &mut Value,
) -> Result<(), CheckpointError> {
    let checkpoint = model.checkpoint();
    if checkpoint.has_stacked_projections() {
        return Err(CheckpointError::unsupported(
            model.path(),
            "the projections are stacked already: leave out --fuse",
        ));
    }
    let mut n_stacks = 0;
    let mut fused = Vec::with_capacity(tensors.len());
    for tensor in tensors.iter() {
        match stack_of(checkpoint, &tensor.name)? {
            Place::Outside => fused.push(tensor.clone()),
            Place::First(stack) => {
                fused.push(stack);
                n_stacks += 1;
            }
            Place::Later => {}
        }
    }
    if n_stacks == 0 {
        let message = format!(
            "a model of type `{}` cannot be stacked: there is no public stacked layout for it, only for q_proj, k_proj, v_proj and gate_proj, up_proj",
            model_type(config)
        );
        return Err(CheckpointError::unsupported(model.path(), message));
    }
    let has_bias = fused
        .iter()
        .any(|tensor| tensor.parts.len() > 1 && tensor.name.ends_with(".bias"));
    *tensors = fused;
    if !has_bias && phi3_can_say(config) {
        become_phi3(model, config)?;
    }
    Ok(())
}

/// Where a tensor stands in a stack.
enum Place {
    Outside,
    First(OutTensor),
    Later,
}

fn stack_of(checkpoint: &Checkpoint, name: &str) -> Result<Place, CheckpointError> {
    for (parts, stack) in STACKS {
        for part in *parts {
            let Some((path, kind)) = split_name(name, part) else {
                continue;
            };
            let infos = parts
                .iter()
                .map(|part| {
                    let sibling = format!("{path}{part}.{kind}");
                    checkpoint.info(&sibling).ok_or_else(|| {
                        let problem = TensorProblem::Missing {
                            nearest: Vec::new(),
                        };
                        CheckpointError::tensor(checkpoint.path(), &sibling, problem)
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            // The stack takes the place of the part that comes first in the file.
            let first = infos
                .iter()
                .min_by_key(|info| checkpoint.tensors().get_index_of(&info.name));
            if first.is_none_or(|first| first.name != name) {
                return Ok(Place::Later);
            }
            return stacked(checkpoint, format!("{path}{stack}.{kind}"), &infos).map(Place::First);
        }
    }
    Ok(Place::Outside)
}

fn stacked(
    checkpoint: &Checkpoint,
    name: String,
    infos: &[&TensorInfo],
) -> Result<OutTensor, CheckpointError> {
    let (mut rows, mut rest) = (0, None);
    let mut parts = Vec::with_capacity(infos.len());
    for info in infos {
        let (first, columns) = match info.shape.split_first() {
            Some((&first, columns)) if rest.is_none_or(|rest| rest == columns) => (first, columns),
            _ => {
                let problem = TensorProblem::Shape {
                    expected: format!(
                        "rows of {:?}, like the other parts of `{name}`",
                        rest.unwrap_or_default()
                    ),
                    found: info.shape.clone(),
                };
                return Err(CheckpointError::tensor(
                    checkpoint.path(),
                    &info.name,
                    problem,
                ));
            }
        };
        rest = Some(columns);
        rows += first;
        parts.extend(whole(info).parts);
    }
    let shape = [&[rows], rest.unwrap_or_default()].concat();
    Ok(OutTensor {
        name,
        shape,
        stored: infos[0].stored,
        parts,
        order: None,
    })
}

/// Whether Phi-3's config has a place for everything that this one says.
fn phi3_can_say(config: &Value) -> bool {
    let rope_type = |section: &str| {
        let section = config.get(section)?;
        section
            .get("rope_type")
            .or_else(|| section.get("type"))
            .and_then(Value::as_str)
    };
    let plain = |section: &str| matches!(rope_type(section), None | Some("default" | "longrope"));
    matches!(model_type(config), "llama" | "mistral")
        && plain("rope_parameters")
        && plain("rope_scaling")
}

fn become_phi3(model: &ModelFiles, config: &mut Value) -> Result<(), CheckpointError> {
    let sizes = Sizes::read(model)?;
    let context =
        Fields::of(model.config_path(), model.config())?.need_size("max_position_embeddings")?;
    let was_mistral = model_type(config) == "mistral";
    let Value::Object(fields) = config else {
        return Ok(());
    };
    set_class(fields, "phi3", "Phi3ForCausalLM");
    for gone in [
        "attention_bias",
        "mlp_bias",
        "pretraining_tp",
        "layer_types",
    ] {
        fields.shift_remove(gone);
    }
    // Where the two families' defaults differ, the value is written out.
    let mut default = |name: &str, value: Value| {
        fields.entry(name).or_insert(value);
    };
    default("rms_norm_eps", json!(1e-6));
    default("original_max_position_embeddings", json!(context));
    default(
        "sliding_window",
        if was_mistral {
            json!(4096)
        } else {
            Value::Null
        },
    );
    default("pad_token_id", Value::Null);
    default("bos_token_id", Value::Null);
    default("eos_token_id", Value::Null);
    default("resid_pdrop", json!(0.0));
    default("embd_pdrop", json!(0.0));
    default("tie_word_embeddings", json!(false));
    fields.insert("num_key_value_heads".into(), json!(sizes.kv_heads));
    fields.insert("head_dim".into(), json!(sizes.head_dim));
    match fields.get_mut("rope_parameters") {
        Some(Value::Object(rope)) => {
            rope.entry("partial_rotary_factor").or_insert(json!(1.0));
        }
        _ => {
            fields.entry("partial_rotary_factor").or_insert(json!(1.0));
        }
    }
    Ok(())
}

fn set_class(fields: &mut Map<String, Value>, model_type: &str, class: &str) {
    fields.insert("model_type".into(), json!(model_type));
    fields.insert("architectures".into(), json!([class]));
}

/// Separates stacked projections. A Phi-3 config becomes that of Llama, or of Mistral where there is a window.
pub(super) fn unfuse(
    model: &ModelFiles,
    tensors: &mut Vec<OutTensor>,
    config: &mut Value,
) -> Result<(), CheckpointError> {
    let checkpoint = model.checkpoint();
    if !checkpoint.has_stacked_projections() {
        return Err(CheckpointError::unsupported(
            model.path(),
            "there are no stacked projections (qkv_proj, gate_up_proj): leave out --unfuse",
        ));
    }
    let sizes = Sizes::read(model)?;
    let mut separate = Vec::with_capacity(tensors.len() * 2);
    for tensor in tensors.iter() {
        let Some((path, kind, parts, stack)) = STACKS.iter().find_map(|(parts, stack)| {
            let (path, kind) = split_name(&tensor.name, stack)?;
            Some((path, kind, *parts, *stack))
        }) else {
            separate.push(tensor.clone());
            continue;
        };
        let rows = sizes.rows_of(stack);
        check_rows(checkpoint, tensor, &rows)?;
        let mut start = 0;
        for (part, rows) in parts.iter().zip(rows) {
            separate.push(cut(tensor, format!("{path}{part}.{kind}"), start, rows));
            start += rows;
        }
    }
    *tensors = separate;
    if model_type(config) == "phi3" {
        leave_phi3(model, config)?;
    }
    Ok(())
}

fn check_rows(
    checkpoint: &Checkpoint,
    tensor: &OutTensor,
    rows: &[usize],
) -> Result<(), CheckpointError> {
    if tensor.shape.first() == Some(&rows.iter().sum()) {
        return Ok(());
    }
    let sum: Vec<String> = rows.iter().map(usize::to_string).collect();
    let problem = TensorProblem::Shape {
        expected: format!("the {} rows of its parts by the config", sum.join("+")),
        found: tensor.shape.clone(),
    };
    Err(CheckpointError::tensor(
        checkpoint.path(),
        &tensor.name,
        problem,
    ))
}

fn cut(tensor: &OutTensor, name: String, start: usize, rows: usize) -> OutTensor {
    let mut shape = tensor.shape.clone();
    shape[0] = rows;
    let parts = tensor.parts.iter().map(|part| Part {
        source: part.source.clone(),
        rows: start..start + rows,
        stored: part.stored,
    });
    OutTensor {
        name,
        shape,
        parts: parts.collect(),
        stored: tensor.stored,
        order: None,
    }
}

fn leave_phi3(model: &ModelFiles, config: &mut Value) -> Result<(), CheckpointError> {
    let path = model.config_path();
    for section in [Some(&*config), config.get("rope_parameters")]
        .into_iter()
        .flatten()
    {
        let factor = section.get("partial_rotary_factor").and_then(Value::as_f64);
        if factor.is_some_and(|factor| factor != 1.0) {
            let message = "is not 1, and no model with separate projections of this kind turns part of a head";
            return Err(CheckpointError::field(
                path,
                "partial_rotary_factor",
                FieldProblem::Value(message.to_string()),
            ));
        }
    }
    let sizes = Sizes::read(model)?;
    let window = config.get("sliding_window").is_some_and(|it| !it.is_null());
    let Value::Object(fields) = config else {
        return Ok(());
    };
    match window {
        true => set_class(fields, "mistral", "MistralForCausalLM"),
        false => {
            set_class(fields, "llama", "LlamaForCausalLM");
            fields.shift_remove("sliding_window");
            fields.entry("attention_bias").or_insert(json!(false));
            fields.insert("mlp_bias".into(), json!(false));
        }
    }
    for gone in [
        "resid_pdrop",
        "embd_pdrop",
        "partial_rotary_factor",
        "auto_map",
    ] {
        fields.shift_remove(gone);
    }
    let long_rope =
        |section: Option<&Value>| section.is_some_and(|it| it.get("long_factor").is_some());
    if !long_rope(fields.get("rope_parameters")) && !long_rope(fields.get("rope_scaling")) {
        fields.shift_remove("original_max_position_embeddings");
    }
    if let Some(Value::Object(rope)) = fields.get_mut("rope_parameters") {
        rope.shift_remove("partial_rotary_factor");
    }
    // Where the two families' defaults differ, the value is written out.
    fields.entry("rms_norm_eps").or_insert(json!(1e-5));
    fields.insert("num_key_value_heads".into(), json!(sizes.kv_heads));
    fields.insert("head_dim".into(), json!(sizes.head_dim));
    Ok(())
}

/// The sizes that say how many rows each part has.
pub(super) struct Sizes {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) intermediate: usize,
}

impl Sizes {
    /// Reads the sizes from the config; where it leaves out the key heads, the rows of k say them.
    pub(super) fn read(model: &ModelFiles) -> Result<Self, CheckpointError> {
        let key_rows = key_rows(model.checkpoint());
        Self::of(model.config_path(), model.config(), key_rows)
    }

    /// Reads the sizes from a config; where it leaves out the key heads, `key_rows` says them.
    pub(super) fn of(
        path: &Path,
        config: &Value,
        key_rows: Option<usize>,
    ) -> Result<Self, CheckpointError> {
        let fields = Fields::of(path, config)?;
        let heads = fields.need_size("num_attention_heads")?;
        let head_dim = match fields.size("head_dim")? {
            Some(head_dim) => head_dim,
            None => fields
                .need_size("hidden_size")?
                .checked_div(heads)
                .unwrap_or(0),
        };
        let wrong = |field: &str, message: &str| {
            Err(CheckpointError::field(
                path,
                field,
                FieldProblem::Value(message.to_string()),
            ))
        };
        if heads == 0 || heads > u32::MAX as usize {
            return wrong("num_attention_heads", "is no number of heads");
        }
        if head_dim == 0 || head_dim > u32::MAX as usize {
            return wrong("head_dim", "is no size of a head");
        }
        let kv_heads = match fields.size("num_key_value_heads")? {
            Some(kv_heads) if kv_heads > 0 && kv_heads <= heads => kv_heads,
            Some(_) => {
                return wrong(
                    "num_key_value_heads",
                    "is no number of heads up to `num_attention_heads`",
                );
            }
            None => key_rows.map_or(heads, |rows| (rows / head_dim).clamp(1, heads)),
        };
        let intermediate = fields.need_size("intermediate_size")?;
        if intermediate > u32::MAX as usize {
            return wrong("intermediate_size", "is no number of rows");
        }
        Ok(Sizes {
            heads,
            kv_heads,
            head_dim,
            intermediate,
        })
    }

    fn rows_of(&self, stack: &str) -> Vec<usize> {
        match stack {
            "mlp.gate_up_proj" => vec![self.intermediate; 2],
            _ => [self.heads, self.kv_heads, self.kv_heads]
                .map(|heads| heads * self.head_dim)
                .to_vec(),
        }
    }
}

fn key_rows(checkpoint: &Checkpoint) -> Option<usize> {
    let info = checkpoint
        .tensors()
        .values()
        .find(|info| info.name.ends_with("self_attn.k_proj.weight"))?;
    info.shape.first().copied()
}

/// The dtype's name in a config.
pub(super) fn config_dtype(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("float32"),
        DType::F16 => Some("float16"),
        DType::BF16 => Some("bfloat16"),
        _ => None,
    }
}
