//! Operators whose kernels want operands of one dtype: casts before them, and after them where a
//! result is rounded once.

use gabion_ir::ops;
use gabion_ir::{NodeId, Value};
use gabion_plan::{Attention, Kernel, Pairing, ScatterReduce, View};
use gabion_tensor::{DType, Dim, MapInstr, MapOp, MapProgram, Shape, TensorType};

use super::views::{self, axis};
use super::{SelectError, Selector};

fn cast_to(dtype: DType) -> Kernel {
    let cast = MapInstr {
        op: MapOp::Cast,
        args: vec![0],
        dtype,
    };
    Kernel::Map(MapProgram {
        reads: 1,
        instrs: vec![cast],
        results: vec![1],
    })
}

impl Selector<'_> {
    /// A value in this dtype.
    pub(super) fn cast_view(
        &mut self,
        id: NodeId,
        value: Value,
        dtype: DType,
    ) -> Result<View, SelectError> {
        let view = self.view(value)?;
        let ty = self.graph.value_type(value).clone();
        if ty.dtype == dtype {
            return Ok(view);
        }
        let scope = self.scope_of(id);
        let to = self.allocate("", &TensorType::new(dtype, ty.shape));
        self.push_step(cast_to(dtype), vec![view], vec![to.clone()], &scope);
        Ok(to)
    }

    /// cos and sin are seen with x's leading axes. The kernel computes in f64 if x is f64, else in
    /// f32.
    pub(super) fn select_rope(&mut self, id: NodeId, op: &ops::Rope) -> Result<(), SelectError> {
        let operands = self.graph.operands(id);
        let is_f64 = |v: Value| self.graph.value_type(v).dtype == DType::F64;
        let wide = if is_f64(operands[0]) {
            DType::F64
        } else {
            DType::F32
        };
        let differ = [operands[1], operands[2]].map(|v| is_f64(v) != is_f64(operands[0]));
        let unlike =
            self.graph.value_type(operands[1]).dtype != self.graph.value_type(operands[2]).dtype;
        let mut reads = vec![self.view(operands[0])?];
        let x = reads[0].shape.clone();
        let lead = x.rank() - 2;
        for (&operand, differs) in operands[1..].iter().zip(differ) {
            let angles = if differs || unlike {
                self.cast_view(id, operand, wide)?
            } else {
                self.view(operand)?
            };
            let half = angles.shape.last().cloned().unwrap_or(Dim::fixed(1));
            let shape: Shape = x[..lead].iter().cloned().chain([half]).collect();
            reads.push(views::broadcast(&angles, &shape));
        }
        let pairing = match op.pairing {
            ops::Pairing::Half => Pairing::Half,
            ops::Pairing::Interleaved => Pairing::Interleaved,
        };
        self.step_with(id, Kernel::Rope { pairing }, reads)
    }

    /// The mask is seen as `[batch.., heads, queries, keys]`. The kernel computes in f64 if the result
    /// is f64, else in f32.
    pub(super) fn select_attention(
        &mut self,
        id: NodeId,
        op: &ops::Attention,
    ) -> Result<(), SelectError> {
        let wide = self.graph.node(id).results[0].dtype == DType::F64;
        let mut reads = Vec::new();
        for (i, &operand) in self.graph.operands(id).iter().enumerate() {
            let dtype = self.graph.value_type(operand).dtype;
            let is_float = dtype.is_float() && i < 3 + usize::from(op.mask);
            reads.push(match is_float && (dtype == DType::F64) != wide {
                true if wide => self.cast_view(id, operand, DType::F64)?,
                true => self.cast_view(id, operand, DType::F32)?,
                false => self.view(operand)?,
            });
        }
        if op.mask {
            let (q, k) = (&reads[0].shape, &reads[1].shape);
            let lead = q.rank() - 3;
            let tail = [&q[lead + 1], &q[lead], &k[lead]];
            let shape: Shape = q[..lead].iter().chain(tail).cloned().collect();
            reads[3] = views::broadcast(&reads[3], &shape);
        }
        let kernel = Attention {
            scale: op.scale.get() as f32,
            causal: op.causal,
            mask: op.mask,
            position: op.position,
        };
        self.step_with(id, Kernel::Attention(kernel), reads)
    }

    /// Sums and products of f16 and bf16 are rounded once, so they are made in f32.
    pub(super) fn select_scatter(
        &mut self,
        id: NodeId,
        op: &ops::Scatter,
    ) -> Result<(), SelectError> {
        let operands = self.graph.operands(id);
        let ty = self.graph.value_type(operands[0]).clone();
        let kernel = Kernel::Scatter {
            axis: axis(op.axis, ty.shape.rank()),
            reduce: scatter_reduce(op.reduce),
        };
        let narrow = matches!(ty.dtype, DType::F16 | DType::BF16);
        if !(narrow && matches!(op.reduce, ops::ScatterReduce::Add | ops::ScatterReduce::Mul)) {
            return self.step(id, kernel);
        }
        let data = self.cast_view(id, operands[0], DType::F32)?;
        let indices = self.view(operands[1])?;
        let updates = self.cast_view(id, operands[2], DType::F32)?;
        let wide = self.allocate("", &TensorType::new(DType::F32, ty.shape));
        let scope = self.scope_of(id);
        self.push_step(
            kernel,
            vec![data, indices, updates],
            vec![wide.clone()],
            &scope,
        );
        self.step_with(id, cast_to(ty.dtype), vec![wide])
    }
}

fn scatter_reduce(reduce: ops::ScatterReduce) -> ScatterReduce {
    match reduce {
        ops::ScatterReduce::None => ScatterReduce::None,
        ops::ScatterReduce::Add => ScatterReduce::Add,
        ops::ScatterReduce::Mul => ScatterReduce::Mul,
        ops::ScatterReduce::Max => ScatterReduce::Max,
        ops::ScatterReduce::Min => ScatterReduce::Min,
    }
}
