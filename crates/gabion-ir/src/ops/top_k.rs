//! `top_k`: the largest elements of an axis with their indices.

use gabion_tensor::{Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::lanes::Lanes;
use crate::ops::ranked::Ranked;
use crate::ops::requirements::plain;
use crate::ops::reshape::require_sizes;
use crate::ops::strides::{around, pick};
use crate::sample::{Sample, Sampler};

/// The `k` largest elements of `x` along `axis`, largest first, and their indices (i64). Equal
/// elements stand in the order of their indices; NaN is the largest. `k` is at most the size of the
/// axis. Any plain dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopK {
    /// How many.
    pub k: Dim,
    /// The axis; negative counts from the back.
    pub axis: i64,
}

impl OpDef for TopK {
    const NAME: &'static str = "top_k";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [x] = operands(args)?;
        plain(0, x)?;
        let axis = normalize_axis(self.axis, x.shape.rank())?;
        require_sizes(std::slice::from_ref(&self.k))?;
        let (lhs, rhs) = (self.k.clone(), x.shape[axis].clone());
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Le,
                rhs,
            },
            &format!("k is at most axis {axis} of operand 0"),
        )?;
        let mut shape = x.shape.clone();
        shape[axis] = self.k.clone();
        Ok(smallvec![
            TensorType::new(x.dtype, shape.clone()),
            TensorType::new(DType::I64, shape)
        ])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let x = &args[0];
        let axis = normalize_axis(self.axis, x.rank()).map_err(|e| EvalError::Value(e.message))?;
        let shape = cx.shape(0)?;
        let (sizes, k) = (around(x.shape(), axis), shape[axis]);
        if k > sizes.1 {
            return Err(EvalError::Value(format!(
                "k = {k} is more than axis {axis} of shape {:?}",
                x.shape()
            )));
        }
        let order = match Lanes::read(x, x.dtype())? {
            Lanes::F32(v) => order(&v, sizes),
            Lanes::F64(v) => order(&v, sizes),
            Lanes::I64(v) => order(&v, sizes),
            Lanes::U64(v) => order(&v, sizes),
            Lanes::Bool(v) => order(&v, sizes),
        };
        let (outer, size, inner) = sizes;
        let (mut from, mut places) = (Vec::new(), Vec::new());
        for o in 0..outer {
            let lines = &order[o * inner..(o + 1) * inner];
            for place in 0..k {
                for (r, line) in lines.iter().enumerate() {
                    from.push((o * size + line[place]) * inner + r);
                    places.push(line[place] as i64);
                }
            }
        }
        Ok(smallvec![
            pick(x, &shape, from)?,
            HostTensor::from_vec(&shape, places)?
        ])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 3);
        let axis = s.size(0, rank - 1);
        let (dtype, shape) = (s.choose(&DType::PLAIN), s.shape(rank, 9));
        let k = Dim::from(s.size(0, shape[axis]));
        let axis = if s.one_in(2) {
            axis as i64 - rank as i64
        } else {
            axis as i64
        };
        Sample::new(
            TopK { k, axis },
            vec![s.tensor_with_specials(dtype, &shape)],
        )
    }
}

/// For every line along the axis, its indices from the largest element down.
fn order<T: Ranked>(values: &[T], (outer, size, inner): (usize, usize, usize)) -> Vec<Vec<usize>> {
    let lines = (0..outer).flat_map(|o| (0..inner).map(move |r| o * size * inner + r));
    lines
        .map(|line| {
            let mut order: Vec<usize> = (0..size).collect();
            // The sort is stable, so equal elements keep the order of their indices.
            order.sort_by(|&i, &j| values[line + j * inner].rank(values[line + i * inner]));
            order
        })
        .collect()
}

impl<'g> TensorValue<'g> {
    /// The `k` largest along `axis` and their indices; see [`TopK`].
    #[track_caller]
    pub fn top_k(self, k: impl Into<Dim>, axis: i64) -> (TensorValue<'g>, TensorValue<'g>) {
        let results = self.builder().apply(TopK { k: k.into(), axis }, &[self]);
        (results[0], results[results.len() - 1])
    }
}
