//! safetensors files and their index: damaged ones are refused with a message, and what is accepted
//! can be read to the last tensor.

use std::path::Path;

use gabion_checkpoint::{Checkpoint, ShardIndex};
use gabion_tensor::Bytes;

use crate::Target;
use crate::mutate::Form;
use crate::outcome::{accepted, refused};

/// See the module.
pub const TARGET: Target = Target {
    name: "safetensors",
    run,
    seeds,
    form: Form::JsonHeader,
};

fn file(header: &str, data: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..data).map(|i| (i % 2) as u8).collect();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        file(
            r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BOOL","shape":[4],"data_offsets":[24,28]},"c":{"dtype":"BF16","shape":[],"data_offsets":[28,30]},"d":{"dtype":"I64","shape":[0,5],"data_offsets":[30,30]}}"#,
            30,
        ),
        file(r#"{"layers.0.q_proj.weight":{"dtype":"F16","shape":[4,2],"data_offsets":[0,16]},"x":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}   "#, 19),
        file("{}", 0),
        file(r#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, 4),
        br#"{"metadata": {"total_size": 3}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#.to_vec(),
    ]
}

/// One input: a file, and if it is text also an index.
pub fn run(bytes: &[u8]) -> u64 {
    let index = std::str::from_utf8(bytes)
        .ok()
        .map(|text| ShardIndex::parse(Path::new("x.index.json"), text));
    match index {
        Some(Ok(index)) => {
            assert!(
                index.shards().iter().all(|shard| !shard.contains('/')),
                "a shard outside the folder"
            );
            return accepted(("index", index.shards().len()));
        }
        Some(Err(e)) if bytes.first() == Some(&b'{') => return refused(&e.to_string()),
        Some(Err(_)) | None => {}
    }
    read(Path::new("x.safetensors"), bytes)
}

/// Opens a checkpoint and reads every tensor.
pub(super) fn read(path: &Path, bytes: &[u8]) -> u64 {
    let checkpoint = match Checkpoint::from_bytes(path, Bytes::from(bytes)) {
        Ok(checkpoint) => checkpoint,
        Err(e) => return refused(&e.to_string()),
    };
    let mut read = 0;
    for (name, info) in checkpoint.tensors() {
        match checkpoint.get(name) {
            Ok(tensor) => {
                assert_eq!(tensor.bytes().len(), info.byte_len(), "{name}");
                assert_eq!(tensor.shape(), info.shape, "{name}");
                read += 1;
            }
            Err(e) => {
                let _message = e.to_string();
            }
        }
    }
    accepted((checkpoint.tensors().len().min(8), read.min(8)))
}
