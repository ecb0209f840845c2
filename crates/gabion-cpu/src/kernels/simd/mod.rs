//! One vector interface over the instruction sets, so that a formula is written once.
//!
//! [`Avx512`] and [`Avx2`] give the same bits for every operation here. [`Portable`] differs in
//! [`Simd::fma`] only, where the build target has no fused instruction.
//!
//! Every function is `inline(always)` and reaches its instructions only when it ends up inside a
//! function that has the target feature; `per_isa!` makes such functions.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

/// `a * b + c` as [`Portable`] does it: fused if every machine of the build target can, else in
/// two roundings, since a fused product without an instruction for it is far too slow.
#[inline(always)]
pub fn portable_fma(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// The operations that kernels are made of.
///
/// # Safety
/// All functions demand that the machine has the instruction set, and pointers that are valid for
/// what the function reads or writes; no alignment is asked for.
#[allow(
    missing_docs,
    clippy::missing_safety_doc,
    reason = "the names say it, and what is safe is said once for all of them above"
)]
pub trait Simd: Copy + 'static {
    /// `LANES` values of `f32`.
    type F: Copy;
    /// `LANES` values of `i32`.
    type I: Copy;
    /// `LANES` truth values.
    type M: Copy;

    const LANES: usize;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    /// The first `count` lanes; the others are zero and not read.
    unsafe fn load_first(from: *const f32, count: usize) -> Self::F;
    unsafe fn store(to: *mut f32, value: Self::F);
    /// The first `count` lanes; the others are not written.
    unsafe fn store_first(to: *mut f32, value: Self::F, count: usize);

    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sqrt(a: Self::F) -> Self::F;
    /// `a * b + c`, one rounding where there is a fused instruction.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a < b ? a : b`, so `b` if either is NaN.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`, so `b` if either is NaN.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn abs(a: Self::F) -> Self::F;
    /// The magnitude of `a` with the sign of `sign`.
    unsafe fn copysign(a: Self::F, sign: Self::F) -> Self::F;
    /// False if either is NaN.
    unsafe fn lt(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn is_nan(a: Self::F) -> Self::M;
    /// `mask ? a : b`.
    unsafe fn select(mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    unsafe fn splat_i(value: i32) -> Self::I;
    /// Loads `LANES` words of 32 bits.
    unsafe fn load_i(from: *const u8) -> Self::I;
    unsafe fn add_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn sub_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn and_i(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn or_i(a: Self::I, b: Self::I) -> Self::I;
    /// Shift left by `by < 32`, the same in all lanes.
    unsafe fn shl(a: Self::I, by: u32) -> Self::I;
    /// Shift right by `by < 32`, zeros come in.
    unsafe fn shr(a: Self::I, by: u32) -> Self::I;
    /// Shift right by `by < 32`, the sign comes in.
    unsafe fn sar(a: Self::I, by: u32) -> Self::I;
    /// Nearest integer, ties to even; lanes beyond 2^22 either way are unspecified.
    unsafe fn to_int(a: Self::F) -> Self::I;
    unsafe fn to_float(a: Self::I) -> Self::F;
    unsafe fn bits_to_float(a: Self::I) -> Self::F;
    unsafe fn float_to_bits(a: Self::F) -> Self::I;

    /// `LANES` values of `f16`, widened exactly.
    unsafe fn load_f16(from: *const u8) -> Self::F;
    /// `LANES` values of `i8`, widened exactly.
    unsafe fn load_i8(from: *const u8) -> Self::F;
    /// The low four bits of each lane as a float: 0..=15.
    unsafe fn nibble(a: Self::I) -> Self::F;
    /// The low four bits of each lane less eight, as a float: -8..=7.
    unsafe fn nibble_less_8(a: Self::I) -> Self::F;
    /// The low five bits of each lane as a float: 0..=31.
    unsafe fn five_bits(a: Self::I) -> Self::F;
    /// The low five bits of each lane less sixteen, as a float: -16..=15.
    unsafe fn five_bits_less_16(a: Self::I) -> Self::F;
}

/// Declares functions that are generic over [`Simd`], once for each instruction set, and a
/// table of them chosen by [`crate::isa::Isa`].
///
/// `per_isa! { NAME for GENERIC<..>(arg: Type, ..) }` makes `fn NAME(isa) -> unsafe fn(Type, ..)`.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident => $body:ident $([$($fg:ident : $bound:ident),* $(; $($cg:ident),*)?])? ($($arg:ident : $ty:ty),* $(,)?)) => {
        $(#[$meta])*
        $vis fn $name $(<$($fg: $bound),* $(, $(const $cg: usize),*)?>)? (isa: $crate::isa::Isa) -> unsafe fn($($ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn avx512 $(<$($fg: $bound),* $(, $(const $cg: usize),*)?>)? ($($arg: $ty),*) {
                // SAFETY: the caller of the chosen function keeps the contract of the body.
                unsafe { $body::<$crate::kernels::simd::Avx512 $($(, $fg)* $($(, $cg)*)?)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2 $(<$($fg: $bound),* $(, $(const $cg: usize),*)?>)? ($($arg: $ty),*) {
                // SAFETY: the caller of the chosen function keeps the contract of the body.
                unsafe { $body::<$crate::kernels::simd::Avx2 $($(, $fg)* $($(, $cg)*)?)?>($($arg),*) }
            }
            unsafe fn portable $(<$($fg: $bound),* $(, $(const $cg: usize),*)?>)? ($($arg: $ty),*) {
                // SAFETY: the caller of the chosen function keeps the contract of the body.
                unsafe { $body::<$crate::kernels::simd::Portable $($(, $fg)* $($(, $cg)*)?)?>($($arg),*) }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 => avx512 $(::<$($fg),* $(, $($cg),*)?>)?,
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => avx2 $(::<$($fg),* $(, $($cg),*)?>)?,
                _ => portable $(::<$($fg),* $(, $($cg),*)?>)?,
            }
        }
    };
}
pub(crate) use per_isa;
