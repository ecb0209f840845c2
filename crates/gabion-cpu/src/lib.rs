//! The SIMD CPU executor: packing, kernels, resident workers.
