//! The macros on graphs that are what they were, that only look different, and that are not.

use std::panic::catch_unwind;
use std::process::{Command, Output};

use gabion_cpu::cpu_target;
use gabion_ir::{Builder, Graph, TensorValue};
use gabion_testing::{Redactions, assert_graph, assert_passes, assert_plan};

/// Three products of one input, in the order of `rows`.
fn projections(hidden: usize, rows: &[(&str, usize)]) -> Graph {
    let b = Builder::new("qkv");
    let x = b.input(
        "x",
        format!("f32[tokens, {hidden}]").parse().expect("a type"),
    );
    let product = |(name, rows): &(&str, usize)| {
        let ty = format!("f32[{rows}, {hidden}]").parse().expect("a type");
        x.matmul_t(b.weight(&format!("{name}_proj.weight"), ty))
    };
    let mut products: Vec<(&str, TensorValue<'_>)> =
        rows.iter().map(|row| (row.0, product(row))).collect();
    products.sort_by_key(|(name, _)| *name);
    for (name, value) in products {
        b.output(name, value);
    }
    b.finish().expect("a graph")
}

const ROWS: [(&str, usize); 3] = [("k", 32), ("q", 64), ("v", 32)];

/// Set for the run in which the graph is not what its snapshot holds.
const CHANGED: &str = "GABION_TESTING_CHANGED";

#[test]
fn a_graph() {
    let graph = match std::env::var_os(CHANGED) {
        None => projections(64, &ROWS),
        Some(_) => projections(64, &[("k", 48), ("q", 64), ("v", 32)]),
    };
    assert_graph!(&graph);
}

#[test]
fn a_plan() {
    let rows = match std::env::var_os(CHANGED) {
        None => &ROWS[..],
        Some(_) => &ROWS[..2],
    };
    assert_plan!(&projections(64, rows), &cpu_target());
}

#[test]
fn passes() {
    let rows = match std::env::var_os(CHANGED) {
        None => &ROWS[..],
        Some(_) => &ROWS[..2],
    };
    assert_passes!(&projections(64, rows), &cpu_target());
}

/// Numbering follows the order in which nodes are made, and means nothing.
#[test]
fn a_graph_that_was_built_in_another_order_is_the_same() {
    let graphs = [
        ROWS,
        [ROWS[2], ROWS[0], ROWS[1]],
        [ROWS[1], ROWS[2], ROWS[0]],
    ];
    for rows in graphs {
        assert_graph!("any_order", &projections(64, &rows));
    }
}

/// Names of values and scopes differ in the text and mean nothing.
#[test]
fn names_of_values_make_no_difference() {
    let plain = projections(64, &ROWS);
    assert_graph!("names", &plain);
    let mut renamed = plain.compacted();
    for output in plain.compacted().outputs().to_vec() {
        renamed.set_name(output.value, &format!("renamed_{}", output.name));
    }
    assert_ne!(plain.to_text(), renamed.to_text());
    assert_graph!("names", &renamed);
}

/// Sizes that are left out cannot be read as a graph's; names mean nothing all the same.
#[test]
fn names_of_values_make_no_difference_to_what_is_left_out() {
    let graph = |name: &str| {
        let text = format!(
            "graph @g(%x: f32[n, 4]) -> (f32[n, 16], f32[n, 8]) {{\n  \
             %w = weight {{name = \"w\"}} : f32[24, 4]\n  \
             %{name} = matmul %x, %w {{transpose_b = true}} : f32[n, 24]\n  \
             %a, %b = split %{name} {{axis = 1, sizes = [16, 8]}} : f32[n, 16], f32[n, 8]\n  \
             return %a, %b\n}}\n"
        );
        Graph::parse(&text).expect("a graph")
    };
    for name in ["y", "other"] {
        let (graph, redactions) = (graph(name), Redactions::new().dims());
        assert_graph!("renamed_graph", &graph, redactions);
        assert_passes!("renamed_passes", &graph, &cpu_target(), redactions);
        assert_plan!("renamed_plan", &graph, &cpu_target(), redactions);
    }
}

/// One snapshot for two sizes and two checkpoints.
#[test]
fn redacted_sizes_and_names() {
    let redactions = Redactions::new().weights().dims();
    for (hidden, rows) in [
        (64, [("k", 32), ("q", 64), ("v", 32)]),
        (576, [("k", 192), ("q", 576), ("v", 192)]),
    ] {
        let graph = projections(hidden, &rows);
        assert_graph!("redacted_graph", &graph, redactions);
        assert_plan!("redacted_plan", &graph, &cpu_target(), redactions);
        assert_passes!("redacted_passes", &graph, &cpu_target(), redactions);
    }
}

/// Runs one test of this file in a process of its own, as it fails for a user.
fn changed(test: &str) -> Output {
    let this = std::env::current_exe().expect("this program");
    Command::new(this)
        .args(["--exact", test, "--nocapture"])
        .env(CHANGED, "1")
        .env("INSTA_UPDATE", "no")
        .env("INSTA_FORCE_PASS", "0")
        .output()
        .expect("it runs")
}

fn failure(test: &str) -> String {
    let output = changed(test);
    assert!(!output.status.success(), "{test} passes on another graph");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).expect("text")
}

/// What stands above insta's lines.
fn said_first(test: &str) -> String {
    let text = failure(test);
    let at = text.find("Snapshot Summary").expect("insta's lines");
    text[..at].to_owned()
}

#[test]
fn a_failure_says_first_what_changed_in_the_graph() {
    let text = said_first("a_graph");
    let place = "tests/snapshots.rs:";
    assert!(text.contains(place), "{text}");
    assert!(
        text.contains("the graph is another one; by structure:"),
        "{text}"
    );
    assert!(
        text.contains(r#"+ %0 = weight {name = "k_proj.weight"} : f32[48, 64]"#),
        "{text}"
    );
}

#[test]
fn a_failure_says_first_what_changed_in_a_plan() {
    let text = said_first("a_plan");
    assert!(
        text.contains("the plan is another one; by structure:"),
        "{text}"
    );
    assert!(text.contains("buffer: 1 removed"), "{text}");
    let weight = text.matches("weight @k_proj_q_proj_v_proj").count();
    assert_eq!(weight, 1, "{text}");
    assert!(text.contains("part: 1 removed"), "{text}");
    assert!(text.contains("step: 1 changed"), "{text}");
    assert!(
        text.contains(r#"- rows 0..32 of "v_proj.weight""#),
        "{text}"
    );
}

#[test]
fn a_failure_says_first_which_passes_did_something_else() {
    let text = said_first("passes");
    assert!(
        text.contains("the passes did something else; by structure:"),
        "{text}"
    );
    assert!(text.contains("pass stack_siblings:"), "{text}");
    assert!(
        text.contains("- stack_weights: -: matmul %v: one weight of 32 rows"),
        "{text}"
    );
}

/// Who catches a failure gets what is printed.
#[test]
fn the_failure_says_what_changed() {
    if std::env::var_os(CHANGED).is_none() {
        let output = changed("the_failure_says_what_changed");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        return;
    }
    let failure = catch_unwind(a_plan).expect_err("another plan");
    let text = failure.downcast_ref::<String>().expect("a text");
    assert!(text.contains("the plan is another one"), "{text}");
    assert!(text.contains("part: 1 removed"), "{text}");
}
