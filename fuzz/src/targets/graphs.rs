//! Graphs that seeds are made of: a stack, small models, and one of each operator.

use std::path::Path;

use gabion_ir::{Builder, Graph};
use gabion_nn::{CausalLm, CausalLmConfig};
use gabion_tensor::TensorType;

fn ty(text: &str) -> TensorType {
    text.parse()
        .unwrap_or_else(|_| TensorType::scalar(gabion_tensor::DType::F32))
}

/// A stack of three projections with bias, and a feed-forward block.
fn stack() -> Option<Graph> {
    let b = Builder::new("stack");
    let x = b.input("x", ty("f32[tokens, 8]"));
    let parts = ["q", "k", "v"].map(|name| b.weight(&format!("{name}.weight"), ty("f32[4, 8]")));
    let y = x.matmul_t(b.concat(&parts, 0)) + b.weight("bias", ty("f32[12]"));
    b.output("y", y);
    b.output("z", y.silu() * y);
    b.finish().ok()
}

/// A decoder of one layer.
fn decoder(family: &str) -> Option<Graph> {
    let config = serde_json::json!({
        "model_type": family, "vocab_size": 24, "hidden_size": 16, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 32, "tie_word_embeddings": true, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "pad_token_id": 0,
    });
    let config = CausalLmConfig::from_json(&config, "config.json").ok()?;
    CausalLm::new(config, &|_| None).ok()?.build_graph().ok()
}

/// Graphs built by code.
pub fn built() -> Vec<Graph> {
    let decoders = ["llama", "qwen2", "phi3"].into_iter().filter_map(decoder);
    stack().into_iter().chain(decoders).collect()
}

/// The graphs of the project's filetests, where the checkout is at hand.
pub fn filetests(kind: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/filetests")
        .join(kind);
    let mut texts = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(path) {
                texts.push(text);
            }
        }
    }
    texts
}
