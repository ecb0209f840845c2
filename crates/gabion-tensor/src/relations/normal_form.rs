//! Dims in the form that the relations make simplest.

use super::facts::{Facts, Quotient};
use crate::dim::{Atom, Dim, DimError, gcd};

impl Facts {
    /// Solutions put in, quotients and extrema that the relations decide decided, and fresh symbols written out again.
    pub(super) fn normal_form(&self, dim: &Dim) -> Result<Dim, DimError> {
        let decided = self.decided(&self.solved_in(dim)?)?;
        let mut quotients = self.quotients.iter().rev();
        quotients.try_fold(decided, |dim, quotient| written_out(&dim, quotient))
    }

    fn decided(&self, dim: &Dim) -> Result<Dim, DimError> {
        dim.map_atoms(&mut |atom| {
            Ok(Some(match atom {
                Atom::Symbol(_) => return Ok(None),
                Atom::FloorDiv(pair) => {
                    let (dividend, divisor) = (self.decided(&pair.0)?, self.decided(&pair.1)?);
                    match self.decided_quotient(&dividend, &divisor) {
                        Some(quotient) => Dim::fixed(quotient),
                        None => dividend.floor_div(&divisor)?,
                    }
                }
                Atom::Mod(pair) => {
                    let (dividend, divisor) = (self.decided(&pair.0)?, self.decided(&pair.1)?);
                    match self.decided_quotient(&dividend, &divisor) {
                        Some(quotient) => {
                            dividend.try_sub(&divisor.try_mul(&Dim::fixed(quotient))?)?
                        }
                        None => dividend.rem(&divisor)?,
                    }
                }
                Atom::Min(args) => Dim::try_min_of(self.needed(args, |a, b| (a, b))?)?,
                Atom::Max(args) => Dim::try_max_of(self.needed(args, |a, b| (b, a))?)?,
            }))
        })
    }

    /// `dividend // divisor`, if bounds leave one value.
    fn decided_quotient(&self, dividend: &Dim, divisor: &Dim) -> Option<i64> {
        let (own, by) = (self.interval(dividend), self.interval(divisor));
        if let (Some(low), Some(high)) = (own.low, own.high)
            && let (Some(n), true) = (by.low, by.low == by.high)
            && n > 0
        {
            let quotient = low.div_euclid(n);
            if high.div_euclid(n) == quotient {
                return i64::try_from(quotient).ok();
            }
        }
        let below = self.expanded(&divisor.try_sub(dividend).ok()?).ok()?;
        let above = self.expanded(dividend).ok()?;
        (self.proves_at_least(&above, 0) && self.proves_at_least(&below, 1)).then_some(0)
    }

    /// Arguments that no other argument rules out; `ordered` puts the winner of two first.
    fn needed(
        &self,
        args: &[Dim],
        ordered: fn(Dim, Dim) -> (Dim, Dim),
    ) -> Result<Vec<Dim>, DimError> {
        let args = args
            .iter()
            .map(|arg| self.decided(arg))
            .collect::<Result<Vec<_>, _>>()?;
        let rules_out = |a: &Dim, b: &Dim| {
            let (low, high) = ordered(a.clone(), b.clone());
            let difference = high.try_sub(&low).and_then(|d| self.expanded(&d));
            difference.is_ok_and(|d| self.proves_at_least(&d, 0))
        };
        let mut kept: Vec<Dim> = Vec::with_capacity(args.len());
        for arg in args {
            if !kept.iter().any(|other| rules_out(other, &arg)) {
                kept.retain(|other| !rules_out(&arg, other));
                kept.push(arg);
            }
        }
        Ok(kept)
    }
}

/// The dim without the fresh symbol `q`, where `whole = n*q + rest`: `c*q` becomes a multiple of `whole // (n/g)` with `g` as large
/// as `c` allows, so that sixteen times `tokens//16` reads `tokens` again.
fn written_out(dim: &Dim, quotient: &Quotient) -> Result<Dim, DimError> {
    if !dim.symbols().contains(&quotient.symbol) {
        return Ok(dim.clone());
    }
    let plain = quotient.whole.floor_div(&Dim::fixed(quotient.divisor))?;
    let fresh = Atom::Symbol(quotient.symbol.clone());
    let (terms, constant) = dim.parts()?;
    let mut sum = Dim::fixed(constant);
    for term in terms {
        let mut product = Dim::fixed(term.coefficient);
        let mut atoms = term.monomial.atoms().iter().filter(|atom| **atom != fresh);
        let mut power = term.monomial.atoms().len() - atoms.clone().count();
        if power > 0 {
            power -= 1;
            let common = gcd(term.coefficient, quotient.divisor);
            let divisor = quotient.divisor / common;
            let whole = quotient.whole.floor_div(&Dim::fixed(divisor))?;
            let part = whole.try_sub(&Dim::fixed(quotient.rest.div_euclid(divisor)))?;
            product = part.try_mul(&Dim::fixed(term.coefficient / common))?;
        }
        for _ in 0..power {
            product = product.try_mul(&plain)?;
        }
        product = atoms.try_fold(product, |product, atom| {
            product.try_mul(&written_inside(atom, quotient)?)
        })?;
        sum = sum.try_add(&product)?;
    }
    Ok(sum)
}

fn written_inside(atom: &Atom, quotient: &Quotient) -> Result<Dim, DimError> {
    let of = |dim: &Dim| written_out(dim, quotient);
    let all = |dims: &[Dim]| dims.iter().map(of).collect::<Result<Vec<Dim>, _>>();
    match atom {
        Atom::Symbol(_) => Dim::from_atom(atom.clone()),
        Atom::FloorDiv(pair) => of(&pair.0)?.floor_div(&of(&pair.1)?),
        Atom::Mod(pair) => of(&pair.0)?.rem(&of(&pair.1)?),
        Atom::Min(args) => Dim::try_min_of(all(args)?),
        Atom::Max(args) => Dim::try_max_of(all(args)?),
    }
}
