//! `f32`: IEEE 754 binary32, little-endian.

use crate::dtype::DType;
use crate::format::Format;

pub(super) const FORMAT: Format = Format {
    name: "f32",
    dtype: DType::F32,
    block_elems: 1,
    block_bytes: 4,
    gguf_type: Some(0),
    decode_block: decode,
    encode_block: encode,
};

fn decode(bytes: &[u8], out: &mut [f32]) {
    for (x, stored) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *x = f32::from_le_bytes(*stored);
    }
}

fn encode(values: &[f32], out: &mut [u8]) {
    for (x, stored) in values.iter().zip(out.as_chunks_mut::<4>().0) {
        *stored = x.to_le_bytes();
    }
}
