//! Kernels: the inner loops, written over the vector interface of `simd`.

pub mod matmul;
pub mod simd;
pub mod vmath;
