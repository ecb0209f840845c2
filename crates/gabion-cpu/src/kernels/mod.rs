//! Kernels: the inner loops, written over the vector interface of `simd`.

pub(crate) mod gemm;
pub(crate) mod lanes;
pub mod matmul;
pub mod simd;
pub(crate) mod transpose;
pub mod vmath;
