//! Minimum and maximum: flattened, sorted, without repeats and without arguments that bounds rule out.

use std::sync::Arc;

use super::{Atom, Dim, DimError};

/// Most arguments of one minimum or maximum: each is compared with each.
const MAX_ARGS: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Min,
    Max,
}

impl Dim {
    /// The smaller of the two. An argument that cannot be the smaller goes: `min(x, x + 1)` is `x`.
    pub fn min(&self, other: &Dim) -> Dim {
        Dim::or_poison(Dim::try_min_of(vec![self.clone(), other.clone()]))
    }

    /// The larger of the two: `max(x, 0)` is `x`, since symbols are at least 0.
    pub fn max(&self, other: &Dim) -> Dim {
        Dim::or_poison(Dim::try_max_of(vec![self.clone(), other.clone()]))
    }

    /// The smallest of one or more.
    pub(crate) fn try_min_of(args: Vec<Dim>) -> Result<Dim, DimError> {
        extremum(args, Which::Min)
    }

    /// The largest of one or more.
    pub(crate) fn try_max_of(args: Vec<Dim>) -> Result<Dim, DimError> {
        extremum(args, Which::Max)
    }
}

fn extremum(args: Vec<Dim>, which: Which) -> Result<Dim, DimError> {
    let mut flat: Vec<Dim> = Vec::with_capacity(args.len());
    for arg in args {
        arg.check()?;
        match (which, arg.sum().and_then(|sum| sum.as_atom())) {
            (Which::Min, Some(Atom::Min(inner))) | (Which::Max, Some(Atom::Max(inner))) => {
                flat.extend(inner.iter().cloned());
            }
            _ => flat.push(arg),
        }
    }
    flat.sort_by(Dim::canonical_cmp);
    flat.dedup();
    if flat.len() > MAX_ARGS {
        return Err(DimError::TooComplex);
    }
    let rules_out = |a: &Dim, b: &Dim| match which {
        Which::Min => never_above(a, b),
        Which::Max => never_above(b, a),
    };
    let is_needed = |i: usize| {
        !flat.iter().enumerate().any(|(j, other)| {
            j != i && rules_out(other, &flat[i]) && (j < i || !rules_out(&flat[i], other))
        })
    };
    let mut kept: Vec<Dim> = (0..flat.len())
        .filter(|&i| is_needed(i))
        .map(|i| flat[i].clone())
        .collect();
    match (kept.len(), which) {
        (0, _) => Err(DimError::TooComplex),
        (1, _) => Ok(kept.swap_remove(0)),
        (_, Which::Min) => Dim::from_atom(Atom::Min(Arc::from(kept))),
        (_, Which::Max) => Dim::from_atom(Atom::Max(Arc::from(kept))),
    }
}

/// Whether bounds show that `a <= b` always.
///
/// Bounds of sums are sums of bounds, so this is transitive: which argument goes first does not matter.
fn never_above(a: &Dim, b: &Dim) -> bool {
    a.try_sub(b)
        .is_ok_and(|difference| difference.interval().high.is_some_and(|high| high <= 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(a.parse::<Dim>(), b.parse(), "{a} and {b}");
    }

    #[test]
    fn extrema_are_flat_sorted_and_without_repeats() {
        same("min(min(a, b), min(b, c))", "min(c, b, a)");
        same("max(a, max(b, a), 3, 5)", "max(5, b, a)");
        same("min(3, 7)", "3");
        same("max(a)", "a");
        assert_ne!("min(a, b)".parse::<Dim>(), "max(a, b)".parse());
    }

    #[test]
    fn what_bounds_rule_out_goes() {
        same("max(x, 0)", "x");
        same("min(x, 0)", "0");
        same("min(x, x + 1)", "x");
        same("max(x, x + y)", "x + y");
        same("min(x % 16, 20)", "x % 16");
        same("max(x//2, -3)", "x//2");
        same("min(a, b, a + b + 1)", "min(a, b)");
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let args: Vec<String> = (0..300).map(|i| format!("s{i}")).collect();
        let text = format!("min({})", args.join(", "));
        assert_eq!(text.parse::<Dim>(), Err(DimError::TooComplex));
        // Repeats do not count.
        let text = format!("max({})", ["a", "b"].repeat(300).join(", "));
        assert_eq!(text.parse::<Dim>(), "max(a, b)".parse());
    }
}
