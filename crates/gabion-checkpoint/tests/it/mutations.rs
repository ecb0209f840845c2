//! Files damaged at random: the answer is a checkpoint or an error, never a panic, a hang or a huge allocation.

use std::path::Path;
use std::time::{Duration, Instant};

use gabion_checkpoint::{Checkpoint, GgufMetadata, GgufValue, ShardIndex, Tokenizer, gguf_config};
use gabion_tensor::Bytes;
use proptest::prelude::*;

use crate::sample::{llama_bytes, llama_metadata, safetensors};

/// Opens the bytes and reads every tensor that is left.
fn open_and_read(name: &str, bytes: Vec<u8>) {
    let started = Instant::now();
    if let Ok(checkpoint) = Checkpoint::from_bytes(Path::new(name), Bytes::from(bytes)) {
        for name in checkpoint.names() {
            let info = checkpoint.info(name).unwrap();
            if let Ok(tensor) = checkpoint.get(name) {
                assert_eq!(tensor.bytes().len(), info.byte_len());
            }
        }
        if let Some(gguf) = checkpoint.gguf() {
            let _config = gguf_config(gguf, Some(&[1.0, 2.0]));
            if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf.metadata) {
                use_tokenizer(&tokenizer);
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Encodes, cuts, decodes and streams, whatever comes of it.
fn use_tokenizer(tokenizer: &Tokenizer) {
    let _cut = tokenizer.encode_truncated("ab 12 é<user>", 3);
    if let Ok(ids) = tokenizer.encode("ab 12 é<user>\n", true) {
        let _text = tokenizer.decode(&ids, true);
        let mut stream = tokenizer.stream(false);
        for id in ids {
            let _piece = stream.push(id);
        }
        let _rest = stream.finish();
    }
}

fn damage(mut bytes: Vec<u8>, edits: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for &(at, byte) in edits {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    let keep = bytes.len() - cut % bytes.len();
    bytes.truncate(keep);
    bytes
}

fn small_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BOOL","shape":[4],"data_offsets":[24,28]}}"#;
    safetensors(header, &[1; 28])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_gguf(edits in prop::collection::vec((0_usize..4000, any::<u8>()), 0..4), cut in 0_usize..3) {
        open_and_read("x.gguf", damage(llama_bytes_once(), &edits, cut * 997));
    }

    #[test]
    fn damaged_safetensors(edits in prop::collection::vec((0_usize..200, any::<u8>()), 0..4), cut in 0_usize..40) {
        open_and_read("x.safetensors", damage(small_safetensors(), &edits, cut));
    }

    #[test]
    fn damaged_index(edits in prop::collection::vec((0_usize..100, any::<u8>()), 0..4)) {
        let index = br#"{"metadata": {"total_size": 3}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
        let damaged = damage(index.to_vec(), &edits, 0);
        if let Ok(text) = String::from_utf8(damaged)
            && let Ok(index) = ShardIndex::parse(Path::new("i.json"), &text)
        {
            prop_assert!(index.shards().iter().all(|shard| !shard.contains('/')));
        }
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for name in ["x.gguf", "x.safetensors", "x"] {
            open_and_read(name, bytes.clone());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_tokenizer(edits in prop::collection::vec((0_usize..8000, any::<u8>()), 0..4), cut in 0_usize..2) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, damage(tokenizer_json().into_bytes(), &edits, cut * 31)).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_file(&path) {
            use_tokenizer(&tokenizer);
        }
    }

    /// Whole words swapped for others, so that the file stays JSON.
    #[test]
    fn tokenizers_of_other_words(at in 0_usize..4000, word in 0_usize..8) {
        let json = tokenizer_json();
        let words = ["0", "null", "[]", "{}", "\"\"", "-1", "4294967295", "true"];
        let starts: Vec<usize> = json.match_indices(": ").map(|(at, _)| at + 2).collect();
        let start = starts[at % starts.len()];
        let end = start + json[start..].find(['\n', ',']).unwrap();
        let changed = format!("{}{}{}", &json[..start], words[word], &json[end..]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, changed).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_file(&path) {
            use_tokenizer(&tokenizer);
        }
    }
}

/// Every prefix of a file, and the file with every byte set to 0xff.
#[test]
fn every_cut_and_every_byte() {
    for (name, whole) in [
        ("x.safetensors", small_safetensors()),
        ("x.gguf", llama_bytes_once()),
    ] {
        let header = whole.len().min(2200);
        for at in 0..header {
            open_and_read(name, whole[..at].to_vec());
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            open_and_read(name, damaged);
        }
    }
}

/// The tiny llama's tokenizer with begin and end tokens, as a file.
fn tokenizer_json() -> String {
    static JSON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let build = || {
        let mut values = llama_metadata(Path::new("x.gguf")).values().clone();
        for key in [
            "tokenizer.ggml.add_bos_token",
            "tokenizer.ggml.add_eos_token",
        ] {
            values.insert(key.into(), GgufValue::Bool(true));
        }
        let metadata = GgufMetadata::new(Path::new("x.gguf"), values);
        Tokenizer::from_gguf(&metadata).unwrap().to_json().unwrap()
    };
    JSON.get_or_init(build).clone()
}

fn llama_bytes_once() -> Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(llama_bytes).clone()
}
