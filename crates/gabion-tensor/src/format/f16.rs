//! `f16`: IEEE 754 binary16, little-endian.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::dtype::DType;
use crate::format::Format;

pub(super) const FORMAT: Format = Format {
    name: "f16",
    dtype: DType::F16,
    block_elems: 1,
    block_bytes: 2,
    gguf_type: Some(1),
    decode_block: decode,
    encode_block: encode,
};

/// Values converted at once: through the stack, since stored bytes have any alignment.
const RUN: usize = 256;

/// Exact.
fn decode(bytes: &[u8], out: &mut [f32]) {
    let mut run = [f16::ZERO; RUN];
    for (out, bytes) in out.chunks_mut(RUN).zip(bytes.chunks(2 * RUN)) {
        let run = &mut run[..out.len()];
        for (x, stored) in run.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *x = f16::from_le_bytes(*stored);
        }
        run.convert_to_f32_slice(out);
    }
}

/// Rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN.
fn encode(values: &[f32], out: &mut [u8]) {
    let mut run = [f16::ZERO; RUN];
    for (values, out) in values.chunks(RUN).zip(out.chunks_mut(2 * RUN)) {
        let run = &mut run[..values.len()];
        run.convert_from_f32_slice(values);
        for (x, stored) in run.iter().zip(out.as_chunks_mut::<2>().0) {
            *stored = x.to_le_bytes();
        }
    }
}
