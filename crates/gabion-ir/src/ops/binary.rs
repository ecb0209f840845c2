//! Elementwise functions and comparisons of two operands, over the tables [`BinaryFn`] and
//! [`CompareFn`]: `add`, `max`, `lt`, .. Operators and methods are in `operators.rs`.

use gabion_tensor::{BinaryFn, CompareFn, DType, HostTensor, ScalarError, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::broadcasting::{broadcast, broadcast_positions};
use crate::ops::family::{Unset, family, family_words, refused, unset};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::promote;
use crate::sample::{Sample, Sampler};

family! {
    /// A function of each pair of elements; the operands broadcast by numpy's rule and are cast to
    /// the dtype that holds both, which is the result's. Integers wrap.
    Binary, BinaryFn, BinaryFn::UNSET
}

family! {
    /// A comparison of each pair of elements; the operands broadcast and are cast as for
    /// [`Binary`]. Result: bool. With NaN only `ne` holds.
    Compare, CompareFn, CompareFn::UNSET
}

impl OpDef for Binary {
    const NAME: &'static str = "binary";

    family_words!();

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        operands::<2>(args)?;
        let dtype = promote(args)?;
        if !self.func.accepts(dtype) {
            return Err(refused(self.func.name(), dtype));
        }
        Ok(smallvec![TensorType::new(dtype, broadcast(args, cx)?)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (shape, func) = (cx.shape(0)?, self.func);
        let Paired { a, b, at } = paired(args, &shape)?;
        let out = match (&a, &b) {
            (Lanes::F32(a), Lanes::F32(b)) => {
                Lanes::F32(try_zip(a, b, &at, |x, y| func.eval_f32(x, y))?)
            }
            (Lanes::F64(a), Lanes::F64(b)) => {
                Lanes::F64(try_zip(a, b, &at, |x, y| func.eval_f64(x, y))?)
            }
            (Lanes::I64(a), Lanes::I64(b)) => {
                Lanes::I64(try_zip(a, b, &at, |x, y| func.eval_i64(x, y))?)
            }
            (Lanes::U64(a), Lanes::U64(b)) => {
                Lanes::U64(try_zip(a, b, &at, |x, y| func.eval_u64(x, y))?)
            }
            (Lanes::Bool(a), Lanes::Bool(b)) => {
                Lanes::Bool(try_zip(a, b, &at, |x, y| func.eval_bool(x, y))?)
            }
            _ => return Err(two_kinds()),
        };
        Ok(smallvec![out.into_tensor(cx.result(0).dtype, &shape)?])
    }

    fn tolerance(&self) -> Tolerance {
        match self.func {
            // One function of the C library.
            BinaryFn::Pow | BinaryFn::Atan2 => Tolerance::Ulps(4.0),
            _ => Tolerance::Exact,
        }
    }

    fn sample(s: &mut Sampler) -> Sample {
        let func = s.choose(BinaryFn::ALL);
        let (a, mut b) = pair(s, |d| func.accepts(d));
        let partial = matches!(
            func,
            BinaryFn::Div | BinaryFn::FloorDiv | BinaryFn::Mod | BinaryFn::Pow
        );
        let integer = DType::promote(a.dtype(), b.dtype()).is_some_and(|d| d.is_int());
        if partial && integer {
            // Neither zero divisors nor negative exponents: those are errors.
            let dtype = if b.dtype().is_bool() {
                a.dtype()
            } else {
                b.dtype()
            };
            b = s.tensor_in(dtype, b.shape(), 1.0, 4.9);
        }
        Sample::new(Binary { func }, vec![a, b])
    }
}

impl OpDef for Compare {
    const NAME: &'static str = "compare";

    family_words!();

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        operands::<2>(args)?;
        let dtype = promote(args)?;
        if !self.func.accepts(dtype) {
            return Err(refused(self.func.name(), dtype));
        }
        Ok(smallvec![TensorType::new(
            DType::Bool,
            broadcast(args, cx)?
        )])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (shape, func) = (cx.shape(0)?, self.func);
        let Paired { a, b, at } = paired(args, &shape)?;
        let out = match (&a, &b) {
            (Lanes::F32(a), Lanes::F32(b)) => zip(a, b, &at, |x, y| func.eval_f32(x, y)),
            (Lanes::F64(a), Lanes::F64(b)) => zip(a, b, &at, |x, y| func.eval_f64(x, y)),
            (Lanes::I64(a), Lanes::I64(b)) => zip(a, b, &at, |x, y| func.eval_i64(x, y)),
            (Lanes::U64(a), Lanes::U64(b)) => zip(a, b, &at, |x, y| func.eval_u64(x, y)),
            (Lanes::Bool(a), Lanes::Bool(b)) => zip(a, b, &at, |x, y| func.eval_bool(x, y)),
            _ => return Err(two_kinds()),
        };
        Ok(smallvec![
            Lanes::Bool(out).into_tensor(DType::Bool, &shape)?
        ])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let func = s.choose(CompareFn::ALL);
        let (a, b) = pair(s, |d| func.accepts(d));
        Sample::new(Compare { func }, vec![a, b])
    }
}
/// Two shapes that broadcast, and two dtypes that promote to one that `accepts`.
fn pair(s: &mut Sampler, accepts: impl Fn(DType) -> bool) -> (HostTensor, HostTensor) {
    let fits = |a: DType, b: DType| DType::promote(a, b).is_some_and(&accepts);
    let a_dtype = s.choose(
        &DType::PLAIN
            .into_iter()
            .filter(|&d| fits(d, d))
            .collect::<Vec<_>>(),
    );
    let b_dtype = s.choose(
        &DType::PLAIN
            .into_iter()
            .filter(|&d| fits(a_dtype, d))
            .collect::<Vec<_>>(),
    );
    let rank = s.size(0, 4);
    let shape = s.shape(rank, 7);
    let mut operand = |dtype: DType| {
        let mut own = if s.one_in(3) {
            shape[s.size(0, rank)..].to_vec()
        } else {
            shape.clone()
        };
        for size in &mut own {
            if s.one_in(4) {
                *size = 1;
            }
        }
        s.tensor_with_specials(dtype, &own)
    };
    let (a, b) = (operand(a_dtype), operand(b_dtype));
    if s.one_in(2) { (a, b) } else { (b, a) }
}

/// Both operands in the promoted dtype, element by element of the result's shape.
struct Paired {
    a: Lanes,
    b: Lanes,
    at: Vec<(usize, usize)>,
}

fn paired(args: &[HostTensor], shape: &[usize]) -> Result<Paired, EvalError> {
    let (a, b) = (&args[0], &args[1]);
    let dtype = DType::promote(a.dtype(), b.dtype()).ok_or_else(|| {
        EvalError::Value(format!(
            "no dtype holds both {} and {}",
            a.dtype(),
            b.dtype()
        ))
    })?;
    let (at_a, at_b) = (
        broadcast_positions(a.shape(), shape)?,
        broadcast_positions(b.shape(), shape)?,
    );
    let at = at_a.into_iter().zip(at_b).collect();
    Ok(Paired {
        a: Lanes::read(a, dtype)?,
        b: Lanes::read(b, dtype)?,
        at,
    })
}

/// Applies `f` at every element of the result.
fn zip<T: Copy, R>(a: &[T], b: &[T], at: &[(usize, usize)], f: impl Fn(T, T) -> R) -> Vec<R> {
    at.iter().map(|&(i, j)| f(a[i], b[j])).collect()
}

fn try_zip<T: Copy>(
    a: &[T],
    b: &[T],
    at: &[(usize, usize)],
    f: impl Fn(T, T) -> Result<T, ScalarError>,
) -> Result<Vec<T>, ScalarError> {
    at.iter().map(|&(i, j)| f(a[i], b[j])).collect()
}

fn two_kinds() -> EvalError {
    EvalError::Value("the operands were read as two kinds of numbers".to_owned())
}
