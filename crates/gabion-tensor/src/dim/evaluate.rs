//! The value of a dim for given symbols, and dims in place of symbols.

use std::collections::BTreeMap;

use super::polynomial::Collector;
use super::{Atom, Dim, DimError, Monomial};
use crate::bindings::{Bindings, Symbol};

impl Dim {
    /// The value for these symbols. Sums and products are formed in 128 bits: only the value itself has to fit 64.
    ///
    /// # Errors
    /// A symbol without value, division by zero, or overflow.
    pub fn eval(&self, bindings: &Bindings) -> Result<i64, DimError> {
        if let Some(value) = self.as_fixed() {
            return Ok(value);
        }
        i64::try_from(self.eval_wide(bindings)?).map_err(|_| DimError::Overflow)
    }

    fn eval_wide(&self, bindings: &Bindings) -> Result<i128, DimError> {
        let (terms, constant) = self.parts()?;
        let mut sum = i128::from(constant);
        for term in terms {
            let mut product = i128::from(term.coefficient);
            for atom in term.monomial.atoms() {
                let value = self.eval_atom(atom, bindings)?;
                product = product.checked_mul(value).ok_or(DimError::Overflow)?;
            }
            sum = sum.checked_add(product).ok_or(DimError::Overflow)?;
        }
        Ok(sum)
    }

    fn eval_atom(&self, atom: &Atom, bindings: &Bindings) -> Result<i128, DimError> {
        let of = |dim: &Dim| dim.eval_wide(bindings);
        let divide = |pair: &(Dim, Dim), sign: &str, f: fn(i128, i128) -> Option<i128>| {
            let (a, b) = (of(&pair.0)?, of(&pair.1)?);
            if b == 0 {
                let dim = format!("({}) {sign} ({})", pair.0, pair.1);
                return Err(DimError::DivisionByZero { dim });
            }
            f(a, b).ok_or(DimError::Overflow)
        };
        let extremum = |args: &[Dim], f: fn(i128, i128) -> i128| {
            let mut values = args.iter().map(of);
            let first = values.next().unwrap_or(Err(DimError::TooComplex))?;
            values.try_fold(first, |best, value| Ok(f(best, value?)))
        };
        match atom {
            Atom::Symbol(symbol) => {
                let value = bindings.get(symbol.name());
                value.map(i128::from).ok_or_else(|| DimError::Unbound {
                    symbol: symbol.to_string(),
                    dim: self.to_string(),
                })
            }
            Atom::FloorDiv(pair) => divide(pair, "//", floor_div),
            Atom::Mod(pair) => divide(pair, "%", floor_rem),
            Atom::Min(args) => extremum(args, i128::min),
            Atom::Max(args) => extremum(args, i128::max),
        }
    }

    /// The symbol and its value for which the dim is `value`, if the dim is `coefficient*symbol + constant` and the value is whole.
    pub(crate) fn solve_for(&self, value: i64) -> Option<(&Symbol, i64)> {
        let sum = self.sum()?;
        match sum.terms.as_slice() {
            [term] => match term.monomial.atoms() {
                [Atom::Symbol(symbol)] => {
                    let multiple = i128::from(value) - i128::from(sum.constant);
                    let coefficient = i128::from(term.coefficient);
                    let whole = multiple % coefficient == 0;
                    let solution = i64::try_from(multiple / coefficient).ok()?;
                    whole.then_some((symbol, solution))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Dims in place of symbols, all at once; other symbols stay.
    ///
    /// # Errors
    /// If a divisor becomes zero, a coefficient overflows, or the result is too complex.
    pub fn substitute(&self, values: &BTreeMap<Symbol, Dim>) -> Result<Dim, DimError> {
        self.map_atoms(&mut |atom| match atom {
            Atom::Symbol(symbol) => Ok(values.get(symbol).cloned()),
            Atom::FloorDiv(_) | Atom::Mod(_) | Atom::Min(_) | Atom::Max(_) => Ok(None),
        })
    }

    /// Rebuilds the dim with other dims in place of atoms. `f` sees each atom before what is inside it; `None` goes inside.
    pub(crate) fn map_atoms(
        &self,
        f: &mut dyn FnMut(&Atom) -> Result<Option<Dim>, DimError>,
    ) -> Result<Dim, DimError> {
        let (terms, constant) = self.parts()?;
        if terms.is_empty() {
            return Ok(self.clone());
        }
        let mut sum = Collector::default();
        sum.add_constant(constant)?;
        for term in terms {
            let mut product = Dim::fixed(term.coefficient);
            for atom in term.monomial.atoms() {
                product = product.try_mul(&atom.map(f)?)?;
            }
            sum.add_scaled(&product, 1)?;
        }
        sum.finish()
    }
}

impl Atom {
    fn map(
        &self,
        f: &mut dyn FnMut(&Atom) -> Result<Option<Dim>, DimError>,
    ) -> Result<Dim, DimError> {
        if let Some(replaced) = f(self)? {
            return Ok(replaced);
        }
        match self {
            Atom::Symbol(_) => Dim::from_product(Monomial::of(self.clone()), 1),
            Atom::FloorDiv(pair) => pair.0.map_atoms(f)?.floor_div(&pair.1.map_atoms(f)?),
            Atom::Mod(pair) => pair.0.map_atoms(f)?.rem(&pair.1.map_atoms(f)?),
            Atom::Min(args) => {
                let args = args.iter().map(|arg| arg.map_atoms(f));
                Dim::try_min_of(args.collect::<Result<Vec<_>, _>>()?)
            }
            Atom::Max(args) => {
                let args = args.iter().map(|arg| arg.map_atoms(f));
                Dim::try_max_of(args.collect::<Result<Vec<_>, _>>()?)
            }
        }
    }
}

/// Rounds down; `b` is not zero.
pub(super) fn floor_div(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    let inexact = a % b != 0;
    Some(quotient - i128::from(inexact && (a < 0) != (b < 0)))
}

/// Has the sign of `b`, which is not zero.
pub(super) fn floor_rem(a: i128, b: i128) -> Option<i128> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) {
        rest + b
    } else {
        rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(values: &[(&str, i64)]) -> Bindings {
        let mut bindings = Bindings::new();
        for (name, value) in values {
            bindings.bind(name, *value).unwrap();
        }
        bindings
    }

    #[test]
    fn values() {
        let dim: Dim = "2*a*b + ceil_div(a, 4) - b % 3 + min(a, b)*max(a, b)"
            .parse()
            .unwrap();
        assert_eq!(dim.eval(&bound(&[("a", 9), ("b", 5)])), Ok(90 + 3 - 2 + 45));
    }

    #[test]
    fn only_the_result_has_to_fit() {
        let dim: Dim = "a*b - a*c".parse().unwrap();
        let large = 1 << 40;
        assert_eq!(
            dim.eval(&bound(&[("a", large), ("b", large), ("c", large - 3)])),
            Ok(3 * large)
        );
        assert_eq!(
            dim.eval(&bound(&[("a", large), ("b", large), ("c", 0)])),
            Err(DimError::Overflow)
        );
    }

    #[test]
    fn errors_name_the_symbol_and_the_expression() {
        let dim: Dim = "a//(b - 1) + 1".parse().unwrap();
        let error = dim.eval(&bound(&[("a", 4)])).unwrap_err();
        assert_eq!(error.to_string(), "symbol `b` in `b - 1` has no value");
        let error = dim.eval(&bound(&[("a", 4), ("b", 1)])).unwrap_err();
        assert_eq!(error.to_string(), "division by zero in `(a) // (b - 1)`");
    }

    #[test]
    fn substitution_is_simultaneous_and_folds() {
        let dim: Dim = "a + 2*b + a//4".parse().unwrap();
        let swap = |a: &str, b: &str| {
            BTreeMap::from([
                (Symbol::new("a").unwrap(), a.parse().unwrap()),
                (Symbol::new("b").unwrap(), b.parse().unwrap()),
            ])
        };
        assert_eq!(
            dim.substitute(&swap("b", "a")).unwrap().to_string(),
            "2*a + b + b//4"
        );
        assert_eq!(
            dim.substitute(&swap("8*c", "1")).unwrap().to_string(),
            "10*c + 2"
        );
        let zero: Dim = "5//a".parse().unwrap();
        assert!(matches!(
            zero.substitute(&swap("0", "0")),
            Err(DimError::DivisionByZero { .. })
        ));
    }

    #[test]
    fn linear_dims_are_solved() {
        let dim: Dim = "2*a + 3".parse().unwrap();
        assert_eq!(
            dim.solve_for(13).map(|(s, v)| (s.to_string(), v)),
            Some(("a".to_string(), 5))
        );
        assert_eq!(dim.solve_for(14), None);
        assert_eq!("a*a".parse::<Dim>().unwrap().solve_for(9), None);
    }
}
