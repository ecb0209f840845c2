//! `+ - *` and negation, on dims and integers. They never panic: an overflow is carried in the result until [`Dim::check`] or
//! evaluation reports it. The `try_` methods report it at once.

use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::{Dim, DimError, Poison, Repr};

impl Dim {
    /// The value, or the error as a value.
    pub(crate) fn or_poison(result: Result<Dim, DimError>) -> Dim {
        result.unwrap_or_else(|error| {
            let poison = match error {
                DimError::TooComplex => Poison::TooComplex,
                DimError::Overflow
                | DimError::DivisionByZero { .. }
                | DimError::Unbound { .. }
                | DimError::Rebound { .. }
                | DimError::NegativeSize { .. }
                | DimError::BadSymbol { .. }
                | DimError::Text { .. } => Poison::Overflow,
            };
            Dim(Repr::Poison(poison))
        })
    }
}

// The right side is anything that is a dim, so the result's type is known even where a literal's is not yet. On the left, integers
// are `i64`, for the same reason.
macro_rules! binary_operator {
    ($trait:ident $method:ident $try_method:ident) => {
        impl<D: Into<Dim>> $trait<D> for &Dim {
            type Output = Dim;
            fn $method(self, other: D) -> Dim {
                Dim::or_poison(self.$try_method(&other.into()))
            }
        }
        impl<D: Into<Dim>> $trait<D> for Dim {
            type Output = Dim;
            fn $method(self, other: D) -> Dim {
                Dim::or_poison(self.$try_method(&other.into()))
            }
        }
        impl $trait<&Dim> for i64 {
            type Output = Dim;
            fn $method(self, other: &Dim) -> Dim {
                Dim::or_poison(Dim::fixed(self).$try_method(other))
            }
        }
        impl $trait<Dim> for i64 {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim {
                Dim::or_poison(Dim::fixed(self).$try_method(&other))
            }
        }
    };
}

binary_operator!(Add add try_add);
binary_operator!(Sub sub try_sub);
binary_operator!(Mul mul try_mul);

impl Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::or_poison(self.try_neg())
    }
}

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        -&self
    }
}

impl<D: Into<Dim>> AddAssign<D> for Dim {
    fn add_assign(&mut self, other: D) {
        *self = &*self + other.into();
    }
}

impl<D: Into<Dim>> SubAssign<D> for Dim {
    fn sub_assign(&mut self, other: D) {
        *self = &*self - other.into();
    }
}

impl<D: Into<Dim>> MulAssign<D> for Dim {
    fn mul_assign(&mut self, other: D) {
        *self = &*self * other.into();
    }
}

impl std::iter::Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ZERO, |a, b| a + b)
    }
}

impl<'a> std::iter::Sum<&'a Dim> for Dim {
    fn sum<I: Iterator<Item = &'a Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ZERO, |a, b| a + b)
    }
}

impl std::iter::Product for Dim {
    fn product<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ONE, |a, b| a * b)
    }
}

impl<'a> std::iter::Product<&'a Dim> for Dim {
    fn product<I: Iterator<Item = &'a Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ONE, |a, b| a * b)
    }
}
