//! Reading stored rows: one value, one block at a time, as the formats define them.
//!
//! This is the plain meaning of each format that packing, row look-up and tests share; kernels
//! decode packed tiles and agree with it to the last bit.

use super::format::WeightFormat;
use half::{bf16, f16};

fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_bits(u16::from_le_bytes([bytes[at], bytes[at + 1]])).to_f32_const()
}

fn code4(codes: &[u8], i: usize) -> u8 {
    // Low halves are the first sixteen values, high halves the others.
    if i < 16 {
        codes[i] & 15
    } else {
        codes[i - 16] >> 4
    }
}

fn code5(high: &[u8], codes: &[u8], i: usize) -> u8 {
    code4(codes, i) | (high[i / 8] >> (i % 8) & 1) << 4
}

/// Decodes the stored row `bytes` into `out`, exactly. The lengths agree (`row_bytes`).
pub fn decode_row(format: WeightFormat, bytes: &[u8], out: &mut [f32]) {
    let blocks = bytes.chunks_exact(format.block_bytes());
    for (block, out) in blocks.zip(out.chunks_mut(format.block_elems())) {
        decode_block(format, block, out);
    }
}

fn decode_block(format: WeightFormat, b: &[u8], out: &mut [f32]) {
    match format {
        WeightFormat::F32 => out[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        WeightFormat::F16 => out[0] = f16_at(b, 0),
        WeightFormat::Bf16 => {
            out[0] = bf16::from_bits(u16::from_le_bytes([b[0], b[1]])).to_f32_const();
        }
        WeightFormat::Q8_0 => fill(out, |i| f16_at(b, 0) * f32::from(b[2 + i] as i8)),
        WeightFormat::Q4_0 => fill(out, |i| f16_at(b, 0) * (f32::from(code4(&b[2..], i)) - 8.0)),
        // The product of scale and code is exact, so this rounds once.
        WeightFormat::Q4_1 => fill(out, |i| {
            f16_at(b, 0) * f32::from(code4(&b[4..], i)) + f16_at(b, 2)
        }),
        WeightFormat::Q5_0 => fill(out, |i| {
            f16_at(b, 0) * (f32::from(code5(&b[2..6], &b[6..], i)) - 16.0)
        }),
        WeightFormat::Q5_1 => fill(out, |i| {
            f16_at(b, 0) * f32::from(code5(&b[4..8], &b[8..], i)) + f16_at(b, 2)
        }),
    }
}

fn fill(out: &mut [f32], value: impl Fn(usize) -> f32) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = value(i);
    }
}
