//! The plan itself: inputs, outputs, weights, buffers and steps.

use gabion_tensor::{DType, Dim, Guard, HostTensor, Relations, TensorType};
use serde::{Deserialize, Serialize};

use crate::kernel::Kernel;
use crate::view::View;
use crate::weight::{ConstantData, PlanWeight};

/// Index into [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BufferId(pub u32);

/// What an executor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The graph's name.
    pub name: String,
    /// The name of the target it was selected for.
    pub target: String,
    /// Inputs, in the graph's order.
    pub inputs: Vec<PlanInput>,
    /// Outputs, in the graph's order.
    pub outputs: Vec<PlanOutput>,
    /// Relations that the graph's author promised; checked when symbols are bound.
    pub relations: Relations,
    /// Checks that the type rules could not prove.
    pub guards: Vec<Guard>,
    /// Weights.
    pub weights: Vec<PlanWeight>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Steps, in execution order.
    pub steps: Vec<Step>,
}

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanInput {
    /// The name callers bind.
    pub name: String,
    /// Its type; its shape binds symbols.
    pub ty: TensorType,
    /// The buffer that holds it ([`Place::Input`]).
    pub buffer: BufferId,
    /// The session keeps it between runs and steps may write it.
    pub donated: bool,
}

/// An output.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOutput {
    /// The name callers read.
    pub name: String,
    /// Its type.
    pub ty: TensorType,
    /// Where it is when the last step is done.
    pub view: View,
}

/// Memory that steps read and write.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The printed name of the value it holds.
    pub name: String,
    /// Its dtype.
    pub dtype: DType,
    /// How many elements.
    pub elements: Dim,
    /// Where it lies.
    pub place: Place,
}

/// Where a buffer lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The caller's input, or session state if donated.
    Input(usize),
    /// The arena: a byte offset (a multiple of 64), valid while its lifetime lasts.
    Arena {
        /// Byte offset.
        offset: Dim,
        /// The steps between which it holds its value.
        live: Lifetime,
    },
    /// Fixed data of the plan.
    Constant(ConstantData),
}

impl Place {
    /// Fixed data.
    pub fn constant(tensor: HostTensor) -> Self {
        Place::Constant(ConstantData(tensor))
    }
}

/// From the step that writes to the last that reads; `last == steps.len()` for outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lifetime {
    /// The first step that writes.
    pub first: usize,
    /// The last step that reads.
    pub last: usize,
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is computed.
    pub kernel: Kernel,
    /// What is read, in the kernel's order.
    pub reads: Vec<View>,
    /// What is written.
    pub writes: Vec<View>,
    /// The module path (`layers.3.self_attn`) it came from.
    pub scope: String,
}

impl Plan {
    /// The buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0 as usize]
    }

    /// The weight.
    pub fn weight(&self, id: crate::weight::WeightId) -> &PlanWeight {
        &self.weights[id.0 as usize]
    }

    /// The dtype that a view reads.
    pub fn dtype(&self, view: &View) -> DType {
        match view.source {
            crate::view::Source::Buffer(id) => self.buffer(id).dtype,
            crate::view::Source::Weight(id) => self.weight(id).ty.dtype,
        }
    }

    /// The arena's size in bytes.
    pub fn arena_bytes(&self) -> Dim {
        let mut size = Dim::fixed(0);
        for buffer in &self.buffers {
            if let Place::Arena { offset, .. } = &buffer.place {
                let bytes = buffer.dtype.block_bytes() as i64;
                let elements = buffer.dtype.block_elems() as i64;
                let rounded = if elements == 1 {
                    &buffer.elements * &Dim::fixed(bytes)
                } else {
                    // Divisor is a non-zero block size.
                    buffer
                        .elements
                        .floor_div(&Dim::fixed(elements))
                        .unwrap_or(Dim::ZERO)
                        * Dim::fixed(bytes)
                };
                size = size.max(&(offset + &rounded));
            }
        }
        size
    }
}
