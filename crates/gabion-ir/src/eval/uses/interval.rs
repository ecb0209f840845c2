//! Intervals of numbers, and what is asked of a value. Arithmetic is in i128, which holds the values of
//! every integer dtype, and saturates there.

use gabion_tensor::DType;

/// The numbers from `low` to `high`, both included; none if they cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) low: i128,
    pub(crate) high: i128,
}

impl Interval {
    pub(crate) const fn new(low: i128, high: i128) -> Self {
        Self { low, high }
    }

    /// The values of a dtype; of floats more than anybody asks for.
    pub(crate) fn of(dtype: DType) -> Self {
        let Some(bits) = dtype.size_bytes().map(|n| 8 * n as u32) else {
            return Self::new(-(1 << 100), 1 << 100);
        };
        match dtype {
            _ if dtype.is_bool() => Self::new(0, 1),
            _ if dtype.is_signed_int() => Self::new(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            _ if dtype.is_unsigned_int() => Self::new(0, (1 << bits) - 1),
            _ => Self::new(-(1 << 100), 1 << 100),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }

    /// The numbers in both.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self::new(self.low.max(other.low), self.high.min(other.high))
    }

    /// The smallest interval around both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }

    pub(crate) fn add(self, other: Self) -> Self {
        Self::new(
            self.low.saturating_add(other.low),
            self.high.saturating_add(other.high),
        )
    }

    pub(crate) fn neg(self) -> Self {
        Self::new(self.high.saturating_neg(), self.low.saturating_neg())
    }

    pub(crate) fn mul(self, other: Self) -> Self {
        let corners = [
            self.low.saturating_mul(other.low),
            self.low.saturating_mul(other.high),
            self.high.saturating_mul(other.low),
            self.high.saturating_mul(other.high),
        ];
        let point = |n| Self::new(n, n);
        corners[1..]
            .iter()
            .fold(point(corners[0]), |all, &n| all.join(point(n)))
    }

    /// The numbers whose sum with every number of `other` is in `self`; none if `other` is wider.
    pub(crate) fn less(self, other: Self) -> Self {
        Self::new(
            self.low.saturating_sub(other.low),
            self.high.saturating_sub(other.high),
        )
    }

    /// The numbers whose product with `factor` (not 0) is in `self`.
    pub(crate) fn divided(self, factor: i128) -> Self {
        if factor < 0 {
            return self.neg().divided(factor.saturating_neg());
        }
        let ceil = |n: i128| -(n.saturating_neg().div_euclid(factor));
        Self::new(ceil(self.low), self.high.div_euclid(factor))
    }

    /// The one number, if there is one.
    pub(crate) fn single(self) -> Option<i128> {
        (self.low == self.high).then_some(self.low)
    }
}

/// What the uses of a value ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where its elements lie.
    pub(crate) within: Interval,
    /// No element is 0.
    pub(crate) nonzero: bool,
}

impl Wanted {
    pub(crate) const fn within(within: Interval) -> Self {
        Self {
            within,
            nonzero: false,
        }
    }

    /// Nothing is asked.
    pub(crate) fn any(dtype: DType) -> Self {
        Self::within(Interval::of(dtype))
    }

    /// An index of an axis of this size.
    pub(crate) fn index(size: usize) -> Self {
        Self::within(Interval::new(0, size as i128 - 1))
    }

    /// Whatever lies in `known` is as asked.
    pub(crate) fn met_by(self, known: Interval) -> bool {
        let zero = known.contains(Interval::new(0, 0));
        self.within.contains(known) && !(self.nonzero && zero)
    }

    /// Both are asked.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            within: self.within.meet(other.within),
            nonzero: self.nonzero || other.nonzero,
        }
    }

    /// As an interval alone: where 0 is not wanted, the side of it that has room.
    pub(crate) fn interval(self) -> Interval {
        let within = self.within;
        if !self.nonzero || !within.contains(Interval::new(0, 0)) {
            within
        } else if within.high > 0 {
            Interval::new(1, within.high)
        } else {
            Interval::new(within.low, -1)
        }
    }

    /// No number is as asked.
    pub(crate) fn is_impossible(self) -> bool {
        self.interval().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtypes() {
        assert_eq!(Interval::of(DType::I8), Interval::new(-128, 127));
        assert_eq!(Interval::of(DType::U64), Interval::new(0, u64::MAX.into()));
        assert_eq!(Interval::of(DType::Bool), Interval::new(0, 1));
    }

    /// Against a count of all small cases.
    #[test]
    fn division_takes_every_number_whose_product_fits() {
        for (low, high, factor) in [(-7, 9, 2), (-7, 9, -2), (0, 15, 4), (3, 3, 2), (-9, -4, -3)] {
            let within = Interval::new(low, high);
            let fits: Vec<i128> = (-20..20)
                .filter(|x| within.contains(Interval::new(x * factor, x * factor)))
                .collect();
            let found = within.divided(factor);
            let all: Vec<i128> = (found.low..=found.high).collect();
            assert_eq!(all, fits, "{low}..={high} by {factor}");
        }
    }

    #[test]
    fn what_is_asked() {
        let divisor = Wanted {
            within: Interval::new(-4, 4),
            nonzero: true,
        };
        assert!(divisor.met_by(Interval::new(1, 4)) && !divisor.met_by(Interval::new(-1, 1)));
        assert_eq!(divisor.interval(), Interval::new(1, 4));
        assert!(divisor.and(Wanted::index(1)).is_impossible());
        assert!(Wanted::index(0).is_impossible() && !Wanted::index(1).is_impossible());
    }
}
