//! `q8_0`: f16 `d`, 32 signed bytes. `w = d*q`.
//!
//! Layout as in the GGUF documentation of GGML's block types; the encoder follows GGML's reference quantiser.

use crate::dtype::DType;
use crate::format::blocks32::*;
use crate::format::{BlockFormat, Format};

const BYTES: usize = 34;

pub(super) const FORMAT: Format = Format {
    name: "q8_0",
    dtype: DType::Block(BlockFormat::Q8_0),
    block_elems: ELEMS,
    block_bytes: BYTES,
    gguf_type: Some(8),
    decode_block: decode,
    encode_block: encode,
};

fn decode(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<ELEMS>().0)
    {
        let d = read_f16(block, 0);
        for (w, &q) in out.iter_mut().zip(&block[2..]) {
            *w = d * f32::from(q as i8);
        }
    }
}

/// Codes are rounded half away from zero, as the reference does.
fn encode(values: &[f32], out: &mut [u8]) {
    for (values, block) in values
        .as_chunks::<ELEMS>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<BYTES>().0)
    {
        let values = sanitise(values);
        let d = saturate_to_f16(largest(&values).abs() / 127.0);
        let id = inverse(d);
        write_f16(block, 0, d);
        for (q, &x) in block[2..].iter_mut().zip(&values) {
            *q = signed_code(x * id) as u8;
        }
    }
}
