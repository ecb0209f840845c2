//! [`Simd`] in plain Rust: arrays of eight lanes that the compiler turns into vectors.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over constant counts become vectors"
)]
// SAFETY of every block below: `Simd` obliges its caller to pass pointers that are valid for the
// lanes touched; `load_first` and `store_first` touch only the lanes named.

use super::Simd;

const N: usize = 8;

/// Whatever vectors the build target has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Eight lanes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Lanes<T>([T; N]);

#[inline(always)]
fn map<T: Copy, U: Copy + Default>(a: Lanes<T>, f: impl Fn(T) -> U) -> Lanes<U> {
    let mut out = [U::default(); N];
    for i in 0..N {
        out[i] = f(a.0[i]);
    }
    Lanes(out)
}

#[inline(always)]
fn zip<T: Copy, U: Copy + Default>(a: Lanes<T>, b: Lanes<T>, f: impl Fn(T, T) -> U) -> Lanes<U> {
    let mut out = [U::default(); N];
    for i in 0..N {
        out[i] = f(a.0[i], b.0[i]);
    }
    Lanes(out)
}

/// Widens without a branch, so that it becomes vectors.
#[inline(always)]
fn f16_bits_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff);
    // Exponent and fraction in their places are the value over 2^112, denormals included.
    let value = f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23);
    let not_finite = if rest >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | sign | not_finite)
}

#[inline(always)]
fn select_bits(mask: Lanes<i32>, a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
    let mut out = [0.0; N];
    for i in 0..N {
        let bits = (a.0[i].to_bits() & mask.0[i] as u32) | (b.0[i].to_bits() & !mask.0[i] as u32);
        out[i] = f32::from_bits(bits);
    }
    Lanes(out)
}

impl Simd for Portable {
    type F = Lanes<f32>;
    type I = Lanes<i32>;
    type M = Lanes<i32>;

    const LANES: usize = N;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Lanes<f32> {
        Lanes([value; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes<f32> {
        Lanes(unsafe { from.cast::<[f32; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Lanes<f32> {
        let mut out = [0.0; N];
        for (i, lane) in out.iter_mut().enumerate().take(count) {
            *lane = unsafe { from.add(i).read_unaligned() };
        }
        Lanes(out)
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Lanes<f32>) {
        unsafe { to.cast::<[f32; N]>().write_unaligned(value.0) }
    }
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, value: Lanes<f32>, count: usize) {
        for (i, lane) in value.0.iter().enumerate().take(count) {
            unsafe { to.add(i).write_unaligned(*lane) };
        }
    }
    #[inline(always)]
    unsafe fn add(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(a: Lanes<f32>) -> Lanes<f32> {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    unsafe fn fma(a: Lanes<f32>, b: Lanes<f32>, c: Lanes<f32>) -> Lanes<f32> {
        let mut out = [0.0; N];
        for i in 0..N {
            out[i] = super::portable_fma(a.0[i], b.0[i], c.0[i]);
        }
        Lanes(out)
    }
    #[inline(always)]
    unsafe fn min(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn max(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn abs(a: Lanes<f32>) -> Lanes<f32> {
        map(a, f32::abs)
    }
    #[inline(always)]
    unsafe fn copysign(a: Lanes<f32>, sign: Lanes<f32>) -> Lanes<f32> {
        zip(a, sign, f32::copysign)
    }
    #[inline(always)]
    unsafe fn lt(a: Lanes<f32>, b: Lanes<f32>) -> Lanes<i32> {
        zip(a, b, |a, b| -i32::from(a < b))
    }
    #[inline(always)]
    unsafe fn is_nan(a: Lanes<f32>) -> Lanes<i32> {
        map(a, |a| -i32::from(a.is_nan()))
    }
    #[inline(always)]
    unsafe fn select(mask: Lanes<i32>, a: Lanes<f32>, b: Lanes<f32>) -> Lanes<f32> {
        select_bits(mask, a, b)
    }
    #[inline(always)]
    unsafe fn splat_i(value: i32) -> Lanes<i32> {
        Lanes([value; N])
    }
    #[inline(always)]
    unsafe fn load_i(from: *const u8) -> Lanes<i32> {
        Lanes(unsafe { from.cast::<[i32; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn add_i(a: Lanes<i32>, b: Lanes<i32>) -> Lanes<i32> {
        zip(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn sub_i(a: Lanes<i32>, b: Lanes<i32>) -> Lanes<i32> {
        zip(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    unsafe fn and_i(a: Lanes<i32>, b: Lanes<i32>) -> Lanes<i32> {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    unsafe fn or_i(a: Lanes<i32>, b: Lanes<i32>) -> Lanes<i32> {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    unsafe fn shl(a: Lanes<i32>, by: u32) -> Lanes<i32> {
        map(a, |a| a.wrapping_shl(by))
    }
    #[inline(always)]
    unsafe fn shr(a: Lanes<i32>, by: u32) -> Lanes<i32> {
        map(a, |a| (a as u32).wrapping_shr(by) as i32)
    }
    #[inline(always)]
    unsafe fn sar(a: Lanes<i32>, by: u32) -> Lanes<i32> {
        map(a, |a| a.wrapping_shr(by))
    }
    #[inline(always)]
    unsafe fn to_int(a: Lanes<f32>) -> Lanes<i32> {
        // Adding this leaves no bits below one in the sum, so the addition rounds to an integer,
        // ties to even, and its low bits hold it.
        const MAGIC: f32 = 12_582_912.0;
        map(a, |a| {
            let bits = (a + MAGIC).to_bits() as i32;
            bits.wrapping_sub(MAGIC.to_bits() as i32)
        })
    }
    #[inline(always)]
    unsafe fn to_float(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| a as f32)
    }
    #[inline(always)]
    unsafe fn bits_to_float(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| f32::from_bits(a as u32))
    }
    #[inline(always)]
    unsafe fn float_to_bits(a: Lanes<f32>) -> Lanes<i32> {
        map(a, |a| a.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Lanes<f32> {
        let bits = unsafe { from.cast::<[u16; N]>().read_unaligned() };
        map(Lanes(bits), f16_bits_to_f32)
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> Lanes<f32> {
        let codes = unsafe { from.cast::<[i8; N]>().read_unaligned() };
        map(Lanes(codes), f32::from)
    }
    #[inline(always)]
    unsafe fn nibble(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| (a & 15) as f32)
    }
    #[inline(always)]
    unsafe fn nibble_less_8(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| ((a & 15) - 8) as f32)
    }
    #[inline(always)]
    unsafe fn five_bits(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| (a & 31) as f32)
    }
    #[inline(always)]
    unsafe fn five_bits_less_16(a: Lanes<i32>) -> Lanes<f32> {
        map(a, |a| ((a & 31) - 16) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (f16_bits_to_f32(bits), half::f16::from_bits(bits).to_f32());
            let same = found.to_bits() == expected.to_bits();
            assert!(same || found.is_nan() && expected.is_nan(), "{bits:#x}");
        }
    }
}
