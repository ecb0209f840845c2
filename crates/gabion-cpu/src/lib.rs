//! The SIMD CPU executor: packing, kernels, resident workers.

pub mod isa;
pub mod kernels;
pub mod limits;
pub mod pack;
pub mod workers;
