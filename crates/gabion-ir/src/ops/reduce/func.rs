//! What a reduction computes: the words, the builder's methods and the folds.

use gabion_tensor::BinaryFn;

use crate::builder::TensorValue;

macro_rules! reduce_fns {
    ($($variant:ident $name:literal $method:ident $doc:literal;)*) => {
        /// What a [`Reduce`](crate::ops::Reduce) computes; the operator's word.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum ReduceFn {
            #[default]
            $(#[doc = $doc] $variant,)*
        }

        impl ReduceFn {
            /// All of them, in declaration order.
            pub const ALL: &'static [ReduceFn] = &[$(ReduceFn::$variant),*];

            /// The word in the text form.
            pub const fn name(self) -> &'static str {
                match self { $(ReduceFn::$variant => $name,)* }
            }
        }

        impl<'g> TensorValue<'g> {
            $(
                #[doc = concat!($doc, " The axes are dropped. See [`Reduce`](crate::ops::Reduce).")]
                #[track_caller]
                pub fn $method(self, axes: &[i64]) -> TensorValue<'g> {
                    self.reduce(ReduceFn::$variant, axes, false)
                }
            )*
        }
    };
}

reduce_fns! {
    Sum "reduce_sum" sum "The sum; of nothing, 0. Integers wrap.";
    Mean "reduce_mean" mean "The mean, of floats; of nothing, NaN.";
    Max "reduce_max" max "The largest; NaN if there is one. Of nothing: an error.";
    Min "reduce_min" min "The smallest; NaN if there is one. Of nothing: an error.";
    Prod "reduce_prod" prod "The product; of nothing, 1. Integers wrap.";
    Any "reduce_any" any "Whether one holds, of bools; of nothing, false.";
    All "reduce_all" all "Whether all hold, of bools; of nothing, true.";
}

/// The values at `kept + inner`, reduced for every kept position.
pub(super) fn fold<T: Copy>(
    kept: &[usize],
    inner: &[usize],
    values: &[T],
    f: impl Fn(&mut dyn Iterator<Item = T>) -> T,
) -> Vec<T> {
    kept.iter()
        .map(|k| f(&mut inner.iter().map(|i| values[k + i])))
        .collect()
}

/// Of wrapping integers of any width.
macro_rules! integers {
    ($func:expr, $values:expr) => {
        match $func {
            ReduceFn::Prod => $values.fold(1, |a, b| a.wrapping_mul(b)),
            ReduceFn::Max => $values.max().unwrap_or_default(),
            ReduceFn::Min => $values.min().unwrap_or_default(),
            ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Any | ReduceFn::All => {
                $values.fold(0, |a, b| a.wrapping_add(b))
            }
        }
    };
}

impl ReduceFn {
    /// Of floats, in f64.
    pub(super) fn of_floats(self, values: &mut dyn Iterator<Item = f64>) -> f64 {
        let extremum = |values: &mut dyn Iterator<Item = f64>, func: BinaryFn| {
            values
                .reduce(|a, b| func.eval_f64(a, b).unwrap_or(f64::NAN))
                .unwrap_or(f64::NAN)
        };
        match self {
            ReduceFn::Max => extremum(values, BinaryFn::Max),
            ReduceFn::Min => extremum(values, BinaryFn::Min),
            ReduceFn::Prod => values.fold(1.0, |a, b| a * b),
            ReduceFn::Mean => {
                let (sum, n) = values.fold((0.0, 0u64), |(sum, n), b| (sum + b, n + 1));
                sum / n as f64
            }
            ReduceFn::Sum | ReduceFn::Any | ReduceFn::All => values.fold(0.0, |a, b| a + b),
        }
    }
}
pub(super) use integers;
