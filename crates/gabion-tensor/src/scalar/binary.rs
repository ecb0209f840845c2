//! Functions of two numbers.

use super::{Domain, ScalarError, function_names};
use crate::dtype::DType;

macro_rules! binary_fns {
    ($($variant:ident $name:literal $domain:ident $doc:literal $kind:ident $(|$a:ident, $b:ident| $body:expr)? $(=> $f:expr)?;)*) => {
        /// A function of two numbers of one dtype.
        ///
        /// ```
        /// use gabion_tensor::BinaryFn;
        /// assert_eq!(BinaryFn::FloorDiv.eval_i64(-7, 2), Ok(-4));
        /// assert_eq!(BinaryFn::Mod.eval_i64(-7, 2), Ok(1));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BinaryFn {
            $(#[doc = $doc] $variant,)*
        }

        impl BinaryFn {
            /// All functions, in declaration order.
            pub const ALL: &'static [BinaryFn] = &[$(BinaryFn::$variant),*];

            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self { $(BinaryFn::$variant => $name,)* }
            }

            /// One line that says what it computes.
            pub const fn doc(self) -> &'static str {
                match self { $(BinaryFn::$variant => $doc,)* }
            }

            const fn domain(self) -> Domain {
                match self { $(BinaryFn::$variant => Domain::$domain,)* }
            }

            /// The f32 variant, to call in loops; none where floats are not accepted.
            pub fn f32_fn(self) -> Option<fn(f32, f32) -> f32> {
                match self { $(BinaryFn::$variant => binary_fns!(@f32 $kind $(|$a, $b| $body)? $(=> $f)?),)* }
            }

            /// The f64 variant, to call in loops; none where floats are not accepted.
            pub fn f64_fn(self) -> Option<fn(f64, f64) -> f64> {
                match self { $(BinaryFn::$variant => binary_fns!(@f64 $kind $(|$a, $b| $body)? $(=> $f)?),)* }
            }
        }
    };
    // `exact`: one expression for both widths, each operation rounded once by IEEE 754.
    (@f32 exact |$a:ident, $b:ident| $body:expr) => { Some(|$a: f32, $b: f32| $body) };
    (@f64 exact |$a:ident, $b:ident| $body:expr) => { Some(|$a: f64, $b: f64| $body) };
    // `wide`: an f64 function; f32 goes through it and is rounded once.
    (@f32 wide => $f:expr) => { Some(|a: f32, b: f32| { let f: fn(f64, f64) -> f64 = $f; f(f64::from(a), f64::from(b)) as f32 }) };
    (@f64 wide => $f:expr) => { Some($f) };
    (@f32 bits) => { None };
    (@f64 bits) => { None };
}

binary_fns! {
    Add "add" Number "`a + b`" exact |a, b| a + b;
    Sub "sub" Number "`a - b`" exact |a, b| a - b;
    Mul "mul" Number "`a * b`" exact |a, b| a * b;
    Div "div" Number "`a / b`; integers round towards zero" exact |a, b| a / b;
    FloorDiv "floor_div" Number "`floor(a / b)`" exact |a, b| (a / b).floor();
    Mod "mod" Number "remainder of floor division: zero or of the sign of b" exact |a, b| {
        let r = a % b;
        if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
    };
    Pow "pow" Number "`a^b`; integer exponents are not negative" wide => libm::pow;
    Min "min" Number "the smaller; NaN if either is NaN; -0 is below +0" exact |a, b| {
        if a < b || (a == b && a.is_sign_negative()) || a.is_nan() { a } else { b }
    };
    Max "max" Number "the larger; NaN if either is NaN; -0 is below +0" exact |a, b| {
        if a > b || (a == b && a.is_sign_positive()) || a.is_nan() { a } else { b }
    };
    Atan2 "atan2" Float "angle of the point (x = b, y = a), radians" wide => libm::atan2;
    And "and" Bits "logical and of bools, bitwise and of integers" bits;
    Or "or" Bits "logical or of bools, bitwise or of integers" bits;
    Xor "xor" Bits "exclusive or of bools, bitwise of integers" bits;
}

function_names!(BinaryFn);

impl BinaryFn {
    /// Whether the function is defined on a dtype.
    pub const fn accepts(self, dtype: DType) -> bool {
        self.domain().accepts(dtype)
    }

    /// Of two f32.
    ///
    /// # Errors
    /// If the function is not defined on floats.
    pub fn eval_f32(self, a: f32, b: f32) -> Result<f32, ScalarError> {
        let f = self.f32_fn().ok_or(self.not_defined("floats"))?;
        Ok(f(a, b))
    }

    /// Of two f64.
    ///
    /// # Errors
    /// If the function is not defined on floats.
    pub fn eval_f64(self, a: f64, b: f64) -> Result<f64, ScalarError> {
        let f = self.f64_fn().ok_or(self.not_defined("floats"))?;
        Ok(f(a, b))
    }

    /// Of two signed integers, wrapping.
    ///
    /// # Errors
    /// Division by zero, a negative exponent, or a function that is not defined on integers.
    pub fn eval_i64(self, a: i64, b: i64) -> Result<i64, ScalarError> {
        let divides = matches!(self, BinaryFn::Div | BinaryFn::FloorDiv | BinaryFn::Mod);
        if divides && b == 0 {
            return Err(self.by_zero());
        }
        Ok(match self {
            BinaryFn::Add => a.wrapping_add(b),
            BinaryFn::Sub => a.wrapping_sub(b),
            BinaryFn::Mul => a.wrapping_mul(b),
            BinaryFn::Div => a.wrapping_div(b),
            BinaryFn::FloorDiv => {
                let inexact = a.wrapping_rem(b) != 0;
                a.wrapping_div(b) - i64::from(inexact && (a < 0) != (b < 0))
            }
            BinaryFn::Mod => {
                let r = a.wrapping_rem(b);
                if r != 0 && (r < 0) != (b < 0) {
                    r + b
                } else {
                    r
                }
            }
            BinaryFn::Pow => {
                let exponent =
                    u64::try_from(b).map_err(|_| ScalarError::NegativeExponent { exponent: b })?;
                wrapping_pow(a as u64, exponent) as i64
            }
            BinaryFn::Min => a.min(b),
            BinaryFn::Max => a.max(b),
            BinaryFn::And => a & b,
            BinaryFn::Or => a | b,
            BinaryFn::Xor => a ^ b,
            BinaryFn::Atan2 => return Err(self.not_defined("integers")),
        })
    }

    /// Of two unsigned integers, wrapping.
    ///
    /// # Errors
    /// Division by zero, or a function that is not defined on integers.
    pub fn eval_u64(self, a: u64, b: u64) -> Result<u64, ScalarError> {
        let divides = matches!(self, BinaryFn::Div | BinaryFn::FloorDiv | BinaryFn::Mod);
        if divides && b == 0 {
            return Err(self.by_zero());
        }
        Ok(match self {
            BinaryFn::Add => a.wrapping_add(b),
            BinaryFn::Sub => a.wrapping_sub(b),
            BinaryFn::Mul => a.wrapping_mul(b),
            BinaryFn::Div | BinaryFn::FloorDiv => a / b,
            BinaryFn::Mod => a % b,
            BinaryFn::Pow => wrapping_pow(a, b),
            BinaryFn::Min => a.min(b),
            BinaryFn::Max => a.max(b),
            BinaryFn::And => a & b,
            BinaryFn::Or => a | b,
            BinaryFn::Xor => a ^ b,
            BinaryFn::Atan2 => return Err(self.not_defined("unsigned integers")),
        })
    }

    /// Of two bools.
    ///
    /// # Errors
    /// If the function is not `and`, `or` or `xor`.
    pub fn eval_bool(self, a: bool, b: bool) -> Result<bool, ScalarError> {
        match self {
            BinaryFn::And => Ok(a & b),
            BinaryFn::Or => Ok(a | b),
            BinaryFn::Xor => Ok(a ^ b),
            _ => Err(self.not_defined("bools")),
        }
    }

    const fn by_zero(self) -> ScalarError {
        ScalarError::DivisionByZero {
            function: self.name(),
        }
    }

    const fn not_defined(self, kind: &'static str) -> ScalarError {
        ScalarError::NotDefined {
            function: self.name(),
            kind,
        }
    }
}

/// By squaring, modulo 2^64: right for signed numbers too.
fn wrapping_pow(mut base: u64, mut exponent: u64) -> u64 {
    let mut power = 1u64;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_divide_like_python_but_for_div() {
        for (a, b, div, floor, rest) in [
            (7, 2, 3, 3, 1),
            (-7, 2, -3, -4, 1),
            (7, -2, -3, -4, -1),
            (-7, -2, 3, 3, -1),
            (6, 3, 2, 2, 0),
        ] {
            assert_eq!(BinaryFn::Div.eval_i64(a, b), Ok(div));
            assert_eq!(BinaryFn::FloorDiv.eval_i64(a, b), Ok(floor));
            assert_eq!(BinaryFn::Mod.eval_i64(a, b), Ok(rest));
            let (a, b) = (a as f64, b as f64);
            assert_eq!(BinaryFn::FloorDiv.eval_f64(a, b), Ok(floor as f64));
            assert_eq!(BinaryFn::Mod.eval_f32(a as f32, b as f32), Ok(rest as f32));
        }
        assert_eq!(BinaryFn::Div.eval_i64(i64::MIN, -1), Ok(i64::MIN));
        assert_eq!(BinaryFn::FloorDiv.eval_i64(i64::MIN, -1), Ok(i64::MIN));
        assert_eq!(BinaryFn::Mod.eval_i64(i64::MIN, -1), Ok(0));
        assert_eq!(BinaryFn::Mod.eval_u64(7, 4), Ok(3));
    }

    #[test]
    fn division_by_zero_is_an_error_for_integers_only() {
        for f in [BinaryFn::Div, BinaryFn::FloorDiv, BinaryFn::Mod] {
            let error = ScalarError::DivisionByZero { function: f.name() };
            assert_eq!(f.eval_i64(1, 0), Err(error.clone()));
            assert_eq!(f.eval_u64(1, 0), Err(error));
        }
        assert_eq!(BinaryFn::Div.eval_f32(1.0, 0.0), Ok(f32::INFINITY));
        assert!(BinaryFn::Mod.eval_f32(1.0, 0.0).unwrap().is_nan());
    }

    #[test]
    fn powers() {
        assert_eq!(BinaryFn::Pow.eval_i64(-3, 5), Ok(-243));
        assert_eq!(BinaryFn::Pow.eval_i64(0, 0), Ok(1));
        assert_eq!(BinaryFn::Pow.eval_i64(3, 41), Ok(3i64.wrapping_pow(41)));
        assert_eq!(BinaryFn::Pow.eval_i64(-1, i64::MAX), Ok(-1));
        assert_eq!(BinaryFn::Pow.eval_u64(2, u64::MAX), Ok(0));
        assert_eq!(
            BinaryFn::Pow.eval_i64(2, -1),
            Err(ScalarError::NegativeExponent { exponent: -1 })
        );
        assert_eq!(BinaryFn::Pow.eval_f32(2.0, -1.0), Ok(0.5));
        assert_eq!(
            BinaryFn::Pow.eval_f64(2.0, 0.5),
            Ok(std::f64::consts::SQRT_2)
        );
    }

    #[test]
    fn extrema_do_not_depend_on_the_order() {
        let values = [
            f32::NEG_INFINITY,
            -1.0,
            -0.0,
            0.0,
            1.0,
            f32::INFINITY,
            f32::NAN,
        ];
        for (i, a) in values.into_iter().enumerate() {
            for (j, b) in values.into_iter().enumerate() {
                let (low, high) = if a.is_nan() || b.is_nan() {
                    (f32::NAN, f32::NAN)
                } else {
                    (values[i.min(j)], values[i.max(j)])
                };
                let found = (
                    BinaryFn::Min.eval_f32(a, b).unwrap(),
                    BinaryFn::Max.eval_f32(a, b).unwrap(),
                );
                assert_eq!(
                    (found.0.to_bits(), found.1.to_bits()),
                    (low.to_bits(), high.to_bits()),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn bits_and_angles() {
        assert_eq!(
            [BinaryFn::And, BinaryFn::Or, BinaryFn::Xor].map(|f| f.eval_u64(12, 10)),
            [Ok(8), Ok(14), Ok(6)]
        );
        assert_eq!(
            [BinaryFn::And, BinaryFn::Or, BinaryFn::Xor].map(|f| f.eval_bool(true, true)),
            [Ok(true), Ok(true), Ok(false)]
        );
        assert_eq!(
            BinaryFn::Atan2.eval_f64(1.0, -1.0),
            Ok(3.0 * std::f64::consts::FRAC_PI_4)
        );
        let error = BinaryFn::Atan2.eval_i64(1, 1).unwrap_err();
        assert_eq!(error.to_string(), "`atan2` is not defined on integers");
        assert_eq!(BinaryFn::Add.eval_i64(i64::MAX, 1), Ok(i64::MIN));
        assert_eq!(BinaryFn::Sub.eval_u64(0, 1).map(|x| x as u8), Ok(255));
    }
}
