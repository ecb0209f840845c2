//! Maths on values under construction: `+ - * / %`, `& | ^ !`, and a method for every function of
//! the tables. A number beside a value takes the value's dtype, if that dtype can hold it.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Sub};

use gabion_tensor::{BinaryFn, CompareFn, DType, HostTensor, UnaryFn};

use crate::builder::TensorValue;
use crate::ops::{Binary, Compare, Constant, Unary};

/// What may stand beside a value: another value, or a number that takes the value's dtype.
///
/// A float beside integers and a number that the dtype cannot hold are wrong calls. A fraction is
/// rounded to the float dtype.
pub trait Operand<'g>: Copy {
    /// The operand as a value; `like` gives a number its dtype.
    #[track_caller]
    fn operand(self, like: TensorValue<'g>) -> TensorValue<'g>;

    /// The value, if it is one.
    fn value(self) -> Option<TensorValue<'g>> {
        None
    }
}

impl<'g> Operand<'g> for TensorValue<'g> {
    fn operand(self, _: TensorValue<'g>) -> TensorValue<'g> {
        self
    }

    fn value(self) -> Option<TensorValue<'g>> {
        Some(self)
    }
}

impl<'g> Operand<'g> for f64 {
    #[track_caller]
    fn operand(self, like: TensorValue<'g>) -> TensorValue<'g> {
        let dtype = like.dtype();
        if like.is_poisoned() {
            like
        } else if dtype.is_float() {
            like.builder().scalar(dtype, self)
        } else {
            let message = format!(
                "the float {self:?} beside {dtype} values: write an integer, or `cast` the values"
            );
            like.builder().poison("scalar", message)
        }
    }
}

/// The largest magnitude up to which a float dtype holds every integer.
pub(crate) fn exact_up_to(dtype: DType) -> u64 {
    match dtype {
        DType::BF16 => 1 << 8,
        DType::F16 => 1 << 11,
        DType::F32 => 1 << 24,
        _ => 1 << 53,
    }
}

/// The integer as a scalar of `dtype`; none if that loses something.
fn exact(value: i64, dtype: DType) -> Option<HostTensor> {
    if dtype.is_block()
        || dtype.is_bool()
        || (dtype.is_float() && value.unsigned_abs() > exact_up_to(dtype))
    {
        return None;
    }
    if dtype.is_unsigned_int() && value < 0 {
        return None;
    }
    let tensor = HostTensor::scalar(value).cast(dtype).ok()?;
    (tensor.to_i64_vec().ok()? == [value]).then_some(tensor)
}

impl<'g> Operand<'g> for i64 {
    #[track_caller]
    fn operand(self, like: TensorValue<'g>) -> TensorValue<'g> {
        if like.is_poisoned() {
            return like;
        }
        match exact(self, like.dtype()) {
            Some(tensor) => like.builder().apply1(Constant::new(tensor), &[]),
            None => {
                let message = format!("{} values cannot hold {self}", like.dtype());
                like.builder().poison("scalar", message)
            }
        }
    }
}

#[track_caller]
fn binary<'g>(
    func: BinaryFn,
    a: impl Operand<'g>,
    b: impl Operand<'g>,
    like: TensorValue<'g>,
) -> TensorValue<'g> {
    like.builder()
        .apply1(Binary { func }, &[a.operand(like), b.operand(like)])
}

macro_rules! binary_operators {
    ($($trait:ident $method:ident $func:ident;)*) => { $(
        impl<'g, T: Operand<'g>> $trait<T> for TensorValue<'g> {
            type Output = TensorValue<'g>;
            #[track_caller]
            fn $method(self, other: T) -> TensorValue<'g> {
                binary(BinaryFn::$func, self, other, self)
            }
        }
        binary_operators!(@number f64 $trait $method $func);
        binary_operators!(@number i64 $trait $method $func);
    )* };
    (@number $number:ident $trait:ident $method:ident $func:ident) => {
        impl<'g> $trait<TensorValue<'g>> for $number {
            type Output = TensorValue<'g>;
            #[track_caller]
            fn $method(self, other: TensorValue<'g>) -> TensorValue<'g> {
                binary(BinaryFn::$func, self, other, other)
            }
        }
    };
}

binary_operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
    Rem rem Mod;
}

macro_rules! bit_operators {
    ($($trait:ident $method:ident $func:ident;)*) => { $(
        impl<'g, T: Operand<'g>> $trait<T> for TensorValue<'g> {
            type Output = TensorValue<'g>;
            #[track_caller]
            fn $method(self, other: T) -> TensorValue<'g> {
                binary(BinaryFn::$func, self, other, self)
            }
        }
    )* };
}

bit_operators! {
    BitAnd bitand And;
    BitOr bitor Or;
    BitXor bitxor Xor;
}

impl<'g> Neg for TensorValue<'g> {
    type Output = TensorValue<'g>;
    #[track_caller]
    fn neg(self) -> TensorValue<'g> {
        self.unary(UnaryFn::Neg)
    }
}

impl<'g> Not for TensorValue<'g> {
    type Output = TensorValue<'g>;
    #[track_caller]
    fn not(self) -> TensorValue<'g> {
        self.unary(UnaryFn::Not)
    }
}

macro_rules! methods {
    (unary: $($unary:ident $unary_fn:ident),*; binary: $($binary:ident $binary_fn:ident),*; compare: $($compare:ident $compare_fn:ident),*;) => {
        impl<'g> TensorValue<'g> {
            /// Any function of one operand.
            #[track_caller]
            pub fn unary(self, func: UnaryFn) -> TensorValue<'g> {
                self.builder().apply1(Unary { func }, &[self])
            }

            /// Any function of two operands.
            #[track_caller]
            pub fn binary(self, func: BinaryFn, other: impl Operand<'g>) -> TensorValue<'g> {
                binary(func, self, other, self)
            }

            /// Any comparison; gives bool.
            #[track_caller]
            pub fn compare(self, func: CompareFn, other: impl Operand<'g>) -> TensorValue<'g> {
                self.builder().apply1(Compare { func }, &[self, other.operand(self)])
            }

            $(
                #[doc = concat!("See [`UnaryFn::", stringify!($unary_fn), "`].")]
                #[track_caller]
                pub fn $unary(self) -> TensorValue<'g> {
                    self.unary(UnaryFn::$unary_fn)
                }
            )*
            $(
                #[doc = concat!("See [`BinaryFn::", stringify!($binary_fn), "`].")]
                #[track_caller]
                pub fn $binary(self, other: impl Operand<'g>) -> TensorValue<'g> {
                    self.binary(BinaryFn::$binary_fn, other)
                }
            )*
            $(
                #[doc = concat!("See [`CompareFn::", stringify!($compare_fn), "`].")]
                #[track_caller]
                pub fn $compare(self, other: impl Operand<'g>) -> TensorValue<'g> {
                    self.compare(CompareFn::$compare_fn, other)
                }
            )*
        }
    };
}

methods! {
    unary:
        abs Abs, sign Sign, square Square, exp Exp, expm1 Expm1, log Log, log1p Log1p, log2 Log2, sqrt Sqrt,
        rsqrt Rsqrt, recip Recip, sin Sin, cos Cos, tan Tan, tanh Tanh, asin Asin, acos Acos, atan Atan,
        atanh Atanh, sinh Sinh, cosh Cosh, erf Erf, round Round, floor Floor, ceil Ceil, trunc Trunc,
        relu Relu, sigmoid Sigmoid, silu Silu, gelu GeluErf, gelu_tanh GeluTanh, gelu_quick GeluQuick,
        softplus Softplus, is_nan IsNan, is_inf IsInf, is_finite IsFinite;
    binary:
        floor_div FloorDiv, pow Pow, minimum Min, maximum Max, atan2 Atan2;
    compare:
        eq Eq, ne Ne, lt Lt, le Le, gt Gt, ge Ge;
}
