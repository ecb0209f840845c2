//! Files damaged at random: the answer is a checkpoint or an error, never a panic, a hang or a huge allocation.

use std::path::Path;
use std::time::{Duration, Instant};

use gabion_checkpoint::Checkpoint;
use gabion_tensor::Bytes;
use proptest::prelude::*;

use crate::sample::{llama_bytes, safetensors};

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
    }
    assert!(started.elapsed() < Duration::from_secs(5));
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
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_gguf(edits in prop::collection::vec((0_usize..4000, any::<u8>()), 0..4), cut in 0_usize..3) {
        open_and_read("x.gguf", damage(llama_bytes_once(), &edits, cut * 997));
    }

    #[test]
    fn damaged_safetensors(edits in prop::collection::vec((0_usize..200, any::<u8>()), 0..4), cut in 0_usize..40) {
        open_and_read("x.safetensors", damage(small_safetensors(), &edits, cut));
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for name in ["x.gguf", "x.safetensors", "x"] {
            open_and_read(name, bytes.clone());
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

fn llama_bytes_once() -> Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(llama_bytes).clone()
}
