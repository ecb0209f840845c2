//! The verifier where filetests cannot reach: graphs that no edit of a parsed one gives.

use gabion_ir::verify::verify;
use gabion_ir::{Graph, Value};

use crate::random_graph::{add, add_input};

fn op(word: &str) -> gabion_ir::Op {
    gabion_ir::Op::from_word(word, Default::default())
        .expect("a word")
        .expect("no attributes")
}

#[test]
fn an_empty_graph_has_no_output() {
    let errors = verify(&Graph::new("empty")).expect_err("no output");
    assert_eq!(
        errors.to_string(),
        "graph @empty: 1 error\n  expected an output, found none"
    );
}

#[test]
fn a_missing_guard_is_named() {
    let mut graph = Graph::new("g");
    let a = add_input(&mut graph, "a", "f32[n]".parse().expect("a type"), false);
    let b = add_input(&mut graph, "b", "f32[m]".parse().expect("a type"), false);
    let sum = add(&mut graph, op("add"), &[a, b], None).expect("it broadcasts or is guarded");
    graph.push_output("y", Value::new(sum, 0));
    assert!(verify(&graph).is_ok());
    assert_eq!(graph.guards().len(), 1);
    // The same nodes in a graph without the guard.
    let mut bare = Graph::new("bare");
    let a = add_input(&mut bare, "a", "f32[n]".parse().expect("a type"), false);
    let b = add_input(&mut bare, "b", "f32[m]".parse().expect("a type"), false);
    let id = bare.add_node(graph.node(sum).clone(), &[a, b]);
    bare.push_output("y", Value::new(id, 0));
    let errors = verify(&bare).expect_err("the guard is missing").to_string();
    assert!(
        errors.contains("expected the guard") && errors.contains("%0 = add %a, %b"),
        "{errors}"
    );
}

#[test]
fn all_errors_come_out_together_and_a_broken_graph_still_prints() {
    let mut graph = Graph::new("g");
    let x = add_input(&mut graph, "x", "f32[2]".parse().expect("a type"), false);
    let a = add(&mut graph, op("relu"), &[x], None).expect("relu");
    let b = add(&mut graph, op("relu"), &[Value::new(a, 0)], None).expect("relu");
    graph.push_output("y", Value::new(b, 0));
    graph.set_operand(a, 0, Value::new(b, 0));
    graph.set_operand(b, 5, Value::new(x.node, 3));
    let errors = verify(&graph).expect_err("broken");
    let text = errors.to_string();
    assert!(
        text.contains("expected no cycle, found one of 2 nodes"),
        "{text}"
    );
    assert!(
        text.contains("operand 5: expected one of 1 results, found result 3"),
        "{text}"
    );
    assert!(
        text.contains("operand numbers: expected 0..2, found [0, 5]"),
        "{text}"
    );
    assert!(graph.to_text().starts_with("graph @g("));
}
