//! Sessions: binding inputs, keeping state and memory, and running the steps on all workers.
#![allow(unsafe_code)]

mod inputs;
mod recorder;
mod region;

use std::sync::Arc;

use gabion_plan::{
    InputRef, MemoryUse, OutputRef, Place, Profile, ProfileOptions, RunError, Session,
};
use gabion_tensor::Bindings;

use self::inputs::State;
use self::recorder::Recorder;
use self::region::Region;
use crate::kernels::matmul::{self, Scratch as MatmulScratch};
use crate::load::{LoadedWeight, Model};
use crate::pack::Arena;
use crate::resolve::{Resolved, output_base, resolve, weight_base};

/// Sets of sizes whose steps are kept.
const KEPT: usize = 16;

/// One run's state on the CPU: arena, caches, prepared steps.
pub struct CpuSession {
    model: Arc<Model>,
    sizes: Bindings,
    arena: Option<Arena>,
    /// Scratch of worker after worker, then what they share.
    scratch: Option<Arena>,
    matmul_scratch: MatmulScratch,
    matmul_rows: usize,
    /// What stands for each donated input.
    states: Vec<Option<State>>,
    /// Copies of inputs whose bytes are not aligned.
    copies: Vec<Option<Arena>>,
    /// Copies of outputs.
    outputs: Vec<Option<Arena>>,
    /// Most recently used last.
    resolved: Vec<Resolved>,
    bases: Vec<*mut u8>,
    key: Vec<usize>,
    /// For each plan input, which of the given ones it is.
    given: Vec<Option<usize>>,
    /// The last run was complete.
    complete: bool,
    /// Where measurements go, while steps are measured.
    recorder: Option<Recorder>,
}

// SAFETY: the raw pointers in `bases` lead into memory that the session owns or shares with the
// model, or into inputs that are borrowed for the run that uses them.
unsafe impl Send for CpuSession {}

impl CpuSession {
    pub(crate) fn new(model: Arc<Model>, sizes: &Bindings) -> Result<CpuSession, RunError> {
        let plan = &model.plan;
        let states = plan
            .inputs
            .iter()
            .map(|input| State::new(input, sizes))
            .collect::<Result<Vec<_>, _>>()?;
        let (inputs, outputs) = (plan.inputs.len(), plan.outputs.len());
        let bases = vec![std::ptr::null_mut(); output_base(plan, outputs)];
        let mut session = CpuSession {
            matmul_scratch: matmul_scratch(&model, 1)?,
            matmul_rows: 1,
            sizes: sizes.clone(),
            arena: None,
            scratch: None,
            states,
            copies: (0..inputs).map(|_| None).collect(),
            outputs: (0..outputs).map(|_| None).collect(),
            resolved: Vec::new(),
            bases,
            key: Vec::new(),
            given: vec![None; inputs],
            complete: false,
            recorder: None,
            model,
        };
        session.set_fixed_bases();
        Ok(session)
    }

    /// How many barriers the last run had between its steps.
    pub fn barriers(&self) -> usize {
        self.resolved
            .last()
            .map_or(0, |r| r.steps.iter().filter(|s| s.barrier).count())
    }

    /// The bases that never change: constants, weights, states.
    fn set_fixed_bases(&mut self) {
        let plan = self.model.plan.clone();
        for (index, buffer) in plan.buffers.iter().enumerate() {
            match &buffer.place {
                Place::Constant(data) => self.bases[index] = data.0.bytes().as_ptr().cast_mut(),
                Place::Input(input) => {
                    if let Some(state) = self.states.get(*input).and_then(Option::as_ref) {
                        self.bases[index] = state.memory.as_mut_ptr();
                    }
                }
                Place::Arena { .. } => {}
            }
        }
        for (index, weight) in self.model.weights.iter().enumerate() {
            if let LoadedWeight::Dense(dense) = weight {
                self.bases[weight_base(&plan, index)] = dense.as_ptr().cast_mut();
            }
        }
    }

    /// Brings the steps for these sizes to the end of `resolved`.
    fn find_or_resolve(&mut self, inputs: &[InputRef<'_>]) -> Result<(), RunError> {
        if let Some(at) = self.resolved.iter().rposition(|r| r.key == self.key) {
            let last = self.resolved.len() - 1;
            self.resolved[at..=last].rotate_left(1);
            return Ok(());
        }
        let bindings = self.bind(inputs)?;
        let resolved = resolve(&self.model, &bindings, self.key.clone())?;
        self.reserve(&resolved)?;
        if self.resolved.len() == KEPT {
            self.resolved.remove(0);
        }
        self.resolved.push(resolved);
        Ok(())
    }

    /// Grows memory to what these steps need.
    fn reserve(&mut self, resolved: &Resolved) -> Result<(), RunError> {
        let memory = |e: crate::pack::OutOfMemory| RunError::Executor(e.to_string());
        if self
            .arena
            .as_ref()
            .is_none_or(|a| a.len() < resolved.arena_bytes)
        {
            self.arena = None;
            self.arena = Some(Arena::reserve(resolved.arena_bytes).map_err(memory)?);
            self.initialise_arena();
        }
        let own = scratch_stride(resolved.scratch);
        let scratch = own * self.model.team.threads() + resolved.shared_scratch;
        if self.scratch.as_ref().is_none_or(|s| s.len() < scratch) {
            self.scratch = None;
            // Zeroed, so that kernels may look at lanes that they ignore later.
            self.scratch = Some(Arena::zeroed(scratch).map_err(memory)?);
        }
        if resolved.matmul_rows > self.matmul_rows {
            self.matmul_scratch = matmul_scratch(&self.model, resolved.matmul_rows)?;
            self.matmul_rows = resolved.matmul_rows;
        }
        for (output, memory_of) in resolved.outputs.iter().zip(&mut self.outputs) {
            if output.copied && memory_of.as_ref().is_none_or(|m| m.len() < output.bytes) {
                *memory_of = Some(Arena::zeroed(output.bytes).map_err(memory)?);
            }
        }
        Ok(())
    }

    /// Every byte of the arena is written before a step reads it, but reading uninitialised memory
    /// would be undefined even if a plan did so by mistake.
    fn initialise_arena(&self) {
        if let Some(arena) = &self.arena {
            // SAFETY: the arena is this session's own, and no step is running.
            unsafe { arena.as_mut_ptr().write_bytes(0, arena.len()) };
        }
    }

    /// The bases of this run.
    fn set_bases(&mut self, inputs: &[InputRef<'_>]) -> Result<(), RunError> {
        let plan = &self.model.plan;
        let Some(resolved) = self.resolved.last() else {
            return Err(RunError::Executor("no steps".to_owned()));
        };
        let arena = self
            .arena
            .as_ref()
            .map_or(std::ptr::null_mut(), |a| a.as_mut_ptr());
        for (base, offset) in self.bases.iter_mut().zip(&resolved.arena_offsets) {
            if let Some(offset) = offset {
                *base = arena.wrapping_add(*offset);
            }
        }
        for (index, memory) in self.outputs.iter().enumerate() {
            if let Some(memory) = memory {
                self.bases[output_base(plan, index)] = memory.as_mut_ptr();
            }
        }
        for (index, buffer) in plan.buffers.iter().enumerate() {
            let Place::Input(input) = buffer.place else {
                continue;
            };
            if let (None, Some(given)) = (&self.states[input], self.given[input]) {
                self.bases[index] = inputs::readable(&inputs[given], &mut self.copies[input])?;
            }
        }
        Ok(())
    }
}

/// Each worker's scratch is whole pairs of cache lines.
pub(crate) fn scratch_stride(bytes: usize) -> usize {
    bytes.next_multiple_of(128)
}

fn matmul_scratch(model: &Model, rows: usize) -> Result<MatmulScratch, RunError> {
    let kernels = matmul::Kernels::of(model.kernels.isa);
    MatmulScratch::new(kernels, model.team.threads(), rows, &model.depths)
        .map_err(|e| RunError::Executor(e.to_string()))
}

impl Session for CpuSession {
    fn execute(&mut self, inputs: &[InputRef<'_>]) -> Result<(), RunError> {
        self.complete = false;
        self.accept(inputs)?;
        self.find_or_resolve(inputs)?;
        self.replace_states(inputs);
        self.set_bases(inputs)?;
        let Some(resolved) = self.resolved.last() else {
            return Err(RunError::Executor("no steps".to_owned()));
        };
        let own = scratch_stride(resolved.scratch);
        let scratch = self
            .scratch
            .as_ref()
            .map_or(std::ptr::null_mut(), |s| s.as_mut_ptr());
        let region = Region {
            model: &self.model,
            steps: &resolved.steps,
            bases: &self.bases,
            scratch,
            scratch_stride: own,
            matmul_scratch: &self.matmul_scratch,
        };
        match &mut self.recorder {
            None => region.run(None)?,
            Some(recorder) => {
                recorder.begin(&resolved.sizes);
                let ran = region.run(Some(recorder));
                recorder.end();
                ran?;
            }
        }
        self.complete = true;
        Ok(())
    }

    fn output(&self, index: usize) -> Result<OutputRef<'_>, RunError> {
        let error = |problem: &str| RunError::Output {
            index,
            problem: problem.to_owned(),
        };
        let resolved = self.resolved.last().filter(|_| self.complete);
        let resolved = resolved.ok_or_else(|| error("there is no complete run yet"))?;
        let output = resolved
            .outputs
            .get(index)
            .ok_or_else(|| error("there is no such output"))?;
        let at = self.bases[output.base].wrapping_add(output.start);
        let bytes = if output.bytes == 0 {
            &[]
        } else {
            // SAFETY: the bytes lie in memory that the session owns or shares with the model and
            // that nobody writes until `execute`, which needs the session for itself.
            unsafe { std::slice::from_raw_parts(at, output.bytes) }
        };
        Ok(OutputRef {
            dtype: output.dtype,
            shape: output.shape.clone(),
            bytes,
        })
    }

    fn set_profile(&mut self, options: Option<ProfileOptions>) -> Result<(), RunError> {
        self.recorder = None;
        if let Some(options) = options {
            self.recorder = Some(Recorder::new(&options, self.model.team.threads())?);
        }
        Ok(())
    }

    fn take_profile(&mut self) -> Option<Profile> {
        self.recorder.as_mut().map(Recorder::take)
    }

    fn output_names(&self) -> Vec<String> {
        self.model
            .plan
            .outputs
            .iter()
            .map(|output| output.name.clone())
            .collect()
    }

    fn memory(&self) -> MemoryUse {
        let len = |arena: &Option<Arena>| arena.as_ref().map_or(0, Arena::len);
        MemoryUse {
            arena_bytes: len(&self.arena) + len(&self.scratch) + self.matmul_scratch.bytes(),
            state_bytes: self.states.iter().flatten().map(|state| state.bytes).sum(),
        }
    }
}
