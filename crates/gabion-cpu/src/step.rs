//! Prepared steps: a plan's steps with numbers for their symbols, ready to run on all workers.
//!
//! One file per kernel under `step/`: it turns a plan step into a [`PreparedStep`], says how it is
//! shared among workers, and runs it. The inner loops are in `kernels`.

mod arg_reduce;
mod attention;
mod batch_matmul;
mod batched;
mod cache_append;
mod convert;
mod copy;
mod cum_sum;
mod fill;
mod gather;
mod map;
mod matmul;
mod norm;
mod reduce;
mod rope;
mod rows;
mod scatter;
mod softmax;
mod top_k;

use std::ops::Range;
use std::sync::Arc;

use gabion_plan::{Kernel, RunError, Step};
use gabion_tensor::{Bindings, DType};

use crate::access::Placed;
use crate::isa::Isa;
use crate::kernels::gemm::GemmKernels;
use crate::kernels::lanes::LaneKernels;
use crate::load::LoadedWeight;
use crate::schedule::MemoryMap;
use crate::workers::{Worker, split};

pub(crate) use copy::CopyStep;

/// Work, in rough nanoseconds, below which a step is not worth sharing.
pub(crate) const SMALL: usize = 1500;

/// Elements that pass through registers at a time: a few kilobytes for each register.
pub(crate) const TILE: usize = 1024;

/// The functions that steps call, chosen once for an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    pub(crate) isa: Isa,
    pub(crate) lanes: LaneKernels,
    pub(crate) gemm: GemmKernels,
}

impl Kernels {
    pub(crate) fn new(isa: Isa) -> Kernels {
        Kernels {
            isa,
            lanes: LaneKernels::new(isa),
            gemm: GemmKernels::new(isa),
        }
    }
}

/// What a step needs to know while it is prepared.
pub(crate) struct Prepare<'a> {
    pub(crate) memory: &'a MemoryMap,
    pub(crate) weights: &'a [LoadedWeight],
    pub(crate) bindings: &'a Bindings,
    pub(crate) threads: usize,
    /// The step, its number and its views.
    pub(crate) step: &'a Step,
    pub(crate) reads: &'a [Option<Placed>],
    pub(crate) writes: &'a [Placed],
    pub(crate) name: &'a Arc<str>,
}

impl Prepare<'_> {
    /// Read `index`, which has to be there and not in tiles.
    pub(crate) fn read(&self, index: usize) -> Result<&Placed, RunError> {
        match self.reads.get(index) {
            Some(Some(placed)) => Ok(placed),
            _ => Err(self.wrong(format!("read {index} is missing, or is a weight in tiles"))),
        }
    }

    /// Write `index`.
    pub(crate) fn write(&self, index: usize) -> Result<&Placed, RunError> {
        self.writes
            .get(index)
            .ok_or_else(|| self.wrong(format!("write {index} is missing")))
    }

    /// A plan that does not keep a kernel's contract.
    pub(crate) fn wrong(&self, problem: impl std::fmt::Display) -> RunError {
        RunError::Executor(format!("{}: {problem}", self.name))
    }

    /// Refuses a condition of the kernel's contract that does not hold.
    pub(crate) fn require(
        &self,
        holds: bool,
        problem: impl FnOnce() -> String,
    ) -> Result<(), RunError> {
        if holds {
            Ok(())
        } else {
            Err(self.wrong(problem()))
        }
    }
}

/// A step that is ready to run.
pub(crate) trait PreparedStep: Send + Sync {
    /// Bytes of scratch memory that each worker needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Bytes of scratch memory that the workers share.
    fn shared_scratch(&self) -> usize {
        0
    }

    /// Rough nanoseconds on one thread: small steps are run by one worker.
    fn cost(&self) -> usize;

    /// Whether [`PreparedStep::run`] has barriers of its own, so that all workers have to call it.
    fn has_barriers(&self) -> bool {
        false
    }

    /// This worker's share.
    ///
    /// # Errors
    /// Values that make the step meaningless. Barriers are kept even then.
    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError>;
}

/// The addresses of the memories that steps see.
#[derive(Clone, Copy)]
pub(crate) struct Bases<'a>(pub(crate) &'a [*mut u8]);

/// What a step sees while it runs on one worker.
pub(crate) struct StepCx<'a> {
    pub(crate) worker: &'a Worker<'a>,
    /// Which part of how many is this worker's: `(0, 1)` when it runs alone.
    pub(crate) part: (usize, usize),
    pub(crate) bases: Bases<'a>,
    /// This worker's scratch memory, 64-byte aligned.
    pub(crate) scratch: *mut u8,
    /// The scratch memory of all.
    pub(crate) shared: *mut u8,
    pub(crate) kernels: &'a Kernels,
    pub(crate) weights: &'a [LoadedWeight],
    pub(crate) matmul_scratch: &'a crate::kernels::matmul::Scratch,
}

impl StepCx<'_> {
    /// The address of a view's first element.
    pub(crate) fn at(&self, placed: &Placed) -> *mut u8 {
        let base = self.bases.0[placed.base];
        base.wrapping_offset(placed.offset * placed.unit as isize)
    }

    /// This worker's share of `items`.
    pub(crate) fn share(&self, items: usize) -> Range<usize> {
        split(items, self.part.0, self.part.1)
    }
}

/// Prepares a step.
///
/// # Errors
/// Views that do not keep the kernel's contract, or a dtype that it has no meaning for.
pub(crate) fn prepare(cx: &Prepare<'_>) -> Result<Box<dyn PreparedStep>, RunError> {
    match &cx.step.kernel {
        Kernel::Matmul(spec) => matmul::prepare(cx, spec),
        Kernel::BatchMatmul(_) => batch_matmul::prepare(cx),
        Kernel::Map(program) => map::prepare(cx, program),
        Kernel::Reduce { func, axes } => reduce::prepare(cx, *func, axes),
        Kernel::ArgReduce { largest, axis } => arg_reduce::prepare(cx, *largest, *axis),
        Kernel::TopK { axis } => top_k::prepare(cx, *axis),
        Kernel::CumSum {
            axis,
            exclusive,
            reverse,
        } => cum_sum::prepare(cx, *axis, *exclusive, *reverse),
        Kernel::Softmax { axis, log } => softmax::prepare(cx, *axis, *log),
        Kernel::Norm(spec) => norm::prepare(cx, spec),
        Kernel::Rope { pairing } => rope::prepare(cx, *pairing),
        Kernel::Attention(spec) => attention::prepare(cx, spec),
        Kernel::Gather { axis } => gather::prepare(cx, *axis),
        Kernel::GatherElements { axis } => gather::prepare_elements(cx, *axis),
        Kernel::Scatter { axis, reduce } => scatter::prepare(cx, *axis, *reduce),
        Kernel::CacheAppend { axis } => cache_append::prepare(cx, *axis),
        Kernel::Copy => copy::prepare(cx),
        Kernel::Convert => convert::prepare(cx),
        Kernel::Range { start, step } => fill::prepare_range(cx, start, step),
        Kernel::Fill { value } => fill::prepare(cx, *value),
    }
}

/// Indices of any integer dtype, checked against the size of the axis they index.
pub(crate) fn check_index(what: &str, index: i64, size: usize) -> Result<usize, RunError> {
    match usize::try_from(index) {
        Ok(at) if at < size => Ok(at),
        _ => Err(RunError::Index {
            what: what.to_owned(),
            index,
            size,
        }),
    }
}

/// Refuses dtypes of another kind than integers.
pub(crate) fn require_int(cx: &Prepare<'_>, operand: &str, dtype: DType) -> Result<(), RunError> {
    cx.require(dtype.is_int(), || {
        format!("{operand}: expected an integer dtype, found {dtype}")
    })
}

/// Refuses dtypes that are no floats.
pub(crate) fn require_float(cx: &Prepare<'_>, operand: &str, dtype: DType) -> Result<(), RunError> {
    cx.require(dtype.is_float(), || {
        format!("{operand}: expected a float dtype, found {dtype}")
    })
}

/// Refuses block formats.
pub(crate) fn require_plain(cx: &Prepare<'_>, operand: &str, dtype: DType) -> Result<(), RunError> {
    cx.require(!dtype.is_block(), || {
        format!("{operand}: expected a plain dtype, found {dtype}")
    })
}
