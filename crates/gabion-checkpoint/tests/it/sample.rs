//! Small files for the other tests: a hand-written safetensors file and a tiny llama in GGUF.

use std::path::Path;

use gabion_checkpoint::{
    GgmlType, GgufArray, GgufMetadata, GgufValue, SafetensorsType, TensorDecl, write_gguf,
    write_safetensors,
};
use gabion_tensor::{DType, HostTensor};
use indexmap::IndexMap;
use std::io::Write;

/// A safetensors file of a header and data that need not fit each other.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Rows of `out` values in `0..`, each value once, so that every row can be told from the others.
pub(crate) fn counting(shape: &[usize]) -> HostTensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|it| it as f32)
        .collect();
    HostTensor::from_slice(shape, &values).unwrap()
}

/// A text value.
pub(crate) fn text(value: &str) -> GgufValue {
    GgufValue::String(value.to_string())
}

/// Metadata of a llama with one layer, four heads of four, two key heads, and a byte-level vocabulary of letters.
pub(crate) fn llama_metadata(path: &Path) -> GgufMetadata {
    let tokens: Vec<String> = [
        "<|end|>", "<user>", "a", "b", "c", "Ġ", "1", "2", "ab", "Ġab", "é",
    ]
    .iter()
    .map(|it| byte_level(it))
    .collect();
    let types = [3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let merges = ["a b", "Ġ ab", "Ã ©"].map(String::from).to_vec();
    let mut tokens = tokens;
    tokens.extend(["Ã".to_string(), "©".to_string()]);
    let mut types = types.to_vec();
    types.extend([1, 1]);
    let pairs: Vec<(&str, GgufValue)> = vec![
        ("general.architecture", text("llama")),
        ("llama.block_count", GgufValue::U32(1)),
        ("llama.context_length", GgufValue::U32(128)),
        ("llama.embedding_length", GgufValue::U32(16)),
        ("llama.feed_forward_length", GgufValue::U32(32)),
        ("llama.attention.head_count", GgufValue::U32(4)),
        ("llama.attention.head_count_kv", GgufValue::U32(2)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            GgufValue::F32(1e-5),
        ),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        (
            "tokenizer.ggml.tokens",
            GgufValue::Array(GgufArray::String(tokens)),
        ),
        (
            "tokenizer.ggml.token_type",
            GgufValue::Array(GgufArray::I32(types)),
        ),
        (
            "tokenizer.ggml.merges",
            GgufValue::Array(GgufArray::String(merges)),
        ),
        ("tokenizer.ggml.eos_token_id", GgufValue::U32(0)),
        ("tokenizer.ggml.bos_token_id", GgufValue::U32(0)),
        ("tokenizer.chat_template", text("{{ messages }}")),
    ];
    let values = pairs
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .collect();
    GgufMetadata::new(path, values)
}

/// `é` is two bytes, which the byte-level alphabet spells `Ã©`.
fn byte_level(token: &str) -> String {
    token.replace('é', "Ã©")
}

/// The tensors of that llama, under GGUF's names.
pub(crate) fn llama_tensors() -> IndexMap<String, HostTensor> {
    let mut tensors = IndexMap::new();
    let mut put = |name: &str, tensor: HostTensor| {
        tensors.insert(name.to_string(), tensor);
    };
    put("token_embd.weight", counting(&[13, 16]));
    put("output_norm.weight", counting(&[16]));
    for (name, rows, columns) in [
        ("attn_q", 16, 16),
        ("attn_k", 8, 16),
        ("attn_v", 8, 16),
        ("attn_output", 16, 16),
        ("ffn_gate", 32, 16),
        ("ffn_up", 32, 16),
    ] {
        put(&format!("blk.0.{name}.weight"), counting(&[rows, columns]));
    }
    put(
        "blk.0.ffn_down.weight",
        counting(&[16, 32])
            .cast("q8_0".parse::<DType>().unwrap())
            .unwrap(),
    );
    put("blk.0.attn_norm.weight", counting(&[16]));
    put("blk.0.ffn_norm.weight", counting(&[16]));
    tensors
}

/// Writes a GGUF file of these tensors.
pub(crate) fn write_gguf_file(
    path: &Path,
    metadata: &GgufMetadata,
    tensors: &IndexMap<String, HostTensor>,
) {
    let decls: Vec<TensorDecl<GgmlType>> = tensors
        .iter()
        .map(|(name, tensor)| TensorDecl {
            name: name.clone(),
            stored: GgmlType::of(tensor.dtype()).unwrap(),
            shape: tensor.shape().to_vec(),
        })
        .collect();
    write_gguf(path, metadata, &decls, |index, sink| {
        sink.write_all(tensors[index].bytes()).unwrap();
        Ok(())
    })
    .unwrap();
}

/// Writes a safetensors file of these tensors.
pub(crate) fn write_safetensors_file(path: &Path, tensors: &IndexMap<String, HostTensor>) {
    let decls: Vec<TensorDecl<SafetensorsType>> = tensors
        .iter()
        .map(|(name, tensor)| TensorDecl {
            name: name.clone(),
            stored: SafetensorsType::of(tensor.dtype()).unwrap(),
            shape: tensor.shape().to_vec(),
        })
        .collect();
    write_safetensors(path, &IndexMap::new(), &decls, |index, sink| {
        sink.write_all(tensors[index].bytes()).unwrap();
        Ok(())
    })
    .unwrap();
}

/// Writes the tiny llama and gives its bytes.
pub(crate) fn llama_bytes() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    write_gguf_file(&path, &llama_metadata(&path), &llama_tensors());
    std::fs::read(&path).unwrap()
}
