//! Values in registers of one of five kinds, and their way from and to memory of any plain dtype.
//!
//! A kernel that is written for the five kinds works for all thirteen dtypes: narrow integers are
//! computed in 64 bits and cut, `f16` and `bf16` are computed in `f32` and rounded.
#![allow(unsafe_code)]

use bytemuck::Pod;
use gabion_tensor::{BinaryFn, DType, f16, f32_to_bf16};
use half::slice::HalfFloatSliceExt;

/// What values of a dtype become in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `f32`, for f32, f16 and bf16.
    F32,
    /// `f64`.
    F64,
    /// `i64`, for signed integers.
    I64,
    /// `u64`, for unsigned integers.
    U64,
    /// `u8` of 0 or 1.
    Bool,
}

impl Kind {
    /// The kind of a plain dtype; block formats are handled as bytes and never get here.
    pub(crate) fn of(dtype: DType) -> Kind {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 | DType::Block(_) => Kind::F32,
            DType::F64 => Kind::F64,
            DType::I8 | DType::I16 | DType::I32 | DType::I64 => Kind::I64,
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => Kind::U64,
            DType::Bool => Kind::Bool,
        }
    }

    /// Bytes of one value in a register.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::F64 | Kind::I64 | Kind::U64 => 8,
            Kind::Bool => 1,
        }
    }

    /// The dtype whose elements look the same in memory as in a register.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Kind::F32 => DType::F32,
            Kind::F64 => DType::F64,
            Kind::I64 => DType::I64,
            Kind::U64 => DType::U64,
            Kind::Bool => DType::Bool,
        }
    }
}

/// Runs `$body` with `$V` as the register type of a [`Kind`].
macro_rules! with_kind {
    ($kind:expr, $V:ident => $body:expr) => {
        match $kind {
            $crate::value::Kind::F32 => {
                type $V = f32;
                $body
            }
            $crate::value::Kind::F64 => {
                type $V = f64;
                $body
            }
            $crate::value::Kind::I64 => {
                type $V = i64;
                $body
            }
            $crate::value::Kind::U64 => {
                type $V = u64;
                $body
            }
            $crate::value::Kind::Bool => {
                type $V = u8;
                $body
            }
        }
    };
}
pub(crate) use with_kind;

/// A register type.
pub(crate) trait Value: Pod + PartialOrd + Send + Sync {
    /// Its kind.
    const KIND: Kind;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// Reads `out.len()` elements of `dtype`, `stride` elements apart.
    ///
    /// # Safety
    /// `from` is valid for reading them, and aligned for `dtype`; `dtype` is of this kind.
    unsafe fn load(from: *const u8, dtype: DType, stride: isize, out: &mut [Self]);

    /// Writes all values as elements of `dtype`, `stride` elements apart.
    ///
    /// # Safety
    /// `to` is valid for writing them, and aligned for `dtype`; `dtype` is of this kind.
    unsafe fn store(to: *mut u8, dtype: DType, stride: isize, values: &[Self]);

    /// Makes every value one that `dtype` can hold: cuts integers, rounds floats.
    fn fit(dtype: DType, values: &mut [Self]);

    /// A function of two values; `None` if the kind has no such function or no result.
    fn combine(func: BinaryFn, a: Self, b: Self) -> Option<Self>;

    /// NaN.
    fn is_nan(self) -> bool {
        false
    }

    /// A slice as values of its kind.
    fn values(values: &[Self]) -> Values<'_>;

    /// A writable slice as values of its kind.
    fn values_mut(values: &mut [Self]) -> ValuesMut<'_>;

    /// The value divided by a count, as `mean` does: integers round towards zero.
    fn over(self, count: usize) -> Self;
}

/// Reads elements of a type and widens each.
unsafe fn read<T: Pod, V>(from: *const u8, stride: isize, out: &mut [V], widen: impl Fn(T) -> V) {
    let from = from.cast::<T>();
    if stride == 1 {
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller vouches for all elements.
            *out = widen(unsafe { from.add(i).read() });
        }
    } else if stride == 0 {
        for out in out.iter_mut() {
            // SAFETY: as above; the same element each time.
            *out = widen(unsafe { from.read() });
        }
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: as above.
            *out = widen(unsafe { from.offset(i as isize * stride).read() });
        }
    }
}

unsafe fn write<T: Pod, V: Copy>(
    to: *mut u8,
    stride: isize,
    values: &[V],
    narrow: impl Fn(V) -> T,
) {
    let to = to.cast::<T>();
    if stride == 1 {
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: the caller vouches for all elements.
            unsafe { to.add(i).write(narrow(value)) };
        }
    } else {
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: as above.
            unsafe { to.offset(i as isize * stride).write(narrow(value)) };
        }
    }
}

/// Elements that follow each other, as a slice.
///
/// # Safety
/// `from` is valid for reading `count` elements for as long as the slice lives, and aligned.
pub(crate) unsafe fn slice<'a, T: Pod>(from: *const u8, count: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(from.cast(), count) }
}

/// Elements that follow each other, as a writable slice.
///
/// # Safety
/// `to` is valid for reading and writing `count` elements, aligned, and nobody else looks at them
/// for as long as the slice lives.
pub(crate) unsafe fn slice_mut<'a, T: Pod>(to: *mut u8, count: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(to.cast(), count) }
}

impl Value for f32 {
    const KIND: Kind = Kind::F32;
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;

    unsafe fn load(from: *const u8, dtype: DType, stride: isize, out: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::F16 if stride == 1 => {
                    slice::<f16>(from, out.len()).convert_to_f32_slice(out)
                }
                DType::F16 => read(from, stride, out, f16::to_f32),
                DType::BF16 => read(from, stride, out, |x: u16| {
                    f32::from_bits(u32::from(x) << 16)
                }),
                _ => read(from, stride, out, |x: f32| x),
            }
        }
    }

    unsafe fn store(to: *mut u8, dtype: DType, stride: isize, values: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::F16 if stride == 1 => {
                    slice_mut::<f16>(to, values.len()).convert_from_f32_slice(values)
                }
                DType::F16 => write(to, stride, values, f16::from_f32),
                DType::BF16 => write(to, stride, values, |x| f32_to_bf16(x).to_bits()),
                _ => write(to, stride, values, |x| x),
            }
        }
    }

    fn fit(dtype: DType, values: &mut [f32]) {
        match dtype {
            DType::F16 => values
                .iter_mut()
                .for_each(|x| *x = f16::from_f32(*x).to_f32()),
            DType::BF16 => values
                .iter_mut()
                .for_each(|x| *x = f32_to_bf16(*x).to_f32()),
            _ => {}
        }
    }

    #[inline(always)]
    fn combine(func: BinaryFn, a: f32, b: f32) -> Option<f32> {
        func.eval_f32(a, b).ok()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn values(values: &[f32]) -> Values<'_> {
        Values::F32(values)
    }

    fn values_mut(values: &mut [f32]) -> ValuesMut<'_> {
        ValuesMut::F32(values)
    }

    fn over(self, count: usize) -> f32 {
        (f64::from(self) / count as f64) as f32
    }
}

impl Value for f64 {
    const KIND: Kind = Kind::F64;
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;

    unsafe fn load(from: *const u8, _: DType, stride: isize, out: &mut [f64]) {
        // SAFETY: the caller's promise.
        unsafe { read(from, stride, out, |x: f64| x) }
    }

    unsafe fn store(to: *mut u8, _: DType, stride: isize, values: &[f64]) {
        // SAFETY: the caller's promise.
        unsafe { write(to, stride, values, |x| x) }
    }

    fn fit(_: DType, _: &mut [f64]) {}

    #[inline(always)]
    fn combine(func: BinaryFn, a: f64, b: f64) -> Option<f64> {
        func.eval_f64(a, b).ok()
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn values(values: &[f64]) -> Values<'_> {
        Values::F64(values)
    }

    fn values_mut(values: &mut [f64]) -> ValuesMut<'_> {
        ValuesMut::F64(values)
    }

    fn over(self, count: usize) -> f64 {
        self / count as f64
    }
}

impl Value for i64 {
    const KIND: Kind = Kind::I64;
    const ZERO: i64 = 0;
    const ONE: i64 = 1;

    unsafe fn load(from: *const u8, dtype: DType, stride: isize, out: &mut [i64]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::I8 => read(from, stride, out, |x: i8| x.into()),
                DType::I16 => read(from, stride, out, |x: i16| x.into()),
                DType::I32 => read(from, stride, out, |x: i32| x.into()),
                _ => read(from, stride, out, |x: i64| x),
            }
        }
    }

    unsafe fn store(to: *mut u8, dtype: DType, stride: isize, values: &[i64]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::I8 => write(to, stride, values, |x| x as i8),
                DType::I16 => write(to, stride, values, |x| x as i16),
                DType::I32 => write(to, stride, values, |x| x as i32),
                _ => write(to, stride, values, |x| x),
            }
        }
    }

    fn fit(dtype: DType, values: &mut [i64]) {
        match dtype {
            DType::I8 => values.iter_mut().for_each(|x| *x = i64::from(*x as i8)),
            DType::I16 => values.iter_mut().for_each(|x| *x = i64::from(*x as i16)),
            DType::I32 => values.iter_mut().for_each(|x| *x = i64::from(*x as i32)),
            _ => {}
        }
    }

    fn combine(func: BinaryFn, a: i64, b: i64) -> Option<i64> {
        func.eval_i64(a, b).ok()
    }

    fn values(values: &[i64]) -> Values<'_> {
        Values::I64(values)
    }

    fn values_mut(values: &mut [i64]) -> ValuesMut<'_> {
        ValuesMut::I64(values)
    }

    fn over(self, count: usize) -> i64 {
        self.wrapping_div(count.max(1) as i64)
    }
}

impl Value for u64 {
    const KIND: Kind = Kind::U64;
    const ZERO: u64 = 0;
    const ONE: u64 = 1;

    unsafe fn load(from: *const u8, dtype: DType, stride: isize, out: &mut [u64]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::U8 => read(from, stride, out, |x: u8| x.into()),
                DType::U16 => read(from, stride, out, |x: u16| x.into()),
                DType::U32 => read(from, stride, out, |x: u32| x.into()),
                _ => read(from, stride, out, |x: u64| x),
            }
        }
    }

    unsafe fn store(to: *mut u8, dtype: DType, stride: isize, values: &[u64]) {
        // SAFETY: the caller's promise.
        unsafe {
            match dtype {
                DType::U8 => write(to, stride, values, |x| x as u8),
                DType::U16 => write(to, stride, values, |x| x as u16),
                DType::U32 => write(to, stride, values, |x| x as u32),
                _ => write(to, stride, values, |x| x),
            }
        }
    }

    fn fit(dtype: DType, values: &mut [u64]) {
        match dtype {
            DType::U8 => values.iter_mut().for_each(|x| *x &= 0xFF),
            DType::U16 => values.iter_mut().for_each(|x| *x &= 0xFFFF),
            DType::U32 => values.iter_mut().for_each(|x| *x &= 0xFFFF_FFFF),
            _ => {}
        }
    }

    fn combine(func: BinaryFn, a: u64, b: u64) -> Option<u64> {
        func.eval_u64(a, b).ok()
    }

    fn values(values: &[u64]) -> Values<'_> {
        Values::U64(values)
    }

    fn values_mut(values: &mut [u64]) -> ValuesMut<'_> {
        ValuesMut::U64(values)
    }

    fn over(self, count: usize) -> u64 {
        self / count.max(1) as u64
    }
}

impl Value for u8 {
    const KIND: Kind = Kind::Bool;
    const ZERO: u8 = 0;
    const ONE: u8 = 1;

    unsafe fn load(from: *const u8, _: DType, stride: isize, out: &mut [u8]) {
        // SAFETY: the caller's promise.
        unsafe { read(from, stride, out, |x: u8| x) }
    }

    unsafe fn store(to: *mut u8, _: DType, stride: isize, values: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { write(to, stride, values, |x| x) }
    }

    fn fit(_: DType, _: &mut [u8]) {}

    fn combine(func: BinaryFn, a: u8, b: u8) -> Option<u8> {
        match func {
            BinaryFn::Max | BinaryFn::Add | BinaryFn::Or => Some(a | b),
            BinaryFn::Min | BinaryFn::Mul | BinaryFn::And => Some(a & b),
            BinaryFn::Xor => Some(a ^ b),
            _ => None,
        }
    }

    fn values(values: &[u8]) -> Values<'_> {
        Values::Bool(values)
    }

    fn values_mut(values: &mut [u8]) -> ValuesMut<'_> {
        ValuesMut::Bool(values)
    }

    fn over(self, _: usize) -> u8 {
        self
    }
}

/// Converts values of one kind to those of a dtype of another kind.
///
/// The rules are those of [`gabion_tensor::HostTensor::cast`].
pub(crate) fn cast(from: &Values<'_>, to: DType, out: &mut ValuesMut<'_>) {
    match (from, out) {
        (Values::F32(x), ValuesMut::F32(y)) => {
            y.copy_from_slice(x);
            f32::fit(to, y);
        }
        (Values::F32(x), ValuesMut::F64(y)) => each(x, y, f64::from),
        (Values::F32(x), ValuesMut::I64(y)) => saturate(x, y, to, |x| x as i64),
        (Values::F32(x), ValuesMut::U64(y)) => saturate_unsigned(x, y, to, |x| x as u64),
        (Values::F32(x), ValuesMut::Bool(y)) => each(x, y, |x| u8::from(x != 0.0)),
        (Values::F64(x), ValuesMut::F32(y)) => match to {
            DType::F16 => each(x, y, |x| gabion_tensor::f64_to_f16(x).to_f32()),
            DType::BF16 => each(x, y, |x| gabion_tensor::f64_to_bf16(x).to_f32()),
            _ => each(x, y, |x| x as f32),
        },
        (Values::F64(x), ValuesMut::F64(y)) => y.copy_from_slice(x),
        (Values::F64(x), ValuesMut::I64(y)) => saturate(x, y, to, |x| x as i64),
        (Values::F64(x), ValuesMut::U64(y)) => saturate_unsigned(x, y, to, |x| x as u64),
        (Values::F64(x), ValuesMut::Bool(y)) => each(x, y, |x| u8::from(x != 0.0)),
        (Values::I64(x), ValuesMut::F32(y)) => match to {
            DType::F16 => each(x, y, |x| {
                gabion_tensor::f64_to_f16(signed_to_odd(x)).to_f32()
            }),
            DType::BF16 => each(x, y, |x| {
                gabion_tensor::f64_to_bf16(signed_to_odd(x)).to_f32()
            }),
            _ => each(x, y, |x| x as f32),
        },
        (Values::I64(x), ValuesMut::F64(y)) => each(x, y, |x| x as f64),
        (Values::I64(x), ValuesMut::I64(y)) => {
            y.copy_from_slice(x);
            i64::fit(to, y);
        }
        (Values::I64(x), ValuesMut::U64(y)) => {
            each(x, y, |x| x as u64);
            u64::fit(to, y);
        }
        (Values::I64(x), ValuesMut::Bool(y)) => each(x, y, |x| u8::from(x != 0)),
        (Values::U64(x), ValuesMut::F32(y)) => match to {
            DType::F16 => each(x, y, |x| {
                gabion_tensor::f64_to_f16(unsigned_to_odd(x)).to_f32()
            }),
            DType::BF16 => each(x, y, |x| {
                gabion_tensor::f64_to_bf16(unsigned_to_odd(x)).to_f32()
            }),
            _ => each(x, y, |x| x as f32),
        },
        (Values::U64(x), ValuesMut::F64(y)) => each(x, y, |x| x as f64),
        (Values::U64(x), ValuesMut::I64(y)) => {
            each(x, y, |x| x as i64);
            i64::fit(to, y);
        }
        (Values::U64(x), ValuesMut::U64(y)) => {
            y.copy_from_slice(x);
            u64::fit(to, y);
        }
        (Values::U64(x), ValuesMut::Bool(y)) => each(x, y, |x| u8::from(x != 0)),
        (Values::Bool(x), ValuesMut::F32(y)) => each(x, y, f32::from),
        (Values::Bool(x), ValuesMut::F64(y)) => each(x, y, f64::from),
        (Values::Bool(x), ValuesMut::I64(y)) => each(x, y, i64::from),
        (Values::Bool(x), ValuesMut::U64(y)) => each(x, y, u64::from),
        (Values::Bool(x), ValuesMut::Bool(y)) => y.copy_from_slice(x),
    }
}

/// Values of some kind.
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    U64(&'a [u64]),
    Bool(&'a [u8]),
}

/// Writable values of some kind.
pub(crate) enum ValuesMut<'a> {
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
    I64(&'a mut [i64]),
    U64(&'a mut [u64]),
    Bool(&'a mut [u8]),
}

#[inline(always)]
fn each<A: Copy, B>(from: &[A], out: &mut [B], f: impl Fn(A) -> B) {
    for (out, &x) in out.iter_mut().zip(from) {
        *out = f(x);
    }
}

fn saturate<A: Copy>(from: &[A], out: &mut [i64], to: DType, f: impl Fn(A) -> i64) {
    let (low, high) = match to {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    each(from, out, |x| f(x).clamp(low, high));
}

fn saturate_unsigned<A: Copy>(from: &[A], out: &mut [u64], to: DType, f: impl Fn(A) -> u64) {
    let high = match to {
        DType::U8 => u8::MAX.into(),
        DType::U16 => u16::MAX.into(),
        DType::U32 => u32::MAX.into(),
        _ => u64::MAX,
    };
    each(from, out, |x| f(x).min(high));
}

/// As f64, rounded to odd, so that rounding again to a narrower float is rounding once.
fn unsigned_to_odd(x: u64) -> f64 {
    let extra = (64 - x.leading_zeros()).saturating_sub(53);
    let kept = x >> extra;
    let sticky = u64::from(kept << extra != x);
    (kept | sticky) as f64 * (1u64 << extra) as f64
}

fn signed_to_odd(x: i64) -> f64 {
    let magnitude = unsigned_to_odd(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}

/// The element of a plain dtype that stands for a number: low bytes of the result count.
pub(crate) fn number_bits(value: f64, dtype: DType) -> u64 {
    match dtype {
        DType::F32 => u64::from((value as f32).to_bits()),
        DType::F64 => value.to_bits(),
        DType::F16 => u64::from(gabion_tensor::f64_to_f16(value).to_bits()),
        DType::BF16 => u64::from(gabion_tensor::f64_to_bf16(value).to_bits()),
        DType::Bool => u64::from(value != 0.0),
        DType::U64 => value as u64,
        _ => value as i64 as u64,
    }
}
