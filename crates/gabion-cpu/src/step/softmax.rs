//! `softmax` and its logarithm, along one axis.

use gabion_plan::RunError;

use super::rows::{Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_float};
use crate::value::Kind;

struct SoftmaxStep {
    x: Rows,
    y: Rows,
    log: bool,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    axis: usize,
    log: bool,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    require_float(cx, "the operand", x.dtype)?;
    cx.require(axis < x.shape.len(), || {
        format!("axis {axis} of rank {}", x.shape.len())
    })?;
    cx.require(x.shape == y.shape && x.dtype == y.dtype, || {
        format!("{}{:?} from {}{:?}", y.dtype, y.shape, x.dtype, x.shape)
    })?;
    Ok(Box::new(SoftmaxStep {
        x: Rows::along(x, &[axis]),
        y: Rows::along(y, &[axis]),
        log,
    }))
}

fn softmax_f64(x: &mut [f64], log: bool) {
    let max = x.iter().fold(
        f64::NEG_INFINITY,
        |a, &b| if a > b || a.is_nan() { a } else { b },
    );
    if log {
        let sum: f64 = x.iter().map(|x| libm::exp(x - max)).sum();
        let shift = libm::log(sum);
        return x.iter_mut().for_each(|x| *x = *x - max - shift);
    }
    x.iter_mut().for_each(|x| *x = libm::exp(*x - max));
    let sum: f64 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
}

impl PreparedStep for SoftmaxStep {
    fn scratch(&self) -> usize {
        scratch_bytes::<f64>(self.x.len())
    }

    fn cost(&self) -> usize {
        self.x.count() * (self.x.len() + 30)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        for row in cx.share(self.x.count()) {
            let mut scratch = Scratch::of(cx);
            if Kind::of(self.x.dtype()) == Kind::F64 {
                let x = scratch.take::<f64>(self.x.len());
                self.x.load(cx, row, 0, x);
                softmax_f64(x, self.log);
                self.y.store(cx, row, 0, x);
            } else {
                let x = scratch.take::<f32>(self.x.len());
                self.x.load(cx, row, 0, x);
                cx.kernels.lanes.softmax(x, self.log);
                self.y.store(cx, row, 0, x);
            }
        }
        Ok(())
    }
}
