//! The plan: what an executor runs, and nothing of the graph it came from. Weights are lists of
//! parts of checkpoint tensors, buffers have symbolic sizes and offsets, steps are a small closed
//! set of kernels over strided views. A plan knows no CPU and no GPU; executors know no graph.
//!
//! The traits that executors implement live here too ([`Executor`], [`Loaded`], [`Session`]), and
//! so does [`Target`], the data by which the compiler asks what an executor can fuse.

pub mod executor;
pub mod kernel;
pub mod plan;
pub mod profile;
#[cfg(test)]
mod sample;
pub mod target;
pub mod text;
pub mod verify;
pub mod view;
pub mod weight;
pub mod words;

pub use executor::{
    Executor, InputRef, LoadError, Loaded, MemoryUse, OutputRef, RunError, Session, StoredWeight,
    WeightSource,
};
pub use gabion_tensor::{MapInstr, MapOp, MapProgram};
pub use kernel::{
    Attention, BatchMatmul, Epilogue, Kernel, Matmul, NormKind, NormSpec, Pairing, ReduceFn,
    ScatterReduce, SegmentOutput,
};
pub use plan::{Buffer, BufferId, Lifetime, Place, Plan, PlanInput, PlanOutput, Step};
pub use profile::{Profile, ProfileOptions, StepTiming};
pub use target::Target;
pub use text::{PlanTextError, PlanTextErrors};
pub use verify::{PlanError, PlanErrors, PlanItem, verify};
pub use view::{Source, View};
pub use weight::{
    Arrangement, Layout, Part, PartSource, PlanWeight, Transform, WeightId, WeightSegment,
};
