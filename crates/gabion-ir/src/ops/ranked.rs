//! The order of numbers that `argmax`, `argmin` and `top_k` use.

use std::cmp::Ordering;

/// An order of all numbers: -0 equals +0, NaN is above everything and equals NaN.
pub(crate) trait Ranked: Copy {
    /// Where it stands.
    fn rank(self, other: Self) -> Ordering;

    /// Whether it is NaN.
    fn is_nan(self) -> bool {
        false
    }
}

macro_rules! ranked_floats {
    ($($float:ty),*) => { $(impl Ranked for $float {
        fn rank(self, other: Self) -> Ordering {
            self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
        }
        fn is_nan(self) -> bool {
            <$float>::is_nan(self)
        }
    })* };
}

macro_rules! ranked_integers {
    ($($int:ty),*) => { $(impl Ranked for $int {
        fn rank(self, other: Self) -> Ordering {
            self.cmp(&other)
        }
    })* };
}

ranked_floats!(f32, f64);
ranked_integers!(i64, u64, bool);
