//! Proofs are never wrong. Constraints are made to hold for chosen sizes; whatever is then proved has to hold for these sizes too.

use gabion_tensor::{Constraint, Dim, Proof, Relation, Relations, RelationsError};
use proptest::prelude::*;

use crate::expression::{Expression, NAMES, bindings, expressions, sizes};

/// How a constraint is made of one or two expressions, so that it holds.
#[derive(Clone, Debug)]
enum Recipe {
    /// `e == its value`
    Value(Expression),
    /// `symbol % n == its rest`
    SymbolRest(usize, i64),
    /// `e % n == its rest`
    Rest(Expression, i64),
    /// `symbol <= its value + slack`
    AtMost(usize, i64),
    /// `symbol >= its value - slack`
    AtLeast(usize, i64),
    /// `e1 == e2 + their difference`
    Linked(Expression, Expression),
    /// `e1 ? e2` with one of the signs that hold, or with the opposite of one that does not
    Compared(Expression, Expression, usize),
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let n = || prop_oneof![Just(2i64), Just(3), Just(4), Just(16), Just(12)];
    prop_oneof![
        expressions().prop_map(Recipe::Value),
        (0usize..4, n()).prop_map(|(s, n)| Recipe::SymbolRest(s, n)),
        (expressions(), n()).prop_map(|(e, n)| Recipe::Rest(e, n)),
        (0usize..4, 0i64..20).prop_map(|(s, slack)| Recipe::AtMost(s, slack)),
        (0usize..4, 0i64..20).prop_map(|(s, slack)| Recipe::AtLeast(s, slack)),
        (expressions(), expressions()).prop_map(|(a, b)| Recipe::Linked(a, b)),
        (expressions(), expressions(), 0usize..6)
            .prop_map(|(a, b, sign)| Recipe::Compared(a, b, sign)),
    ]
}

impl Recipe {
    /// The constraint, true for these sizes; none if a side has no value.
    fn constraint(&self, symbols: &[i64; 4]) -> Option<Constraint> {
        let at = bindings(symbols);
        let symbol = |index: usize| Dim::symbol(NAMES[index]).ok();
        match self {
            Recipe::Value(e) => {
                let dim = e.dim().ok()?;
                let value = dim.eval(&at).ok()?;
                Some(Constraint::eq(dim, value))
            }
            Recipe::SymbolRest(index, n) => {
                let rest = symbols[*index].rem_euclid(*n);
                Some(Constraint::eq(
                    symbol(*index)?.rem(&Dim::fixed(*n)).ok()?,
                    rest,
                ))
            }
            Recipe::Rest(e, n) => {
                let rest = e.dim().ok()?.rem(&Dim::fixed(*n)).ok()?;
                let value = rest.eval(&at).ok()?;
                Some(Constraint::eq(rest, value))
            }
            Recipe::AtMost(index, slack) => {
                Some(Constraint::le(symbol(*index)?, symbols[*index] + slack))
            }
            Recipe::AtLeast(index, slack) => {
                Some(Constraint::le(symbols[*index] - slack, symbol(*index)?))
            }
            Recipe::Linked(a, b) => {
                let (a, b) = (a.dim().ok()?, b.dim().ok()?);
                let difference = a.eval(&at).ok()?.checked_sub(b.eval(&at).ok()?)?;
                let rhs = b.try_add(&Dim::fixed(difference)).ok()?;
                Some(Constraint::eq(a, rhs))
            }
            Recipe::Compared(a, b, sign) => {
                let mut constraint =
                    Constraint::new(a.dim().ok()?, Relation::ALL[*sign], b.dim().ok()?);
                if !constraint.eval(&at).ok()? {
                    constraint.relation = constraint.relation.negated();
                }
                Some(constraint)
            }
        }
    }
}

/// Relations that hold for these sizes. Declaring them is never a contradiction.
fn declared(recipes: &[Recipe], symbols: &[i64; 4]) -> Result<Relations, TestCaseError> {
    let mut relations = Relations::new();
    for constraint in recipes
        .iter()
        .filter_map(|recipe| recipe.constraint(symbols))
    {
        match relations.declare(constraint) {
            Ok(()) | Err(RelationsError::Dim { .. }) => {}
            Err(error) => return Err(TestCaseError::fail(format!("{error} at {symbols:?}"))),
        }
    }
    Ok(relations)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_global_rejects: 1_000_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_proved_holds(
        symbols in sizes(),
        recipes in prop::collection::vec(recipes(), 0..5),
        a in expressions(),
        b in expressions(),
        sign in 0usize..6,
    ) {
        let relations = declared(&recipes, &symbols)?;
        let (Ok(lhs), Ok(rhs)) = (a.dim(), b.dim()) else { return Ok(()) };
        let goal = Constraint::new(lhs, Relation::ALL[sign], rhs);
        let Ok(holds) = goal.eval(&bindings(&symbols)) else { return Ok(()) };
        let proof = relations.prove(&goal);
        let right = match proof {
            Proof::True => holds,
            Proof::False => !holds,
            Proof::Unknown => true,
        };
        let known: Vec<String> = relations.iter().map(|c| c.to_string()).collect();
        prop_assert!(right, "{} is {:?} from {:?}, but {} at {:?}", goal, proof, known, holds, symbols);
    }

    /// Goals close to what is declared, so that most of them are decided.
    #[test]
    fn goals_near_the_facts_are_decided_rightly(
        symbols in sizes(),
        recipes in prop::collection::vec(recipes(), 1..5),
        shift in -2i64..3,
        sign in 0usize..6,
    ) {
        let relations = declared(&recipes[1..], &symbols)?;
        let Some(mut goal) = recipes[0].constraint(&symbols) else { return Ok(()) };
        goal.relation = Relation::ALL[sign];
        goal.rhs = &goal.rhs + shift;
        let Ok(holds) = goal.eval(&bindings(&symbols)) else { return Ok(()) };
        let proof = relations.prove(&goal);
        let known: Vec<String> = relations.iter().map(|c| c.to_string()).collect();
        let wrong = matches!((proof, holds), (Proof::True, false) | (Proof::False, true));
        prop_assert!(!wrong, "{} is {:?} from {:?}, but {} at {:?}", goal, proof, known, holds, symbols);
    }

    #[test]
    fn simple_forms_have_the_same_value(
        symbols in sizes(),
        recipes in prop::collection::vec(recipes(), 1..5),
        e in expressions(),
    ) {
        let relations = declared(&recipes, &symbols)?;
        let Ok(dim) = e.dim() else { return Ok(()) };
        let Ok(value) = dim.eval(&bindings(&symbols)) else { return Ok(()) };
        let simple = relations.simplify(&dim);
        let known: Vec<String> = relations.iter().map(|c| c.to_string()).collect();
        prop_assert_eq!(simple.eval(&bindings(&symbols)), Ok(value), "{} became {} from {:?}", dim, simple, known);
    }

    #[test]
    fn relations_read_back(symbols in sizes(), recipes in prop::collection::vec(recipes(), 0..4)) {
        let relations = declared(&recipes, &symbols)?;
        let json = serde_json::to_string(&relations).unwrap();
        prop_assert_eq!(serde_json::from_str::<Relations>(&json).unwrap(), relations);
    }
}
