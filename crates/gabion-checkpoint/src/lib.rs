//! Checkpoints on disk: named tensors over mapped files, model folders, tokenizers, load reports and conversion.
//!
//! - [`Checkpoint`] is named tensors over safetensors files (one or sharded) or GGUF files, checked to the last byte.

mod atomic;
mod checkpoint;
mod error;
mod gguf;
mod json;
mod nearest;
mod safetensors;
mod sink;
mod stored;
mod view;

pub use checkpoint::{
    Checkpoint, CheckpointFile, FileKind, INDEX_FILE, PrefixView, SINGLE_FILE, TensorInfo,
};
pub use error::{CheckpointError, FieldProblem, FileProblem, TensorProblem};
pub use gguf::{
    GgufArray, GgufFile, GgufMetadata, GgufName, GgufTensor, GgufValue, NameMap, gguf_config,
    write_gguf,
};
pub use safetensors::{SafetensorsEntry, SafetensorsHeader, ShardIndex, write_safetensors};
pub use sink::{TensorDecl, TensorSink};
pub use stored::{GgmlType, SafetensorsType, StoredType};
pub use view::{RowMap, TensorView};
