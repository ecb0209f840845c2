//! Graphs of many nodes in the forms in which a search through all of them for each of them would show: they are lowered
//! within times that only such a search exceeds (some hundred times what it takes).

use std::time::Instant;

use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower_graph};

use crate::running::target;

const NODES: usize = 20_000;
const MOST_SECONDS: u64 = 60;

fn lowers(graph: &Graph) {
    let start = Instant::now();
    if let Err(error) = lower_graph(graph, target(), &LowerOptions::default()) {
        panic!("{error}");
    }
    let took = start.elapsed();
    assert!(took.as_secs() < MOST_SECONDS, "{took:?}");
}

fn built(build: impl FnOnce(&Builder)) -> Graph {
    let b = Builder::new("large");
    build(&b);
    b.finish().unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn one_value_with_many_users() {
    lowers(&built(|b| {
        let x = b.input("x", "f32[4]".parse().expect("a type")).relu();
        let users = (0..NODES).map(|_| x.tanh());
        let sum = users.reduce(|sum, next| sum + next);
        b.output("y", sum.expect("a user"));
    }));
}

#[test]
fn many_outputs() {
    lowers(&built(|b| {
        let x = b.input("x", "f32[4]".parse().expect("a type"));
        for at in 0..NODES {
            b.output(&format!("y{at}"), x.tanh().relu());
        }
    }));
}

#[test]
fn a_weight_through_many_operators() {
    lowers(&built(|b| {
        let x = b.input("x", "f32[n, 4]".parse().expect("a type"));
        let mut w = b.weight("w", "f32[4, 4]".parse().expect("a type"));
        for _ in 0..NODES {
            w = w.clamp(Some(-1.0), Some(1.0));
        }
        b.output("y", x.matmul_t(w));
    }));
}

#[test]
fn many_products_one_after_the_other() {
    lowers(&built(|b| {
        let mut x = b.input("x", "f32[n, 4]".parse().expect("a type"));
        for at in 0..NODES / 4 {
            let w = b.weight(&format!("w{at}"), "f32[4, 4]".parse().expect("a type"));
            x = x + x.matmul_t(w).silu();
        }
        b.output("y", x);
    }));
}

/// Names that are defined nowhere, and twice, in a text that is read to be looked at.
#[test]
fn a_text_with_many_faults() {
    let lines: String = (0..NODES)
        .map(|at| {
            format!("  %v{at} = add %x, %nowhere{at} : f32[4]\n  %twice = relu %x : f32[4]\n")
        })
        .collect();
    let text = format!("graph @g(%x: f32[4]) -> (f32[4]) {{\n{lines}  return %twice\n}}\n");
    let start = Instant::now();
    let written = Graph::parse_as_written(&text, "g.gir");
    let written = written.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(written.faults.len() + written.more, 2 * NODES - 1);
    let took = start.elapsed();
    assert!(took.as_secs() < MOST_SECONDS, "{took:?}");
}
