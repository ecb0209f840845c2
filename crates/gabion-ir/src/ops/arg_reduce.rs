//! `argmax`, `argmin`: where the largest or smallest element of an axis is.

use std::cmp::Ordering;

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis,
    operands,
};
use crate::ops::lanes::Lanes;
use crate::ops::ranked::Ranked;
use crate::ops::reduce::reduced_shape;
use crate::ops::requirements::plain;
use crate::ops::strides::around;
use crate::sample::{Sample, Sampler};

/// Which place an [`ArgReduce`] looks for; the operator's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ArgFn {
    /// `argmax`
    #[default]
    Max,
    /// `argmin`
    Min,
}

impl ArgFn {
    /// The word in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            ArgFn::Max => "argmax",
            ArgFn::Min => "argmin",
        }
    }
}

/// The index along `axis` of the largest (smallest) element of `x`, as i64; of equal ones the
/// first. As in numpy, the first NaN wins in both. Any plain dtype; an empty axis is an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgReduce {
    /// What is looked for; it is the operator's word and no attribute.
    #[serde(skip)]
    pub func: ArgFn,
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// Keep the axis, with size 1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_dims: bool,
}

impl ArgFn {
    /// The first place that wins.
    fn place<T: Ranked>(self, values: impl Iterator<Item = T>) -> Option<usize> {
        let mut best: Option<(usize, T)> = None;
        for (i, value) in values.enumerate() {
            let wins = match best {
                None => true,
                Some((_, top)) if top.is_nan() => false,
                Some(_) if value.is_nan() => true,
                Some((_, top)) => match self {
                    ArgFn::Max => value.rank(top) == Ordering::Greater,
                    ArgFn::Min => value.rank(top) == Ordering::Less,
                },
            };
            if wins {
                best = Some((i, value));
            }
        }
        best.map(|(i, _)| i)
    }

    fn places<T: Ranked>(
        self,
        values: &[T],
        (outer, size, inner): (usize, usize, usize),
    ) -> Option<Vec<i64>> {
        let lines = (0..outer).flat_map(|o| (0..inner).map(move |r| o * size * inner + r));
        lines
            .map(|line| {
                self.place((0..size).map(|i| values[line + i * inner]))
                    .map(|i| i as i64)
            })
            .collect()
    }
}

impl OpDef for ArgReduce {
    const NAME: &'static str = "arg_reduce";

    fn word(&self) -> &'static str {
        self.func.name()
    }

    fn words() -> Vec<&'static str> {
        vec![ArgFn::Max.name(), ArgFn::Min.name()]
    }

    fn from_word(word: &str, attrs: Attrs) -> Result<Self, serde_json::Error> {
        let mut op: Self = serde_json::from_value(serde_json::Value::Object(attrs))?;
        op.func = if word == ArgFn::Min.name() {
            ArgFn::Min
        } else {
            ArgFn::Max
        };
        Ok(op)
    }

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        plain(0, x)?;
        let axis = normalize_axis(self.axis, x.shape.rank())?;
        let mut gone = vec![false; x.shape.rank()];
        gone[axis] = true;
        Ok(smallvec![TensorType::new(
            DType::I64,
            reduced_shape(&x.shape, &gone, self.keep_dims)
        )])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let axis = normalize_axis(self.axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
        let sizes = around(x.shape(), axis);
        let places = match Lanes::read(x, x.dtype())? {
            Lanes::F32(v) => self.func.places(&v, sizes),
            Lanes::F64(v) => self.func.places(&v, sizes),
            Lanes::I64(v) => self.func.places(&v, sizes),
            Lanes::U64(v) => self.func.places(&v, sizes),
            Lanes::Bool(v) => self.func.places(&v, sizes),
        };
        let places = places.ok_or_else(|| {
            EvalError::Value(format!(
                "the {} of axis {axis} of shape {:?}, which is empty",
                self.func.name(),
                x.shape()
            ))
        })?;
        Ok(smallvec![HostTensor::from_vec(&cx.shape(0)?, places)?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let func = s.choose(&[ArgFn::Max, ArgFn::Min]);
        let rank = s.size(1, 3);
        let axis = s.int(-(rank as i64), rank as i64 - 1);
        let (dtype, shape) = (s.choose(&DType::PLAIN), s.shape(rank, 9));
        let x = s.tensor_with_specials(dtype, &shape);
        Sample::new(
            ArgReduce {
                func,
                axis,
                keep_dims: s.one_in(2),
            },
            vec![x],
        )
    }
}

impl<'g> TensorValue<'g> {
    /// Where the largest element along `axis` is, as i64; see [`ArgReduce`].
    #[track_caller]
    pub fn argmax(self, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(
            ArgReduce {
                func: ArgFn::Max,
                axis,
                keep_dims: false,
            },
            &[self],
        )
    }

    /// Where the smallest element along `axis` is, as i64; see [`ArgReduce`].
    #[track_caller]
    pub fn argmin(self, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(
            ArgReduce {
                func: ArgFn::Min,
                axis,
                keep_dims: false,
            },
            &[self],
        )
    }
}
