//! Graphs for the tests, as these tests call them.

use gabion_ir::Graph;
use gabion_nn::{BertConfig, BertEncoder, BertOptions, CausalLm, CausalLmConfig, Pooling};
use serde_json::json;

use crate::graphs::{layers_of, linears};
pub(crate) use crate::graphs::{recorded, ty};

/// q, k, v as three products.
pub(crate) fn three_linears() -> Graph {
    linears("three")
}

/// Layers in parts of eight products.
pub(crate) fn layered(layers: usize, width: usize) -> Graph {
    layers_of(layers, width, |at| format!("part{}", at / 8))
}

/// SmolLM2-135M without its weights.
pub(crate) fn smollm2() -> Graph {
    let config = json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": true, "rope_theta": 100000.0,
    });
    let config = CausalLmConfig::from_json(&config, "config.json").expect("a configuration");
    let model = CausalLm::new(config, &|_: &str| None).expect("a model");
    model.build_graph().expect("a graph")
}

/// all-MiniLM-L6-v2 without its weights.
pub(crate) fn minilm() -> Graph {
    let config = json!({
        "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 6, "num_attention_heads": 12, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    let config = BertConfig::from_json(&config, "config.json").expect("a configuration");
    let model = BertEncoder::new(config, "", &|_: &str| None).expect("a model");
    let options = BertOptions {
        hidden_state: false,
        pooling: Some(Pooling::Mean),
        normalize: true,
        ..BertOptions::default()
    };
    model.build_graph(options).expect("a graph")
}
