//! Elementwise functions and comparisons of two operands, over the tables [`gabion_tensor::BinaryFn`] and
//! [`gabion_tensor::CompareFn`]: `add`, `max`, `lt`, .. Operators and methods are in `operators.rs`.

mod pairs;

use gabion_tensor::{BinaryFn, CompareFn, DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::broadcasting::broadcast;
use crate::ops::family::{Unset, family, family_words, refused, unset};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::promote;
use crate::sample::{Sample, Sampler};

use pairs::{Paired, pair, paired, try_zip, two_kinds, zip};

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
