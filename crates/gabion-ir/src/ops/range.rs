//! `range`: evenly spaced integers or floats.

use gabion_tensor::{DType, Dim, HostTensor, Shape, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::{Builder, TensorValue};
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, operands};
use crate::sample::{Sample, Sampler};

/// `start, start + step, ..` before `stop`, of rank 1; empty if the step leads away from `stop`.
/// No operands. Any float or integer dtype that holds the values; floats round them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first value.
    pub start: Dim,
    /// The value to stop before.
    pub stop: Dim,
    /// The distance: a number other than 0.
    pub step: Dim,
    /// The dtype of the result.
    pub dtype: DType,
}

impl Range {
    fn step(&self) -> Result<i64, TypeError> {
        match self.step.as_fixed() {
            Some(step) if step != 0 && step != i64::MIN => Ok(step),
            _ => Err(TypeError::new(format!(
                "step: expected a number other than 0, found {}",
                self.step
            ))),
        }
    }
}

impl OpDef for Range {
    const NAME: &'static str = "range";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        operands::<0>(args)?;
        let step = self.step()?;
        if !self.dtype.is_float() && !self.dtype.is_int() {
            return Err(TypeError::new(format!(
                "dtype: expected a float or an integer, found {}",
                self.dtype
            )));
        }
        let span = if step > 0 {
            &self.stop - &self.start
        } else {
            &self.start - &self.stop
        };
        let span = if span.range().0.is_some_and(|least| least >= 0) {
            span
        } else {
            span.max(&Dim::ZERO)
        };
        let n = cx
            .relations()
            .simplify(&span.ceil_div(&Dim::fixed(step.abs()))?);
        Ok(smallvec![TensorType::new(
            self.dtype,
            [n].into_iter().collect::<Shape>()
        )])
    }

    fn eval(&self, _: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (start, shape) = (cx.dim(&self.start)?, cx.shape(0)?);
        let step = self.step().map_err(|e| EvalError::Value(e.message))?;
        let values: Vec<i64> = (0..shape[0]).map(|i| start + i as i64 * step).collect();
        let wide = HostTensor::from_vec(&shape, values)?;
        let out = wide.cast(self.dtype)?;
        if self.dtype.is_int()
            && (!out.cast(DType::I64)?.bitwise_eq(&wide) || self.below_unsigned(&wide)?)
        {
            return Err(EvalError::Value(format!(
                "a value of {start}..{} is outside {}",
                self.stop, self.dtype
            )));
        }
        Ok(smallvec![out])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let dtypes: Vec<DType> = DType::PLAIN.into_iter().filter(|d| !d.is_bool()).collect();
        let dtype = s.choose(&dtypes);
        let step = Dim::fixed(s.choose(&[1, 1, 2, 7, -1, -3]));
        let low = if dtype.is_unsigned_int() { 0 } else { -20 };
        let (start, stop) = (Dim::fixed(s.int(low, 30)), Dim::fixed(s.int(low, 30)));
        Sample::new(
            Range {
                start,
                stop,
                step,
                dtype,
            },
            Vec::new(),
        )
    }
}

impl Range {
    /// Whether there are negative values for an unsigned dtype (u64 reads back the same bits).
    fn below_unsigned(&self, wide: &HostTensor) -> Result<bool, EvalError> {
        Ok(self.dtype.is_unsigned_int() && wide.to_vec::<i64>()?.iter().any(|&v| v < 0))
    }
}

impl Builder {
    /// `0, 1, ..` before `stop`; see [`Range`].
    #[track_caller]
    pub fn range(&self, stop: impl Into<Dim>, dtype: DType) -> TensorValue<'_> {
        self.range_from(0, stop, 1, dtype)
    }

    /// `start, start + step, ..` before `stop`; see [`Range`].
    #[track_caller]
    pub fn range_from(
        &self,
        start: impl Into<Dim>,
        stop: impl Into<Dim>,
        step: i64,
        dtype: DType,
    ) -> TensorValue<'_> {
        let op = Range {
            start: start.into(),
            stop: stop.into(),
            step: Dim::fixed(step),
            dtype,
        };
        self.apply1(op, &[])
    }
}
