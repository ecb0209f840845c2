//! Comparisons of two numbers.

use super::{Domain, function_names};
use crate::dtype::DType;

macro_rules! compare_fns {
    ($($variant:ident $name:literal $domain:ident $doc:literal $op:tt;)*) => {
        /// A comparison of two numbers of one dtype; gives bool. With NaN, only `ne` holds.
        ///
        /// ```
        /// use gabion_tensor::CompareFn;
        /// assert!(CompareFn::Le.eval_f32(1.0, 2.0));
        /// assert!(!CompareFn::Eq.eval_f32(f32::NAN, f32::NAN));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CompareFn {
            $(#[doc = $doc] $variant,)*
        }

        impl CompareFn {
            /// All comparisons, in declaration order.
            pub const ALL: &'static [CompareFn] = &[$(CompareFn::$variant),*];

            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self { $(CompareFn::$variant => $name,)* }
            }

            /// One line that says what it computes.
            pub const fn doc(self) -> &'static str {
                match self { $(CompareFn::$variant => $doc,)* }
            }

            const fn domain(self) -> Domain {
                match self { $(CompareFn::$variant => Domain::$domain,)* }
            }

            /// Compares any ordered values.
            #[inline]
            pub fn eval<T: PartialOrd>(self, a: T, b: T) -> bool {
                match self { $(CompareFn::$variant => a $op b,)* }
            }
        }
    };
}

compare_fns! {
    Eq "eq" Any "`a == b`" ==;
    Ne "ne" Any "`a != b`" !=;
    Lt "lt" Number "`a < b`" <;
    Le "le" Number "`a <= b`" <=;
    Gt "gt" Number "`a > b`" >;
    Ge "ge" Number "`a >= b`" >=;
}

function_names!(CompareFn);

impl CompareFn {
    /// Whether the comparison is defined on a dtype.
    pub const fn accepts(self, dtype: DType) -> bool {
        self.domain().accepts(dtype)
    }

    /// Of two f32.
    pub fn eval_f32(self, a: f32, b: f32) -> bool {
        self.eval(a, b)
    }

    /// Of two f64.
    pub fn eval_f64(self, a: f64, b: f64) -> bool {
        self.eval(a, b)
    }

    /// Of two signed integers.
    pub fn eval_i64(self, a: i64, b: i64) -> bool {
        self.eval(a, b)
    }

    /// Of two unsigned integers.
    pub fn eval_u64(self, a: u64, b: u64) -> bool {
        self.eval(a, b)
    }

    /// Of two bools: false is below true.
    pub fn eval_bool(self, a: bool, b: bool) -> bool {
        self.eval(a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_of_numbers() {
        let of = |a: f64, b: f64| {
            [
                CompareFn::Eq,
                CompareFn::Ne,
                CompareFn::Lt,
                CompareFn::Le,
                CompareFn::Gt,
                CompareFn::Ge,
            ]
            .map(|f| f.eval_f64(a, b))
        };
        assert_eq!(of(1.0, 2.0), [false, true, true, true, false, false]);
        assert_eq!(of(2.0, 2.0), [true, false, false, true, false, true]);
        assert_eq!(of(-0.0, 0.0), of(2.0, 2.0));
        assert_eq!(of(f64::NAN, 2.0), [false, true, false, false, false, false]);
        assert!(CompareFn::Lt.eval_i64(-1, 1) && CompareFn::Gt.eval_u64(u64::MAX, 1));
        assert!(CompareFn::Ne.eval_bool(true, false));
    }
}
