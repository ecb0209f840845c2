//! Elementary functions over vectors: one formula for every instruction set.
//!
//! All but [`crate::isa::Isa::Portable`] give the same bits. Polynomials were fitted for these
//! intervals (minimax, relative error); the largest errors against `f64`, measured by the tests
//! over dense sweeps, are, in units in the last place of the true value with fused multiply-add:
//!
//! | function | ulp | | function | ulp |
//! |---|---|---|---|---|
//! | [`exp`] | 1.1 | | [`sigmoid`] | 2 |
//! | [`log`] | 1 | | [`silu`] | 3 |
//! | [`tanh`] | 1.5 | | [`gelu_erf`] | 6 |
//! | [`erf`] | 1.5 | | [`softplus`] | 2 |
//!
//! `gelu_tanh` and `gelu_quick` are within 2^-22 of `|x|`. NaN gives NaN, infinities their limits
//! (where the limit is 0 times infinity, NaN, as the plain formula has it), and results below the
//! normal range are rounded to denormals, not flushed.
#![allow(
    clippy::excessive_precision,
    reason = "coefficients are written as they were fitted"
)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block below: arithmetic on registers only; the caller of each function has the
// instruction set `S`, as `Simd` demands.

use super::simd::Simd;

/// `c[0] + c[1] x + ..`, highest power first.
#[inline(always)]
unsafe fn poly<S: Simd, const N: usize>(x: S::F, c: [f32; N]) -> S::F {
    unsafe {
        let mut sum = S::splat(c[N - 1]);
        for i in (0..N - 1).rev() {
            sum = S::fma(sum, x, S::splat(c[i]));
        }
        sum
    }
}

/// `2^n` for n from -126 to 127.
#[inline(always)]
unsafe fn power_of_2<S: Simd>(n: S::I) -> S::F {
    unsafe { S::bits_to_float(S::shl(S::add_i(n, S::splat_i(127)), 23)) }
}

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// Two factors of `e^(x + low)`, where `low` is far below `x`'s last place or zero: the first is
/// in the normal range, the second a power of two. Whatever else is multiplied with the first
/// before the second loses nothing when the whole is a denormal.
#[inline(always)]
unsafe fn exp_factors<S: Simd>(x: S::F, low: S::F) -> (S::F, S::F) {
    const C: [f32; 5] = [
        0.5,
        0.166_665_12,
        0.041_666_187,
        0.008_369_599,
        0.001_395_172,
    ];
    unsafe {
        // Outside, the result is 0 or infinity whatever x is; NaN passes.
        let nothing = S::lt(x, S::splat(-150.0));
        let x = S::max(S::splat(-150.0), S::min(S::splat(89.0), x));
        let n = S::to_int(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let nf = S::to_float(n);
        let r = S::fma(nf, S::splat(-LN2_HIGH), x);
        let r = S::add(S::fma(nf, S::splat(-LN2_LOW), r), low);
        let p = S::fma(poly::<S, 5>(r, C), S::mul(r, r), r);
        let p = S::add(p, S::splat(1.0));
        let half = S::sar(n, 1);
        let first = S::mul(p, power_of_2::<S>(half));
        let power = power_of_2::<S>(S::sub_i(n, half));
        (first, S::select(nothing, S::splat(0.0), power))
    }
}

/// `e^x`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let (first, power) = exp_factors::<S>(x, S::splat(0.0));
        S::mul(first, power)
    }
}

/// Natural logarithm; negative values give NaN, zero minus infinity.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn log<S: Simd>(x: S::F) -> S::F {
    unsafe {
        const TINY: f32 = f32::MIN_POSITIVE;
        let denormal = S::lt(x, S::splat(TINY));
        let scaled = S::select(denormal, S::mul(x, S::splat(8_388_608.0)), x);
        let shift = S::select(denormal, S::splat(-23.0), S::splat(0.0));
        // x = 2^n (1 + f) with 1 + f between the roots of 1/2 and 2.
        let bits = S::float_to_bits(scaled);
        let from_root = S::sub_i(bits, S::splat_i(0x3f35_04f3));
        let n = S::add(S::to_float(S::sar(from_root, 23)), shift);
        let mantissa = S::and_i(from_root, S::splat_i(0x007f_ffff));
        let m = S::bits_to_float(S::add_i(mantissa, S::splat_i(0x3f35_04f3)));
        let f = S::sub(m, S::splat(1.0));
        let y = log1p_small::<S>(f, n);
        let inf = S::splat(f32::INFINITY);
        let y = S::select(S::lt(x, inf), y, S::add(x, inf));
        let y = S::select(S::lt(S::splat(0.0), x), y, S::splat(f32::NEG_INFINITY));
        let y = S::select(S::lt(x, S::splat(0.0)), S::splat(f32::NAN), y);
        S::select(S::is_nan(x), x, y)
    }
}

/// `log(1 + f) + n log(2)` for f from -0.3 to 0.42.
#[inline(always)]
unsafe fn log1p_small<S: Simd>(f: S::F, n: S::F) -> S::F {
    const C: [f32; 9] = [
        0.333_333_1,
        -0.249_999_87,
        0.200_022_27,
        -0.166_692_51,
        0.142_186_58,
        -0.123_843_43,
        0.118_729_66,
        -0.117_898_35,
        0.069_154_25,
    ];
    unsafe {
        let f2 = S::mul(f, f);
        let y = S::mul(S::mul(poly::<S, 9>(f, C), f), f2);
        let y = S::fma(n, S::splat(LN2_LOW), y);
        let y = S::fma(S::splat(-0.5), f2, y);
        S::fma(n, S::splat(LN2_HIGH), S::add(f, y))
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn sigmoid<S: Simd>(x: S::F) -> S::F {
    unsafe { times_sigmoid::<S>(S::splat(1.0), x) }
}

/// `y / (1 + e^-x)`, from the exponential that does not overflow.
#[inline(always)]
unsafe fn times_sigmoid<S: Simd>(y: S::F, x: S::F) -> S::F {
    unsafe {
        let zero = S::splat(0.0);
        let (first, power) = exp_factors::<S>(S::sub(zero, S::abs(x)), zero);
        let below = S::mul(S::mul(y, first), power);
        let top = S::select(S::lt(x, zero), below, y);
        let e = S::mul(first, power);
        S::div(top, S::add(S::splat(1.0), e))
    }
}

/// `x / (1 + e^-x)`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn silu<S: Simd>(x: S::F) -> S::F {
    unsafe { times_sigmoid::<S>(x, x) }
}

/// Hyperbolic tangent.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn tanh<S: Simd>(x: S::F) -> S::F {
    const C: [f32; 5] = [
        -0.333_332_84,
        0.133_314_91,
        -0.053_743_497,
        0.020_650_583,
        -0.005_717_038_6,
    ];
    unsafe {
        let a = S::abs(x);
        let x2 = S::mul(x, x);
        let small = S::fma(S::mul(poly::<S, 5>(x2, C), x2), x, x);
        let e = exp::<S>(S::add(a, a));
        let large = S::div(S::splat(2.0), S::add(e, S::splat(1.0)));
        let large = S::sub(S::splat(1.0), large);
        // The sign comes from x in both, so that that of zero is kept.
        S::copysign(S::select(S::lt(a, S::splat(0.625)), small, large), x)
    }
}

/// `e^(t^2) erfc(t)` for t from 0 to 10.5, within 2^-25.
#[inline(always)]
unsafe fn scaled_erfc<S: Simd>(t: S::F) -> S::F {
    const C: [f32; 10] = [
        1.276_978_4,
        -0.092_763_99,
        -0.166_031_54,
        0.164_055_56,
        -0.054_202_937,
        -0.008_060_514,
        0.008_626_248,
        0.001_312_278_1,
        -0.001_223_201_2,
        -0.000_396_339_05,
    ];
    unsafe {
        let t = S::min(S::splat(10.5), t);
        let q = S::div(S::sub(t, S::splat(2.0)), S::add(t, S::splat(2.0)));
        S::div(poly::<S, 10>(q, C), S::fma(S::splat(2.0), t, S::splat(1.0)))
    }
}

/// Error function.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    const C: [f32; 6] = [
        0.128_379_17,
        -0.376_125_75,
        0.112_827_7,
        -0.026_804_57,
        0.005_054_270_4,
        -0.000_633_261_2,
    ];
    unsafe {
        let a = S::abs(x);
        let x2 = S::mul(x, x);
        let small = S::fma(poly::<S, 6>(x2, C), x, x);
        let tail = exp::<S>(S::sub(S::splat(0.0), x2));
        let large = S::sub(S::splat(1.0), S::mul(tail, scaled_erfc::<S>(a)));
        S::select(S::lt(a, S::splat(0.85)), small, S::copysign(large, x))
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`, the exact GELU.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn gelu_erf<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let a = S::abs(x);
        // x^2 / 2 and what its rounding lost: the tail is exact where x is large.
        let (half, zero) = (S::mul(a, S::splat(-0.5)), S::splat(0.0));
        let high = S::mul(half, a);
        let low = S::fma(half, a, S::sub(zero, high));
        let low = S::select(S::lt(a, S::splat(15.0)), low, zero);
        let (first, power) = exp_factors::<S>(high, low);
        let t = S::mul(a, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let half_erfc = S::mul(first, S::mul(S::splat(0.5), scaled_erfc::<S>(t)));
        let below = S::mul(S::mul(x, half_erfc), power);
        let above = S::mul(x, S::sub(S::splat(1.0), S::mul(half_erfc, power)));
        S::select(S::lt(x, zero), below, above)
    }
}

/// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn gelu_tanh<S: Simd>(x: S::F) -> S::F {
    unsafe {
        // (1 + tanh u) / 2 = sigmoid(2 u), which does not cancel.
        let x2 = S::mul(x, x);
        let inner = S::fma(S::mul(x2, x), S::splat(0.044_715), x);
        let u2 = S::mul(inner, S::splat(1.595_769_2));
        S::mul(x, sigmoid::<S>(u2))
    }
}

/// `x sigmoid(1.702 x)`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn gelu_quick<S: Simd>(x: S::F) -> S::F {
    unsafe { S::mul(x, sigmoid::<S>(S::mul(x, S::splat(1.702)))) }
}

/// `log(1 + e^x)`.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn softplus<S: Simd>(x: S::F) -> S::F {
    unsafe {
        let zero = S::splat(0.0);
        let e = exp::<S>(S::sub(zero, S::abs(x)));
        // log(1 + e) with the rounding of 1 + e put right; e itself where that is all there is.
        let sum = S::add(S::splat(1.0), e);
        let lost = S::sub(e, S::sub(sum, S::splat(1.0)));
        let log = S::add(log::<S>(sum), S::div(lost, sum));
        S::add(S::max(zero, x), log)
    }
}

/// The larger of `x` and zero; NaN stays.
///
/// # Safety
/// The machine has `S`.
#[inline(always)]
pub unsafe fn relu<S: Simd>(x: S::F) -> S::F {
    unsafe { S::max(S::splat(0.0), x) }
}

/// The functions by name, for tables and interpreters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named after the functions of this module")]
pub enum VectorFn {
    Exp,
    Log,
    Sigmoid,
    Silu,
    Tanh,
    Erf,
    GeluErf,
    GeluTanh,
    GeluQuick,
    Softplus,
    Relu,
}

impl VectorFn {
    /// All of them.
    pub const ALL: [VectorFn; 11] = [
        VectorFn::Exp,
        VectorFn::Log,
        VectorFn::Sigmoid,
        VectorFn::Silu,
        VectorFn::Tanh,
        VectorFn::Erf,
        VectorFn::GeluErf,
        VectorFn::GeluTanh,
        VectorFn::GeluQuick,
        VectorFn::Softplus,
        VectorFn::Relu,
    ];

    /// The function's value in every lane.
    ///
    /// # Safety
    /// The machine has `S`.
    #[inline(always)]
    pub unsafe fn eval<S: Simd>(self, x: S::F) -> S::F {
        unsafe {
            match self {
                VectorFn::Exp => exp::<S>(x),
                VectorFn::Log => log::<S>(x),
                VectorFn::Sigmoid => sigmoid::<S>(x),
                VectorFn::Silu => silu::<S>(x),
                VectorFn::Tanh => tanh::<S>(x),
                VectorFn::Erf => erf::<S>(x),
                VectorFn::GeluErf => gelu_erf::<S>(x),
                VectorFn::GeluTanh => gelu_tanh::<S>(x),
                VectorFn::GeluQuick => gelu_quick::<S>(x),
                VectorFn::Softplus => softplus::<S>(x),
                VectorFn::Relu => relu::<S>(x),
            }
        }
    }
}

#[cfg(test)]
mod tests;
