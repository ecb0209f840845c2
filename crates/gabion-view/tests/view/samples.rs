//! Graphs for the tests, as these tests call them.

use gabion_ir::Graph;

use crate::graphs::{layers_of, linears};
pub(crate) use crate::graphs::{recorded, ty};

/// q, k, v as three products.
pub(crate) fn three_linears() -> Graph {
    linears("three")
}

/// Layers in parts of eight products.
pub(crate) fn layered(layers: usize, width: usize) -> Graph {
    layers_of(layers, width, |at| format!("part{}", at / 8))
}
