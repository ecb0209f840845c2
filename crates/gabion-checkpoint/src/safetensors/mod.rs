//! The safetensors format: header, reader, sharded index and writer. How tensors are named across files and looked up lives
//! in `checkpoint`.
//!
//! The format: eight bytes of little-endian header length, a JSON object, then the data. The object maps each name to
//! `{"dtype", "shape", "data_offsets": [begin, end]}` with offsets from the start of the data, and may hold string pairs
//! under `__metadata__`. Tensors cover the data without holes or overlaps.

mod header;
mod index;
mod write;

pub use header::{SafetensorsEntry, SafetensorsHeader};
pub use index::ShardIndex;
pub use write::write_safetensors;
