//! `cumsum`: running sums.

use gabion_tensor::{DType, HostTensor, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError, normalize_axis,
    operands,
};
use crate::ops::lanes::Lanes;
use crate::ops::requirements::number;
use crate::ops::strides::around;
use crate::sample::{Sample, Sampler};

/// Element `i` along `axis` is the sum of the elements `0..=i` of `x`. Floats and integers; the
/// result has the type of `x`. Float sums run in f64 (f32 or better in executors) and each is
/// rounded once; integers wrap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cumsum {
    /// The axis; negative counts from the back.
    pub axis: i64,
    /// Leave the element itself out: the first sum is 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// Sum from the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverse: bool,
}

impl Cumsum {
    fn run<T: Copy>(
        &self,
        values: &mut [T],
        (outer, size, inner): (usize, usize, usize),
        zero: T,
        add: impl Fn(T, T) -> T,
    ) {
        for line in (0..outer).flat_map(|o| (0..inner).map(move |r| o * size * inner + r)) {
            let mut sum = zero;
            for i in 0..size {
                let at = line + inner * if self.reverse { size - 1 - i } else { i };
                let with = add(sum, values[at]);
                values[at] = if self.exclusive { sum } else { with };
                sum = with;
            }
        }
    }
}

impl OpDef for Cumsum {
    const NAME: &'static str = "cumsum";

    fn infer(&self, args: &[TensorType], _: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        number(0, x)?;
        normalize_axis(self.axis, x.shape.rank())?;
        Ok(smallvec![x.clone()])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let axis = normalize_axis(self.axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
        let sizes = around(x.shape(), axis);
        let dtype = if x.dtype().is_float() {
            DType::F64
        } else {
            x.dtype()
        };
        let mut lanes = Lanes::read(x, dtype)?;
        match &mut lanes {
            Lanes::F32(v) => self.run(v, sizes, 0.0, |a, b| a + b),
            Lanes::F64(v) => self.run(v, sizes, 0.0, |a, b| a + b),
            Lanes::I64(v) => self.run(v, sizes, 0, i64::wrapping_add),
            Lanes::U64(v) => self.run(v, sizes, 0, u64::wrapping_add),
            Lanes::Bool(_) => {}
        }
        Ok(smallvec![lanes.into_tensor(x.dtype(), x.shape())?])
    }

    fn tolerance(&self) -> Tolerance {
        // f32 sums instead of f64 ones.
        Tolerance::Norm(2e-5)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let dtypes: Vec<DType> = DType::PLAIN.into_iter().filter(|d| !d.is_bool()).collect();
        let (dtype, rank) = (s.choose(&dtypes), s.size(1, 3));
        let shape = s.shape(rank, 9);
        let axis = s.int(-(rank as i64), rank as i64 - 1);
        let op = Cumsum {
            axis,
            exclusive: s.one_in(2),
            reverse: s.one_in(2),
        };
        Sample::new(op, vec![s.tensor(dtype, &shape)])
    }
}

impl<'g> TensorValue<'g> {
    /// Running sums along `axis`; see [`Cumsum`] for exclusive and reverse ones.
    #[track_caller]
    pub fn cumsum(self, axis: i64) -> TensorValue<'g> {
        self.builder().apply1(
            Cumsum {
                axis,
                exclusive: false,
                reverse: false,
            },
            &[self],
        )
    }
}
