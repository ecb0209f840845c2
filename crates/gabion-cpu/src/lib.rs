//! The SIMD CPU executor: packing, kernels, resident workers.
//!
//! [`CpuExecutor`] loads a plan: weights are packed once for this machine (`tiled`, `recipe`,
//! [`pack`]). A [`CpuSession`] binds inputs, resolves the plan's steps for their sizes (`resolve`),
//! places barriers (`schedule`) and walks the steps on all [`workers`] in one parallel region. Each
//! kernel of the plan is a file under `step/`; their inner loops are in [`kernels`].

mod access;
mod executor;
pub mod isa;
pub mod kernels;
mod layout;
pub mod limits;
mod load;
pub mod pack;
mod recipe;
mod resolve;
mod schedule;
mod session;
mod step;
mod tiled;
mod value;
pub mod workers;

pub use executor::{CpuExecutor, CpuOptions, cpu_target};
pub use layout::{PackedElement, PackedLayout, RowOrder};
pub use load::CpuLoaded;
pub use session::CpuSession;
