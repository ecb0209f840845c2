//! Floor division, ceiling division and remainder, with what cancels cancelled.
//!
//! The canonical quotient by a fixed `n > 0`: terms that `n` divides are taken out, the constant is brought into `0..n`, common
//! factors go, and the first coefficient is positive (`-x // n` is `-ceil_div(x, n)`, and `ceil_div(x, n)` is `(x + n - 1) // n`).
//! By a symbolic divisor: exact multiples of the divisor are taken out, then common factors.

use std::sync::Arc;

use super::evaluate;
use super::polynomial::{Collector, gcd};
use super::{Atom, Dim, DimError, Interval, Monomial, Term};

impl Dim {
    /// `self // divisor`, rounded down.
    ///
    /// # Errors
    /// A divisor that is the integer 0, overflow, or too complex a result.
    pub fn floor_div(&self, divisor: &Dim) -> Result<Dim, DimError> {
        match divisor.as_fixed() {
            Some(0) => Err(self.by_zero("//")),
            Some(n) => self.floor_div_fixed(n),
            None => self.floor_div_symbolic(divisor),
        }
    }

    /// `self / divisor`, rounded up.
    ///
    /// # Errors
    /// As [`Dim::floor_div`].
    pub fn ceil_div(&self, divisor: &Dim) -> Result<Dim, DimError> {
        match divisor.as_fixed() {
            Some(0) => Err(self.by_zero("ceil_div")),
            Some(n) if self.is_fixed() => {
                let negative = self.parts().map(|(_, value)| -i128::from(value))?;
                fixed(evaluate::floor_div(negative, n.into()).map(|quotient| -quotient))
            }
            Some(n) if n > 0 => self.try_add(&Dim::fixed(n - 1))?.floor_div_fixed(n),
            Some(_) | None => self.try_neg()?.floor_div(divisor)?.try_neg(),
        }
    }

    /// `self % divisor`: `self - divisor * (self // divisor)`, so zero or of the divisor's sign.
    ///
    /// # Errors
    /// As [`Dim::floor_div`].
    pub fn rem(&self, divisor: &Dim) -> Result<Dim, DimError> {
        match divisor.as_fixed() {
            Some(0) => Err(self.by_zero("%")),
            Some(n) => self.rem_fixed(n),
            None => self.rem_symbolic(divisor),
        }
    }

    fn by_zero(&self, sign: &str) -> DimError {
        DimError::DivisionByZero {
            dim: format!("({self}) {sign} 0"),
        }
    }

    fn floor_div_fixed(&self, n: i64) -> Result<Dim, DimError> {
        let (terms, constant) = self.parts()?;
        if terms.is_empty() {
            return fixed(evaluate::floor_div(constant.into(), n.into()));
        }
        if n < 0 {
            let n = n.checked_neg().ok_or(DimError::Overflow)?;
            return self.try_neg()?.floor_div_fixed(n);
        }
        let (whole, rest) = split_whole(terms, n)?;
        let whole = whole.try_add(&Dim::fixed(constant.div_euclid(n)))?;
        let quotient = floor_div_rest(&rest.try_add(&Dim::fixed(constant.rem_euclid(n)))?, n)?;
        whole.try_add(&quotient)
    }

    fn rem_fixed(&self, n: i64) -> Result<Dim, DimError> {
        let (terms, constant) = self.parts()?;
        if terms.is_empty() {
            return fixed(evaluate::floor_rem(constant.into(), n.into()));
        }
        if n < 0 {
            let n = n.checked_neg().ok_or(DimError::Overflow)?;
            return self.try_neg()?.rem_fixed(n)?.try_neg();
        }
        if n == 1 {
            return Ok(Dim::ZERO);
        }
        if let Some(simpler) = strip_inner_rem(self, &Dim::fixed(n))? {
            return simpler.rem_fixed(n);
        }
        let mut reduced = Collector::default();
        reduced.add_constant(constant.rem_euclid(n))?;
        for term in terms {
            reduced.add_term(term.monomial.clone(), centred(term.coefficient, n))?;
        }
        let reduced = reduced.finish()?;
        let Some(split) = bounded_split(&reduced, n)? else {
            return Dim::from_atom(Atom::Mod(Arc::new((reduced, Dim::fixed(n)))));
        };
        let multiple = split
            .factor
            .checked_mul(split.bounded_quotient)
            .ok_or(DimError::Overflow)?;
        let small = split.bounded.try_sub(&Dim::fixed(multiple))?;
        let quotient = split
            .divisible
            .try_add(&Dim::fixed(split.bounded_quotient))?;
        let large = quotient.rem_fixed(n / split.factor)?;
        large.try_mul(&Dim::fixed(split.factor))?.try_add(&small)
    }

    fn floor_div_symbolic(&self, divisor: &Dim) -> Result<Dim, DimError> {
        if leads_negative(divisor)? {
            return self.try_neg()?.floor_div_symbolic(&divisor.try_neg()?);
        }
        if let Some(quotient) = bounded_quotient(self, divisor)? {
            return Ok(Dim::fixed(quotient));
        }
        let (whole, rest) = take_multiples(self, divisor)?;
        if whole != Dim::ZERO {
            return whole.try_add(&rest.floor_div_symbolic(divisor)?);
        }
        if rest == Dim::ZERO {
            return Ok(Dim::ZERO);
        }
        if let Some(common) = common_factor(&rest, divisor)? {
            return common.dividend.floor_div(&common.divisor);
        }
        if let Some(quotient) = rounded_up_common_factor(&rest, divisor)? {
            return Ok(quotient);
        }
        if leads_negative(&rest)? && is_positive(divisor) {
            let flipped = rest.try_neg()?.try_sub(&Dim::ONE)?;
            return floor_div_atom(flipped, divisor)?
                .try_add(&Dim::ONE)?
                .try_neg();
        }
        floor_div_atom(rest, divisor)
    }

    fn rem_symbolic(&self, divisor: &Dim) -> Result<Dim, DimError> {
        if leads_negative(divisor)? {
            return self.try_neg()?.rem_symbolic(&divisor.try_neg()?)?.try_neg();
        }
        if let Some(quotient) = bounded_quotient(self, divisor)? {
            return self.try_sub(&divisor.try_mul(&Dim::fixed(quotient))?);
        }
        if let Some(simpler) = strip_inner_rem(self, divisor)? {
            return simpler.rem_symbolic(divisor);
        }
        let (whole, rest) = take_multiples(self, divisor)?;
        if whole != Dim::ZERO {
            return rest.rem_symbolic(divisor);
        }
        if rest == Dim::ZERO {
            return Ok(Dim::ZERO);
        }
        if let Some(common) = common_factor(&rest, divisor)? {
            let inner = common.dividend.rem(&common.divisor)?;
            return inner
                .try_mul(&common.factor)?
                .try_add(&Dim::fixed(common.left_over));
        }
        Dim::from_atom(Atom::Mod(Arc::new((rest, divisor.clone()))))
    }
}

fn fixed(value: Option<i128>) -> Result<Dim, DimError> {
    let value = value.and_then(|v| i64::try_from(v).ok());
    value.map(Dim::fixed).ok_or(DimError::Overflow)
}

/// The terms that `n` divides, divided, and the others.
fn split_whole(terms: &[Term], n: i64) -> Result<(Dim, Dim), DimError> {
    let mut whole = Collector::default();
    let mut rest = Collector::default();
    for term in terms {
        if term.coefficient % n == 0 {
            whole.add_term(term.monomial.clone(), term.coefficient / n)?;
        } else {
            rest.add_term(term.monomial.clone(), term.coefficient)?;
        }
    }
    Ok((whole.finish()?, rest.finish()?))
}

/// `rest // n` where `n` divides no term and the constant is in `0..n`.
fn floor_div_rest(rest: &Dim, n: i64) -> Result<Dim, DimError> {
    if rest.is_fixed() {
        return Ok(Dim::ZERO);
    }
    if let Some(split) = bounded_split(rest, n)? {
        let sum = split
            .divisible
            .try_add(&Dim::fixed(split.bounded_quotient))?;
        return sum.floor_div_fixed(n / split.factor);
    }
    let divisor = Dim::fixed(n);
    if leads_negative(rest)? {
        let flipped = Dim::fixed(n - 1).try_sub(rest)?;
        return floor_div_atom(flipped, &divisor)?.try_neg();
    }
    floor_div_atom(rest.clone(), &divisor)
}

/// `dividend // divisor` with nothing left to take out, but for a division inside: `(x // a + s) // b` is `(x + s*a) // (a*b)`.
fn floor_div_atom(dividend: Dim, divisor: &Dim) -> Result<Dim, DimError> {
    if let Some((inner, shift)) = as_shifted_floor_div(&dividend)
        && is_positive(divisor)
        && let Ok(both) = inner.1.try_mul(divisor)
        && let Ok(shift) = inner.1.try_mul(&Dim::fixed(shift))
        && let Ok(shifted) = inner.0.try_add(&shift)
    {
        return shifted.floor_div(&both);
    }
    Dim::from_atom(Atom::FloorDiv(Arc::new((dividend, divisor.clone()))))
}

/// The parts of `x // a + s`.
fn as_shifted_floor_div(dim: &Dim) -> Option<(&(Dim, Dim), i64)> {
    let sum = dim.sum()?;
    match sum.terms.as_slice() {
        [term] if term.coefficient == 1 => match term.monomial.atoms() {
            [Atom::FloorDiv(pair)] => Some((pair, sum.constant)),
            _ => None,
        },
        _ => None,
    }
}

/// A sum that is `factor * divisible + bounded` (the terms of `divisible` are already divided), where `bounded // factor` is always `bounded_quotient`.
struct Split {
    factor: i64,
    divisible: Dim,
    bounded: Dim,
    bounded_quotient: i64,
}

/// Looks for the largest factor `f > 1` of `n` such that the terms which `f` does not divide, and the constant, stay inside one
/// multiple of `f`. With `f = n` the whole sum is bounded; with `f` dividing every term it is a common factor.
fn bounded_split(sum: &Dim, n: i64) -> Result<Option<Split>, DimError> {
    let (terms, constant) = sum.parts()?;
    let mut factors: Vec<i64> = terms.iter().map(|term| gcd(term.coefficient, n)).collect();
    factors.push(n);
    factors.sort_unstable();
    factors.dedup();
    for &factor in factors.iter().rev().filter(|&&f| f > 1) {
        let (divisible, rest) = split_whole(terms, factor)?;
        let bounded = rest.try_add(&Dim::fixed(constant))?;
        if let Some(quotient) = constant_quotient(bounded.interval(), factor) {
            return Ok(Some(Split {
                factor,
                divisible,
                bounded,
                bounded_quotient: quotient,
            }));
        }
    }
    Ok(None)
}

/// `x // n`, if it is the same for all `x` in the interval.
fn constant_quotient(interval: Interval, n: i64) -> Option<i64> {
    let (low, high) = (interval.low?, interval.high?);
    let quotient = low.div_euclid(n.into());
    (high.div_euclid(n.into()) == quotient).then(|| i64::try_from(quotient).ok())?
}

/// `coefficient` modulo `n`, in `-(n - 1)/2 ..= n/2`.
fn centred(coefficient: i64, n: i64) -> i64 {
    let rest = coefficient.rem_euclid(n);
    if rest > n / 2 { rest - n } else { rest }
}

/// Drops `% m` inside `dim`, where it does not show in `dim % divisor` because a multiple of `m` is a multiple of the divisor.
fn strip_inner_rem(dim: &Dim, divisor: &Dim) -> Result<Option<Dim>, DimError> {
    let (terms, constant) = dim.parts()?;
    let mut found = false;
    let mut sum = Collector::default();
    sum.add_constant(constant)?;
    for term in terms {
        let strippable =
            term.monomial
                .atoms()
                .iter()
                .enumerate()
                .find_map(|(i, atom)| match atom {
                    Atom::Mod(pair) => {
                        let multiple = pair.1.try_mul(&Dim::fixed(term.coefficient)).ok()?;
                        is_multiple(&multiple, divisor).then_some((i, pair))
                    }
                    Atom::Symbol(_) | Atom::FloorDiv(_) | Atom::Min(_) | Atom::Max(_) => None,
                });
        let Some((at, pair)) = strippable else {
            sum.add_term(term.monomial.clone(), term.coefficient)?;
            continue;
        };
        found = true;
        let others = Term {
            monomial: term.monomial.without(at),
            coefficient: term.coefficient,
        };
        sum.add_product(&pair.0, &others)?;
    }
    if found {
        sum.finish().map(Some)
    } else {
        Ok(None)
    }
}

fn is_multiple(dim: &Dim, divisor: &Dim) -> bool {
    match divisor.as_fixed() {
        Some(n) => dim.parts().is_ok_and(|(terms, constant)| {
            constant % n == 0 && terms.iter().all(|term| term.coefficient % n == 0)
        }),
        None => long_division(dim, divisor).is_ok_and(|(_, rest)| rest == Dim::ZERO),
    }
}

/// Whether the first coefficient is negative; of an integer, whether it is.
fn leads_negative(dim: &Dim) -> Result<bool, DimError> {
    let (terms, constant) = dim.parts()?;
    Ok(terms.first().map_or(constant, |term| term.coefficient) < 0)
}

/// Whether a divisor is above zero wherever division by it is defined.
fn is_positive(divisor: &Dim) -> bool {
    divisor.interval().low.is_some_and(|low| low >= 0)
}

fn is_remainder_of(dim: &Dim, divisor: &Dim) -> bool {
    match dim.sum().and_then(|sum| sum.as_atom()) {
        Some(Atom::Mod(pair)) => pair.1 == *divisor,
        Some(Atom::Symbol(_) | Atom::FloorDiv(_) | Atom::Min(_) | Atom::Max(_)) | None => false,
    }
}

/// 0 where `0 <= dividend < divisor`, and -1 where `-divisor <= dividend < 0`.
fn bounded_quotient(dividend: &Dim, divisor: &Dim) -> Result<Option<i64>, DimError> {
    if !is_positive(divisor) {
        return Ok(None);
    }
    if is_remainder_of(dividend, divisor) {
        return Ok(Some(0));
    }
    if is_remainder_of(&Dim::fixed(-1).try_sub(dividend)?, divisor) {
        return Ok(Some(-1));
    }
    let own = dividend.interval();
    // Zero divides nothing, so a divisor that is not negative is at least 1.
    let least = divisor.interval().low.unwrap_or(1).max(1);
    if own.low.is_some_and(|low| low >= 0) {
        let room = divisor.try_sub(dividend)?.interval();
        let below =
            own.high.is_some_and(|high| high < least) || room.low.is_some_and(|low| low >= 1);
        return Ok(below.then_some(0));
    }
    if own.high.is_some_and(|high| high < 0) {
        let room = divisor.try_add(dividend)?.interval();
        let near = own.low.is_some_and(|low| low >= -least) || room.low.is_some_and(|low| low >= 0);
        return Ok(near.then_some(-1));
    }
    Ok(None)
}

/// `dividend = whole * divisor + rest`, where taking out `whole` makes the dividend shorter. By a single product, every multiple is
/// taken out; by a sum, only if terms become fewer.
fn take_multiples(dividend: &Dim, divisor: &Dim) -> Result<(Dim, Dim), DimError> {
    // Overflow or length on the way only mean that it does not become shorter.
    let (whole, rest) = long_division(dividend, divisor).unwrap_or((Dim::ZERO, dividend.clone()));
    if rest.parts()?.0.len() < dividend.parts()?.0.len() {
        return Ok((whole, rest));
    }
    Ok((Dim::ZERO, dividend.clone()))
}

/// Most terms of one quotient of polynomials: a longer one is not looked for.
const MAX_QUOTIENT_TERMS: usize = 256;

/// Division of polynomials over the integers: no term of the rest is a multiple of the divisor's first term.
fn long_division(dividend: &Dim, divisor: &Dim) -> Result<(Dim, Dim), DimError> {
    let lead = &divisor.parts()?.0[0];
    let mut whole = Dim::ZERO;
    let mut rest = dividend.clone();
    for _ in 0..MAX_QUOTIENT_TERMS {
        let next = rest.parts()?.0.iter().find_map(|term| {
            let monomial = term.monomial.divided_by(&lead.monomial)?;
            (term.coefficient % lead.coefficient == 0)
                .then(|| Dim::from_product(monomial, term.coefficient / lead.coefficient))
        });
        let Some(quotient) = next else {
            return Ok((whole, rest));
        };
        let quotient = quotient?;
        rest = rest.try_sub(&quotient.try_mul(divisor)?)?;
        whole = whole.try_add(&quotient)?;
    }
    Err(DimError::TooComplex)
}

/// `(p*x - 1) // (p*b)` is `(x - 1) // b` for positive divisors: both are `ceil_div(x, b) - 1`.
fn rounded_up_common_factor(dividend: &Dim, divisor: &Dim) -> Result<Option<Dim>, DimError> {
    if dividend.parts()?.1 != -1 || dividend.is_fixed() || !is_positive(divisor) {
        return Ok(None);
    }
    match common_factor(&dividend.try_add(&Dim::ONE)?, divisor)? {
        Some(common) if is_positive(&common.divisor) => {
            let dividend = common.dividend.try_sub(&Dim::ONE)?;
            dividend.floor_div(&common.divisor).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// `dividend` and `divisor` with `factor` divided out; `left_over` is what the factor does not divide of the dividend's constant.
struct CommonFactor {
    factor: Dim,
    dividend: Dim,
    divisor: Dim,
    left_over: i64,
}

fn common_factor(dividend: &Dim, divisor: &Dim) -> Result<Option<CommonFactor>, DimError> {
    let (terms, constant) = dividend.parts()?;
    let (divisor_terms, divisor_constant) = divisor.parts()?;
    let all = || terms.iter().chain(divisor_terms);
    let mut content = all().fold(divisor_constant, |g, term| gcd(g, term.coefficient));
    if !is_positive(divisor) {
        // Rounding twice is rounding once only by positive divisors.
        content = gcd(content, constant);
    }
    let product = if constant == 0 && divisor_constant == 0 {
        let mut products = all().map(|term| term.monomial.clone());
        let first = products.next().unwrap_or_default();
        products.fold(first, |common, product| common.common(&product))
    } else {
        Monomial::default()
    };
    if content <= 1 && product.is_one() {
        return Ok(None);
    }
    let content = content.max(1);
    let divided = |terms: &[Term], constant: i64| {
        let mut sum = Collector::default();
        for term in terms {
            let monomial = term.monomial.divided_by(&product).unwrap_or_default();
            sum.add_term(monomial, term.coefficient / content)?;
        }
        sum.add_constant(constant)?;
        sum.finish()
    };
    Ok(Some(CommonFactor {
        dividend: divided(terms, constant.div_euclid(content))?,
        divisor: divided(divisor_terms, divisor_constant / content)?,
        left_over: constant.rem_euclid(content),
        factor: Dim::from_product(product, content)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dim(text: &str) -> Dim {
        text.parse().unwrap()
    }

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(dim(a), dim(b), "{a} and {b}");
    }

    #[test]
    fn integers_round_down() {
        for (a, b, quotient, rest, up) in [
            (7, 2, 3, 1, 4),
            (-7, 2, -4, 1, -3),
            (7, -2, -4, -1, -3),
            (-7, -2, 3, -1, 4),
            (6, -3, -2, 0, -2),
            (0, 5, 0, 0, 0),
            (i64::MIN, 2, i64::MIN / 2, 0, i64::MIN / 2),
        ] {
            let (a, b) = (Dim::fixed(a), Dim::fixed(b));
            assert_eq!(a.floor_div(&b), Ok(quotient.into()), "{a}//{b}");
            assert_eq!(a.rem(&b), Ok(rest.into()), "{a} % {b}");
            assert_eq!(a.ceil_div(&b), Ok(up.into()), "ceil_div({a}, {b})");
        }
    }

    #[test]
    fn whole_multiples_leave_the_quotient() {
        same("(4*x)//4", "x");
        same("(4*x + 2)//2", "2*x + 1");
        same("(6*x)//4", "(3*x)//2");
        same("(x*y)//y", "x");
        same("(16*x + 5)//16", "x");
        same("(16*x - 1)//16", "x - 1");
        same("(x + 17)//16", "(x + 1)//16 + 1");
        same("x//2 + x//2", "2*(x//2)");
        same("(2*x + 1)//2*2", "2*x");
        same("(16*x + y % 16)//16", "x");
        same("(16*x + y % 16)//32", "x//2");
        same("(x*a + b % a)//a", "x + (b % a)//a");
        same("(x*y + x*z)//(y + z)", "x");
        same("((x + 1)*(y + 2))//(x + 1)", "y + 2");
        same("(z + x + y)//(x + y)", "z//(x + y) + 1");
        assert_ne!(dim("x//2*2"), dim("x"));
    }

    #[test]
    fn common_factors_go() {
        same("(2*x*y)//(4*y)", "x//2");
        same("(6*x + 3)//9", "(2*x + 1)//3");
        same("(6*x + 4)//9", "(2*x + 1)//3");
        same("(x*y)//(x*z)", "y//z");
        same("(2*x + 1)//(2*y)", "x//y");
        assert_ne!(dim("(2*x + 1)//(2*y - 2*z)"), dim("x//(y - z)"));
        same("(2*x*y) % (4*y)", "2*y*(x % 2)");
        same("(6*x + 4) % 9", "3*((2*x + 1) % 3) + 1");
    }

    #[test]
    fn bounded_quotients_are_known() {
        same("(x % 16)//16", "0");
        same("x//(x + 1)", "0");
        same("(-1)//x", "-1");
        same("(y % x)//x", "0");
        same("(-1 - y % x)//x", "-1");
        same("(-1 - y % x) % x", "x - 1 - y % x");
        same("(x % 8 + 8)//16", "0");
        same("(x % 8 + 32)//16", "2");
        same("min(x, 15)//16", "0");
    }

    #[test]
    fn quotients_nest() {
        same("x//4//4", "x//16");
        same("(x//4 + 1)//4", "(x + 4)//16");
        same("x//y//z", "x//(y*z)");
        same("x//(a - b)//z", "x//(a*z - b*z)");
        assert_ne!(dim("x//2//(y - z)"), dim("x//(2*y - 2*z)"));
    }

    #[test]
    fn signs_are_moved_out() {
        same("-x//16", "-ceil_div(x, 16)");
        same("x//-16", "-ceil_div(x, 16)");
        same("-x//-16", "x//16");
        same("(-x + 5)//(-y)", "(x - 5)//y");
        same("-ceil_div(-x, 16)", "x//16");
        same("(15 - x)//16", "-(x//16)");
    }

    #[test]
    fn ceiling_divisions_simplify() {
        same("ceil_div(x, 16)", "(x + 15)//16");
        same("ceil_div(16*x, 16)", "x");
        same("ceil_div(16*x + 1, 16)", "x + 1");
        same("ceil_div(x, 1)", "x");
        same("ceil_div(x*y, y)", "x");
        same("ceil_div(x, y)", "(x + y - 1)//y");
        same("ceil_div(ceil_div(x, 4), 4)", "ceil_div(x, 16)");
    }

    #[test]
    fn remainders_simplify() {
        same("(4*x + 3) % 4", "3");
        same("(17*x) % 16", "x % 16");
        same("15*x % 16", "(-x) % 16");
        same("(x % 16) % 4", "x % 4");
        same("(x % 4) % 16", "x % 4");
        same("(x % 16 + 3) % 8", "(x + 3) % 8");
        same("(x + y*z) % z", "x % z");
        same("x % (x + 1)", "x");
        same("(x % (y*z)) % z", "x % z");
        same("x % -5", "-((-x) % 5)");
        same("x % 1", "0");
        same("(x % 8 + 8) % 16", "x % 8 + 8");
        assert_ne!(dim("x % 16"), dim("x % 32"));
    }

    #[test]
    fn zero_divides_nothing() {
        let x = dim("x");
        let zero = dim("x - x");
        for result in [x.floor_div(&zero), x.ceil_div(&zero), x.rem(&zero)] {
            assert!(
                matches!(result, Err(DimError::DivisionByZero { .. })),
                "{result:?}"
            );
        }
        let error = Dim::fixed(3).rem(&Dim::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "division by zero in `(3) % 0`");
    }

    #[test]
    fn overflow_is_an_error() {
        let least = Dim::fixed(i64::MIN);
        assert_eq!(least.floor_div(&Dim::fixed(-1)), Err(DimError::Overflow));
        assert_eq!(least.rem(&Dim::fixed(-1)), Ok(Dim::ZERO));
        assert_eq!(
            Dim::fixed(i64::MAX).ceil_div(&Dim::fixed(2)),
            Ok(Dim::fixed(1 << 62))
        );
    }
}
