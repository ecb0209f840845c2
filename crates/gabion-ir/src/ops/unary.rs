//! Elementwise functions of one operand, over the table [`gabion_tensor::UnaryFn`]: `exp`, `relu`, `not`, ..
//! Operators and methods are in `operators.rs`.

use gabion_tensor::{DType, HostTensor, TensorType, UnaryFn};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, operands,
};
use crate::ops::family::{Unset, family, family_words, refused, unset};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::plain;
use crate::sample::{Sample, Sampler};

family! {
    /// A function of each element of `x`. Result: the shape and dtype of `x`; bool for `is_nan`,
    /// `is_inf`, `is_finite`. f16 and bf16 are computed in f32 and rounded once.
    Unary, UnaryFn, UnaryFn::UNSET
}

impl OpDef for Unary {
    const NAME: &'static str = "unary";

    family_words!();

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        plain(0, x)?;
        if !self.func.accepts(x.dtype) {
            return Err(refused(self.func.name(), x.dtype));
        }
        Ok(smallvec![TensorType::new(
            self.func.result_dtype(x.dtype),
            x.shape.clone()
        )])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (x, func) = (&args[0], self.func);
        fn map<T, E>(values: Vec<T>, f: impl Fn(T) -> Result<T, E>) -> Result<Vec<T>, E> {
            values.into_iter().map(f).collect()
        }
        let out = match Lanes::read(x, x.dtype())? {
            Lanes::F32(v) => Lanes::F32(map(v, |x| func.eval_f32(x))?),
            Lanes::F64(v) => Lanes::F64(map(v, |x| func.eval_f64(x))?),
            Lanes::I64(v) => Lanes::I64(map(v, |x| func.eval_i64(x))?),
            Lanes::U64(v) => Lanes::U64(map(v, |x| func.eval_u64(x))?),
            Lanes::Bool(v) => Lanes::Bool(map(v, |x| func.eval_bool(x))?),
        };
        Ok(smallvec![
            out.into_tensor(func.result_dtype(x.dtype()), x.shape())?
        ])
    }

    fn tolerance(&self) -> Tolerance {
        use UnaryFn as F;
        match self.func {
            F::Neg | F::Abs | F::Sign | F::Square | F::Sqrt | F::Recip => Tolerance::Exact,
            F::Round | F::Floor | F::Ceil | F::Trunc | F::Relu | F::Not => Tolerance::Exact,
            F::IsNan | F::IsInf | F::IsFinite => Tolerance::Exact,
            // One function of the C library, or two roundings.
            F::Exp
            | F::Expm1
            | F::Log
            | F::Log1p
            | F::Log2
            | F::Rsqrt
            | F::Sin
            | F::Cos
            | F::Tan => Tolerance::Ulps(4.0),
            F::Tanh | F::Asin | F::Acos | F::Atan | F::Atanh | F::Sinh | F::Cosh | F::Erf => {
                Tolerance::Ulps(4.0)
            }
            // A few functions after one another.
            F::Sigmoid | F::Silu | F::GeluQuick | F::Softplus => Tolerance::Ulps(8.0),
            // The far negative tail is a difference of nearly equal numbers in fast forms: small
            // beside the other elements, many ulps beside itself.
            F::GeluErf | F::GeluTanh => Tolerance::Norm(1e-6),
        }
    }

    fn sample(s: &mut Sampler) -> Sample {
        let func = s.choose(UnaryFn::ALL);
        let accepted: Vec<DType> = DType::PLAIN
            .into_iter()
            .filter(|&d| func.accepts(d))
            .collect();
        let (rank, dtype) = (s.size(0, 3), s.choose(&accepted));
        let shape = s.shape(rank, 17);
        Sample::new(Unary { func }, vec![s.tensor_with_specials(dtype, &shape)])
    }
}
