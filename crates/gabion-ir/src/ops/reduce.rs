//! Reductions over axes: `reduce_sum`, `reduce_mean`, `reduce_max`, `reduce_min`, `reduce_prod`,
//! `reduce_any`, `reduce_all`. The index of the largest is in `arg_reduce.rs`.

mod func;

pub use func::ReduceFn;

use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError,
    normalize_axis, operands,
};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::{float, number};
use crate::ops::strides::{positions, strides};
use crate::sample::{Sample, Sampler};

use func::{fold, integers};

/// Reduces `x` over `axes`; the result has the dtype of `x`. Float sums and products are those of
/// f64, rounded once (f32 or better in executors).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reduce {
    /// What is computed; it is the operator's word and no attribute.
    #[serde(skip)]
    pub func: ReduceFn,
    /// At least one axis; negative counts from the back.
    pub axes: Vec<i64>,
    /// Keep the axes, with size 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_dims: bool,
}

/// For every axis of `rank`, whether it is among `axes`.
fn reduced(axes: &[i64], rank: usize) -> Result<Vec<bool>, TypeError> {
    let mut reduced = vec![false; rank];
    for &axis in axes {
        let axis = normalize_axis(axis, rank)?;
        if std::mem::replace(&mut reduced[axis], true) {
            return Err(TypeError::new(format!("axes: axis {axis} is named twice")));
        }
    }
    if axes.is_empty() {
        return Err(TypeError::new("axes: expected at least 1, found none"));
    }
    Ok(reduced)
}

/// `shape` with the reduced axes dropped or of size 1.
pub(crate) fn reduced_shape(shape: &Shape, reduced: &[bool], keep_dims: bool) -> Shape {
    let keep = |(dim, &gone): (&Dim, &bool)| match (gone, keep_dims) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(Dim::ONE),
        (true, false) => None,
    };
    shape.iter().zip(reduced).filter_map(keep).collect()
}

impl OpDef for Reduce {
    const NAME: &'static str = "reduce";

    fn word(&self) -> &'static str {
        self.func.name()
    }

    fn words() -> Vec<&'static str> {
        ReduceFn::ALL.iter().map(|f| f.name()).collect()
    }

    fn from_word(word: &str, attrs: Attrs) -> Result<Self, serde_json::Error> {
        let mut op: Self = serde_json::from_value(serde_json::Value::Object(attrs))?;
        op.func = ReduceFn::ALL
            .iter()
            .copied()
            .find(|f| f.name() == word)
            .unwrap_or_default();
        Ok(op)
    }

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        match self.func {
            ReduceFn::Any | ReduceFn::All if !x.dtype.is_bool() => {
                return Err(TypeError::dtype(0, "bool", x.dtype));
            }
            ReduceFn::Any | ReduceFn::All => {}
            ReduceFn::Mean => float(0, x)?,
            ReduceFn::Sum | ReduceFn::Max | ReduceFn::Min | ReduceFn::Prod => number(0, x)?,
        }
        let reduced = reduced(&self.axes, x.shape.rank())?;
        Ok(smallvec![TensorType::new(
            x.dtype,
            reduced_shape(&x.shape, &reduced, self.keep_dims)
        )])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let reduced = reduced(&self.axes, x.rank()).map_err(|e| EvalError::Value(e.message))?;
        let own = strides(x.shape());
        let side = |gone: bool| {
            let axes = (0..x.rank()).filter(|&a| reduced[a] == gone);
            let (sizes, strides): (Vec<usize>, Vec<isize>) =
                axes.map(|a| (x.shape()[a], own[a])).unzip();
            positions(&sizes, &strides, 0)
        };
        let (kept, inner) = (side(false), side(true));
        let extremum = matches!(self.func, ReduceFn::Max | ReduceFn::Min);
        if extremum && inner.is_empty() && !kept.is_empty() {
            return Err(EvalError::Value(format!(
                "the {} of no elements",
                self.func.name()
            )));
        }
        // Sums need the wider type; extremes are exact in any.
        let dtype = if x.dtype().is_float() {
            DType::F64
        } else {
            x.dtype()
        };
        let out = match Lanes::read(x, dtype)? {
            Lanes::F64(v) => Lanes::F64(fold(&kept, &inner, &v, |v| self.func.of_floats(v))),
            Lanes::I64(v) => Lanes::I64(fold(&kept, &inner, &v, |v| integers!(self.func, v))),
            Lanes::U64(v) => Lanes::U64(fold(&kept, &inner, &v, |v| integers!(self.func, v))),
            Lanes::Bool(v) => Lanes::Bool(fold(&kept, &inner, &v, |v| match self.func {
                ReduceFn::Any => v.fold(false, |a, b| a | b),
                _ => v.fold(true, |a, b| a & b),
            })),
            Lanes::F32(_) => return Err(EvalError::Value("floats are reduced in f64".to_owned())),
        };
        Ok(smallvec![out.into_tensor(x.dtype(), &cx.shape(0)?)?])
    }

    fn tolerance(&self) -> Tolerance {
        match self.func {
            // f32 sums in any order; random signs cancel one or two digits.
            ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod => Tolerance::Norm(2e-5),
            ReduceFn::Max | ReduceFn::Min | ReduceFn::Any | ReduceFn::All => Tolerance::Exact,
        }
    }

    fn sample(s: &mut Sampler) -> Sample {
        let func = s.choose(ReduceFn::ALL);
        let dtypes: Vec<DType> = DType::PLAIN
            .into_iter()
            .filter(|d| match func {
                ReduceFn::Any | ReduceFn::All => d.is_bool(),
                ReduceFn::Mean => d.is_float(),
                ReduceFn::Sum | ReduceFn::Max | ReduceFn::Min | ReduceFn::Prod => !d.is_bool(),
            })
            .collect();
        let (dtype, rank) = (s.choose(&dtypes), s.size(1, 4));
        let shape = s.shape(rank, 9);
        let mut axes: Vec<i64> = (0..rank as i64).filter(|_| s.one_in(2)).collect();
        if axes.is_empty() {
            axes.push(-1);
        }
        let x = match func {
            // A product of large numbers overflows in f32 on the way, and not in f64.
            ReduceFn::Prod => s.tensor_in(
                dtype,
                &shape,
                if dtype.is_unsigned_int() { 0.0 } else { -1.5 },
                1.5,
            ),
            _ if s.one_in(4) => s.tensor_with_specials(dtype, &shape),
            _ => s.tensor(dtype, &shape),
        };
        Sample::new(
            Reduce {
                func,
                axes,
                keep_dims: s.one_in(2),
            },
            vec![x],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// Any reduction over `axes` (negative counts from the back); see [`Reduce`].
    #[track_caller]
    pub fn reduce(self, func: ReduceFn, axes: &[i64], keep_dims: bool) -> TensorValue<'g> {
        self.builder().apply1(
            Reduce {
                func,
                axes: axes.to_vec(),
                keep_dims,
            },
            &[self],
        )
    }
}
