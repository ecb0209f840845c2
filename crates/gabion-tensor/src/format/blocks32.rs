//! Pieces shared by the 32-value block formats: nibbles, fifth bits, scales.

use half::f16;

/// Values in a block.
pub(super) const ELEMS: usize = 32;

/// Largest finite f16.
const F16_MAX: f32 = 65504.0;

/// Reads an f16 at `at`.
pub(super) fn read_f16(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Writes `x` at `at` as f16, rounded to nearest even.
pub(super) fn write_f16(block: &mut [u8], at: usize, x: f32) {
    block[at..at + 2].copy_from_slice(&f16::from_f32(x).to_le_bytes());
}

/// Values an encoder can work with: NaN counts as zero, infinities as the largest finite value.
pub(super) fn sanitise(values: &[f32; ELEMS]) -> [f32; ELEMS] {
    let mut clean = *values;
    for x in &mut clean {
        let number = if x.is_nan() { 0.0 } else { *x };
        *x = number.clamp(f32::MIN, f32::MAX);
    }
    clean
}

/// Keeps a scale or minimum inside f16's finite range, so that no stored block decodes to NaN; far values are then clipped.
pub(super) fn saturate_to_f16(x: f32) -> f32 {
    x.clamp(-F16_MAX, F16_MAX)
}

/// The factor that turns values into codes. Zero, and scales too small to have a reciprocal, give zero: all codes stand for zero.
pub(super) fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The value of largest magnitude with its sign; the first one on a tie.
pub(super) fn largest(values: &[f32; ELEMS]) -> f32 {
    let mut best = values[0];
    for &x in values {
        if x.abs() > best.abs() {
            best = x;
        }
    }
    best
}

/// Smallest and largest value; the first one on a tie of zeros.
pub(super) fn extent(values: &[f32; ELEMS]) -> (f32, f32) {
    let mut low = values[0];
    let mut high = values[0];
    for &x in values {
        if x < low {
            low = x;
        }
        if x > high {
            high = x;
        }
    }
    (low, high)
}

/// Splits 16 bytes into 32 codes: element `j` is the low nibble of byte `j`, element `j + 16` the high one.
pub(super) fn unpack_nibbles(packed: &[u8], codes: &mut [u8; ELEMS]) {
    let (low, high) = codes.split_at_mut(ELEMS / 2);
    for ((&byte, low), high) in packed.iter().zip(low).zip(high) {
        *low = byte & 0x0F;
        *high = byte >> 4;
    }
}

/// The inverse of [`unpack_nibbles`]; fifth bits are left out.
pub(super) fn pack_nibbles(codes: &[u8; ELEMS], packed: &mut [u8]) {
    let (low, high) = codes.split_at(ELEMS / 2);
    for ((byte, &low), &high) in packed.iter_mut().zip(low).zip(high) {
        *byte = (low & 0x0F) | (high << 4);
    }
}

/// Adds the fifth bit of each code: bit `j` of the little-endian word belongs to element `j`.
pub(super) fn add_fifth_bits(word: [u8; 4], codes: &mut [u8; ELEMS]) {
    let word = u32::from_le_bytes(word);
    for (j, code) in codes.iter_mut().enumerate() {
        *code |= (((word >> j) & 1) as u8) << 4;
    }
}

/// Collects the fifth bits into one word.
pub(super) fn fifth_bits(codes: &[u8; ELEMS]) -> [u8; 4] {
    let mut word = 0u32;
    for (j, &code) in codes.iter().enumerate() {
        word |= u32::from(code >> 4 & 1) << j;
    }
    word.to_le_bytes()
}

/// Codes in `0..=top`: the integer part of `(x - base) * inverse + bias`, where the bias carries the half that rounds.
pub(super) fn codes(
    values: &[f32; ELEMS],
    base: f32,
    inverse: f32,
    bias: f32,
    top: i32,
) -> [u8; ELEMS] {
    let mut codes = [0; ELEMS];
    for (code, &x) in codes.iter_mut().zip(values) {
        *code = (((x - base) * inverse + bias) as i32).clamp(0, top) as u8;
    }
    codes
}

/// The nearest integer, halves away from zero, kept in `-127..=127`.
pub(super) fn signed_code(x: f32) -> i8 {
    let x = x.clamp(-127.0, 127.0);
    let whole = x as i32;
    let part = x - whole as f32;
    (whole + i32::from(part >= 0.5) - i32::from(part <= -0.5)) as i8
}
