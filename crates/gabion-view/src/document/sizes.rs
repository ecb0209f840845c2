//! Values of symbols, for counting bytes and operations.

use std::collections::BTreeSet;

use gabion_ir::Graph;
use gabion_plan::Plan;
use gabion_tensor::{Bindings, Dim, Shape, Symbol, TensorType};

/// The values that symbols have where bytes and operations are counted: those that were given, and one for all others.
#[derive(Clone, Debug)]
pub struct Sizes {
    bindings: Bindings,
    other: i64,
}

impl Default for Sizes {
    /// Every symbol is 128.
    fn default() -> Self {
        Self::new(Bindings::new(), 128)
    }
}

impl Sizes {
    /// `other` is the value of every symbol that `bindings` has not.
    pub fn new(bindings: Bindings, other: i64) -> Self {
        Self { bindings, other }
    }

    /// The value of every symbol.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    fn bind_all(&mut self, symbols: BTreeSet<Symbol>) {
        for symbol in symbols {
            if self.bindings.get(symbol.name()).is_none() {
                // It is not bound, so this cannot disagree; a value that a symbol cannot have leaves it unbound.
                let _ = self.bindings.bind(symbol.name(), self.other);
            }
        }
    }

    pub(crate) fn bind_graph(&mut self, graph: &Graph) {
        let inputs = graph.inputs().iter();
        let types = inputs.flat_map(|input| graph.node(input.node).results.iter());
        self.bind_all(symbols(types));
    }

    pub(crate) fn bind_plan(&mut self, plan: &Plan) {
        self.bind_all(symbols(plan.inputs.iter().map(|input| &input.ty)));
    }

    /// The value, or nothing where it cannot be computed.
    pub fn dim(&self, dim: &Dim) -> u64 {
        let value = dim.eval(&self.bindings).unwrap_or(0);
        u64::try_from(value).unwrap_or(0)
    }

    /// Elements.
    pub fn numel(&self, shape: &Shape) -> u64 {
        let dims = shape.iter().map(|dim| self.dim(dim));
        dims.fold(1, u64::saturating_mul)
    }

    /// Bytes.
    pub fn bytes(&self, ty: &TensorType) -> u64 {
        let (elems, bytes) = (ty.dtype.block_elems() as u64, ty.dtype.block_bytes() as u64);
        self.numel(&ty.shape)
            .div_ceil(elems.max(1))
            .saturating_mul(bytes)
    }
}

fn symbols<'a>(types: impl Iterator<Item = &'a TensorType>) -> BTreeSet<Symbol> {
    types
        .flat_map(|ty| ty.shape.iter().flat_map(Dim::symbols))
        .collect()
}
