//! An attention layer's projections, written as three Linears that know nothing of each other.

use gabion_ir::{Builder, Diagnostics, Graph};
use gabion_nn::{Linear, Scope};

/// `q`, `k` and `v` of `x`: f32 `[tokens, 64]` to `[tokens, 64]`, `[tokens, 32]`, `[tokens, 32]`.
///
/// # Errors
/// What is wrong in the graph, with the lines that built it.
pub fn projections() -> Result<Graph, Diagnostics> {
    let b = Builder::new("projections");
    let layer = Scope::at(&b, "layers.0.self_attn");
    let x = b.input("x", "f32[tokens, 64]".parse().expect("a type"));
    let q = Linear::new("q_proj", 64, 64).forward(&layer, x).named("q");
    let k = Linear::new("k_proj", 64, 32).forward(&layer, x).named("k");
    let v = Linear::new("v_proj", 64, 32).forward(&layer, x).named("v");
    b.output("q", q);
    b.output("k", k);
    b.output("v", v);
    b.finish()
}
