//! `q4_0`: f16 `d`, 16 bytes of 4-bit codes. `w = d*(q - 8)`.
//!
//! Layout as in the GGUF documentation of GGML's block types; the encoder follows GGML's reference quantiser.

use crate::dtype::DType;
use crate::format::blocks32::*;
use crate::format::{BlockFormat, Format};

const BYTES: usize = 18;

pub(super) const FORMAT: Format = Format {
    name: "q4_0",
    dtype: DType::Block(BlockFormat::Q4_0),
    block_elems: ELEMS,
    block_bytes: BYTES,
    gguf_type: Some(2),
    decode_block: decode,
    encode_block: encode,
};

fn decode(bytes: &[u8], out: &mut [f32]) {
    let mut codes = [0; ELEMS];
    for (block, out) in bytes
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<ELEMS>().0)
    {
        let d = read_f16(block, 0);
        unpack_nibbles(&block[2..], &mut codes);
        for (w, &q) in out.iter_mut().zip(&codes) {
            *w = d * f32::from(q as i8 - 8);
        }
    }
}

fn encode(values: &[f32], out: &mut [u8]) {
    for (values, block) in values
        .as_chunks::<ELEMS>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<BYTES>().0)
    {
        let values = sanitise(values);
        let d = saturate_to_f16(largest(&values) / -8.0);
        let codes = codes(&values, 0.0, inverse(d), 8.5, 15);
        write_f16(block, 0, d);
        pack_nibbles(&codes, &mut block[2..]);
    }
}
