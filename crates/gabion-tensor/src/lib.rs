//! Data types, symbolic dimensions, shapes, host tensors and number formats.
