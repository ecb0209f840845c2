//! Dims rewritten so that more of them cancel: remainders as `a - b*(a//b)`, whole multiples out of every quotient, and known zeros
//! taken out. The result is equal wherever the relations hold, up to a positive factor.

use super::facts::Facts;
use crate::dim::{Atom, Dim, DimError, Monomial, gcd};

/// Most steps of taking zeros out of one sum.
const MAX_STEPS: usize = 64;

impl Facts {
    /// The expanded form, times a positive integer: for comparisons with zero.
    pub(super) fn expanded(&self, dim: &Dim) -> Result<Dim, DimError> {
        let mut sum = self.expanded_exactly(dim)?;
        for _ in 0..MAX_STEPS {
            match self.reduced_once(&sum, false)? {
                Some(reduced) => sum = reduced,
                None => break,
            }
        }
        Ok(sum)
    }

    /// The expanded form.
    fn expanded_exactly(&self, dim: &Dim) -> Result<Dim, DimError> {
        let mut sum = dim.map_atoms(&mut |atom| self.expanded_atom(atom))?;
        for _ in 0..MAX_STEPS {
            match self.reduced_once(&sum, true)? {
                Some(reduced) => sum = reduced,
                None => break,
            }
        }
        Ok(sum)
    }

    fn expanded_atom(&self, atom: &Atom) -> Result<Option<Dim>, DimError> {
        let of = |dim: &Dim| self.expanded_exactly(dim);
        let all = |dims: &[Dim]| dims.iter().map(of).collect::<Result<Vec<Dim>, _>>();
        Ok(Some(match atom {
            Atom::Symbol(_) => return Ok(None),
            Atom::FloorDiv(pair) => full_floor_div(&of(&pair.0)?, &of(&pair.1)?)?,
            Atom::Mod(pair) => {
                let (dividend, divisor) = (of(&pair.0)?, of(&pair.1)?);
                let quotient = full_floor_div(&dividend, &divisor)?;
                dividend.try_sub(&quotient.try_mul(&divisor)?)?
            }
            Atom::Min(args) => Dim::try_min_of(all(args)?)?,
            Atom::Max(args) => Dim::try_max_of(all(args)?)?,
        }))
    }

    /// Takes a multiple of a known zero out of the sum, if it removes a term. `exactly` leaves out zeros that would scale the sum.
    fn reduced_once(&self, sum: &Dim, exactly: bool) -> Result<Option<Dim>, DimError> {
        let (terms, _) = sum.parts()?;
        for zero in &self.zeros {
            let Some(lead) = zero.parts()?.0.first() else {
                continue;
            };
            if exactly && lead.coefficient != 1 {
                continue;
            }
            for term in terms {
                let Some(factor) = term.monomial.divided_by(&lead.monomial) else {
                    continue;
                };
                let common = gcd(term.coefficient, lead.coefficient);
                let scale = Dim::fixed(lead.coefficient / common);
                let multiple =
                    Dim::from_product(factor, term.coefficient / common)?.try_mul(zero)?;
                return sum.try_mul(&scale)?.try_sub(&multiple).map(Some);
            }
        }
        Ok(None)
    }
}

/// Floor division with every whole multiple taken out: `(17*x) // 16` is `x + x//16`.
fn full_floor_div(dividend: &Dim, divisor: &Dim) -> Result<Dim, DimError> {
    let Some(n) = divisor.as_fixed().filter(|&n| n > 0) else {
        return dividend.floor_div(divisor);
    };
    let (terms, constant) = dividend.parts()?;
    let mut whole = Dim::ZERO;
    let mut rest = Dim::fixed(constant);
    for term in terms {
        let product = |coefficient: i64, monomial: &Monomial| {
            Dim::from_product(monomial.clone(), coefficient)
        };
        whole = whole.try_add(&product(term.coefficient.div_euclid(n), &term.monomial)?)?;
        rest = rest.try_add(&product(term.coefficient.rem_euclid(n), &term.monomial)?)?;
    }
    whole.try_add(&rest.floor_div(divisor)?)
}
