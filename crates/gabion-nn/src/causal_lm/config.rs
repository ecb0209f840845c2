//! `config.json` of a decoder: which fields are read, what absent ones mean, which contradict.

use gabion_tensor::DType;
use serde_json::Value;

use super::family::{Family, Window};
use crate::activation::Activation;
use crate::error::{ConfigErrors, ConfigProblem};
use crate::fields::{Fields, MAX_LAYERS, POSITIVE};
use crate::rope::{PartialRotary, RopeConfig, RopeContext, read_rope};
use crate::stack::dtype_by_name;

/// A decoder as its `config.json` describes it (the fields of transformers' Llama, Mistral, Qwen2
/// and Phi-3 configurations).
#[derive(Clone, Debug, PartialEq)]
pub struct CausalLmConfig {
    /// `model_type`.
    pub family: Family,
    /// Rows of the embedding table and of the head.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The width inside the MLP.
    pub intermediate_size: usize,
    /// `num_hidden_layers`.
    pub n_layers: usize,
    /// `num_attention_heads`.
    pub heads: usize,
    /// `num_key_value_heads`: a divisor of `heads`.
    pub kv_heads: usize,
    /// The size of a head; `hidden_size / heads` if absent.
    pub head_dim: usize,
    /// `hidden_act`.
    pub activation: Activation,
    /// Epsilon of every norm.
    pub rms_norm_eps: f64,
    /// `max_position_embeddings`: positions at most.
    pub context_length: usize,
    /// Whether q, k and v have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the MLP's projections have a bias.
    pub mlp_bias: bool,
    /// The head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// The checkpoint holds q, k, v as one tensor `qkv_proj` and gate, up as one `gate_up_proj`
    /// (Phi-3's layout). It follows from the family; set it for a fused checkpoint of another one.
    pub stacked: bool,
    /// `dtype` or `torch_dtype`: how tensors are stored where nothing better is known; f32 if
    /// absent.
    pub dtype: DType,
    /// `bos_token_id`.
    pub bos_token_id: Option<u32>,
    /// `eos_token_id`: any of these ends a text.
    pub eos_token_ids: Vec<u32>,
    /// `pad_token_id`.
    pub pad_token_id: Option<u32>,
}

impl CausalLmConfig {
    /// The configuration from the JSON of `config.json`; `file` names it in messages.
    ///
    /// Fields mean what they mean to transformers 5: what an absent one defaults to, and whether a
    /// family reads it at all. `partial_rotary_factor` is one that Phi-3 alone reads; the other
    /// families rotate whole heads, and a rule (`rope_type`) that would give them frequencies for
    /// part of a head is refused, since transformers cannot run it either.
    ///
    /// # Errors
    /// Every field that is missing, of the wrong kind, contradicts another, or asks for something
    /// that is not built.
    pub fn from_json(value: &Value, file: &str) -> Result<Self, ConfigErrors> {
        Self::read(value, file, |family| {
            if family.traits().partial_rotary {
                PartialRotary::Honoured
            } else {
                PartialRotary::WholeHeads(family.model_type())
            }
        })
    }

    /// The configuration that a GGUF file's metadata amounts to, in the fields of `config.json`:
    /// as [`CausalLmConfig::from_json`], but the part of a head that rotates
    /// (`<arch>.rope.dimension_count`) is honoured in every family, as GGUF's readers do.
    ///
    /// # Errors
    /// As [`CausalLmConfig::from_json`].
    pub fn from_gguf(value: &Value, file: &str) -> Result<Self, ConfigErrors> {
        Self::read(value, file, |_| PartialRotary::Ratio)
    }

    fn read(
        value: &Value,
        file: &str,
        partial: impl Fn(Family) -> PartialRotary,
    ) -> Result<Self, ConfigErrors> {
        let mut f = Fields::new(value, "");
        let Some(family) = read_family(&mut f) else {
            return Err(ConfigErrors {
                file: file.to_owned(),
                problems: f.problems,
            });
        };
        let config = Self::read_fields(&mut f, family, partial(family));
        config.check_sizes(&mut f);
        f.finish(file, config)
    }

    /// Every field of a family; ones stand in for what could not be read, beside the problem.
    fn read_fields(f: &mut Fields<'_>, family: Family, partial: PartialRotary) -> Self {
        let traits = family.traits();
        let hidden_size = f.needed_size("hidden_size");
        let heads = f.needed_size("num_attention_heads");
        let kv_heads = read_kv_heads(f, family, heads);
        let head_dim = read_head_dim(f, hidden_size, heads);
        let n_layers = f.needed_count("num_hidden_layers", MAX_LAYERS);
        let context_length = f.needed_size("max_position_embeddings");
        refuse_quantized(f);
        refuse_window(f, family, n_layers, context_length);
        let context = RopeContext {
            head_dim,
            max_positions: context_length,
            longrope_aliases: traits.longrope_aliases,
            partial,
        };
        let rope = read_rope(f, &context);
        let attention_bias = f.flag("attention_bias", false);
        f.refuse_null("rms_norm_eps", POSITIVE);
        f.refuse_null("hidden_act", "the name of an activation");
        f.refuse_null("tie_word_embeddings", "a boolean");
        Self {
            family,
            vocab_size: f.required_size("vocab_size"),
            hidden_size: hidden_size.unwrap_or(1),
            intermediate_size: f.required_size("intermediate_size"),
            n_layers: n_layers.unwrap_or(1),
            heads: heads.unwrap_or(1),
            kv_heads: kv_heads.unwrap_or(1),
            head_dim: head_dim.unwrap_or(2),
            activation: read_activation(f, "silu"),
            rms_norm_eps: f.positive("rms_norm_eps").unwrap_or(traits.rms_norm_eps),
            context_length: context_length.unwrap_or(1),
            qkv_bias: attention_bias || traits.qkv_bias,
            output_bias: attention_bias,
            mlp_bias: f.flag("mlp_bias", false),
            tie_word_embeddings: f.flag("tie_word_embeddings", false),
            rope,
            stacked: traits.stacked,
            dtype: read_dtype(f),
            bos_token_id: f.token_ids("bos_token_id").first().copied(),
            eos_token_ids: f.token_ids("eos_token_id"),
            pad_token_id: f.token_ids("pad_token_id").first().copied(),
        }
    }

    /// Positions after which the rotary frequencies change for the whole sequence (LongRope). Keys
    /// cached before were rotated with the earlier frequencies: whoever goes on beyond this length
    /// runs the whole sequence again from position 0, as transformers does.
    pub fn rope_switch(&self) -> Option<usize> {
        self.rope
            .frequencies()
            .long
            .map(|(original, _)| original)
            .filter(|n| *n < self.context_length)
    }

    fn check_sizes(&self, f: &mut Fields<'_>) {
        let products = [
            (
                &["num_attention_heads", "head_dim"],
                self.heads.checked_mul(self.head_dim),
            ),
            (
                &["vocab_size", "hidden_size"],
                self.vocab_size.checked_mul(self.hidden_size),
            ),
            (
                &["intermediate_size", "hidden_size"],
                self.intermediate_size.checked_mul(self.hidden_size),
            ),
        ];
        for (fields, product) in products {
            // 16: two tensors in one, 8 bytes a value.
            if product
                .and_then(|n| n.checked_mul(16))
                .is_none_or(|n| i64::try_from(n).is_err())
            {
                f.contradiction(
                    fields,
                    "their product overflows the size of a tensor".to_owned(),
                );
            }
        }
    }
}

fn read_family(f: &mut Fields<'_>) -> Option<Family> {
    const EXPECTED: &str = "a model type such as \"llama\"";
    if !f.problems.is_empty() {
        return None;
    }
    let word = f.required_word("model_type", EXPECTED);
    if !f.problems.is_empty() {
        return None;
    }
    let family = Family::by_model_type(&word);
    if family.is_none() {
        let known: Vec<&str> = Family::ALL.iter().map(|f| f.model_type()).collect();
        let message = format!("the decoders built here are {}", known.join(", "));
        f.unsupported("model_type", &Value::String(word), &message);
    }
    family
}

/// `None` after a problem.
fn read_kv_heads(f: &mut Fields<'_>, family: Family, heads: Option<usize>) -> Option<usize> {
    const FIELD: &str = "num_key_value_heads";
    // Null means one for each head in every family; absent only in some.
    let follows = f.get(FIELD).is_none() && (family.traits().kv_heads_follow || f.has(FIELD));
    let kv_heads = if follows { heads } else { f.needed_size(FIELD) };
    if let (Some(heads), Some(kv_heads)) = (heads, kv_heads)
        && !heads.is_multiple_of(kv_heads)
    {
        let message = format!(
            "{heads} heads cannot share {kv_heads} key/value heads: the first must be a multiple"
        );
        f.contradiction(&["num_attention_heads", FIELD], message);
    }
    kv_heads
}

/// `None` after a problem.
fn read_head_dim(
    f: &mut Fields<'_>,
    hidden_size: Option<usize>,
    heads: Option<usize>,
) -> Option<usize> {
    // The rotary tables have half as many entries.
    const MOST: usize = 1 << 16;
    let head_dim = if f.get("head_dim").is_some() {
        f.size("head_dim")?
    } else {
        let (hidden_size, heads) = (hidden_size?, heads?);
        if !hidden_size.is_multiple_of(heads) {
            let message = format!(
                "{hidden_size} is no multiple of {heads} heads, and there is no `head_dim`"
            );
            f.contradiction(&["hidden_size", "num_attention_heads"], message);
            return None;
        }
        hidden_size / heads
    };
    if head_dim <= MOST {
        return Some(head_dim);
    }
    let message = format!("a head of {head_dim} values; heads have at most {MOST}");
    f.contradiction(&["head_dim", "hidden_size", "num_attention_heads"], message);
    None
}

/// `hidden_act` by the table of [`Activation`].
pub(crate) fn read_activation(f: &mut Fields<'_>, default: &str) -> Activation {
    let word = f.word("hidden_act").unwrap_or_else(|| default.to_owned());
    Activation::by_name(&word).unwrap_or_else(|| {
        let known: Vec<&str> = Activation::names().collect();
        f.unsupported(
            "hidden_act",
            &Value::String(word),
            &format!("known are {}", known.join(", ")),
        );
        Activation::LINEAR
    })
}

/// `dtype`, or `torch_dtype` in older files.
pub(crate) fn read_dtype(f: &mut Fields<'_>) -> DType {
    let (new, old) = (f.word("dtype"), f.word("torch_dtype"));
    if let (Some(a), Some(b)) = (&new, &old)
        && a != b
    {
        f.contradiction(
            &["dtype", "torch_dtype"],
            format!("the first is {a}, the second {b}"),
        );
    }
    let field = if new.is_some() {
        "dtype"
    } else {
        "torch_dtype"
    };
    let Some(word) = new.or(old) else {
        return DType::F32;
    };
    dtype_by_name(&word)
        .filter(|d| d.is_float())
        .unwrap_or_else(|| {
            f.unsupported(
                field,
                &Value::String(word),
                "tensors are stored as float32, float16, bfloat16 or float64",
            );
            DType::F32
        })
}

/// Quantised checkpoints store other tensors under these names; reading them as plain ones would
/// be silently wrong.
pub(crate) fn refuse_quantized(f: &mut Fields<'_>) {
    for field in ["quantization_config", "compression_config"] {
        if let Some(found) = f.get(field) {
            let method = found
                .get("quant_method")
                .or_else(|| found.get("quant_algo"))
                .cloned()
                .unwrap_or(found);
            f.unsupported(
                field,
                &method,
                "use an unquantised folder, or a GGUF file with q4_0, q4_1, q5_0, q5_1 or q8_0",
            );
        }
    }
}

/// Attention to a window of positions is not built: it is refused unless it never bites.
/// What could not be read (`None`) is compared with nothing.
fn refuse_window(
    f: &mut Fields<'_>,
    family: Family,
    n_layers: Option<usize>,
    context_length: Option<usize>,
) {
    const FIELD: &str = "sliding_window";
    let sliding_layers = read_layer_types(f, n_layers);
    let stated = f.size(FIELD);
    let (window, absent) = match family.traits().window {
        Window::Field { absent } => (stated, absent),
        Window::Switch if !f.flag("use_sliding_window", false) => (None, None),
        Window::Switch => {
            let first = f.get("max_window_layers").map_or(Some(28), |v| v.as_u64());
            let some_layer = sliding_layers.unwrap_or_else(|| {
                let reaches = |first| n_layers.is_some_and(|n| first < n as u64);
                first.is_none_or(reaches)
            });
            if some_layer {
                (stated, Some(4096))
            } else {
                (None, None)
            }
        }
    };
    let Some(context_length) = context_length else {
        return;
    };
    if sliding_layers == Some(true) && window.or(absent.filter(|_| !f.has(FIELD))).is_none() {
        let message = "layers are sliding_attention, and no window is in use".to_owned();
        f.contradiction(&["layer_types", FIELD], message);
    }
    let bites = |window: &usize| *window < context_length;
    if let Some(window) = window.filter(bites) {
        let message = format!(
            "attention to the last {window} of {context_length} positions is not built; set it to null only if the model was trained without"
        );
        f.unsupported(FIELD, &Value::from(window), &message);
    } else if let Some(window) = absent.filter(bites).filter(|_| !f.has(FIELD)) {
        let expected = format!(
            "null for attention to all {context_length} positions; absent it means a window of {window}, which is not built"
        );
        f.problem(ConfigProblem::Missing {
            field: FIELD.to_owned(),
            expected,
        });
    }
}

/// `layer_types` says of each layer whether it has the window: true if one has, none if the field
/// is absent.
fn read_layer_types(f: &mut Fields<'_>, n_layers: Option<usize>) -> Option<bool> {
    let value = f.get("layer_types")?;
    let Some(types) = value.as_array() else {
        f.invalid("layer_types", "a list with one word for each layer", &value);
        return None;
    };
    if let Some(n_layers) = n_layers.filter(|n| *n != types.len()) {
        let message = format!("{} layer types for {n_layers} layers", types.len());
        f.contradiction(&["layer_types", "num_hidden_layers"], message);
    }
    let known = ["full_attention", "sliding_attention"];
    for other in types
        .iter()
        .filter(|t| !t.as_str().is_some_and(|t| known.contains(&t)))
    {
        f.unsupported("layer_types", other, "layers here are full_attention");
    }
    Some(
        types
            .iter()
            .any(|t| t.as_str() == Some("sliding_attention")),
    )
}
