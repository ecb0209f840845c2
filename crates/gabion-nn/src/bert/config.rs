//! `config.json` of a BERT encoder.

use gabion_tensor::DType;
use serde_json::Value;

use crate::activation::Activation;
use crate::causal_lm::{read_activation, read_dtype, refuse_quantized};
use crate::error::ConfigErrors;
use crate::fields::{Fields, MAX_LAYERS, POSITIVE};

/// An encoder as its `config.json` describes it (the fields of transformers' BERT configuration).
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Rows of the word table.
    pub vocab_size: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// `num_hidden_layers`.
    pub n_layers: usize,
    /// `num_attention_heads`: a divisor of `hidden_size`.
    pub heads: usize,
    /// The width inside the feed-forward block.
    pub intermediate_size: usize,
    /// `hidden_act`; gelu if absent.
    pub activation: Activation,
    /// `max_position_embeddings`: positions at most, rows of the position table.
    pub context_length: usize,
    /// Rows of the type table; 2 if absent.
    pub type_vocab_size: usize,
    /// Epsilon of every norm; 1e-12 if absent.
    pub layer_norm_eps: f64,
    /// `dtype` or `torch_dtype`: how tensors are stored where nothing better is known; f32 if
    /// absent.
    pub dtype: DType,
    /// `pad_token_id`; 0 if absent.
    pub pad_token_id: u32,
}

impl BertConfig {
    /// The configuration from the JSON of `config.json`; `file` names it in messages.
    ///
    /// # Errors
    /// Every field that is missing, of the wrong kind, contradicts another, or asks for something
    /// that is not built.
    pub fn from_json(value: &Value, file: &str) -> Result<Self, ConfigErrors> {
        let mut f = Fields::new(value, "");
        if !f.problems.is_empty() {
            return Err(ConfigErrors {
                file: file.to_owned(),
                problems: f.problems,
            });
        }
        let model_type = f.required_word("model_type", "\"bert\"");
        if !model_type.is_empty() && model_type != "bert" {
            f.unsupported(
                "model_type",
                &Value::String(model_type),
                "the encoder built here is bert",
            );
        }
        refuse_decoder(&mut f);
        refuse_quantized(&mut f);
        let hidden_size = f.needed_size("hidden_size");
        let heads = f.needed_size("num_attention_heads");
        if let (Some(hidden_size), Some(heads)) = (hidden_size, heads)
            && !hidden_size.is_multiple_of(heads)
        {
            let message = format!("{hidden_size} is no multiple of {heads} heads");
            f.contradiction(&["hidden_size", "num_attention_heads"], message);
        }
        f.refuse_null("layer_norm_eps", POSITIVE);
        let config = Self {
            vocab_size: f.required_size("vocab_size"),
            hidden_size: hidden_size.unwrap_or(1),
            n_layers: f.needed_count("num_hidden_layers", MAX_LAYERS).unwrap_or(1),
            heads: heads.unwrap_or(1),
            intermediate_size: f.required_size("intermediate_size"),
            activation: read_activation(&mut f, "gelu"),
            context_length: f.required_size("max_position_embeddings"),
            type_vocab_size: f.size("type_vocab_size").unwrap_or(2),
            layer_norm_eps: f.positive("layer_norm_eps").unwrap_or(1e-12),
            dtype: read_dtype(&mut f),
            pad_token_id: f.token_ids("pad_token_id").first().copied().unwrap_or(0),
        };
        f.finish(file, config)
    }

    /// The size of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.heads
    }
}

fn refuse_decoder(f: &mut Fields<'_>) {
    for field in ["is_decoder", "add_cross_attention"] {
        if f.flag(field, false) {
            f.unsupported(
                field,
                &Value::Bool(true),
                "the encoder attends to the whole text, and to nothing else",
            );
        }
    }
    if let Some(word) = f
        .word("position_embedding_type")
        .filter(|w| w != "absolute")
    {
        f.unsupported(
            "position_embedding_type",
            &Value::String(word),
            "positions are absolute here",
        );
    }
}
