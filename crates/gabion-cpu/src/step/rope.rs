//! `rope`: rotates pairs of elements within each head.

use gabion_plan::{Pairing, RunError};

use super::rows::{Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_float};
use crate::value::{Kind, Value};

struct RopeStep {
    pairing: Pairing,
    x: Rows,
    cos: Rows,
    sin: Rows,
    y: Rows,
    heads: usize,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    pairing: Pairing,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, cos, sin, y) = (cx.read(0)?, cx.read(1)?, cx.read(2)?, cx.write(0)?);
    require_float(cx, "the operand", x.dtype)?;
    require_float(cx, "cos", cos.dtype)?;
    require_float(cx, "sin", sin.dtype)?;
    let rank = x.shape.len();
    let fits = rank >= 2
        && x.shape == y.shape
        && x.dtype == y.dtype
        && cos.shape == sin.shape
        && cos.dtype == sin.dtype
        && Kind::of(cos.dtype) == Kind::of(x.dtype)
        && cos.shape.len() + 1 == rank
        && cos.shape[..rank - 2] == x.shape[..rank - 2]
        && 2 * cos.shape[rank - 2] <= x.shape[rank - 1];
    cx.require(fits, || {
        format!(
            "x {:?}, cos {:?}, sin {:?}, y {:?}",
            x.shape, cos.shape, sin.shape, y.shape
        )
    })?;
    Ok(Box::new(RopeStep {
        pairing,
        heads: x.shape[rank - 2],
        x: Rows::along(x, &[rank - 1]),
        cos: Rows::along(cos, &[rank - 2]),
        sin: Rows::along(sin, &[rank - 2]),
        y: Rows::along(y, &[rank - 1]),
    }))
}

/// As [`crate::kernels::lanes::LaneKernels::rotate`], for neighbours or in f64.
fn rotate<
    V: Value + std::ops::Mul<Output = V> + std::ops::Add<Output = V> + std::ops::Sub<Output = V>,
>(
    pairing: Pairing,
    x: &[V],
    cos: &[V],
    sin: &[V],
    y: &mut [V],
) {
    let n = cos.len();
    for i in 0..n {
        let (first, second) = match pairing {
            Pairing::Half => (i, n + i),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (a, b) = (x[first], x[second]);
        y[first] = a * cos[i] - b * sin[i];
        y[second] = b * cos[i] + a * sin[i];
    }
}

impl RopeStep {
    fn rows<V: Value>(&self, cx: &StepCx<'_>, rotate: impl Fn(&[V], &[V], &[V], &mut [V])) {
        let (n, angles) = (self.x.len(), self.cos.len());
        let mut scratch = Scratch::of(cx);
        let (x, y) = (scratch.take::<V>(n), scratch.take::<V>(n));
        let (cos, sin) = (scratch.take::<V>(angles), scratch.take::<V>(angles));
        let mut loaded = usize::MAX;
        for row in cx.share(self.x.count()) {
            let token = row / self.heads;
            if token != loaded {
                self.cos.load(cx, token, 0, cos);
                self.sin.load(cx, token, 0, sin);
                loaded = token;
            }
            self.x.load(cx, row, 0, x);
            y[2 * angles..].copy_from_slice(&x[2 * angles..]);
            rotate(x, cos, sin, y);
            self.y.store(cx, row, 0, y);
        }
    }
}

impl PreparedStep for RopeStep {
    fn scratch(&self) -> usize {
        4 * scratch_bytes::<f64>(self.x.len())
    }

    fn cost(&self) -> usize {
        self.x.count() * (self.x.len() / 4 + 30)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        match (Kind::of(self.x.dtype()), self.pairing) {
            (Kind::F64, pairing) => self.rows::<f64>(cx, |x, c, s, y| rotate(pairing, x, c, s, y)),
            (_, Pairing::Half) => {
                self.rows::<f32>(cx, |x, c, s, y| cx.kernels.lanes.rotate(x, c, s, y))
            }
            (_, pairing) => self.rows::<f32>(cx, |x, c, s, y| rotate(pairing, x, c, s, y)),
        }
        Ok(())
    }
}
