//! What the graph is, what the passes make of it, and what runs.

use gabion_cpu::cpu_target;
use gabion_testing::{Redactions, assert_graph, assert_passes, assert_plan};
use three_linears::projections;

#[test]
fn three_linears_become_one_stack() {
    let graph = projections().expect("a graph");
    assert_graph!("graph", &graph);
    assert_passes!("passes", &graph, &cpu_target());
}

/// The structure alone: other sizes and other names give the same snapshot.
#[test]
fn one_product_runs() {
    let graph = projections().expect("a graph");
    let redactions = Redactions::new().weights().dims();
    assert_plan!("plan", &graph, &cpu_target(), redactions);
}
