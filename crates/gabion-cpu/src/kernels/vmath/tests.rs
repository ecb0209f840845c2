//! Every function against `f64` over sweeps of all exponents, and the same bits on every fused set.
#![allow(clippy::undocumented_unsafe_blocks)]
// SAFETY of the blocks below: vectors of the lengths given; only available sets are used.

use super::*;
use crate::isa::Isa;
use crate::kernels::simd::per_isa;

per_isa! {
    fn table => apply(function: VectorFn, x: &[f32], y: &mut [f32])
}

#[inline(always)]
unsafe fn apply<S: Simd>(function: VectorFn, x: &[f32], y: &mut [f32]) {
    for at in (0..x.len()).step_by(S::LANES) {
        let count = x.len() - at;
        unsafe {
            let v = function.eval::<S>(S::load_first(x.as_ptr().add(at), count.min(S::LANES)));
            S::store_first(y.as_mut_ptr().add(at), v, count.min(S::LANES));
        }
    }
}

fn eval(isa: Isa, function: VectorFn, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    unsafe { table(isa)(function, x, &mut y) };
    y
}

fn exact(function: VectorFn, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        VectorFn::Exp => x.exp(),
        VectorFn::Log => x.ln(),
        VectorFn::Sigmoid => sigmoid(x),
        VectorFn::Silu => x * sigmoid(x),
        VectorFn::Tanh => x.tanh(),
        VectorFn::Erf => libm::erf(x),
        VectorFn::GeluErf => x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        VectorFn::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x * sigmoid(2.0 * inner)
        }
        VectorFn::GeluQuick => x * sigmoid(1.702 * x),
        VectorFn::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        VectorFn::Relu => x.max(0.0),
    }
}

/// The distance in units of the last place that a `f32` near `y` has.
fn ulps(found: f32, y: f64) -> f64 {
    let exponent = y.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (f64::from(found) - y).abs() / (exponent - 23.0).exp2()
}

/// Bounds with fused multiply-add, and without.
fn bound(function: VectorFn) -> [f64; 2] {
    match function {
        VectorFn::Exp => [1.1, 1.1],
        VectorFn::Log => [1.0, 1.0],
        VectorFn::Tanh | VectorFn::Erf => [1.5, 1.5],
        VectorFn::Sigmoid | VectorFn::Softplus => [2.0, 2.0],
        VectorFn::Silu => [3.0, 3.0],
        VectorFn::GeluErf => [6.0, f64::INFINITY],
        VectorFn::GeluTanh | VectorFn::GeluQuick => [f64::INFINITY; 2],
        VectorFn::Relu => [0.0; 2],
    }
}

/// Both signs, every exponent, and a fine grid where the functions bend.
fn sweep() -> Vec<f32> {
    let mut x = Vec::new();
    for bits in (0..0x7f80_0000_u32).step_by(6_007) {
        x.push(f32::from_bits(bits));
        x.push(-f32::from_bits(bits));
    }
    x.extend((-110_000..110_000).map(|i| i as f32 / 1000.0));
    x.extend((-30_000..30_000).map(|i| i as f32 / 20_000.0));
    x.extend((0..50_000).map(|i| 1.0 + (i - 25_000) as f32 / 100_000.0));
    x
}

#[test]
fn errors_stay_within_the_stated_bounds() {
    let x = sweep();
    for isa in Isa::available() {
        for function in VectorFn::ALL {
            let y = eval(isa, function, &x);
            let mut worst = (0.0, 0.0);
            for (&x, &y) in x.iter().zip(&y) {
                let expected = exact(function, f64::from(x));
                if expected.is_nan() || expected.abs() > f64::from(f32::MAX) * (1.0 + 1e-8) {
                    let same = expected.is_nan() == y.is_nan();
                    assert!(same && !y.is_finite(), "{isa} {function:?}({x}) = {y}");
                    continue;
                }
                let error = ulps(y, expected);
                if error > worst.0 {
                    worst = (error, x);
                }
                let scaled = (f64::from(y) - expected).abs() / f64::from(x.abs().max(1e-30));
                let gelu = matches!(
                    function,
                    VectorFn::GeluErf | VectorFn::GeluTanh | VectorFn::GeluQuick
                );
                assert!(!gelu || scaled < 2.4e-7, "{isa} {function:?}({x}) = {y}");
            }
            let bound = bound(function)[usize::from(isa == Isa::Portable)];
            assert!(worst.0 <= bound, "{isa} {function:?}: {worst:?}");
        }
    }
}

#[test]
fn special_values_are_kept() {
    const INF: f32 = f32::INFINITY;
    for isa in Isa::available() {
        for function in VectorFn::ALL {
            let y = eval(isa, function, &[f32::NAN, -f32::NAN, f32::NAN]);
            assert!(y.iter().all(|y| y.is_nan()), "{isa} {function:?}");
        }
        let at = |function, x: f32| eval(isa, function, &[x])[0];
        assert_eq!(
            [at(VectorFn::Exp, INF), at(VectorFn::Exp, -INF)],
            [INF, 0.0]
        );
        assert_eq!(
            [at(VectorFn::Log, INF), at(VectorFn::Log, 0.0)],
            [INF, -INF]
        );
        assert!(at(VectorFn::Log, -1.0).is_nan() && at(VectorFn::Log, -INF).is_nan());
        assert_eq!(at(VectorFn::Exp, 0.0), 1.0);
        assert_eq!(at(VectorFn::Log, 1.0), 0.0);
        for function in [VectorFn::Tanh, VectorFn::Erf] {
            assert_eq!([at(function, INF), at(function, -INF)], [1.0, -1.0]);
            assert_eq!(at(function, -0.0).to_bits(), (-0.0_f32).to_bits());
        }
        let sigmoid = [at(VectorFn::Sigmoid, INF), at(VectorFn::Sigmoid, -INF)];
        assert_eq!(sigmoid, [1.0, 0.0]);
        for function in [VectorFn::Silu, VectorFn::GeluErf, VectorFn::GeluQuick] {
            assert_eq!(at(function, INF), INF, "{isa} {function:?}");
            assert!(at(function, -INF).is_nan(), "{isa} {function:?}");
        }
        assert_eq!(
            [at(VectorFn::Softplus, INF), at(VectorFn::Softplus, -INF)],
            [INF, 0.0]
        );
        assert_eq!(
            [at(VectorFn::Relu, -3.0), at(VectorFn::Relu, 3.0)],
            [0.0, 3.0]
        );
    }
}

#[test]
fn fused_sets_agree_to_the_last_bit() {
    if !Isa::Avx512.is_available() {
        return;
    }
    let x = sweep();
    for function in VectorFn::ALL {
        let (a, b) = (
            eval(Isa::Avx512, function, &x),
            eval(Isa::Avx2, function, &x),
        );
        for ((a, b), x) in a.iter().zip(&b).zip(&x) {
            let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(same, "{function:?}({x}) = {a}, {b}");
        }
    }
}
