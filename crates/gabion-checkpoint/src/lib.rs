//! Checkpoints on disk: named tensors over mapped files, model folders, tokenizers, load reports and conversion.
//!
//! - [`Checkpoint`] is named tensors over safetensors files (one or sharded) or GGUF files, checked to the last byte.
//! - [`Checkpoint::check`] compares it with what a model expects and gives a [`LoadReport`] of everything that is wrong.
//! - [`Tokenizer`] is read from `tokenizer.json` or built from GGUF metadata.
//! - [`ModelFiles`] is a model on disk: a folder in the Hugging Face layout, or a GGUF file.
//! - [`convert()`] writes a model in another format, dtype or layout.
//!
//! ```
//! use std::path::Path;
//! use gabion_checkpoint::Checkpoint;
//! use gabion_tensor::Bytes;
//!
//! let header = br#"{"norm.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header);
//! file.extend([1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()));
//!
//! let checkpoint = Checkpoint::from_bytes(Path::new("a.safetensors"), Bytes::from(file))?;
//! assert_eq!(checkpoint.get("norm.weight")?.to_f32_vec().unwrap(), [1.5, -2.0]);
//! let error = checkpoint.get("norm.weigth").unwrap_err().to_string();
//! assert!(error.ends_with("is not in the checkpoint; the nearest names are `norm.weight`"));
//! # Ok::<(), gabion_checkpoint::CheckpointError>(())
//! ```

mod atomic;
mod checkpoint;
mod convert;
mod error;
mod folder;
mod fused;
mod gguf;
mod head;
mod json;
mod nearest;
mod report;
mod safetensors;
mod sentence;
mod sink;
mod stored;
mod strict_json;
mod tokenizer;
mod view;

pub use atomic::write_bytes;
pub use checkpoint::{
    Checkpoint, CheckpointFile, FileKind, INDEX_FILE, PrefixView, SINGLE_FILE, TensorInfo,
};
pub use convert::{ConvertOptions, ConvertSummary, Layout, convert};
pub use error::{CheckpointError, FieldProblem, FileProblem, TensorProblem};
pub use folder::{ChatTemplate, GenerationIds, ModelFiles};
pub use gguf::{
    GgufArray, GgufFile, GgufMetadata, GgufName, GgufTensor, GgufValue, NameMap, gguf_config,
    write_gguf,
};
pub use report::{
    Expected, Ignorable, LoadReport, Misshapen, Missing, Mistyped, Unexpected, is_stale_buffer,
};
pub use safetensors::{SafetensorsEntry, SafetensorsHeader, ShardIndex, write_safetensors};
pub use sentence::{Pooling, SentenceConfig};
pub use sink::{TensorDecl, TensorSink};
pub use stored::{GgmlType, SafetensorsType, StoredType};
pub use strict_json::parse_json;
pub use tokenizer::{StreamDecoder, Tokenizer, TruncatedIds, known_pre_tokenizers};
pub use view::{RowMap, TensorView};
