//! Functions of one number.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::{Domain, ScalarError, function_names};
use crate::dtype::DType;

macro_rules! unary_fns {
    ($($variant:ident $name:literal $domain:ident $doc:literal $kind:ident $(|$x:ident| $body:expr)? $(=> $f:expr)?;)*) => {
        /// A function of one number. Names in the text form are snake case: `gelu_erf`.
        ///
        /// ```
        /// use gabion_tensor::UnaryFn;
        /// assert_eq!(UnaryFn::Round.eval_f32(2.5), Ok(2.0));
        /// assert_eq!("gelu_erf".parse(), Ok(UnaryFn::GeluErf));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum UnaryFn {
            $(#[doc = $doc] $variant,)*
        }

        impl UnaryFn {
            /// All functions, in declaration order.
            pub const ALL: &'static [UnaryFn] = &[$(UnaryFn::$variant),*];

            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self { $(UnaryFn::$variant => $name,)* }
            }

            /// One line that says what it computes.
            pub const fn doc(self) -> &'static str {
                match self { $(UnaryFn::$variant => $doc,)* }
            }

            const fn domain(self) -> Domain {
                match self { $(UnaryFn::$variant => Domain::$domain,)* }
            }

            /// The f32 variant, to call in loops; none where floats are not accepted.
            pub fn f32_fn(self) -> Option<fn(f32) -> f32> {
                match self { $(UnaryFn::$variant => unary_fns!(@f32 $kind $(|$x| $body)? $(=> $f)?),)* }
            }

            /// The f64 variant, to call in loops; none where floats are not accepted.
            pub fn f64_fn(self) -> Option<fn(f64) -> f64> {
                match self { $(UnaryFn::$variant => unary_fns!(@f64 $kind $(|$x| $body)? $(=> $f)?),)* }
            }
        }
    };
    // `exact`: one expression for both widths, rounded once by IEEE 754.
    (@f32 exact |$x:ident| $body:expr) => { Some(|$x: f32| $body) };
    (@f64 exact |$x:ident| $body:expr) => { Some(|$x: f64| $body) };
    // `test`: 1 where the predicate holds, else 0.
    (@f32 test |$x:ident| $body:expr) => { Some(|$x: f32| f32::from(u8::from($body))) };
    (@f64 test |$x:ident| $body:expr) => { Some(|$x: f64| f64::from(u8::from($body))) };
    // `wide`: an f64 function; f32 goes through it and is rounded once.
    (@f32 wide => $f:expr) => { Some(|x: f32| { let f: fn(f64) -> f64 = $f; f(f64::from(x)) as f32 }) };
    (@f64 wide => $f:expr) => { Some($f) };
    (@f32 bits) => { None };
    (@f64 bits) => { None };
}

unary_fns! {
    Neg "neg" Signed "`-x`" exact |x| -x;
    Abs "abs" Number "`|x|`" exact |x| x.abs();
    Sign "sign" Number "-1, 0 or 1; zeros and NaN are returned as they are" exact |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
    Square "square" Number "`x * x`" exact |x| x * x;
    Exp "exp" Float "`e^x`" wide => libm::exp;
    Expm1 "expm1" Float "`e^x - 1`, accurate near 0" wide => libm::expm1;
    Log "log" Float "natural logarithm" wide => libm::log;
    Log1p "log1p" Float "`log(1 + x)`, accurate near 0" wide => libm::log1p;
    Log2 "log2" Float "logarithm to base 2" wide => libm::log2;
    Sqrt "sqrt" Float "square root; NaN below 0" exact |x| x.sqrt();
    Rsqrt "rsqrt" Float "`1 / sqrt(x)`" wide => |x| 1.0 / x.sqrt();
    Recip "recip" Float "`1 / x`" exact |x| 1.0 / x;
    Sin "sin" Float "sine, radians" wide => libm::sin;
    Cos "cos" Float "cosine, radians" wide => libm::cos;
    Tan "tan" Float "tangent, radians" wide => libm::tan;
    Tanh "tanh" Float "hyperbolic tangent" wide => libm::tanh;
    Asin "asin" Float "arc sine, radians" wide => libm::asin;
    Acos "acos" Float "arc cosine, radians" wide => libm::acos;
    Atan "atan" Float "arc tangent, radians" wide => libm::atan;
    Atanh "atanh" Float "inverse hyperbolic tangent" wide => libm::atanh;
    Sinh "sinh" Float "hyperbolic sine" wide => libm::sinh;
    Cosh "cosh" Float "hyperbolic cosine" wide => libm::cosh;
    Erf "erf" Float "error function" wide => libm::erf;
    Round "round" Float "nearest integer, ties to even" exact |x| x.round_ties_even();
    Floor "floor" Float "largest integer not above x" exact |x| x.floor();
    Ceil "ceil" Float "smallest integer not below x" exact |x| x.ceil();
    Trunc "trunc" Float "integer part, towards zero" exact |x| x.trunc();
    Relu "relu" Number "`x < 0 ? 0 : x`; NaN stays" exact |x| if x < 0.0 { 0.0 } else { x };
    Sigmoid "sigmoid" Float "`1 / (1 + e^-x)`" wide => sigmoid;
    Silu "silu" Float "`x * sigmoid(x)`" wide => |x| x * sigmoid(x);
    GeluErf "gelu_erf" Float "`x * (1 + erf(x / sqrt(2))) / 2`" wide => gelu_erf;
    GeluTanh "gelu_tanh" Float "`x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2`" wide => gelu_tanh;
    GeluQuick "gelu_quick" Float "`x * sigmoid(1.702 x)`" wide => |x| x * sigmoid(1.702 * x);
    Softplus "softplus" Float "`log(1 + e^x)`" wide => softplus;
    Not "not" Bits "logical not of a bool, bitwise not of an integer" bits;
    IsNan "is_nan" Float "whether x is not a number; gives bool" test |x| x.is_nan();
    IsInf "is_inf" Float "whether x is infinite; gives bool" test |x| x.is_infinite();
    IsFinite "is_finite" Float "whether x is neither infinite nor NaN; gives bool" test |x| x.is_finite();
}

function_names!(UnaryFn);

impl UnaryFn {
    /// Whether the function is defined on a dtype.
    pub const fn accepts(self, dtype: DType) -> bool {
        self.domain().accepts(dtype)
    }

    /// The dtype of the result: bool for `is_nan`, `is_inf` and `is_finite`, else the operand's.
    pub const fn result_dtype(self, operand: DType) -> DType {
        if self.is_test() { DType::Bool } else { operand }
    }

    /// Whether the result is a truth value whatever the operand's dtype.
    pub const fn is_test(self) -> bool {
        matches!(self, UnaryFn::IsNan | UnaryFn::IsInf | UnaryFn::IsFinite)
    }

    /// Of an f32. Tests give 1 or 0.
    ///
    /// # Errors
    /// If the function is not defined on floats.
    pub fn eval_f32(self, x: f32) -> Result<f32, ScalarError> {
        let f = self.f32_fn().ok_or(self.not_defined("floats"))?;
        Ok(f(x))
    }

    /// Of an f64. Tests give 1 or 0.
    ///
    /// # Errors
    /// If the function is not defined on floats.
    pub fn eval_f64(self, x: f64) -> Result<f64, ScalarError> {
        let f = self.f64_fn().ok_or(self.not_defined("floats"))?;
        Ok(f(x))
    }

    /// Of a signed integer, wrapping.
    ///
    /// # Errors
    /// If the function is not defined on signed integers.
    pub fn eval_i64(self, x: i64) -> Result<i64, ScalarError> {
        match self {
            UnaryFn::Neg => Ok(x.wrapping_neg()),
            UnaryFn::Abs => Ok(x.wrapping_abs()),
            UnaryFn::Sign => Ok(x.signum()),
            UnaryFn::Square => Ok(x.wrapping_mul(x)),
            UnaryFn::Relu => Ok(x.max(0)),
            UnaryFn::Not => Ok(!x),
            _ => Err(self.not_defined("integers")),
        }
    }

    /// Of an unsigned integer, wrapping.
    ///
    /// # Errors
    /// If the function is not defined on unsigned integers.
    pub fn eval_u64(self, x: u64) -> Result<u64, ScalarError> {
        match self {
            UnaryFn::Abs | UnaryFn::Relu => Ok(x),
            UnaryFn::Sign => Ok(x.min(1)),
            UnaryFn::Square => Ok(x.wrapping_mul(x)),
            UnaryFn::Not => Ok(!x),
            _ => Err(self.not_defined("unsigned integers")),
        }
    }

    /// Of a bool.
    ///
    /// # Errors
    /// If the function is not `not`.
    pub fn eval_bool(self, x: bool) -> Result<bool, ScalarError> {
        match self {
            UnaryFn::Not => Ok(!x),
            _ => Err(self.not_defined("bools")),
        }
    }

    const fn not_defined(self, kind: &'static str) -> ScalarError {
        ScalarError::NotDefined {
            function: self.name(),
            kind,
        }
    }
}

/// Without overflow on either side: the exponential is of a number not above 0.
fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 {
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + e)
    }
}

fn gelu_erf(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2)
}

fn gelu_tanh(x: f64) -> f64 {
    // 1 + tanh(u) = 2 sigmoid(2u), which keeps its digits where tanh is near -1.
    let u = (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x);
    x * sigmoid(2.0 * u)
}

fn softplus(x: f64) -> f64 {
    let positive = if x > 0.0 { x } else { 0.0 };
    positive + libm::log1p(libm::exp(-x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::f16;

    fn f(function: UnaryFn, x: f64) -> f64 {
        function.eval_f64(x).unwrap()
    }

    /// Values to 17 digits, from tables of the functions.
    #[test]
    fn known_values() {
        for (function, x, y) in [
            (UnaryFn::Erf, 0.5, 0.520_499_877_813_046_5),
            (UnaryFn::GeluErf, 1.0, 0.841_344_746_068_542_9),
            (UnaryFn::GeluErf, -3.0, -0.004_049_694_094_890_28),
            (UnaryFn::GeluTanh, 1.0, 0.841_191_990_608_276_8),
            (UnaryFn::GeluTanh, -3.0, -0.003_637_392_081_773),
            (UnaryFn::GeluQuick, 1.0, 0.845_795_765_932_821_2),
            (UnaryFn::Sigmoid, 1.0, 0.731_058_578_630_004_9),
            (UnaryFn::Silu, -1.0, -0.268_941_421_369_995_1),
            (UnaryFn::Softplus, 0.0, std::f64::consts::LN_2),
            (UnaryFn::Softplus, 50.0, 50.0),
            (UnaryFn::Rsqrt, 16.0, 0.25),
            (UnaryFn::Log2, 8.0, 3.0),
            (UnaryFn::Atanh, 0.5, 0.549_306_144_334_054_9),
            (UnaryFn::Expm1, 1e-10, 1.000_000_000_05e-10),
        ] {
            let found = f(function, x);
            assert!(
                (found - y).abs() <= 1e-12 * y.abs(),
                "{function}({x}) is {found}, expected {y}"
            );
        }
    }

    #[test]
    fn activations_keep_their_digits_and_limits() {
        // x * Phi(x) at -10: the product with 1 + erf would have lost all digits.
        assert!((f(UnaryFn::GeluErf, -10.0) / -7.619_853_024_160_527e-23 - 1.0).abs() < 1e-12);
        assert_eq!(f(UnaryFn::Sigmoid, -1e4), 0.0);
        assert_eq!(f(UnaryFn::Sigmoid, 1e4), 1.0);
        assert_eq!(
            UnaryFn::Silu.eval_f32(-200.0),
            Ok(-2.767_793_1e-85_f64 as f32)
        );
        assert_eq!(f(UnaryFn::Softplus, f64::INFINITY), f64::INFINITY);
        assert_eq!(f(UnaryFn::Softplus, f64::NEG_INFINITY), 0.0);
        for function in UnaryFn::ALL
            .iter()
            .filter(|f| f.f64_fn().is_some() && !f.is_test())
        {
            assert!(f(*function, f64::NAN).is_nan(), "{function}");
        }
    }

    #[test]
    fn rounding_goes_to_even() {
        for (x, y) in [
            (0.5, 0.0),
            (1.5, 2.0),
            (2.5, 2.0),
            (-0.5, -0.0),
            (-1.5, -2.0),
            (2.4999, 2.0),
            (1e20, 1e20),
        ] {
            assert_eq!(f(UnaryFn::Round, x).to_bits(), f64::to_bits(y), "{x}");
        }
        assert_eq!(
            [UnaryFn::Floor, UnaryFn::Ceil, UnaryFn::Trunc].map(|g| f(g, -1.5)),
            [-2.0, -1.0, -1.0]
        );
    }

    #[test]
    fn signs_and_tests() {
        assert_eq!(
            [-3.0, -0.0, 0.0, 5.0].map(|x| f(UnaryFn::Sign, x)),
            [-1.0, -0.0, 0.0, 1.0]
        );
        assert_eq!(
            [-3.0, f64::INFINITY].map(|x| f(UnaryFn::Relu, x)),
            [0.0, f64::INFINITY]
        );
        let tests = [UnaryFn::IsNan, UnaryFn::IsInf, UnaryFn::IsFinite];
        assert_eq!(tests.map(|t| f(t, f64::NAN)), [1.0, 0.0, 0.0]);
        assert_eq!(tests.map(|t| f(t, f64::NEG_INFINITY)), [0.0, 1.0, 0.0]);
        assert_eq!(tests.map(|t| t.eval_f32(1.0)), [Ok(0.0), Ok(0.0), Ok(1.0)]);
        assert_eq!(UnaryFn::IsNan.result_dtype(DType::F16), DType::Bool);
        assert_eq!(UnaryFn::Exp.result_dtype(DType::F16), DType::F16);
    }

    #[test]
    fn integers_wrap() {
        assert_eq!(UnaryFn::Neg.eval_i64(i64::MIN), Ok(i64::MIN));
        assert_eq!(UnaryFn::Abs.eval_i64(-128).map(|x| x as i8), Ok(-128));
        assert_eq!(UnaryFn::Square.eval_i64(1 << 40), Ok(0));
        assert_eq!(UnaryFn::Not.eval_u64(0).map(|x| x as u8), Ok(255));
        assert_eq!(UnaryFn::Sign.eval_i64(-9), Ok(-1));
        assert_eq!(UnaryFn::Not.eval_bool(true), Ok(false));
        let error = UnaryFn::Exp.eval_i64(1).unwrap_err();
        assert_eq!(error.to_string(), "`exp` is not defined on integers");
    }

    /// Every f16 through every function: f32 results are those of f64, rounded, or IEEE operations, which agree with that.
    #[test]
    fn f32_is_f64_rounded_once() {
        for function in UnaryFn::ALL {
            let (Some(narrow), Some(wide)) = (function.f32_fn(), function.f64_fn()) else {
                continue;
            };
            for bits in 0..=u16::MAX {
                let x = f16::from_bits(bits).to_f32();
                let (found, expected) = (narrow(x), wide(x.into()) as f32);
                assert!(
                    found == expected || found.is_nan() && expected.is_nan(),
                    "{function}({x:e}): {found:e}, {expected:e}"
                );
            }
        }
    }
}
