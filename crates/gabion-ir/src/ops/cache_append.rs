//! `cache_append`: a cache with new entries written at a position.

use gabion_tensor::{Constraint, DType, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{
    EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, TypeError, normalize_axis, operands,
};
use crate::ops::requirements::position;
use crate::ops::strides::{around, unit_shape};
use crate::sample::{Sample, Sampler};

/// Operands `cache [.., capacity, ..]`, `new [.., n, ..]`, `position i64[]`: the cache with `new`
/// at `position..position + n` along `axis`. A graph is pure, so this is a copy in meaning;
/// executors write in place where the cache was donated. A write that leaves the capacity is an
/// error. Any dtype, one for both; slots of a block format do not lie along the last axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheAppend {
    /// The axis of the cache's slots; negative counts from the back.
    pub axis: i64,
}

impl OpDef for CacheAppend {
    const NAME: &'static str = "cache_append";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let [cache, new, at] = operands(args)?;
        let rank = cache.shape.rank();
        let axis = normalize_axis(self.axis, rank)?;
        if cache.dtype.is_block() && axis + 1 == rank {
            return Err(TypeError::dtype(
                0,
                "a plain dtype when writing along the last axis",
                cache.dtype,
            ));
        }
        if new.dtype != cache.dtype {
            return Err(TypeError::dtype(
                1,
                &format!("{} as the cache (`cast` it)", cache.dtype),
                new.dtype,
            ));
        }
        if new.shape.rank() != rank {
            return Err(TypeError::rank(
                1,
                &format!("rank {rank} as the cache"),
                new,
            ));
        }
        for d in (0..rank).filter(|&d| d != axis) {
            let why = format!("operand 1, axis {d}: the size of the cache");
            cx.require_eq(&new.shape[d], &cache.shape[d], &why)?;
        }
        let (lhs, rhs) = (new.shape[axis].clone(), cache.shape[axis].clone());
        let why = format!("operand 1, axis {axis}: at most the capacity of the cache");
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Le,
                rhs,
            },
            &why,
        )?;
        position(2, at)?;
        Ok(smallvec![cache.clone()])
    }

    fn eval(&self, args: &[HostTensor], _: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        let (cache, new) = (&args[0], &args[1]);
        let axis =
            normalize_axis(self.axis, cache.rank()).map_err(|e| EvalError::Value(e.message))?;
        let position = args[2].to_i64_vec()?[0];
        let (outer, capacity, inner) = around(&unit_shape(cache), axis);
        let n = new.shape()[axis];
        let begin = usize::try_from(position)
            .ok()
            .filter(|p| p.checked_add(n).is_some_and(|end| end <= capacity));
        let Some(begin) = begin else {
            return Err(EvalError::Value(format!(
                "cache_append writes slots {position}..{} of a cache of {capacity}",
                position.saturating_add(n as i64)
            )));
        };
        let row = inner * cache.dtype().block_bytes();
        let mut bytes = cache.bytes().to_vec();
        for o in 0..outer {
            let to = (o * capacity + begin) * row;
            let from = o * n * row;
            bytes[to..to + n * row].copy_from_slice(&new.bytes()[from..from + n * row]);
        }
        Ok(smallvec![HostTensor::new(
            cache.dtype(),
            cache.shape(),
            bytes
        )?])
    }

    fn sample(s: &mut Sampler) -> Sample {
        let rank = s.size(1, 4);
        let axis = s.size(0, rank - 1);
        let mut shape = s.shape(rank, 5);
        let dtype = s.choose(&DType::PLAIN);
        let cache = s.tensor_with_specials(dtype, &shape);
        let capacity = shape[axis];
        shape[axis] = s.size(0, capacity);
        let at = HostTensor::scalar(s.int(0, (capacity - shape[axis]) as i64));
        let new = s.tensor_with_specials(dtype, &shape);
        let axis = if s.one_in(3) {
            axis as i64 - rank as i64
        } else {
            axis as i64
        };
        Sample::new(CacheAppend { axis }, vec![cache, new, at])
    }
}

impl<'g> TensorValue<'g> {
    /// The cache with `new` written at `position` (i64 scalar) along `axis`; see [`CacheAppend`].
    #[track_caller]
    pub fn cache_append(
        self,
        new: TensorValue<'g>,
        position: TensorValue<'g>,
        axis: i64,
    ) -> TensorValue<'g> {
        self.builder()
            .apply1(CacheAppend { axis }, &[self, new, position])
    }
}
