//! `norm`: RMS and layer norms over the last axis, row by row.

use gabion_plan::{NormKind, NormSpec, RunError};

use super::rows::{Rows, Scratch, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_float};
use crate::value::{Kind, Value};

/// A norm's parameters and where they are.
pub(super) struct NormRows {
    spec: NormSpec,
    weight: Rows,
    bias: Option<Rows>,
    n: usize,
}

impl NormRows {
    /// The norm of rows of `n` elements whose parameters are reads `first..`.
    pub(super) fn new(
        cx: &Prepare<'_>,
        spec: &NormSpec,
        first: usize,
        n: usize,
    ) -> Result<NormRows, RunError> {
        let vector = |index: usize, what: &str| {
            let placed = cx.read(index)?;
            require_float(cx, what, placed.dtype)?;
            cx.require(placed.shape.as_slice() == [n], || {
                format!("the norm's {what} is {:?}, expected [{n}]", placed.shape)
            })?;
            Ok::<Rows, RunError>(Rows::along(placed, &[0]))
        };
        Ok(NormRows {
            spec: *spec,
            weight: vector(first, "weight")?,
            bias: match spec.kind {
                NormKind::LayerBias => Some(vector(first + 1, "bias")?),
                NormKind::Rms | NormKind::Layer => None,
            },
            n,
        })
    }

    /// Bytes of scratch for the parameters.
    pub(super) fn scratch(&self) -> usize {
        2 * scratch_bytes::<f64>(self.n)
    }

    /// The parameters, in place or converted into scratch memory.
    pub(super) fn parameters<'a, V: Value>(
        &'a self,
        cx: &'a StepCx<'_>,
        scratch: &mut Scratch,
    ) -> Parameters<'a, V> {
        let mut vector = |rows: &'a Rows| {
            rows.slice::<V>(cx, 0).unwrap_or_else(|| {
                let out = scratch.take(self.n);
                load_as(rows, cx, out);
                out
            })
        };
        Parameters {
            spec: self.spec,
            weight: vector(&self.weight),
            bias: self.bias.as_ref().map(vector),
        }
    }
}

/// Reads a vector of any float dtype as another kind.
fn load_as<V: Value>(rows: &Rows, cx: &StepCx<'_>, out: &mut [V]) {
    if Kind::of(rows.dtype()) == V::KIND {
        return rows.load(cx, 0, 0, out);
    }
    for (i, out) in out.iter_mut().enumerate() {
        if V::KIND == Kind::F64 {
            let mut one = [0.0f32];
            rows.load(cx, 0, i, &mut one);
            *out = bytemuck::cast_slice(&[f64::from(one[0])])[0];
        } else {
            let mut one = [0.0f64];
            rows.load(cx, 0, i, &mut one);
            *out = bytemuck::cast_slice(&[one[0] as f32])[0];
        }
    }
}

/// What a row is normalised with.
pub(super) struct Parameters<'a, V> {
    spec: NormSpec,
    weight: &'a [V],
    bias: Option<&'a [V]>,
}

impl Parameters<'_, f32> {
    /// Normalises a row.
    pub(super) fn apply(&self, cx: &StepCx<'_>, x: &[f32], y: &mut [f32]) {
        let lanes = &cx.kernels.lanes;
        match self.spec.kind {
            NormKind::Rms => lanes.rms(x, self.weight, self.spec.eps, y),
            NormKind::Layer | NormKind::LayerBias => {
                lanes.layer(x, self.weight, self.bias, self.spec.eps, y)
            }
        }
    }
}

impl Parameters<'_, f64> {
    fn apply_f64(&self, x: &mut [f64]) {
        let n = x.len() as f64;
        let mean = match self.spec.kind {
            NormKind::Rms => 0.0,
            NormKind::Layer | NormKind::LayerBias => x.iter().sum::<f64>() / n,
        };
        let squares: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
        let scale = 1.0 / (squares / n + self.spec.eps).sqrt();
        for (i, x) in x.iter_mut().enumerate() {
            *x = (*x - mean) * scale * self.weight[i] + self.bias.map_or(0.0, |b| b[i]);
        }
    }
}

struct NormStep {
    x: Rows,
    y: Rows,
    norm: NormRows,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    spec: &NormSpec,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (x, y) = (cx.read(0)?, cx.write(0)?);
    require_float(cx, "the operand", x.dtype)?;
    cx.require(
        !x.shape.is_empty() && x.shape == y.shape && x.dtype == y.dtype,
        || format!("{}{:?} from {}{:?}", y.dtype, y.shape, x.dtype, x.shape),
    )?;
    let axis = x.shape.len() - 1;
    Ok(Box::new(NormStep {
        norm: NormRows::new(cx, spec, 1, x.shape[axis])?,
        x: Rows::along(x, &[axis]),
        y: Rows::along(y, &[axis]),
    }))
}

impl PreparedStep for NormStep {
    fn scratch(&self) -> usize {
        self.norm.scratch() + 2 * scratch_bytes::<f64>(self.x.len())
    }

    fn cost(&self) -> usize {
        self.x.count() * (self.x.len() / 4 + 30)
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        let mut scratch = Scratch::of(cx);
        let n = self.x.len();
        if Kind::of(self.x.dtype()) == Kind::F64 {
            let parameters = self.norm.parameters::<f64>(cx, &mut scratch);
            let x = scratch.take(n);
            for row in cx.share(self.x.count()) {
                self.x.load(cx, row, 0, x);
                parameters.apply_f64(x);
                self.y.store(cx, row, 0, x);
            }
            return Ok(());
        }
        let parameters = self.norm.parameters::<f32>(cx, &mut scratch);
        let (x, y) = (scratch.take(n), scratch.take(n));
        for row in cx.share(self.x.count()) {
            match self.x.slice(cx, row) {
                Some(x) => parameters.apply(cx, x, y),
                None => {
                    self.x.load(cx, row, 0, x);
                    parameters.apply(cx, x, y);
                }
            }
            self.y.store(cx, row, 0, y);
        }
        Ok(())
    }
}
