//! The GGUF format, versions 2 and 3, little-endian: metadata, tensor table, writer, and what the metadata of the
//! architectures that are known here means. The tokenizer that the metadata may carry is built in `tokenizer`.
//!
//! The format: `GGUF`, version, tensor count, metadata count; the metadata (name, type, value); the tensors (name, dims with
//! the contiguous one first, type, offset); padding; then the data, each tensor at a multiple of `general.alignment`.

mod config;
mod names;
mod read;
mod rope;
mod value;
mod write;

pub use config::gguf_config;
pub(crate) use config::gguf_heads;
pub(crate) use names::{ARCHITECTURES, ROPE_FACTORS};
pub use names::{GgufName, NameMap};
pub use read::{GgufFile, GgufTensor};
pub(crate) use rope::{llama3_factors, yarn_attention};
pub use value::{GgufArray, GgufMetadata, GgufValue};
pub use write::write_gguf;
