//! `bf16`: the high half of a binary32, little-endian.

use half::bf16;

use crate::cast::{bf16_to_f32, f32_to_bf16};
use crate::dtype::DType;
use crate::format::Format;

pub(super) const FORMAT: Format = Format {
    name: "bf16",
    dtype: DType::BF16,
    block_elems: 1,
    block_bytes: 2,
    gguf_type: Some(30),
    decode_block: decode,
    encode_block: encode,
};

fn decode(bytes: &[u8], out: &mut [f32]) {
    for (x, stored) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *x = bf16_to_f32(bf16::from_le_bytes(*stored));
    }
}

/// Rounds to nearest, ties to even; NaN stays NaN.
fn encode(values: &[f32], out: &mut [u8]) {
    for (x, stored) in values.iter().zip(out.as_chunks_mut::<2>().0) {
        *stored = f32_to_bf16(*x).to_bits().to_le_bytes();
    }
}
