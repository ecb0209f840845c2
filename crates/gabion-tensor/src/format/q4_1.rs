//! `q4_1`: f16 `d`, f16 `m`, 16 bytes of 4-bit codes. `w = d*q + m`.
//!
//! Layout as in the GGUF documentation of GGML's block types; the encoder follows GGML's reference quantiser.

use crate::dtype::DType;
use crate::format::blocks32::*;
use crate::format::{BlockFormat, Format};

const BYTES: usize = 20;

pub(super) const FORMAT: Format = Format {
    name: "q4_1",
    dtype: DType::Block(BlockFormat::Q4_1),
    block_elems: ELEMS,
    block_bytes: BYTES,
    gguf_type: Some(3),
    decode_block: decode,
    encode_block: encode,
};

/// `d*q` is exact in f32 (11 bits by 4 bits), so each value is rounded once, in the sum.
fn decode(bytes: &[u8], out: &mut [f32]) {
    let mut codes = [0; ELEMS];
    for (block, out) in bytes
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<ELEMS>().0)
    {
        let (d, m) = (read_f16(block, 0), read_f16(block, 2));
        unpack_nibbles(&block[4..], &mut codes);
        for (w, &q) in out.iter_mut().zip(&codes) {
            *w = d * f32::from(q) + m;
        }
    }
}

/// On a tie of zeros, the sign of the minimum is that of the first value.
fn encode(values: &[f32], out: &mut [u8]) {
    for (values, block) in values
        .as_chunks::<ELEMS>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<BYTES>().0)
    {
        let values = sanitise(values);
        let (low, high) = extent(&values);
        let m = saturate_to_f16(low);
        let d = saturate_to_f16((high - low) / 15.0);
        let codes = codes(&values, m, inverse(d), 0.5, 15);
        write_f16(block, 0, d);
        write_f16(block, 2, m);
        pack_nibbles(&codes, &mut block[4..]);
    }
}
