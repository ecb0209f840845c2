//! Graphs for the tests.

use gabion_ir::{Builder, Graph};
use gabion_tensor::TensorType;

pub(crate) fn ty(text: &str) -> TensorType {
    text.parse().expect("a type")
}

/// q, k, v of one layer as three products, and a sum over them.
pub(crate) fn three_linears() -> Graph {
    let b = Builder::new("three");
    let x = b.input("x", ty("f32[tokens, 64]"));
    let mut parts = Vec::new();
    for (name, rows) in [("q", 64), ("k", 32), ("v", 32)] {
        let _scope = b.scope("self_attn");
        let weight = b.weight(
            &format!("self_attn.{name}_proj.weight"),
            ty(&format!("f32[{rows}, 64]")),
        );
        parts.push(x.matmul_t(weight).named(name));
    }
    for (name, part) in ["q", "k", "v"].into_iter().zip(parts) {
        b.output(name, part);
    }
    b.finish().expect("a graph")
}

/// `layers` layers of `width` products each, with residuals, in modules.
pub(crate) fn layered(layers: usize, width: usize) -> Graph {
    let b = Builder::new("layered");
    let mut x = b.input("x", ty("f32[tokens, 8]"));
    for layer in 0..layers {
        let _layer = b.scope(&format!("layers.{layer}"));
        let mut y = x;
        for at in 0..width {
            let _part = b.scope(&format!("part{}", at / 8));
            let weight = b.weight(&format!("layers.{layer}.w{at}"), ty("f32[8, 8]"));
            y = y.matmul_t(weight).relu();
        }
        x = x + y;
    }
    b.output("y", x);
    b.finish().expect("a graph")
}
