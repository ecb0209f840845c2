//! Loops over slices of `f32` that are the same on every instruction set: elementwise functions,
//! and sums in sixteen lanes.
//!
//! A sum over a row is kept in sixteen lanes (element `i` goes to lane `i % 16`) which are added as
//! a fixed tree; long rows are cut into blocks of 4096 whose sums are added in f64. So its bits
//! depend on the row alone. Plain loops over fixed lanes become vectors of any width.
#![allow(unsafe_code)]
#![allow(
    clippy::extra_unused_type_parameters,
    reason = "every loop is compiled once for each instruction set, which its parameter names"
)]

use gabion_tensor::{BinaryFn, CompareFn, UnaryFn};

use super::simd::{Portable, Simd, portable_fma};
use super::vmath::VectorFn;
use crate::isa::Isa;

/// Lanes of a sum.
pub(crate) const LANES: usize = 16;
/// Elements whose sum is kept in `f32`.
pub(crate) const BLOCK: usize = 4096;

/// `a * b + c` for one number, as the vectors of `S` do it.
#[inline(always)]
pub(crate) fn fma<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    if std::any::TypeId::of::<S>() == std::any::TypeId::of::<Portable>() {
        portable_fma(a, b, c)
    } else {
        // One instruction, for this is inlined where the target feature is on.
        a.mul_add(b, c)
    }
}

#[inline(always)]
fn tree(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of `f(x, sum so far)` over a row: `f` adds one element to a lane.
#[inline(always)]
fn accumulate(x: &[f32], f: impl Fn(f32, f32) -> f32 + Copy) -> f64 {
    let mut total = 0.0f64;
    for block in x.chunks(BLOCK) {
        let mut lanes = [0.0f32; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane = f(x, *lane);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane = f(x, *lane);
        }
        total += f64::from(tree(lanes));
    }
    total
}

#[inline(always)]
unsafe fn sum_row<S: Simd>(x: &[f32]) -> f64 {
    accumulate(x, |x, sum| sum + x)
}

/// The larger or smaller of two vectors: NaN if either is, -0 below +0, whichever comes first.
#[inline(always)]
unsafe fn pick<S: Simd, const LARGER: bool>(a: S::F, b: S::F) -> S::F {
    // SAFETY: the caller has `S`.
    unsafe {
        // The two orders differ for zeros of two signs and for NaN only.
        let r = if LARGER {
            let (r, q) = (S::max(a, b), S::max(b, a));
            S::and_i(S::float_to_bits(r), S::float_to_bits(q))
        } else {
            let (r, q) = (S::min(a, b), S::min(b, a));
            S::or_i(S::float_to_bits(r), S::float_to_bits(q))
        };
        let r = S::select(S::is_nan(b), b, S::bits_to_float(r));
        S::select(S::is_nan(a), a, r)
    }
}

/// The extreme of a row. Any grouping gives the same.
#[inline(always)]
unsafe fn extreme<S: Simd, const LARGER: bool>(x: &[f32]) -> f32 {
    let start = if LARGER {
        f32::NEG_INFINITY
    } else {
        f32::INFINITY
    };
    // SAFETY: the caller has `S`; loads stay inside `x`, the store inside `lanes`.
    unsafe {
        let mut best = [S::splat(start); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= x.len() {
            for (v, best) in best.iter_mut().enumerate() {
                *best = pick::<S, LARGER>(*best, S::load(x.as_ptr().add(i + v * S::LANES)));
            }
            i += 4 * S::LANES;
        }
        while i + S::LANES <= x.len() {
            best[0] = pick::<S, LARGER>(best[0], S::load(x.as_ptr().add(i)));
            i += S::LANES;
        }
        let joined = pick::<S, LARGER>(
            pick::<S, LARGER>(best[0], best[1]),
            pick::<S, LARGER>(best[2], best[3]),
        );
        let mut lanes = [start; LANES];
        S::store(lanes.as_mut_ptr(), joined);
        let f = if LARGER { max } else { min };
        lanes.iter().chain(&x[i..]).fold(start, |a, &b| f(a, b))
    }
}

#[inline(always)]
unsafe fn max_row<S: Simd>(x: &[f32]) -> f32 {
    // SAFETY: the caller has `S`.
    unsafe { extreme::<S, true>(x) }
}

#[inline(always)]
unsafe fn min_row<S: Simd>(x: &[f32]) -> f32 {
    // SAFETY: the caller has `S`.
    unsafe { extreme::<S, false>(x) }
}

/// The larger or smaller of each pair; `out` may be `a`.
#[inline(always)]
unsafe fn pick_each<S: Simd, const LARGER: bool>(
    a: *const f32,
    b: *const f32,
    out: *mut f32,
    len: usize,
) {
    // SAFETY: the caller has `S` and passes pointers to `len` elements.
    unsafe {
        let mut i = 0;
        while i + S::LANES <= len {
            let r = pick::<S, LARGER>(S::load(a.add(i)), S::load(b.add(i)));
            S::store(out.add(i), r);
            i += S::LANES;
        }
        if i < len {
            let (a, b) = (
                S::load_first(a.add(i), len - i),
                S::load_first(b.add(i), len - i),
            );
            S::store_first(out.add(i), pick::<S, LARGER>(a, b), len - i);
        }
    }
}

#[inline(always)]
unsafe fn exp_minus<S: Simd>(x: &mut [f32], by: f32) {
    // SAFETY: the caller has `S`; loads and stores stay inside `x`.
    unsafe {
        let (len, by) = (x.len(), S::splat(by));
        let at = x.as_mut_ptr();
        let mut i = 0;
        while i + S::LANES <= len {
            let value = super::vmath::exp::<S>(S::sub(S::load(at.add(i)), by));
            S::store(at.add(i), value);
            i += S::LANES;
        }
        if i < len {
            let value = super::vmath::exp::<S>(S::sub(S::load_first(at.add(i), len - i), by));
            S::store_first(at.add(i), value, len - i);
        }
    }
}

#[inline(always)]
unsafe fn softmax_row<S: Simd>(x: &mut [f32], log: bool) {
    // SAFETY: the caller has `S`.
    unsafe {
        let max = max_row::<S>(x);
        if log {
            // Through f64, so that a far smaller logarithm keeps its digits.
            let mut total = 0.0f64;
            let mut block = [0.0f32; 256];
            for part in x.chunks(block.len()) {
                let block = &mut block[..part.len()];
                block.copy_from_slice(part);
                exp_minus::<S>(block, max);
                total += sum_row::<S>(block);
            }
            let log_total = f64::from(max) + libm::log(total);
            for x in x.iter_mut() {
                *x = (f64::from(*x) - log_total) as f32;
            }
            return;
        }
        exp_minus::<S>(x, max);
        let total = sum_row::<S>(x) as f32;
        for x in x.iter_mut() {
            *x /= total;
        }
    }
}

#[inline(always)]
unsafe fn softmax_parts<S: Simd>(x: &mut [f32]) -> f32 {
    // SAFETY: the caller has `S`.
    unsafe {
        let max = max_row::<S>(x);
        if max == f32::NEG_INFINITY {
            x.fill(0.0);
            return 0.0;
        }
        exp_minus::<S>(x, max);
        sum_row::<S>(x) as f32
    }
}

#[inline(always)]
unsafe fn rms_row<S: Simd>(x: &[f32], weight: &[f32], eps: f64, y: &mut [f32]) {
    let squares = accumulate(x, |x, sum| fma::<S>(x, x, sum));
    let scale = (1.0 / (squares / x.len() as f64 + eps).sqrt()) as f32;
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
        *y = x * scale * w;
    }
}

#[inline(always)]
unsafe fn layer_row<S: Simd>(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f64,
    y: &mut [f32],
) {
    let mean = (accumulate(x, |x, sum| sum + x) / x.len() as f64) as f32;
    let squares = accumulate(x, |x, sum| {
        let d = x - mean;
        fma::<S>(d, d, sum)
    });
    let scale = (1.0 / (squares / x.len() as f64 + eps).sqrt()) as f32;
    match bias {
        Some(bias) => {
            for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = fma::<S>((x - mean) * scale, w, b);
            }
        }
        None => {
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                *y = (x - mean) * scale * w;
            }
        }
    }
}

/// Adds `x` to `sum`, element by element, or keeps the extreme.
#[inline(always)]
unsafe fn fold_rows<S: Simd>(func: RowFold, sum: &mut [f32], x: &[f32]) {
    let (len, to) = (sum.len().min(x.len()), sum.as_mut_ptr());
    match func {
        RowFold::Sum => {
            for (sum, &x) in sum.iter_mut().zip(x) {
                *sum += x;
            }
        }
        // SAFETY: the caller has `S`; both slices have `len` elements.
        RowFold::Max => unsafe { pick_each::<S, true>(to, x.as_ptr(), to, len) },
        // SAFETY: as above.
        RowFold::Min => unsafe { pick_each::<S, false>(to, x.as_ptr(), to, len) },
    }
}

/// What rows are folded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowFold {
    Sum,
    Max,
    Min,
}

#[inline(always)]
fn min(a: f32, b: f32) -> f32 {
    if a < b || (a == b && a.is_sign_negative()) || a.is_nan() {
        a
    } else {
        b
    }
}

#[inline(always)]
fn max(a: f32, b: f32) -> f32 {
    if a > b || (a == b && a.is_sign_positive()) || a.is_nan() {
        a
    } else {
        b
    }
}

#[inline(always)]
fn zip(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
}

#[inline(always)]
unsafe fn binary_f32<S: Simd>(func: BinaryFn, a: &[f32], b: &[f32], out: &mut [f32]) {
    match func {
        BinaryFn::Add => zip(a, b, out, |a, b| a + b),
        BinaryFn::Sub => zip(a, b, out, |a, b| a - b),
        BinaryFn::Mul => zip(a, b, out, |a, b| a * b),
        BinaryFn::Div => zip(a, b, out, |a, b| a / b),
        BinaryFn::Min | BinaryFn::Max => {
            let len = out.len().min(a.len()).min(b.len());
            let (a, b, out) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
            // SAFETY: the caller has `S`; all slices have `len` elements.
            unsafe {
                if func == BinaryFn::Max {
                    pick_each::<S, true>(a, b, out, len);
                } else {
                    pick_each::<S, false>(a, b, out, len);
                }
            }
        }
        BinaryFn::FloorDiv => zip(a, b, out, |a, b| (a / b).floor()),
        other => {
            if let Some(f) = other.f32_fn() {
                zip(a, b, out, f);
            }
        }
    }
}

#[inline(always)]
fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = f(x);
    }
}

#[inline(always)]
unsafe fn vector<S: Simd>(func: VectorFn, x: &[f32], out: &mut [f32]) {
    // SAFETY: the caller has `S`; both slices have `len` elements.
    unsafe {
        let len = out.len().min(x.len());
        let (from, to) = (x.as_ptr(), out.as_mut_ptr());
        let mut i = 0;
        while i + S::LANES <= len {
            S::store(to.add(i), func.eval::<S>(S::load(from.add(i))));
            i += S::LANES;
        }
        if i < len {
            let value = func.eval::<S>(S::load_first(from.add(i), len - i));
            S::store_first(to.add(i), value, len - i);
        }
    }
}

/// The vector form of a function, if it has one.
pub(crate) fn vector_fn(func: UnaryFn) -> Option<VectorFn> {
    Some(match func {
        UnaryFn::Exp => VectorFn::Exp,
        UnaryFn::Log => VectorFn::Log,
        UnaryFn::Sigmoid => VectorFn::Sigmoid,
        UnaryFn::Silu => VectorFn::Silu,
        UnaryFn::Tanh => VectorFn::Tanh,
        UnaryFn::Erf => VectorFn::Erf,
        UnaryFn::GeluErf => VectorFn::GeluErf,
        UnaryFn::GeluTanh => VectorFn::GeluTanh,
        UnaryFn::GeluQuick => VectorFn::GeluQuick,
        UnaryFn::Softplus => VectorFn::Softplus,
        _ => return None,
    })
}

#[inline(always)]
unsafe fn unary_f32<S: Simd>(func: UnaryFn, x: &[f32], out: &mut [f32]) {
    match func {
        UnaryFn::Neg => map(x, out, |x| -x),
        UnaryFn::Abs => map(x, out, f32::abs),
        UnaryFn::Square => map(x, out, |x| x * x),
        UnaryFn::Sqrt => map(x, out, f32::sqrt),
        UnaryFn::Recip => map(x, out, |x| 1.0 / x),
        UnaryFn::Rsqrt => map(x, out, |x| (1.0 / f64::from(x).sqrt()) as f32),
        UnaryFn::Relu => map(x, out, |x| if x < 0.0 { 0.0 } else { x }),
        UnaryFn::Floor => map(x, out, f32::floor),
        UnaryFn::Ceil => map(x, out, f32::ceil),
        UnaryFn::Trunc => map(x, out, f32::trunc),
        UnaryFn::Round => map(x, out, f32::round_ties_even),
        other => match (vector_fn(other), other.f32_fn()) {
            // SAFETY: the caller has `S`.
            (Some(func), _) => unsafe { vector::<S>(func, x, out) },
            (None, Some(f)) => map(x, out, f),
            (None, None) => {}
        },
    }
}

#[inline(always)]
unsafe fn compare_f32<S: Simd>(func: CompareFn, a: &[f32], b: &[f32], out: &mut [u8]) {
    #[inline(always)]
    fn each(a: &[f32], b: &[f32], out: &mut [u8], f: impl Fn(f32, f32) -> bool) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = u8::from(f(a, b));
        }
    }
    match func {
        CompareFn::Eq => each(a, b, out, |a, b| a == b),
        CompareFn::Ne => each(a, b, out, |a, b| a != b),
        CompareFn::Lt => each(a, b, out, |a, b| a < b),
        CompareFn::Le => each(a, b, out, |a, b| a <= b),
        CompareFn::Gt => each(a, b, out, |a, b| a > b),
        CompareFn::Ge => each(a, b, out, |a, b| a >= b),
    }
}

#[inline(always)]
unsafe fn select_f32<S: Simd>(mask: &[u8], a: &[f32], b: &[f32], out: &mut [f32]) {
    for (((out, &mask), &a), &b) in out.iter_mut().zip(mask).zip(a).zip(b) {
        *out = if mask != 0 { a } else { b };
    }
}

/// Rotates `x` (rotary halves side by side) into `y`: `n` pairs `(x[i], x[n + i])`.
#[inline(always)]
unsafe fn rotate_halves<S: Simd>(x: &[f32], cos: &[f32], sin: &[f32], y: &mut [f32]) {
    let n = cos.len();
    let (a, b) = (&x[..n], &x[n..2 * n]);
    let (first, second) = y.split_at_mut(n);
    let second = &mut second[..n];
    let sin = &sin[..n];
    for i in 0..n {
        first[i] = a[i] * cos[i] - b[i] * sin[i];
        second[i] = b[i] * cos[i] + a[i] * sin[i];
    }
}

/// Scales scores, adds a mask, and hides what a truth mask forbids.
#[inline(always)]
unsafe fn mask_scores<S: Simd>(scores: &mut [f32], scale: f32, mask: MaskRow<'_>) {
    match mask {
        MaskRow::None => {
            for s in scores.iter_mut() {
                *s *= scale;
            }
        }
        MaskRow::Added(mask) => {
            for (s, &m) in scores.iter_mut().zip(mask) {
                *s = *s * scale + m;
            }
        }
        MaskRow::Allowed(mask) => {
            for (s, &m) in scores.iter_mut().zip(mask) {
                *s = if m != 0 {
                    *s * scale
                } else {
                    f32::NEG_INFINITY
                };
            }
        }
    }
}

/// The mask of one row of scores.
#[derive(Clone, Copy)]
pub(crate) enum MaskRow<'a> {
    None,
    Added(&'a [f32]),
    Allowed(&'a [u8]),
}

/// Declares [`LaneKernels`]: a table of functions chosen once for an instruction set.
macro_rules! lane_kernels {
    ($($(#[$doc:meta])* $name:ident => $body:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            #![allow(clippy::undocumented_unsafe_blocks)]
            use super::*;
            $(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            pub(super) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: whoever calls this has the instruction set.
                unsafe { $body::<crate::kernels::simd::Avx512>($($arg),*) }
            })*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(#[target_feature(enable = "avx2,fma,f16c")]
            pub(super) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: whoever calls this has the instruction set.
                unsafe { $body::<crate::kernels::simd::Avx2>($($arg),*) }
            })*
        }
        mod portable {
            use super::*;
            $(pub(super) unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: every machine has these instructions.
                unsafe { $body::<Portable>($($arg),*) }
            })*
        }

        /// The loops of this file for one instruction set.
        #[derive(Clone, Copy)]
        pub(crate) struct LaneKernels {
            $($name: unsafe fn($($ty),*) $(-> $ret)?,)*
        }

        impl LaneKernels {
            /// The loops for `isa`, or for the best there is if this machine lacks it.
            pub(crate) fn new(isa: Isa) -> LaneKernels {
                match if isa.is_available() { isa } else { Isa::best() } {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => LaneKernels { $($name: avx512::$name,)* },
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => LaneKernels { $($name: avx2::$name,)* },
                    _ => LaneKernels { $($name: portable::$name,)* },
                }
            }

            $($(#[$doc])*
            pub(crate) fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                // SAFETY: `new` chose functions whose instructions this machine has.
                unsafe { (self.$name)($($arg),*) }
            })*
        }
    };
}

lane_kernels! {
    /// The sum of a row.
    sum => sum_row(x: &[f32]) -> f64;
    /// The largest of a row; NaN if there is one.
    max => max_row(x: &[f32]) -> f32;
    /// The smallest of a row; NaN if there is one.
    min => min_row(x: &[f32]) -> f32;
    /// Softmax of a row in place, or its logarithm.
    softmax => softmax_row(x: &mut [f32], log: bool);
    /// `e^(x - max)` in place, and the sum; zeros and 0 if every element is minus infinity.
    softmax_sum => softmax_parts(x: &mut [f32]) -> f32;
    /// RMS norm of a row.
    rms => rms_row(x: &[f32], weight: &[f32], eps: f64, y: &mut [f32]);
    /// Layer norm of a row.
    layer => layer_row(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f64, y: &mut [f32]);
    /// Folds a row into another, element by element.
    fold => fold_rows(func: RowFold, sum: &mut [f32], x: &[f32]);
    /// A function of two numbers, for each element; nothing if it takes no floats.
    binary => binary_f32(func: BinaryFn, a: &[f32], b: &[f32], out: &mut [f32]);
    /// A function of one number, for each element; nothing if it takes no floats.
    unary => unary_f32(func: UnaryFn, x: &[f32], out: &mut [f32]);
    /// A comparison, for each element.
    compare => compare_f32(func: CompareFn, a: &[f32], b: &[f32], out: &mut [u8]);
    /// `mask ? a : b`, for each element.
    select => select_f32(mask: &[u8], a: &[f32], b: &[f32], out: &mut [f32]);
    /// Rotates `(x[i], x[n + i])` by the angle `i`, for `n` angles.
    rotate => rotate_halves(x: &[f32], cos: &[f32], sin: &[f32], y: &mut [f32]);
    /// Scales a row of scores and applies its mask.
    mask => mask_scores(scores: &mut [f32], scale: f32, mask: MaskRow<'_>);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + 11) % 101) as f32 / 17.0 - 2.5)
            .collect()
    }

    /// The tables of instruction sets with fused multiply-add.
    fn fused() -> Vec<LaneKernels> {
        let fused = |isa: &Isa| *isa != Isa::Portable;
        Isa::available()
            .filter(fused)
            .map(LaneKernels::new)
            .collect()
    }

    #[test]
    fn sums_agree_between_instruction_sets_and_with_f64() {
        for n in [0, 1, 15, 16, 17, 100, 4096, 4097, 20_000] {
            let x = row(n);
            let expected: f64 = x.iter().map(|&x| f64::from(x)).sum();
            let mut bits = Vec::new();
            for isa in Isa::available() {
                let found = LaneKernels::new(isa).sum(&x);
                let magnitude: f64 = x.iter().map(|&x| f64::from(x.abs())).sum();
                assert!((found - expected).abs() <= 1e-6 * magnitude, "{isa} {n}");
                bits.push(found.to_bits());
            }
            assert!(bits.iter().all(|b| *b == bits[0]));
        }
    }

    #[test]
    fn rows_have_the_same_bits_on_avx2_and_avx512() {
        for n in [1, 7, 16, 33, 576, 5000] {
            let (x, w) = (row(n), row(n + 3)[3..].to_vec());
            let results: Vec<Vec<u32>> = fused()
                .iter()
                .map(|lanes| {
                    let mut y = vec![0.0; n];
                    let mut all = Vec::new();
                    lanes.rms(&x, &w, 1e-5, &mut y);
                    all.extend(y.iter().map(|y| y.to_bits()));
                    lanes.layer(&x, &w, Some(&x), 1e-5, &mut y);
                    all.extend(y.iter().map(|y| y.to_bits()));
                    for log in [false, true] {
                        y.copy_from_slice(&x);
                        lanes.softmax(&mut y, log);
                        all.extend(y.iter().map(|y| y.to_bits()));
                    }
                    all
                })
                .collect();
            assert!(results.iter().all(|r| *r == results[0]), "{n}");
        }
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_nan_and_infinity() {
        for isa in Isa::available() {
            let lanes = LaneKernels::new(isa);
            let mut x = row(77);
            lanes.softmax(&mut x, false);
            assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let mut x = [1.0, f32::NAN, 2.0];
            lanes.softmax(&mut x, false);
            assert!(x.iter().all(|x| x.is_nan()));
            let mut x = [1.0, f32::NEG_INFINITY, 1.0];
            lanes.softmax(&mut x, false);
            assert_eq!(x, [0.5, 0.0, 0.5]);
            let mut x = [f32::NEG_INFINITY; 3];
            assert_eq!(lanes.softmax_sum(&mut x), 0.0);
            assert_eq!(x, [0.0; 3]);
        }
    }

    #[test]
    fn every_function_agrees_with_the_table_of_scalars() {
        let x: Vec<f32> = row(70)
            .into_iter()
            .chain([
                0.0,
                -0.0,
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                1e-40,
                0.5,
                2.5,
            ])
            .collect();
        let b: Vec<f32> = x.iter().rev().copied().collect();
        let close = |found: f32, expected: f32, ulps: u32| {
            (found.is_nan() && expected.is_nan())
                || found == expected
                || (found - expected).abs() <= ulps as f32 * f32::EPSILON * expected.abs().max(1e-3)
        };
        for isa in Isa::available() {
            let lanes = LaneKernels::new(isa);
            let mut y = vec![0.0; x.len()];
            for &func in UnaryFn::ALL.iter().filter(|f| f.f32_fn().is_some()) {
                lanes.unary(func, &x, &mut y);
                for (&x, &y) in x.iter().zip(&y) {
                    let expected = func.eval_f32(x).unwrap();
                    assert!(
                        close(y, expected, 8),
                        "{isa} {func}({x}) = {y}, not {expected}"
                    );
                }
            }
            for &func in BinaryFn::ALL.iter().filter(|f| f.f32_fn().is_some()) {
                lanes.binary(func, &x, &b, &mut y);
                for ((&a, &b), &y) in x.iter().zip(&b).zip(&y) {
                    let expected = func.eval_f32(a, b).unwrap();
                    let same =
                        y.to_bits() == expected.to_bits() || (y.is_nan() && expected.is_nan());
                    assert!(same, "{isa} {func}({a}, {b}) = {y}, not {expected}");
                }
            }
            let mut flags = vec![0; x.len()];
            for &func in CompareFn::ALL {
                lanes.compare(func, &x, &b, &mut flags);
                for ((&a, &b), &y) in x.iter().zip(&b).zip(&flags) {
                    assert_eq!(y != 0, func.eval_f32(a, b), "{isa} {func}({a}, {b})");
                }
            }
        }
    }
}
