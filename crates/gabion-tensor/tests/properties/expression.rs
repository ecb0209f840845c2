//! Random expressions: trees, their plain meaning, and other trees of the same meaning.

use gabion_tensor::{Bindings, Dim, DimError};
use proptest::prelude::*;

pub(crate) const NAMES: [&str; 4] = ["a", "b", "c", "tokens"];

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Constant(i64),
    Symbol(usize),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    FloorDiv,
    CeilDiv,
    Rem,
    Min,
    Max,
}

use Expression::{Binary, Constant, Symbol};
use Operator::{Add, CeilDiv, FloorDiv, Max, Min, Mul, Rem, Sub};

impl Operator {
    fn is_commutative(self) -> bool {
        matches!(self, Add | Mul | Min | Max)
    }

    fn value(self, a: i128, b: i128) -> Option<i128> {
        let floor = |a: i128, b: i128| {
            let toward_zero = a.checked_div(b)?;
            Some(if toward_zero * b != a && (a < 0) != (b < 0) {
                toward_zero - 1
            } else {
                toward_zero
            })
        };
        match self {
            Add => a.checked_add(b),
            Sub => a.checked_sub(b),
            Mul => a.checked_mul(b),
            FloorDiv => floor(a, b),
            CeilDiv => Some(-floor(-a, b)?),
            Rem => Some(a - b * floor(a, b)?),
            Min => Some(a.min(b)),
            Max => Some(a.max(b)),
        }
    }

    fn apply(self, a: &Dim, b: &Dim) -> Result<Dim, DimError> {
        let result = match self {
            Add => a.try_add(b),
            Sub => a.try_sub(b),
            Mul => a.try_mul(b),
            FloorDiv => a.floor_div(b),
            CeilDiv => a.ceil_div(b),
            Rem => a.rem(b),
            Min => Ok(a.min(b)),
            Max => Ok(a.max(b)),
        }?;
        result.check()?;
        Ok(result)
    }
}

impl Expression {
    /// The value for these symbols, if all divisors are other than zero. Values stay far below 128 bits.
    pub(crate) fn value(&self, symbols: &[i64; 4]) -> Option<i128> {
        match self {
            Constant(value) => Some((*value).into()),
            Symbol(index) => Some(symbols[*index].into()),
            Binary(operator, a, b) => operator.value(a.value(symbols)?, b.value(symbols)?),
        }
    }

    pub(crate) fn dim(&self) -> Result<Dim, DimError> {
        match self {
            Constant(value) => Ok(Dim::fixed(*value)),
            Symbol(index) => Dim::symbol(NAMES[*index]),
            Binary(operator, a, b) => operator.apply(&a.dim()?, &b.dim()?),
        }
    }

    /// The same expression with the operands of sums, products, minima and maxima in another order and grouping.
    pub(crate) fn shuffled(&self, random: &mut impl FnMut() -> usize) -> Expression {
        match self {
            Constant(_) | Symbol(_) => self.clone(),
            Binary(operator, a, b) if operator.is_commutative() => {
                let mut operands = Vec::new();
                a.operands_of(*operator, &mut operands);
                b.operands_of(*operator, &mut operands);
                let mut trees: Vec<Expression> =
                    operands.iter().map(|e| e.shuffled(random)).collect();
                while trees.len() > 1 {
                    let first = trees.swap_remove(random() % trees.len());
                    let second = trees.swap_remove(random() % trees.len());
                    trees.push(Binary(*operator, Box::new(first), Box::new(second)));
                }
                trees.remove(0)
            }
            Binary(operator, a, b) => Binary(
                *operator,
                Box::new(a.shuffled(random)),
                Box::new(b.shuffled(random)),
            ),
        }
    }

    fn operands_of<'a>(&'a self, operator: Operator, found: &mut Vec<&'a Expression>) {
        match self {
            Binary(own, a, b) if *own == operator => {
                a.operands_of(operator, found);
                b.operands_of(operator, found);
            }
            Constant(_) | Symbol(_) | Binary(..) => found.push(self),
        }
    }
}

pub(crate) fn bindings(symbols: &[i64; 4]) -> Bindings {
    let mut bindings = Bindings::new();
    for (name, value) in NAMES.iter().zip(symbols) {
        bindings.bind(name, *value).expect("sizes are not negative");
    }
    bindings
}

/// Sizes: many small ones, so that zero and equal values are met.
pub(crate) fn sizes() -> impl Strategy<Value = [i64; 4]> {
    prop::array::uniform4(prop_oneof![3 => 0i64..6, 2 => 0i64..70, 1 => 0i64..5000])
}

pub(crate) fn expressions() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        3 => (0usize..4).prop_map(Symbol),
        2 => (-4i64..9).prop_map(Constant),
        1 => prop_oneof![Just(16i64), Just(32), Just(-7), Just(12)].prop_map(Constant),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let operator = prop_oneof![
            4 => Just(Add), 2 => Just(Sub), 3 => Just(Mul), 3 => Just(FloorDiv), 1 => Just(CeilDiv), 2 => Just(Rem), 1 => Just(Min), 1 => Just(Max)
        ];
        (operator, inner.clone(), inner).prop_map(|(operator, a, b)| Binary(operator, Box::new(a), Box::new(b)))
    })
}
