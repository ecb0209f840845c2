//! `top_k`: the largest of each row, descending, ties by index, NaN first.

use gabion_plan::RunError;
use gabion_tensor::DType;

use super::arg_reduce::better;
use super::rows::{Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_plain};
use crate::value::{Kind, Value, with_kind};

struct TopKStep {
    x: Rows,
    values: Rows,
    indices: Rows,
}

pub(super) fn prepare(cx: &Prepare<'_>, axis: usize) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, values, indices) = (cx.read(0)?, cx.write(0)?, cx.write(1)?);
    require_plain(cx, "the operand", x.dtype)?;
    cx.require(axis < x.shape.len(), || {
        format!("axis {axis} of rank {}", x.shape.len())
    })?;
    cx.require(
        values.shape.len() == x.shape.len() && values.shape == indices.shape,
        || {
            format!(
                "{:?} and {:?} from {:?}",
                values.shape, indices.shape, x.shape
            )
        },
    )?;
    cx.require(
        values.dtype == x.dtype && indices.dtype == DType::I64,
        || format!("{} and {} from {}", values.dtype, indices.dtype, x.dtype),
    )?;
    let step = TopKStep {
        x: Rows::along(x, &[axis]),
        values: Rows::along(values, &[axis]),
        indices: Rows::along(indices, &[axis]),
    };
    let (k, n) = (step.values.len(), step.x.len());
    if k > n {
        return Err(RunError::Value(format!(
            "{}: the {k} largest of {n} elements",
            cx.name
        )));
    }
    cx.require(step.x.count() == step.values.count(), || {
        format!("{} rows, {} results", step.x.count(), step.values.count())
    })?;
    Ok(Box::new(step))
}

impl TopKStep {
    fn row<V: Value>(&self, cx: &StepCx<'_>, row: usize) {
        let (n, k) = (self.x.len(), self.values.len());
        let mut scratch = Scratch::of(cx);
        let x = scratch.take::<V>(n);
        let order = scratch.take::<u64>(n);
        let best = scratch.take::<V>(k);
        let places = scratch.take::<i64>(k);
        self.x.load(cx, row, 0, x);
        for (i, order) in order.iter_mut().enumerate() {
            *order = i as u64;
        }
        // A total order: no two places are equal, so an unstable selection has one result.
        let by = |a: &u64, b: &u64| better(true, x[*a as usize], x[*b as usize]).then(a.cmp(b));
        if k < n && k > 0 {
            order.select_nth_unstable_by(k - 1, by);
        }
        order[..k].sort_unstable_by(by);
        for ((best, place), &from) in best.iter_mut().zip(places.iter_mut()).zip(order.iter()) {
            (*best, *place) = (x[from as usize], from as i64);
        }
        self.values.store(cx, row, 0, best);
        self.indices.store(cx, row, 0, places);
    }
}

impl PreparedStep for TopKStep {
    fn scratch(&self) -> usize {
        2 * scratch_bytes::<u64>(self.x.len()) + 2 * scratch_bytes::<u64>(self.values.len())
    }

    fn cost(&self) -> usize {
        self.x.count() * (8 * self.x.len() + 50)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        for row in cx.share(self.x.count()) {
            with_kind!(Kind::of(self.x.dtype()), V => self.row::<V>(cx, row));
        }
        Ok(())
    }
}
