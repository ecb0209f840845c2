//! Dims agree with the plain meaning, whatever the order they are built in, and read back what they print.

use gabion_tensor::{Dim, DimError};
use proptest::prelude::*;

use crate::expression::{bindings, expressions, sizes};

/// A dim, or none where the expression has no canonical form for a reason that is allowed: limits, or a divisor that is always zero.
fn built(result: Result<Dim, DimError>) -> Result<Dim, TestCaseError> {
    match result {
        Ok(dim) => Ok(dim),
        Err(DimError::Overflow | DimError::TooComplex | DimError::DivisionByZero { .. }) => {
            Err(TestCaseError::reject("no canonical form"))
        }
        Err(other) => Err(TestCaseError::fail(other.to_string())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_global_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dims_have_the_value_of_their_expression(e in expressions(), symbols in prop::array::uniform3(sizes())) {
        let dim = e.dim();
        for symbols in &symbols {
            let Some(value) = e.value(symbols) else { continue };
            if matches!(dim, Err(DimError::DivisionByZero { .. })) {
                return Err(TestCaseError::fail(format!("{dim:?}, but the value is {value}")));
            }
            let dim = built(dim.clone())?;
            match (dim.eval(&bindings(symbols)), i64::try_from(value)) {
                (Ok(found), Ok(value)) => prop_assert_eq!(found, value, "{} at {:?}", dim, symbols),
                (Err(DimError::Overflow), _) => {}
                (found, _) => prop_assert!(false, "{} at {:?}: {:?}, expected {}", dim, symbols, found, value),
            }
        }
    }

    #[test]
    fn order_and_grouping_do_not_show(e in expressions(), mut seed in any::<u64>()) {
        let dim = built(e.dim())?;
        let shuffled = e.shuffled(&mut || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        });
        prop_assert_eq!(built(shuffled.dim())?, dim);
    }

    #[test]
    fn products_distribute(a in expressions(), b in expressions(), c in expressions()) {
        let (a, b, c) = (built(a.dim())?, built(b.dim())?, built(c.dim())?);
        let (together, apart) = (&a * (&b + &c), &a * &b + &a * &c);
        if together.check().is_ok() && apart.check().is_ok() {
            prop_assert_eq!(together, apart);
        }
    }

    #[test]
    fn dims_read_back_what_they_print(e in expressions()) {
        let dim = built(e.dim())?;
        let text = dim.to_string();
        let back: Dim = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&back, &dim, "{}", text);
        prop_assert_eq!(back.to_string(), text);
        let json = serde_json::to_string(&dim).unwrap();
        prop_assert_eq!(serde_json::from_str::<Dim>(&json).unwrap(), dim);
    }

    #[test]
    fn values_lie_in_the_range(e in expressions(), symbols in sizes()) {
        let dim = built(e.dim())?;
        if let Ok(value) = dim.eval(&bindings(&symbols)) {
            let (low, high) = dim.range();
            prop_assert!(low.is_none_or(|low| low <= value), "{} is {}, range from {:?}", dim, value, low);
            prop_assert!(high.is_none_or(|high| high >= value), "{} is {}, range to {:?}", dim, value, high);
        }
    }

    #[test]
    fn substitution_is_evaluation_in_steps(e in expressions(), symbols in sizes(), mask in 0usize..16) {
        let dim = built(e.dim())?;
        let known = crate::expression::NAMES.iter().zip(symbols).enumerate();
        let known = known.filter(|(i, _)| mask >> i & 1 == 1);
        let known = known.map(|(_, (name, value))| (gabion_tensor::Symbol::new(name).unwrap(), Dim::fixed(value)));
        if let Ok(value) = dim.eval(&bindings(&symbols)) {
            let substituted = built(dim.substitute(&known.collect()))?;
            prop_assert_eq!(substituted.eval(&bindings(&symbols)), Ok(value), "{} gave {}", dim, substituted);
        }
    }

    #[test]
    fn the_parser_never_panics(text in "[a-c0-9+*/%(), minaxcel_dv-]{0,40}") {
        let _ = text.parse::<Dim>();
        let _ = text.parse::<gabion_tensor::Constraint>();
        let _ = format!("f32[{text}]").parse::<gabion_tensor::TensorType>();
    }
}
