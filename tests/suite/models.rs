//! Small models of every family, and the fixtures of other engines.

use std::path::{Path, PathBuf};

use gabion_ir::Graph;
use gabion_nn::{
    BertConfig, BertEncoder, BertOptions, CausalLm, CausalLmConfig, CausalLmOptions, Pairing,
    Pooling,
};
use gabion_tensor::DType;
use serde_json::{Value, json};

use crate::repository;

/// A file or folder under `tests/fixtures/`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    repository().join("tests/fixtures").join(path)
}

/// The folders in a folder of fixtures, sorted.
pub(crate) fn fixture_folders(path: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixture(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|p| p.is_dir())
        .collect();
    folders.sort();
    folders
}

/// A JSON file.
pub(crate) fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Integers of a JSON list.
pub(crate) fn integers(value: &Value) -> Vec<u32> {
    let list = value.as_array().expect("a list");
    list.iter()
        .map(|v| u32::try_from(v.as_u64().expect("an id")).expect("a u32"))
        .collect()
}

/// A decoder's `config.json` with sizes that exercise fusion: heads of 32 rows, two layers.
pub(crate) fn decoder(model_type: &str, changes: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": true, "rope_theta": 10000.0,
    });
    let fields = config.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("changes are an object") {
        fields.insert(key.clone(), value.clone());
    }
    config
}

/// How a test's checkpoint stores its tensors.
pub(crate) type StoredAs = fn(&str) -> Option<DType>;

pub(crate) fn f32s(_: &str) -> Option<DType> {
    None
}

fn named(name: &str) -> DType {
    name.parse().expect("a dtype")
}

/// Matrices in one block format, vectors in f32.
pub(crate) fn q4_1(name: &str) -> Option<DType> {
    let matrix = name.ends_with("_proj.weight") || name.ends_with("embed_tokens.weight");
    matrix.then(|| named("q4_1"))
}

/// Every projection in another format, as mixed GGUF files have it.
fn mixed(name: &str) -> Option<DType> {
    let formats = [
        ("q_proj", "q4_0"),
        ("k_proj", "bf16"),
        ("v_proj", "q8_0"),
        ("o_proj", "f16"),
        ("gate_proj", "q5_1"),
        ("up_proj", "q4_1"),
        ("down_proj", "q5_0"),
        ("embed_tokens", "f16"),
        ("layernorm", "bf16"),
    ];
    // Biases are vectors, which no block format holds.
    let format = formats
        .iter()
        .find(|(part, _)| name.contains(part) && !name.ends_with(".bias"));
    format.map(|(_, format)| named(format))
}

fn halves(name: &str) -> Option<DType> {
    Some(named(if name.contains("layers.1.") {
        "bf16"
    } else {
        "f16"
    }))
}

/// The decoder of a configuration.
pub(crate) fn causal_lm(config: &Value, stored: StoredAs) -> CausalLm {
    let config = CausalLmConfig::from_json(config, "config.json").unwrap_or_else(|e| panic!("{e}"));
    CausalLm::new(config, &stored).unwrap_or_else(|e| panic!("{e}"))
}

/// An encoder's `config.json`.
pub(crate) fn encoder_config(changes: Value) -> Value {
    let mut config = json!({
        "model_type": "bert", "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    let fields = config.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("changes are an object") {
        fields.insert(key.clone(), value.clone());
    }
    config
}

/// The encoder of a configuration.
pub(crate) fn bert(config: &Value, stored: StoredAs) -> BertEncoder {
    let config = BertConfig::from_json(config, "config.json").unwrap_or_else(|e| panic!("{e}"));
    BertEncoder::new(config, "", &stored).unwrap_or_else(|e| panic!("{e}"))
}

/// Whole models and single layers of every family, with and without biases, fused and separate, in
/// every stored format, with sizes that fuse and sizes that refuse to.
pub(crate) fn layer_graphs() -> Vec<(String, Graph)> {
    let partial = json!({
        "partial_rotary_factor": 0.5, "original_max_position_embeddings": 64, "pad_token_id": 0,
    });
    let biases = json!({"attention_bias": true, "mlp_bias": true});
    let decoders: Vec<(&str, Value, StoredAs)> = vec![
        ("llama", decoder("llama", json!({})), f32s),
        ("llama q4_1", decoder("llama", json!({})), q4_1),
        ("llama of mixed formats", decoder("llama", json!({})), mixed),
        ("llama in halves", decoder("llama", json!({})), halves),
        ("llama with biases", decoder("llama", biases), mixed),
        (
            "llama with heads of 16",
            decoder("llama", json!({"head_dim": 16})),
            f32s,
        ),
        (
            "llama of odd sizes",
            decoder(
                "llama",
                json!({"head_dim": 10, "hidden_size": 36, "intermediate_size": 55, "tie_word_embeddings": false}),
            ),
            f32s,
        ),
        (
            "llama with one kv head",
            decoder(
                "llama",
                json!({"num_key_value_heads": 1, "hidden_act": "gelu"}),
            ),
            f32s,
        ),
        (
            "llama with relu",
            decoder(
                "llama",
                json!({"hidden_act": "relu", "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
            ),
            f32s,
        ),
        ("qwen2", decoder("qwen2", json!({})), f32s),
        ("qwen2 of mixed formats", decoder("qwen2", json!({})), mixed),
        ("phi3", decoder("phi3", json!({"pad_token_id": 0})), f32s),
        (
            "phi3 q4_1",
            decoder("phi3", json!({"pad_token_id": 0})),
            q4_1,
        ),
        (
            "phi3, half of each head turns",
            decoder("phi3", partial),
            f32s,
        ),
    ];
    let mut graphs = Vec::new();
    for (name, config, stored) in decoders {
        let model = causal_lm(&config, stored);
        let all = CausalLmOptions { all_logits: true };
        graphs.push((name.to_owned(), model.build_graph().expect("a graph")));
        graphs.push((
            format!("{name}, all logits"),
            model.build_graph_with(all).expect("a graph"),
        ));
        graphs.push((
            format!("{name}, one layer"),
            model.layer_graph(1).expect("a layer"),
        ));
        if name == "llama" {
            let turned = model.with_pairing(Pairing::Interleaved);
            graphs.push((
                "llama, neighbours turn".to_owned(),
                turned.build_graph().expect("a graph"),
            ));
        }
    }
    let encoders: Vec<(&str, Value, StoredAs)> = vec![
        ("bert", encoder_config(json!({})), f32s),
        ("bert in halves", encoder_config(json!({})), halves),
        (
            "bert of odd sizes",
            encoder_config(
                json!({"hidden_size": 36, "intermediate_size": 50, "hidden_act": "relu"}),
            ),
            f32s,
        ),
    ];
    for (name, config, stored) in encoders {
        let model = bert(&config, stored);
        graphs.push((
            name.to_owned(),
            model.build_graph(BertOptions::default()).expect("a graph"),
        ));
        graphs.push((
            format!("{name}, one layer"),
            model.layer_graph(0).expect("a layer"),
        ));
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Max] {
            let options = BertOptions::embedding(pooling, true);
            graphs.push((
                format!("{name}, pooled: {pooling:?}"),
                model.build_graph(options).expect("a graph"),
            ));
        }
    }
    graphs
}
