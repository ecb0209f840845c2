//! The graphs that both test binaries look at.

use gabion_cpu::cpu_target;
use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower};
use gabion_tensor::TensorType;
use gabion_view::{Document, Sizes};

pub(crate) fn ty(text: &str) -> TensorType {
    text.parse().expect("a type")
}

/// q, k, v of one module as three products.
pub(crate) fn linears(name: &str) -> Graph {
    let b = Builder::new(name);
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

/// `layers` layers of `width` products each, with residuals, in the modules that `part` names.
pub(crate) fn layers_of(layers: usize, width: usize, part: fn(usize) -> String) -> Graph {
    let b = Builder::new("layered");
    let mut x = b.input("x", ty("f32[tokens, 8]"));
    for layer in 0..layers {
        let _layer = b.scope(&format!("layers.{layer}"));
        let mut y = x;
        for at in 0..width {
            let _part = b.scope(&part(at));
            let weight = b.weight(&format!("layers.{layer}.w{at}"), ty("f32[8, 8]"));
            y = y.matmul_t(weight).relu();
        }
        x = x + y;
    }
    b.output("y", x);
    b.finish().expect("a graph")
}

/// A graph at every stage of its lowering.
pub(crate) fn recorded(graph: &Graph) -> Document {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let lowered = lower(graph, &cpu_target(), &options).expect("it lowers");
    Document::of_lowered(graph, &lowered, &Sizes::default())
}
