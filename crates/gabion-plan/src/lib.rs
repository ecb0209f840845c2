//! The plan: weights, buffers and kernel steps that an executor runs.
