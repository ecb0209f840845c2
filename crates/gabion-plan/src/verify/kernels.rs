//! What each kernel reads and writes. `matmul` and elementwise programs have files of their own.

use gabion_tensor::{Constraint, DType, Dim};

use super::steps::{StepCheck, Want};
use crate::kernel::{Attention, Kernel, NormKind, NormSpec, ReduceFn};
use crate::view::View;

/// A shape with one axis in another size.
fn with_axis(shape: &[Dim], axis: usize, size: Dim) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    shape[axis] = size;
    shape
}

impl StepCheck<'_, '_> {
    pub(super) fn kernel(&mut self) {
        let step = self.step;
        match &step.kernel {
            Kernel::Matmul(matmul) => self.matmul(matmul),
            Kernel::BatchMatmul(_) => self.batch_matmul(),
            Kernel::Map(program) => self.program(program),
            Kernel::Reduce { func, axes } => self.reduce(*func, axes),
            Kernel::ArgReduce { axis, .. } => self.arg_reduce(*axis),
            Kernel::TopK { axis } => self.top_k(*axis),
            Kernel::CumSum { axis, .. } => self.along_axis(*axis, Want::Number),
            Kernel::Softmax { axis, .. } => self.along_axis(*axis, Want::Float),
            Kernel::Norm(spec) => self.norm(spec),
            Kernel::Rope { .. } => self.rope(),
            Kernel::Attention(attention) => self.attention(attention),
            Kernel::Gather { axis } => self.gather(*axis),
            Kernel::GatherElements { axis } => self.gather_elements(*axis),
            Kernel::Scatter { axis, .. } => self.scatter(*axis),
            Kernel::CacheAppend { axis } => self.cache_append(*axis),
            Kernel::Copy => {
                if let Some(([x], [y])) = self.views() {
                    self.expect_like("write 0", y, x);
                }
            }
            Kernel::Convert => self.convert(),
            Kernel::Range { .. } => {
                if let Some(([], [y])) = self.views() {
                    self.expect_dtype("write 0", y, Want::Number);
                    if y.shape.rank() != 1 {
                        self.error(format!("write 0: expected rank 1, found {}", y.shape));
                    }
                }
            }
            Kernel::Fill { .. } => {
                if let Some(([], [y])) = self.views() {
                    self.expect_dtype("write 0", y, Want::Plain);
                }
            }
        }
    }

    fn batch_matmul(&mut self) {
        let Some(([a, b], [y])) = self.views() else {
            return;
        };
        if !(self.expect_rank("read 0", a, 2) && self.expect_rank("read 1", b, 2)) {
            return;
        }
        self.expect_dtype("read 0", a, Want::Number);
        let (batch, m, k) = (
            &a.shape[..a.shape.rank() - 2],
            &a.shape[a.shape.rank() - 2],
            &a.shape[a.shape.rank() - 1],
        );
        let n = &b.shape[b.shape.rank() - 1];
        let with = |rows: &Dim, columns: &Dim| -> Vec<Dim> {
            batch.iter().chain([rows, columns]).cloned().collect()
        };
        self.expect("read 1", b, Want::Is(self.dtype(a)), &with(k, n));
        self.expect("write 0", y, Want::Is(self.dtype(a)), &with(m, n));
    }

    fn reduce(&mut self, func: ReduceFn, axes: &[usize]) {
        let Some(([x], [y])) = self.views() else {
            return;
        };
        let want = match func {
            ReduceFn::Any | ReduceFn::All => Want::Is(DType::Bool),
            ReduceFn::Mean => Want::Float,
            ReduceFn::Sum | ReduceFn::Prod | ReduceFn::Max | ReduceFn::Min => Want::Number,
        };
        self.expect_dtype("read 0", x, want);
        if axes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return self.error(format!("axes {axes:?} are not ascending"));
        }
        if !axes.iter().all(|&axis| self.expect_axis(axis, x)) {
            return;
        }
        let mut reduced = x.shape.to_vec();
        axes.iter().for_each(|&axis| reduced[axis] = Dim::ONE);
        self.expect("write 0", y, Want::Is(self.dtype(x)), &reduced);
    }

    fn arg_reduce(&mut self, axis: usize) {
        let Some(([x], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", x, Want::Plain);
        if self.expect_axis(axis, x) {
            self.expect(
                "write 0",
                y,
                Want::Is(DType::I64),
                &with_axis(&x.shape, axis, Dim::ONE),
            );
        }
    }

    fn top_k(&mut self, axis: usize) {
        let Some(([x], [values, indices])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", x, Want::Plain);
        if !self.expect_axis(axis, x) || !self.expect_axis(axis, values) {
            return;
        }
        let k = values.shape[axis].clone();
        let shape = with_axis(&x.shape, axis, k.clone());
        self.expect("write 0 (values)", values, Want::Is(self.dtype(x)), &shape);
        self.expect("write 1 (indices)", indices, Want::Is(DType::I64), &shape);
        self.expect_at_most("the number of largest", &k, &x.shape[axis]);
    }

    fn along_axis(&mut self, axis: usize, want: Want) {
        let Some(([x], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", x, want);
        self.expect_axis(axis, x);
        self.expect_like("write 0", y, x);
    }

    fn norm(&mut self, spec: &NormSpec) {
        let step = self.step;
        let vectors = spec.kind.vectors();
        if step.reads.len() != 1 + vectors || step.writes.len() != 1 {
            return self.wrong_counts(&(1 + vectors).to_string(), 1);
        }
        let (x, y) = (&step.reads[0], &step.writes[0]);
        self.expect_dtype("read 0", x, Want::Float);
        if self.expect_rank("read 0", x, 1) {
            let n = [x.shape[x.shape.rank() - 1].clone()];
            for (i, vector) in step.reads.iter().enumerate().skip(1) {
                self.expect(&format!("read {i}"), vector, Want::Float, &n);
            }
        }
        self.expect_like("write 0", y, x);
    }

    fn rope(&mut self) {
        let Some(([x, cos, sin], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", x, Want::Float);
        self.expect_like("write 0", y, x);
        if !(self.expect_rank("read 0", x, 2) && self.expect_rank("read 1 (cos)", cos, 1)) {
            return;
        }
        let half = &cos.shape[cos.shape.rank() - 1];
        let lead = &x.shape[..x.shape.rank() - 2];
        let angles: Vec<Dim> = lead.iter().chain([half]).cloned().collect();
        self.expect("read 1 (cos)", cos, Want::Float, &angles);
        self.expect("read 2 (sin)", sin, Want::Is(self.dtype(cos)), &angles);
        self.expect_at_most(
            "twice the last axis of cos",
            &(half * 2),
            &x.shape[x.shape.rank() - 1],
        );
    }

    fn attention(&mut self, spec: &Attention) {
        let step = self.step;
        let count = 3 + usize::from(spec.mask) + usize::from(spec.position);
        if step.reads.len() != count || step.writes.len() != 1 {
            return self.wrong_counts(&count.to_string(), 1);
        }
        let (q, k, v, y) = (
            &step.reads[0],
            &step.reads[1],
            &step.reads[2],
            &step.writes[0],
        );
        let named = [("read 0 (q)", q), ("read 1 (k)", k), ("read 2 (v)", v)];
        if !named
            .into_iter()
            .all(|(what, view)| self.expect_rank(what, view, 3))
        {
            return;
        }
        self.expect_dtype("read 0 (q)", q, Want::Float);
        let tail = |view: &View, back: usize| view.shape[view.shape.rank() - back].clone();
        let batch = &q.shape[..q.shape.rank() - 3];
        let with = |dims: [Dim; 3]| -> Vec<Dim> { batch.iter().cloned().chain(dims).collect() };
        let (queries, heads, head_dim) = (tail(q, 3), tail(q, 2), tail(q, 1));
        let (keys, kv_heads, value_dim) = (tail(k, 3), tail(k, 2), tail(v, 1));
        self.expect(
            "read 1 (k)",
            k,
            Want::Float,
            &with([keys.clone(), kv_heads.clone(), head_dim]),
        );
        self.expect(
            "read 2 (v)",
            v,
            Want::Float,
            &with([keys.clone(), kv_heads.clone(), value_dim.clone()]),
        );
        let same = Want::Is(self.dtype(q));
        self.expect(
            "write 0",
            y,
            same,
            &with([queries.clone(), heads.clone(), value_dim]),
        );
        if spec.mask {
            let mask = &step.reads[3];
            if !self.dtype(mask).is_bool() {
                self.expect_dtype("read 3 (mask)", mask, Want::Float);
            }
            self.expect_shape("read 3 (mask)", mask, &with([heads.clone(), queries, keys]));
        }
        if spec.position {
            self.expect_scalar(
                &format!("read {} (position)", count - 1),
                &step.reads[count - 1],
            );
        }
        let grouped = heads
            .rem(&kv_heads)
            .map(|rest| Constraint::eq(rest, Dim::ZERO));
        let wrong =
            grouped.map_or_else(|e| Some(format!(": {e}")), |c| self.check.sizes.refute(&c));
        if let Some(values) = wrong {
            self.error(format!(
                "{heads} heads are not a multiple of {kv_heads}{values}"
            ));
        }
    }

    fn gather(&mut self, axis: usize) {
        let Some(([data, at], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 1 (indices)", at, Want::Int);
        if !self.expect_axis(axis, data) {
            return;
        }
        let shape: Vec<Dim> = data.shape[..axis]
            .iter()
            .chain(at.shape.iter())
            .chain(&data.shape[axis + 1..])
            .cloned()
            .collect();
        self.expect("write 0", y, Want::Is(self.dtype(data)), &shape);
    }

    fn gather_elements(&mut self, axis: usize) {
        let Some(([data, at], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", data, Want::Plain);
        self.expect("write 0", y, Want::Is(self.dtype(data)), &at.shape);
        self.indices_fit(axis, data, at);
    }

    fn scatter(&mut self, axis: usize) {
        let Some(([data, at, updates], [y])) = self.views() else {
            return;
        };
        self.expect_dtype("read 0", data, Want::Plain);
        self.expect(
            "read 2 (updates)",
            updates,
            Want::Is(self.dtype(data)),
            &at.shape,
        );
        self.expect_like("write 0", y, data);
        self.indices_fit(axis, data, at);
    }

    /// Indices of the data's rank, not larger than it in the other axes.
    fn indices_fit(&mut self, axis: usize, data: &View, at: &View) {
        self.expect_dtype("read 1 (indices)", at, Want::Int);
        if !self.expect_axis(axis, data) {
            return;
        }
        if at.shape.rank() != data.shape.rank() {
            return self.error(format!(
                "read 1 (indices): expected the rank of {}, found {}",
                data.shape, at.shape
            ));
        }
        for other in (0..data.shape.rank()).filter(|&other| other != axis) {
            let what = format!("read 1 (indices), axis {other}");
            self.expect_at_most(&what, &at.shape[other], &data.shape[other]);
        }
    }

    fn cache_append(&mut self, axis: usize) {
        let Some(([new, position], [cache])) = self.views() else {
            return;
        };
        self.expect_scalar("read 1 (position)", position);
        if !self.expect_axis(axis, cache) {
            return;
        }
        if new.shape.rank() != cache.shape.rank() {
            return self.error(format!(
                "read 0: expected the rank of {}, found {}",
                cache.shape, new.shape
            ));
        }
        let rows = with_axis(&cache.shape, axis, new.shape[axis].clone());
        self.expect("read 0", new, Want::Is(self.dtype(cache)), &rows);
        self.expect_at_most("the new rows", &new.shape[axis], &cache.shape[axis]);
    }

    fn convert(&mut self) {
        let Some(([x], [y])) = self.views() else {
            return;
        };
        let (from, to) = (self.dtype(x), self.dtype(y));
        let possible = match (from.is_block(), to.is_block()) {
            (true, false) => to.is_float(),
            (false, true) => from.is_float(),
            (false, false) => true,
            (true, true) => false,
        };
        if !possible {
            self.error(format!("no conversion from {from} to {to}; go through f32"));
        }
        self.expect("write 0", y, Want::Any, &x.shape);
    }
}

impl NormKind {
    /// How many vectors a norm reads beside x.
    pub(super) fn vectors(self) -> usize {
        match self {
            NormKind::Rms | NormKind::Layer => 1,
            NormKind::LayerBias => 2,
        }
    }
}
