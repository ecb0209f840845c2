//! Between which bounds a dim lies, from its form alone: symbols are at least 0.
//!
//! Each product is bounded by itself and the bounds are added up, so what one product knows about another is lost here;
//! `relations` knows more. Bounds are kept in 128 bits; one that would leave them is given up.

use super::{Atom, Dim, Monomial};
use crate::bindings::Symbol;

/// Bounds, both inclusive; `None` is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) low: Option<i128>,
    pub(crate) high: Option<i128>,
}

impl Interval {
    pub(crate) const ANY: Interval = Interval {
        low: None,
        high: None,
    };
    pub(crate) const SIZE: Interval = Interval {
        low: Some(0),
        high: None,
    };

    pub(crate) const fn exactly(value: i128) -> Self {
        Interval {
            low: Some(value),
            high: Some(value),
        }
    }

    fn is_at_least(self, bound: i128) -> bool {
        self.low.is_some_and(|low| low >= bound)
    }

    pub(crate) fn intersect(self, other: Interval) -> Interval {
        let pick = |a: Option<i128>, b: Option<i128>, f: fn(i128, i128) -> i128| match (a, b) {
            (Some(a), Some(b)) => Some(f(a, b)),
            (a, b) => a.or(b),
        };
        Interval {
            low: pick(self.low, other.low, i128::max),
            high: pick(self.high, other.high, i128::min),
        }
    }

    fn plus(self, other: Interval) -> Interval {
        let add = |a: Option<i128>, b: Option<i128>| a?.checked_add(b?);
        Interval {
            low: add(self.low, other.low),
            high: add(self.high, other.high),
        }
    }

    pub(crate) fn scaled(self, factor: i128) -> Interval {
        let scale = |bound: Option<i128>| bound?.checked_mul(factor);
        let (a, b) = (scale(self.low), scale(self.high));
        match factor {
            0 => Interval::exactly(0),
            1.. => Interval { low: a, high: b },
            _ => Interval { low: b, high: a },
        }
    }

    fn times(self, other: Interval) -> Interval {
        if self.is_at_least(0) && other.is_at_least(0) {
            let times = |a: Option<i128>, b: Option<i128>| a?.checked_mul(b?);
            return Interval {
                low: times(self.low, other.low),
                high: match (self.high, other.high) {
                    (Some(0), _) | (_, Some(0)) => Some(0),
                    (a, b) => times(a, b),
                },
            };
        }
        let corners = || {
            let (a, b) = (self.low?, self.high?);
            let (c, d) = (other.low?, other.high?);
            let products = [
                a.checked_mul(c)?,
                a.checked_mul(d)?,
                b.checked_mul(c)?,
                b.checked_mul(d)?,
            ];
            Some((
                products.iter().copied().min()?,
                products.iter().copied().max()?,
            ))
        };
        match corners() {
            Some((low, high)) => Interval {
                low: Some(low),
                high: Some(high),
            },
            None => Interval::ANY,
        }
    }

    /// Of `self // other`, for a positive divisor; a divisor that may be negative gives no bounds.
    fn floor_div(self, divisor: Interval) -> Interval {
        if !divisor.is_at_least(0) {
            return Interval::ANY;
        }
        // Zero has no quotient, so the divisor is at least 1.
        let smallest = divisor.low.unwrap_or(1).max(1);
        let far = |bound: i128| divisor.high.map(|high| bound.div_euclid(high.max(1)));
        // A bound moves towards zero (or -1) as the divisor grows, so the divisor that matters depends on the bound's sign.
        let low = self.low.map(|low| match low {
            0.. => far(low).unwrap_or(0),
            _ => low.div_euclid(smallest),
        });
        let high = self.high.map(|high| match high {
            0.. => high.div_euclid(smallest),
            _ => far(high).unwrap_or(-1),
        });
        Interval { low, high }
    }

    /// Of `self % other`, for a positive divisor.
    fn rem(self, divisor: Interval) -> Interval {
        if !divisor.is_at_least(0) {
            return Interval::ANY;
        }
        let below_divisor = divisor.high.map(|high| (high - 1).max(0));
        let own = if self.is_at_least(0) { self.high } else { None };
        Interval {
            low: Some(0),
            high: below_divisor,
        }
        .intersect(Interval {
            low: None,
            high: own,
        })
    }

    fn min(self, other: Interval) -> Interval {
        Interval {
            low: self.low.zip(other.low).map(|(a, b)| a.min(b)),
            high: match (self.high, other.high) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }

    fn max(self, other: Interval) -> Interval {
        Interval {
            low: match (self.low, other.low) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            },
            high: self.high.zip(other.high).map(|(a, b)| a.max(b)),
        }
    }
}

/// Bounds of single symbols.
pub(crate) type SymbolBounds<'a> = &'a dyn Fn(&Symbol) -> Interval;

impl Dim {
    /// The smallest and the largest value that the form of the expression allows, where it allows to tell: symbols are at least 0.
    ///
    /// ```
    /// use gabion_tensor::Dim;
    /// let dim: Dim = "tokens % 16 + 1".parse().unwrap();
    /// assert_eq!(dim.range(), (Some(1), Some(16)));
    /// ```
    pub fn range(&self) -> (Option<i64>, Option<i64>) {
        let interval = self.interval();
        let narrow = |bound: Option<i128>| bound.and_then(|b| i64::try_from(b).ok());
        (narrow(interval.low), narrow(interval.high))
    }

    pub(crate) fn interval(&self) -> Interval {
        self.interval_with(&|_| Interval::SIZE)
    }

    pub(crate) fn interval_with(&self, bounds: SymbolBounds<'_>) -> Interval {
        let Ok((terms, constant)) = self.parts() else {
            return Interval::ANY;
        };
        terms
            .iter()
            .fold(Interval::exactly(constant.into()), |sum, term| {
                let product = term.monomial.interval_with(bounds);
                sum.plus(product.scaled(term.coefficient.into()))
            })
    }
}

impl Monomial {
    pub(crate) fn interval_with(&self, bounds: SymbolBounds<'_>) -> Interval {
        let mut product = Interval::exactly(1);
        let mut atoms = self.atoms();
        while let Some((atom, rest)) = atoms.split_first() {
            let power = 1 + rest.iter().take_while(|other| *other == atom).count();
            let one = atom.interval_with(bounds);
            let mut all = (1..power).fold(one, |all, _| all.times(one));
            if power % 2 == 0 {
                all = all.intersect(Interval::SIZE);
            }
            product = product.times(all);
            atoms = &atoms[power..];
        }
        product
    }
}

impl Atom {
    fn interval_with(&self, bounds: SymbolBounds<'_>) -> Interval {
        let of = |dim: &Dim| dim.interval_with(bounds);
        match self {
            Atom::Symbol(symbol) => bounds(symbol),
            Atom::FloorDiv(pair) => of(&pair.0).floor_div(of(&pair.1)),
            Atom::Mod(pair) => of(&pair.0).rem(of(&pair.1)),
            Atom::Min(args) => args
                .iter()
                .map(of)
                .reduce(Interval::min)
                .unwrap_or(Interval::ANY),
            Atom::Max(args) => args
                .iter()
                .map(of)
                .reduce(Interval::max)
                .unwrap_or(Interval::ANY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn range(text: &str) -> (Option<i64>, Option<i64>) {
        text.parse::<Dim>().unwrap().range()
    }

    #[test]
    fn ranges_follow_the_form() {
        assert_eq!(range("7"), (Some(7), Some(7)));
        assert_eq!(range("x"), (Some(0), None));
        assert_eq!(range("3 - x"), (None, Some(3)));
        assert_eq!(range("2*x + 3*y + 1"), (Some(1), None));
        assert_eq!(range("x - y"), (None, None));
        assert_eq!(range("x % 16"), (Some(0), Some(15)));
        assert_eq!(range("x % y"), (Some(0), None));
        assert_eq!(range("5 - 2*(x % 4)"), (Some(-1), Some(5)));
        assert_eq!(range("ceil_div(x, 16)"), (Some(0), None));
        assert_eq!(range("100//(x + 7)"), (Some(0), Some(14)));
        assert_eq!(range("(x % 4 - 10)//(y % 3 + 2)"), (Some(-5), Some(-2)));
        assert_eq!(range("(x % 4 - 1)//(y % 3 + 2)"), (Some(-1), Some(1)));
        assert_eq!(range("min(x, 5)"), (Some(0), Some(5)));
        assert_eq!(range("max(x, 5)"), (Some(5), None));
        assert_eq!(range("(x % 3)*(y % 4 - 2)"), (Some(-4), Some(6)));
        assert_eq!(range("(x - y)*(x - y)"), (None, None));
        assert_eq!(range("9223372036854775807*x"), (Some(0), None));
    }
}
