//! One operator, one step (or a view). Shapes come from the graph's inferred types.

use gabion_ir::ops::{self, Fused, StackNorm, StackNormKind, StackedMatmul};
use gabion_ir::{NodeId, Op, Value};
use gabion_plan::{
    Arrangement, BatchMatmul, Epilogue, Kernel, Matmul, NormKind, NormSpec, Place, ReduceFn,
    SegmentOutput, Source, View,
};
use gabion_tensor::{Dim, Shape, TensorType};

use super::views::{self, axis};
use super::{SelectError, Selector};
use crate::class::{Class, Composite, Elementwise, Movement, Work, class_of};
use crate::elementwise::ProgramBuilder;

impl Selector<'_> {
    /// Selects one node: a step, a view, or nothing (leaves and recipes are placed when asked for).
    pub(super) fn select_node(&mut self, id: NodeId) -> Result<(), SelectError> {
        if self.graph.op(id).is_leaf() || self.is_recipe(Value::new(id, 0)) {
            return Ok(());
        }
        match class_of(self.graph.op(id)) {
            Class::Leaf(_) => Ok(()),
            Class::Elementwise(op) => self.select_map(id, op),
            Class::Movement(op) => self.select_movement(id, op),
            Class::Work(op) => self.select_work(id, op),
            Class::Composite(op) => self.select_composite(id, op),
            Class::Decomposed => Err(self.no_kernel(id)),
        }
    }

    /// Elements that move: a view where one can show it, else copies.
    fn select_movement(&mut self, id: NodeId, op: Movement<'_>) -> Result<(), SelectError> {
        let (from, to) = (self.graph.operands(id)[0], Value::new(id, 0));
        let shape = self.graph.value_type(to).shape.clone();
        match op {
            Movement::Reshape(_) => self.select_reshape(from, to, &shape),
            Movement::Transpose(op) => self.set_view(from, to, |v| views::transpose(v, &op.perm)),
            Movement::Broadcast => self.set_view(from, to, |v| views::broadcast(v, &shape)),
            Movement::Slice(op) => self.set_view(from, to, |v| views::slice(v, op, &shape)),
            Movement::Split(op) => self.select_split(id, from, op),
            Movement::Concat(op) => self.select_concat(id, op),
            Movement::Pad(op) => self.select_pad(id, op),
        }
    }

    /// The rank of the first operand.
    fn operand_rank(&self, id: NodeId) -> usize {
        let first = self.graph.operands(id).first().copied();
        first.map_or(0, |v| self.graph.value_type(v).shape.rank())
    }

    /// Operators with a step of their own.
    fn select_work(&mut self, id: NodeId, op: Work<'_>) -> Result<(), SelectError> {
        let rank = self.operand_rank(id);
        match op {
            Work::Matmul(op) => self.select_matmul(id, op),
            Work::StackedMatmul(op) => self.select_stack(id, op),
            Work::CacheAppend(op) => self.select_cache_append(id, op),
            Work::Gather(op) => self.select_gather(id, op),
            Work::Scatter(op) => self.select_scatter(id, op),
            Work::Reduce(op) => {
                let mut axes: Vec<usize> = op.axes.iter().map(|&a| axis(a, rank)).collect();
                axes.sort_unstable();
                let func = reduce_fn(op.func);
                let kernel = Kernel::Reduce {
                    func,
                    axes: axes.clone(),
                };
                self.select_reduce(id, kernel, &axes)
            }
            Work::ArgReduce(op) => {
                let (largest, axis) = (op.func == ops::ArgFn::Max, axis(op.axis, rank));
                self.select_reduce(id, Kernel::ArgReduce { largest, axis }, &[axis])
            }
            Work::TopK(op) => {
                let axis = axis(op.axis, rank);
                self.step(id, Kernel::TopK { axis })
            }
            Work::Cumsum(op) => {
                let kernel = Kernel::CumSum {
                    axis: axis(op.axis, rank),
                    exclusive: op.exclusive,
                    reverse: op.reverse,
                };
                self.step(id, kernel)
            }
            Work::GatherElements(op) => {
                let axis = axis(op.axis, rank);
                self.step(id, Kernel::GatherElements { axis })
            }
            Work::Range(op) => {
                let (start, step) = (self.simple(&op.start), self.simple(&op.step));
                self.step(id, Kernel::Range { start, step })
            }
            Work::Quantize | Work::Dequantize(_) => self.step(id, Kernel::Convert),
        }
    }

    /// Composite operators that the target has kernels for.
    fn select_composite(&mut self, id: NodeId, op: Composite<'_>) -> Result<(), SelectError> {
        let rank = self.operand_rank(id);
        let norm = |kind: NormKind, eps: ops::Float| {
            let eps = eps.get();
            Kernel::Norm(NormSpec { kind, eps })
        };
        let kernel = match op {
            Composite::Softmax(op) => Kernel::Softmax {
                axis: axis(op.axis, rank),
                log: false,
            },
            Composite::LogSoftmax(op) => Kernel::Softmax {
                axis: axis(op.axis, rank),
                log: true,
            },
            Composite::RmsNorm(op) => norm(NormKind::Rms, op.eps),
            Composite::LayerNorm(op) if self.graph.operands(id).len() == 3 => {
                norm(NormKind::LayerBias, op.eps)
            }
            Composite::LayerNorm(op) => norm(NormKind::Layer, op.eps),
            Composite::Rope(op) => return self.select_rope(id, op),
            Composite::Attention(op) => return self.select_attention(id, op),
        };
        self.step(id, kernel)
    }

    fn set_view(
        &mut self,
        from: Value,
        to: Value,
        look: impl FnOnce(&View) -> View,
    ) -> Result<(), SelectError> {
        let view = self.view(from)?;
        self.place(to, look(&view));
        Ok(())
    }

    fn reads(&mut self, id: NodeId) -> Result<Vec<View>, SelectError> {
        self.graph
            .operands(id)
            .iter()
            .map(|v| self.view(*v))
            .collect()
    }

    /// A step that reads all operands and writes all results to new buffers.
    pub(super) fn step(&mut self, id: NodeId, kernel: Kernel) -> Result<(), SelectError> {
        let reads = self.reads(id)?;
        self.step_with(id, kernel, reads)
    }

    pub(super) fn step_with(
        &mut self,
        id: NodeId,
        kernel: Kernel,
        reads: Vec<View>,
    ) -> Result<(), SelectError> {
        let scope = self.scope_of(id);
        let mut writes = Vec::new();
        for result in 0..self.graph.node(id).results.len() as u32 {
            let value = Value::new(id, result);
            let view = self.allocate_result(value);
            self.place(value, view.clone());
            writes.push(view);
        }
        self.push_step(kernel, reads, writes, &scope);
        Ok(())
    }

    fn no_kernel(&self, id: NodeId) -> SelectError {
        SelectError::NoKernel {
            target: self.target.name.clone(),
            op: self.graph.op(id).name().to_owned(),
            detail: crate::rewriter::describe(self.graph, id),
        }
    }

    fn select_reshape(&mut self, from: Value, to: Value, shape: &Shape) -> Result<(), SelectError> {
        let view = self.view(from)?;
        let reshaped = match views::reshape(&view, shape) {
            Some(reshaped) => reshaped,
            None => {
                let ty = self.graph.value_type(from).clone();
                let scope = self.scope_of(to.node);
                let copied = self.copy(&view, &ty, &scope)?;
                View::contiguous(copied.source, shape.clone())
            }
        };
        self.place(to, reshaped);
        Ok(())
    }

    fn select_split(
        &mut self,
        id: NodeId,
        from: Value,
        op: &ops::Split,
    ) -> Result<(), SelectError> {
        let view = self.view(from)?;
        let at = axis(op.axis, view.shape.rank());
        for (i, start) in views::piece_starts(&op.sizes)?.into_iter().enumerate() {
            let piece = views::cut(&view, at, &start, &op.sizes[i], 1);
            self.place(Value::new(id, i as u32), piece);
        }
        Ok(())
    }

    fn select_concat(&mut self, id: NodeId, op: &ops::Concat) -> Result<(), SelectError> {
        let result = self.allocate_result(Value::new(id, 0));
        let at = axis(op.axis, result.shape.rank());
        let scope = self.scope_of(id);
        let mut start = Dim::fixed(0);
        for operand in self.graph.operands(id) {
            let from = self.view(operand)?;
            let len = from.shape[at].clone();
            let to = views::cut(&result, at, &start, &len, 1);
            start = &start + &len;
            self.push_step(
                Kernel::Copy,
                vec![from],
                vec![View {
                    shape: self.graph.value_type(operand).shape.clone(),
                    ..to
                }],
                &scope,
            );
        }
        self.place(Value::new(id, 0), result);
        Ok(())
    }

    fn select_pad(&mut self, id: NodeId, op: &ops::Pad) -> Result<(), SelectError> {
        let result = self.allocate_result(Value::new(id, 0));
        let scope = self.scope_of(id);
        self.push_step(
            Kernel::Fill {
                value: op.value.get(),
            },
            Vec::new(),
            vec![result.clone()],
            &scope,
        );
        let from = self.view(self.graph.operands(id)[0])?;
        let mut inner = result.clone();
        for (at, low) in op.low.iter().enumerate() {
            inner = views::cut(&inner, at, low, &from.shape[at], 1);
        }
        self.push_step(Kernel::Copy, vec![from], vec![inner], &scope);
        self.place(Value::new(id, 0), result);
        Ok(())
    }

    /// In place if the cache may be overwritten, else on a copy.
    fn select_cache_append(
        &mut self,
        id: NodeId,
        op: &ops::CacheAppend,
    ) -> Result<(), SelectError> {
        let operands = self.graph.operands(id);
        let cache = self.view(operands[0])?;
        let scope = self.scope_of(id);
        let target = if self.may_overwrite(operands[0]) && self.is_donated(&cache) {
            cache.clone()
        } else {
            let ty = self.graph.value_type(operands[0]).clone();
            self.copy(&cache, &ty, &scope)?
        };
        let reads = vec![self.view(operands[1])?, self.view(operands[2])?];
        let at = axis(op.axis, target.shape.rank());
        self.push_step(
            Kernel::CacheAppend { axis: at },
            reads,
            vec![target.clone()],
            &scope,
        );
        self.place(Value::new(id, 0), target);
        Ok(())
    }

    /// True for a donated input, reshaped or appended to, whose old value nobody else reads.
    fn may_overwrite(&self, mut value: Value) -> bool {
        loop {
            if self.graph.single_user(value).is_none() {
                return false;
            }
            let op = self.graph.op(value.node);
            let operands = self.graph.operands(value.node);
            if let Op::Input(input) = op {
                return input.donated;
            } else if let Op::Reshape(_) | Op::CacheAppend(_) = op {
                value = operands[0];
            } else if let Op::StackedMatmul(stack) = op
                && let Some(Fused::CacheWrite { cache, .. }) =
                    stack.segments[value.result as usize].epilogue.last()
            {
                value = operands[stack.first_extra() + cache];
            } else {
                return false;
            }
        }
    }

    fn is_donated(&self, view: &View) -> bool {
        view.buffer()
            .is_some_and(|id| match &self.plan.buffer(id).place {
                Place::Input(i) => self.plan.inputs[*i].donated,
                Place::Arena { .. } | Place::Constant(_) => false,
            })
    }

    fn select_map(&mut self, id: NodeId, op: Elementwise<'_>) -> Result<(), SelectError> {
        let shapes = self.graph.node(id).results.clone();
        let (reads, program) = if let Elementwise::FusedMap(op) = op {
            (self.graph.operands(id).to_vec(), op.program.clone())
        } else {
            let mut builder = ProgramBuilder::default();
            builder.add(self.graph, id);
            (builder.reads(), builder.finish(&[Value::new(id, 0)]))
        };
        let shape = &shapes[0].shape;
        let views: Result<Vec<View>, SelectError> = reads
            .iter()
            .map(|v| Ok(views::broadcast(&self.view(*v)?, shape)))
            .collect();
        self.step_with(id, Kernel::Map(program), views?)
    }

    /// The kernel keeps reduced axes as size 1; dropping them is a view.
    fn select_reduce(
        &mut self,
        id: NodeId,
        kernel: Kernel,
        axes: &[usize],
    ) -> Result<(), SelectError> {
        let operand = self.graph.operands(id)[0];
        let x = self.view(operand)?;
        let rank = x.shape.rank();
        let value = Value::new(id, 0);
        let ty = self.graph.value_type(value).clone();
        let kept: Shape = (0..rank)
            .map(|a| {
                if axes.contains(&a) {
                    Dim::fixed(1)
                } else {
                    x.shape[a].clone()
                }
            })
            .collect();
        let name = self.name_of(value);
        let write = self.allocate(&name, &TensorType::new(ty.dtype, kept));
        let scope = self.scope_of(id);
        self.place(value, View::contiguous(write.source, ty.shape));
        self.push_step(kernel, vec![x], vec![write], &scope);
        Ok(())
    }

    fn select_gather(&mut self, id: NodeId, op: &ops::Gather) -> Result<(), SelectError> {
        let operands = self.graph.operands(id);
        let at = axis(op.axis, self.graph.value_type(operands[0]).shape.rank());
        let data = if at == 0 && self.is_recipe(operands[0]) {
            let weight = self.table_weight(operands[0])?;
            View::contiguous(
                Source::Weight(weight),
                self.graph.value_type(operands[0]).shape.clone(),
            )
        } else {
            self.view(operands[0])?
        };
        let reads = vec![data, self.view(operands[1])?];
        self.step_with(id, Kernel::Gather { axis: at }, reads)
    }

    /// Both operands as `[batch.., rows, columns]` views; promoted vectors are squeezed again.
    fn select_matmul(&mut self, id: NodeId, op: &ops::Matmul) -> Result<(), SelectError> {
        let value = Value::new(id, 0);
        let ty = self.graph.value_type(value).clone();
        let operands = self.graph.operands(id);
        let mut a = self.cast_view(id, operands[0], ty.dtype)?;
        let mut b = self.cast_view(id, operands[1], ty.dtype)?;
        if a.shape.rank() == 1 {
            a = with_axis(&a, 0);
        } else if op.transpose_a {
            a = swap_last(&a);
        }
        if b.shape.rank() == 1 {
            b = with_axis(&b, 1);
        } else if op.transpose_b {
            b = swap_last(&b);
        }
        let (ra, rb) = (a.shape.rank(), b.shape.rank());
        let (m, n) = (a.shape[ra - 2].clone(), b.shape[rb - 1].clone());
        let squeezed = usize::from(self.graph.value_type(operands[0]).shape.rank() == 1)
            + usize::from(self.graph.value_type(operands[1]).shape.rank() == 1);
        let batch: Vec<Dim> = ty.shape[..ty.shape.rank() + squeezed - 2].to_vec();
        let with = |tail: [Dim; 2]| -> Shape { batch.iter().cloned().chain(tail).collect() };
        a = views::broadcast(&a, &with([m.clone(), a.shape[ra - 1].clone()]));
        b = views::broadcast(&b, &with([b.shape[rb - 2].clone(), n.clone()]));
        let name = self.name_of(value);
        let write = self.allocate(&name, &TensorType::new(ty.dtype, with([m, n])));
        self.place(value, View::contiguous(write.source, ty.shape));
        let scope = self.scope_of(id);
        self.push_step(
            Kernel::BatchMatmul(BatchMatmul {}),
            vec![a, b],
            vec![write],
            &scope,
        );
        Ok(())
    }

    fn select_stack(&mut self, id: NodeId, op: &StackedMatmul) -> Result<(), SelectError> {
        let operands = self.graph.operands(id);
        let weight = self.stack_weight(id, op)?;
        let mut reads = Vec::new();
        for &operand in &operands[..op.first_part()] {
            reads.push(self.view(operand)?);
        }
        let first = reads.len();
        for &operand in &operands[op.first_extra()..] {
            reads.push(self.view(operand)?);
        }
        let mut writes = Vec::new();
        let mut outputs = Vec::new();
        for (i, segment) in op.segments.iter().enumerate() {
            let value = Value::new(id, i as u32);
            let steps = segment.epilogue.iter();
            outputs.push(SegmentOutput {
                epilogue: steps.map(|fused| epilogue(fused, first)).collect(),
                write: writes.len(),
            });
            let view = match segment.epilogue.last().and_then(cache_of) {
                Some(cache) => reads[first + cache].clone(),
                None => self.allocate_result(value),
            };
            self.place(value, view.clone());
            writes.push(view);
        }
        debug_assert!(
            self.plan
                .weight(weight)
                .segments
                .iter()
                .zip(&op.segments)
                .all(|(w, s)| { (w.arrangement == Arrangement::Plain) == s.halves.is_none() })
        );
        let matmul = Matmul {
            weight,
            prologue: op.norm.map(norm_spec),
            outputs,
        };
        let scope = self.scope_of(id);
        self.push_step(Kernel::Matmul(matmul), reads, writes, &scope);
        Ok(())
    }
}

fn norm_spec(norm: StackNorm) -> NormSpec {
    let kind = match norm.kind {
        StackNormKind::Rms => NormKind::Rms,
        StackNormKind::Layer => NormKind::Layer,
        StackNormKind::LayerBias => NormKind::LayerBias,
    };
    NormSpec {
        kind,
        eps: norm.eps.get(),
    }
}

/// The extra that is the cache, if the step writes into one.
fn cache_of(fused: &Fused) -> Option<usize> {
    match fused {
        Fused::CacheWrite { cache, .. } => Some(*cache),
        Fused::Bias { .. }
        | Fused::Map { .. }
        | Fused::Binary { .. }
        | Fused::Scalar { .. }
        | Fused::Glu { .. }
        | Fused::Rope { .. } => None,
    }
}

fn epilogue(fused: &Fused, first: usize) -> Epilogue {
    match fused {
        Fused::Bias { extra } => Epilogue::Bias {
            read: first + extra,
        },
        Fused::Map { func } => Epilogue::Map { func: *func },
        Fused::Binary {
            func,
            extra,
            swapped,
        } => Epilogue::Binary {
            func: *func,
            read: first + extra,
            swapped: *swapped,
        },
        Fused::Scalar { func, value } => Epilogue::Scalar {
            func: *func,
            value: value.get() as f32,
        },
        Fused::Glu { func } => Epilogue::Glu { func: *func },
        Fused::Rope { cos, sin } => Epilogue::Rope {
            cos: first + cos,
            sin: first + sin,
        },
        Fused::CacheWrite { position, .. } => Epilogue::CacheWrite {
            position: first + position,
        },
    }
}

fn with_axis(view: &View, at: usize) -> View {
    let mut view = view.clone();
    view.shape.0.insert(at, Dim::fixed(1));
    view.strides.insert(at, Dim::fixed(0));
    view
}

fn swap_last(view: &View) -> View {
    let mut view = view.clone();
    let rank = view.shape.rank();
    view.shape.swap(rank - 2, rank - 1);
    view.strides.swap(rank - 2, rank - 1);
    view
}

fn reduce_fn(func: ops::ReduceFn) -> ReduceFn {
    match func {
        ops::ReduceFn::Sum => ReduceFn::Sum,
        ops::ReduceFn::Mean => ReduceFn::Mean,
        ops::ReduceFn::Max => ReduceFn::Max,
        ops::ReduceFn::Min => ReduceFn::Min,
        ops::ReduceFn::Prod => ReduceFn::Prod,
        ops::ReduceFn::Any => ReduceFn::Any,
        ops::ReduceFn::All => ReduceFn::All,
    }
}
