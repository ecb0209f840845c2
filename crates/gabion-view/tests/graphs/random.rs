//! Graphs that are drawn at random, for the tests of layout and for the placements that the report's page is compared with.

use gabion_ir::{Builder, Graph};
use gabion_tensor::TensorType;

/// A node: how many values back its operands lie, and the modules that it lies in, from the outermost.
pub(crate) type Drawn = (usize, usize, Vec<u8>);

/// Nodes that read any two before them, in modules that nest at random: modules that feed each other, skip each other, and
/// are read from everywhere.
pub(crate) fn graph(nodes: &[Drawn]) -> Graph {
    let ty = |text: &str| -> TensorType { text.parse().expect("a type") };
    let b = Builder::new("random");
    let mut values = vec![b.input("x", ty("f32[tokens, 8]"))];
    for (at, (first, second, modules)) in nodes.iter().enumerate() {
        let path: Vec<String> = modules.iter().map(|module| format!("m{module}")).collect();
        let path = path.join(".");
        let _scope = (!path.is_empty()).then(|| b.scope(&path));
        let back = |by: usize| values[values.len() - 1 - by % values.len()];
        let value = match at % 5 {
            0 => back(*first).relu(),
            1 => back(*first).matmul_t(b.weight(&format!("w{at}"), ty("f32[8, 8]"))),
            _ => back(*first) + back(*second),
        };
        values.push(value);
    }
    for (at, value) in values.iter().rev().take(3).enumerate() {
        b.output(&format!("y{at}"), *value);
    }
    b.finish().expect("a graph")
}
