//! `scatter`: a copy with single elements along one axis updated, by index.

use gabion_tensor::{BinaryFn, DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::ops::element_places::{infer_indices, places, sample_indices};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::plain;
use crate::sample::{Sample, Sampler};

/// How [`Scatter`] joins an update with what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScatterReduce {
    /// The update replaces it; of several updates of one element the last in row-major order stays.
    #[default]
    None,
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

impl ScatterReduce {
    fn func(self) -> Option<BinaryFn> {
        match self {
            ScatterReduce::None => None,
            ScatterReduce::Add => Some(BinaryFn::Add),
            ScatterReduce::Mul => Some(BinaryFn::Mul),
            ScatterReduce::Max => Some(BinaryFn::Max),
            ScatterReduce::Min => Some(BinaryFn::Min),
        }
    }

    fn is_none(&self) -> bool {
        *self == ScatterReduce::None
    }
}

/// Operands `data`, integer `indices`, `updates` (of the shape of `indices` and the dtype of
/// `data`): a copy of `data` with element `[.., indices[.., j, ..], ..]` joined with update
/// `[.., j, ..]`, in row-major order of the updates. f16 and bf16 are joined in f32 and rounded
/// once. ONNX ScatterElements without negative indices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scatter {
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// How updates join.
    #[serde(default, skip_serializing_if = "ScatterReduce::is_none")]
    pub reduce: ScatterReduce,
}

impl OpDef for Scatter {
    const NAME: &'static str = "scatter";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [data, at, updates] = operands(args)?;
        plain(0, data)?;
        infer_indices(self.axis, data, at, cx)?;
        if updates.dtype != data.dtype {
            return Err(TypeError::dtype(
                2,
                &format!("{} as operand 0", data.dtype),
                updates.dtype,
            ));
        }
        if self.reduce.func().is_some_and(|f| !f.accepts(data.dtype)) {
            return Err(TypeError::dtype(
                0,
                "a float or an integer to be reduced",
                data.dtype,
            ));
        }
        if updates.shape.rank() != at.shape.rank() {
            return Err(TypeError::rank(
                2,
                &format!("rank {} as operand 1", at.shape.rank()),
                updates,
            ));
        }
        for (d, (size, expected)) in updates.shape.iter().zip(at.shape.iter()).enumerate() {
            cx.require_eq(
                size,
                expected,
                &format!("operand 2, axis {d}: the size of operand 1"),
            )?;
        }
        Ok(smallvec![data.clone()])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (data, dtype) = (&args[0], args[0].dtype());
        if args[1].shape() != args[2].shape() {
            let (at, updates) = (args[1].shape(), args[2].shape());
            return Err(EvalError::Value(format!(
                "scatter, operand 2: expected shape {at:?}, found {updates:?}"
            )));
        }
        let to = places(self.axis, data, &args[1], "scatter, operand 1")?;
        let func = self.reduce.func();
        let (mut out, updates) = (Lanes::read(data, dtype)?, Lanes::read(&args[2], dtype)?);
        match (&mut out, &updates) {
            (Lanes::F32(v), Lanes::F32(u)) => {
                put(v, u, &to, |a, b| func.map_or(Ok(b), |f| f.eval_f32(a, b)))?
            }
            (Lanes::F64(v), Lanes::F64(u)) => {
                put(v, u, &to, |a, b| func.map_or(Ok(b), |f| f.eval_f64(a, b)))?
            }
            (Lanes::I64(v), Lanes::I64(u)) => {
                put(v, u, &to, |a, b| func.map_or(Ok(b), |f| f.eval_i64(a, b)))?
            }
            (Lanes::U64(v), Lanes::U64(u)) => {
                put(v, u, &to, |a, b| func.map_or(Ok(b), |f| f.eval_u64(a, b)))?
            }
            (Lanes::Bool(v), Lanes::Bool(u)) => put(v, u, &to, |_, b| Ok::<_, EvalError>(b))?,
            _ => {
                return Err(EvalError::Value(
                    "scatter: the operands have two dtypes".to_owned(),
                ));
            }
        }
        Ok(smallvec![out.into_tensor(dtype, data.shape())?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let reduces = [
            ScatterReduce::None,
            ScatterReduce::Add,
            ScatterReduce::Mul,
            ScatterReduce::Max,
            ScatterReduce::Min,
        ];
        let (axis, shape, at) = sample_indices(s);
        let dtype = s.choose(&DType::PLAIN);
        let reduce = if dtype.is_bool() {
            ScatterReduce::None
        } else {
            s.choose(&reduces)
        };
        let data = s.tensor_with_specials(dtype, &shape);
        let updates = s.tensor(dtype, at.shape());
        Sample::new(Scatter { axis, reduce }, vec![data, at, updates])
    }
}

fn put<T: Copy, E>(
    values: &mut [T],
    updates: &[T],
    to: &[usize],
    f: impl Fn(T, T) -> Result<T, E>,
) -> Result<(), E> {
    for (&at, &update) in to.iter().zip(updates) {
        values[at] = f(values[at], update)?;
    }
    Ok(())
}

impl<'g> TensorValue<'g> {
    /// A copy with single elements along `axis` updated; see [`Scatter`].
    #[track_caller]
    pub fn scatter(
        self,
        indices: TensorValue<'g>,
        updates: TensorValue<'g>,
        axis: i64,
        reduce: ScatterReduce,
    ) -> TensorValue<'g> {
        self.builder()
            .apply1(Scatter { axis, reduce }, &[self, indices, updates])
    }
}
