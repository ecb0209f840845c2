//! Conversions between plain dtypes, value by value. Storage and block formats are elsewhere.
//!
//! - Integer to integer keeps the low bits (two's complement).
//! - Float to integer truncates towards zero and saturates; NaN gives 0.
//! - To a float: rounds to nearest, ties to even; what is too large becomes infinity.
//! - To bool: everything but zero is true (NaN too). From bool: 0 or 1.

use half::{bf16, f16};

use crate::element::{Bool, Element};

/// Rounds to nearest, ties to even; NaN keeps its sign and becomes quiet.
///
/// Without branches, so that loops over it are vectorised.
pub fn f32_to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    let quiet_nan = bits | 0x0040_0000;
    let is_nan = bits & 0x7FFF_FFFF > 0x7F80_0000;
    bf16::from_bits((if is_nan { quiet_nan } else { rounded } >> 16) as u16)
}

/// Exact, signalling NaNs included: the fraction is extended with zeros.
pub fn bf16_to_f32(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Rounds once, to nearest, ties to even.
pub fn f64_to_bf16(x: f64) -> bf16 {
    f32_to_bf16(f64_to_f32_odd(x))
}

/// Rounds once, to nearest, ties to even.
pub fn f64_to_f16(x: f64) -> f16 {
    f16::from_f32(f64_to_f32_odd(x))
}

/// Rounds to odd: an inexact result gets a last bit of 1, so that rounding again to a much narrower type is rounding once.
///
/// Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
fn f64_to_f32_odd(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) == x || x.is_nan() {
        return nearest;
    }
    let away = f64::from(nearest).abs() > x.abs();
    f32::from_bits((nearest.to_bits() - u32::from(away)) | 1)
}

/// An integer magnitude as f64, rounded to odd.
fn u64_to_f64_odd(x: u64) -> f64 {
    let extra = (64 - x.leading_zeros()).saturating_sub(53);
    let kept = x >> extra;
    let sticky = u64::from(kept << extra != x);
    (kept | sticky) as f64 * (1u64 << extra) as f64
}

fn i64_to_f64_odd(x: i64) -> f64 {
    let magnitude = u64_to_f64_odd(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}

/// Converts one value of another plain dtype; the rules are at the head of this file.
pub(crate) trait CastFrom<From> {
    /// The converted value.
    fn cast_from(from: From) -> Self;
}

/// Elements that every plain dtype casts to: all of them.
pub(crate) trait CastFromAny:
    Element
    + CastFrom<Bool>
    + CastFrom<i8>
    + CastFrom<i16>
    + CastFrom<i32>
    + CastFrom<i64>
    + CastFrom<u8>
    + CastFrom<u16>
    + CastFrom<u32>
    + CastFrom<u64>
    + CastFrom<f16>
    + CastFrom<bf16>
    + CastFrom<f32>
    + CastFrom<f64>
{
}

macro_rules! cast_from_any {
    ($($to:ty),*) => { $(impl CastFromAny for $to {})* };
}
cast_from_any!(
    Bool, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64
);

macro_rules! cast_by_as {
    ($($from:ty),* => $to:tt) => { $(impl CastFrom<$from> for $to {
        #[inline(always)]
        fn cast_from(from: $from) -> $to { from as $to }
    })* };
}
macro_rules! cast_by {
    ($($from:ty),* => $to:ty: |$x:ident| $body:expr) => { $(impl CastFrom<$from> for $to {
        #[inline(always)]
        fn cast_from($x: $from) -> $to { $body }
    })* };
}
macro_rules! numbers_to {
    ($($to:tt)*) => { $(
        cast_by_as!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64 => $to);
        cast_by!(f16 => $to: |x| x.to_f32() as $to);
        cast_by!(bf16 => $to: |x| bf16_to_f32(x) as $to);
        cast_by!(Bool => $to: |x| x.0 as $to);
    )* };
}

numbers_to!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);

cast_by!(i8, i16, i32, i64, u8, u16, u32, u64 => Bool: |x| Bool::from(x != 0));
cast_by!(f32, f64 => Bool: |x| Bool::from(x != 0.0));
cast_by!(f16 => Bool: |x| Bool::from(x.to_f32() != 0.0));
cast_by!(bf16 => Bool: |x| Bool::from(bf16_to_f32(x) != 0.0));
cast_by!(Bool => Bool: |x| x);

cast_by!(i8, u8, i16, u16 => f16: |x| f16::from_f32(f32::from(x)));
cast_by!(i8, u8, i16, u16 => bf16: |x| f32_to_bf16(f32::from(x)));
cast_by!(i32, u32 => f16: |x| f64_to_f16(f64::from(x)));
cast_by!(i32, u32 => bf16: |x| f64_to_bf16(f64::from(x)));
cast_by!(i64 => f16: |x| f64_to_f16(i64_to_f64_odd(x)));
cast_by!(i64 => bf16: |x| f64_to_bf16(i64_to_f64_odd(x)));
cast_by!(u64 => f16: |x| f64_to_f16(u64_to_f64_odd(x)));
cast_by!(u64 => bf16: |x| f64_to_bf16(u64_to_f64_odd(x)));
cast_by!(f32 => f16: |x| f16::from_f32(x));
cast_by!(f32 => bf16: |x| f32_to_bf16(x));
cast_by!(f64 => f16: |x| f64_to_f16(x));
cast_by!(f64 => bf16: |x| f64_to_bf16(x));
cast_by!(f16 => f16: |x| x);
cast_by!(bf16 => bf16: |x| x);
cast_by!(f16 => bf16: |x| f32_to_bf16(x.to_f32()));
cast_by!(bf16 => f16: |x| f16::from_f32(bf16_to_f32(x)));
cast_by!(Bool => f16: |x| f16::from_f32(f32::from(x.0)));
cast_by!(Bool => bf16: |x| f32_to_bf16(f32::from(x.0)));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The nearest of all finite values of a 16-bit float, ties to even, in exact arithmetic: by search, from its ordered bits.
    fn nearest_by_search(
        exact: impl Fn(f64) -> std::cmp::Ordering,
        value: impl Fn(u16) -> f64,
        infinity: u16,
    ) -> u16 {
        use std::cmp::Ordering;
        let below = (0..infinity)
            .rev()
            .find(|&bits| exact(value(bits)) != Ordering::Less)
            .unwrap();
        if exact(value(below)) == Ordering::Equal {
            return below;
        }
        // What comes after the largest finite value is where the next power of two would be.
        let above = if below + 1 == infinity {
            2.0 * value(infinity - 1) - value(infinity - 2)
        } else {
            value(below + 1)
        };
        let middle = (value(below) + above) / 2.0;
        match exact(middle) {
            Ordering::Less => below,
            Ordering::Greater => below + 1,
            Ordering::Equal => below + (below & 1),
        }
    }

    fn f16_by_search(x: f64) -> u16 {
        let sign = u16::from(x.is_sign_negative()) << 15;
        let exact = |other: f64| x.abs().partial_cmp(&other).unwrap();
        sign | nearest_by_search(exact, |bits| f16::from_bits(bits).to_f64(), 0x7C00)
    }

    fn bf16_by_search(magnitude: u64) -> u16 {
        let exact = |other: f64| {
            let whole = other as u128;
            u128::from(magnitude)
                .cmp(&whole)
                .then_with(|| 0.0f64.partial_cmp(&(other - other.trunc())).unwrap())
        };
        nearest_by_search(exact, |bits| bf16::from_bits(bits).to_f64(), 0x7F80)
    }

    /// Values at and beside the middle between two neighbours.
    fn near_f16_middles() -> impl Strategy<Value = f64> {
        (0u16..0x7BFF, -2i64..3, any::<bool>()).prop_map(|(bits, steps, negative)| {
            let middle = (f16::from_bits(bits).to_f64() + f16::from_bits(bits + 1).to_f64()) / 2.0;
            let x = f64::from_bits((middle.to_bits() as i64 + steps) as u64);
            if negative { -x } else { x }
        })
    }

    proptest! {
        #[test]
        fn f64_to_f16_rounds_once(x in prop_oneof![near_f16_middles(), -70000.0f64..70000.0]) {
            prop_assert_eq!(f64_to_f16(x).to_bits(), f16_by_search(x), "{:e}", x);
        }

        #[test]
        fn integers_to_bf16_round_once(
            magnitude in prop_oneof![
                any::<u64>(),
                (128u64..256, 0u32..56, -1i64..2).prop_map(|(lead, shift, off)| (((2 * lead + 1) << shift) as i64).wrapping_add(off).max(0) as u64),
            ]
        ) {
            prop_assert_eq!(bf16::cast_from(magnitude).to_bits(), bf16_by_search(magnitude));
            if let Ok(signed) = i64::try_from(magnitude) {
                prop_assert_eq!(bf16::cast_from(-signed).to_bits() & 0x7FFF, bf16_by_search(magnitude));
            }
        }

        #[test]
        fn f32_to_bf16_agrees_with_half(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assert_eq!(f32_to_bf16(x).to_bits(), bf16::from_f32(x).to_bits());
        }
    }

    #[test]
    fn far_values_become_infinite() {
        assert_eq!(f64_to_f16(65519.99), f16::MAX);
        assert_eq!(f64_to_f16(65520.0), f16::INFINITY);
        assert_eq!(f64_to_f16(-1e300), f16::NEG_INFINITY);
        assert_eq!(f64_to_bf16(f64::MAX), bf16::INFINITY);
        assert_eq!(f64_to_bf16(1e-300).to_bits(), 0);
        assert!(f64_to_f16(f64::NAN).is_nan() && f64_to_bf16(f64::NAN).is_nan());
        assert_eq!(f16::cast_from(u64::MAX), f16::INFINITY);
    }

    #[test]
    fn floats_to_integers_saturate_and_integers_wrap() {
        assert_eq!(i8::cast_from(300.7f32), 127);
        assert_eq!(i8::cast_from(-300.7f64), -128);
        assert_eq!(u8::cast_from(-1.0f32), 0);
        assert_eq!(i32::cast_from(f32::NAN), 0);
        assert_eq!(i64::cast_from(f16::INFINITY), i64::MAX);
        assert_eq!(i32::cast_from(-2.9f64), -2);
        assert_eq!(u8::cast_from(-1i64), 255);
        assert_eq!(i8::cast_from(0x1_80u32), -128);
        assert_eq!(u64::cast_from(-1i8), u64::MAX);
    }

    #[test]
    fn bools_are_zero_and_one() {
        assert_eq!(Bool::cast_from(f32::NAN), Bool::TRUE);
        assert_eq!(Bool::cast_from(-0.0f64), Bool::FALSE);
        assert_eq!(Bool::cast_from(f16::from_f32(0.5)), Bool::TRUE);
        assert_eq!(Bool::cast_from(256i32), Bool::TRUE);
        assert_eq!(bf16::cast_from(Bool::TRUE), bf16::ONE);
        assert_eq!(u64::cast_from(Bool::TRUE), 1);
    }
}
