//! What text errors look like, and how the text form behaves at its limits.

use std::time::Instant;

use gabion_ir::Graph;
use gabion_ir::diff::diff;
use gabion_ir::eval::{SampleOptions, evaluate, sample_inputs};
use gabion_ir::hash::graph_hash;
use gabion_ir::verify::verify;

fn errors(text: &str) -> gabion_ir::text::TextErrors {
    match Graph::parse(text) {
        Ok(graph) => panic!("expected errors, parsed\n{graph}"),
        Err(errors) => errors.with_file("qkv.gir"),
    }
}

#[test]
fn an_error_shows_the_line_what_was_expected_and_what_was_found() {
    let text = "graph @g(%x: f32[tokens, 8]) -> (f32[tokens, 9]) {\n  %w = weight {name = \"w\"} : f32[8, 8]\n  \
                %y = matmul %x, %w : f32[tokens, 9]\n  return %y\n}\n";
    let expected = "\
error: type of result 0 of `matmul`: expected f32[tokens, 8], found f32[tokens, 9]
 --> qkv.gir:3:24
  |
3 |   %y = matmul %x, %w : f32[tokens, 9]
  |                        ^^^^^^^^^^^^^^ expected `f32[tokens, 8]`";
    assert_eq!(errors(text).to_string(), expected);
}

#[test]
fn the_nearest_name_is_offered() {
    let text =
        "graph @g(%hidden: f32[2]) -> (f32[2]) {\n  %y = relu %hiden : f32[2]\n  return %y\n}\n";
    let errors = errors(text);
    assert_eq!(errors.items().len(), 1, "{errors}");
    assert_eq!(
        errors.items()[0].help.as_deref(),
        Some("the nearest name is `%hidden`")
    );
    assert_eq!((errors.items()[0].line, errors.items()[0].column), (2, 13));
}

#[test]
fn errors_are_capped() {
    let lines: String = (0..100)
        .map(|i| format!("  %v{i} = nonsense : f32[2]\n"))
        .collect();
    let errors = errors(&format!(
        "graph @g(%x: f32[2]) -> (f32[2]) {{\n{lines}  return %x\n}}\n"
    ));
    assert_eq!(errors.items().len(), 20);
    assert!(
        errors
            .to_string()
            .ends_with("only the first 20 errors are shown")
    );
}

#[test]
fn columns_count_characters_and_long_lines_are_clipped() {
    let long = "é".repeat(5000);
    let text = format!(
        "graph @g() -> (f32[]) {{\n  %y = weight {{name = \"{long}\"}} : f33[]\n  return %y\n}}\n"
    );
    let errors = errors(&text);
    assert_eq!(
        (errors.items()[0].line, errors.items()[0].column),
        (2, 5000 + 29)
    );
    assert!(errors.to_string().len() < 2000, "{errors}");
}

#[test]
fn line_ends_of_windows_are_white_space() {
    let text = "graph @g(%x: f32[n]) -> (f32[n]) where n % 2 == 0 {\n  guard n == 4 \"why\" // c\n  \
                %y = relu %x : f32[n]\n  return %y\n}\n";
    let graph = Graph::parse(&text.replace('\n', "\r\n")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.to_text(), text.replace(" // c", ""));
}

#[test]
fn nesting_is_limited() {
    for (open, close) in [("[", "]"), ("{a = ", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let text = format!(
            "graph @g() -> (f32[]) {{\n  %y = weight {{name = {deep}}} : f32[]\n  return %y\n}}\n"
        );
        let errors = errors(&text);
        assert!(errors.items()[0].message.contains("nested"), "{errors}");
    }
    for dim in [
        "(".repeat(30_000),
        "-".repeat(30_000),
        "min(".repeat(10_000),
    ] {
        errors(&format!("graph @g(%x: f32[{dim}n]) -> () {{\n}}\n"));
        errors(&format!("graph @g() -> () where {dim}n == 1 {{\n}}\n"));
    }
}

#[test]
fn dims_that_multiply_out_do_not_take_forever() {
    let sum: Vec<String> = (0..40).map(|i| format!("s{i}")).collect();
    let product = vec![format!("({})", sum.join(" + ")); 60].join(" * ");
    let start = Instant::now();
    errors(&format!("graph @g(%x: f32[{product}]) -> () {{\n}}\n"));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

/// A chain of this many nodes takes a fraction of a second. Work that grows with the square would
/// take minutes, and recursion along the chain would end the process.
#[test]
fn long_chains_are_read_in_linear_time_and_without_recursion() {
    let n = 100_000;
    let mut text = "graph @g(%x: f32[n, 8]) -> (f32[n, 8]) {\n".to_owned();
    for i in 0..n {
        let operand = if i == 0 {
            "x".to_owned()
        } else {
            format!("v{}", i - 1)
        };
        text.push_str(&format!("  %v{i} = neg %{operand} : f32[n, 8]\n"));
    }
    text.push_str(&format!("  return y = %v{}\n}}\n", n - 1));
    let start = Instant::now();
    let graph = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    assert!(graph.to_text() == text);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert!(verify(&graph).is_ok());
    assert!(Graph::from_json(&graph.to_json()).is_ok_and(|read| read == graph));
    assert_eq!(graph_hash(&graph), graph_hash(&graph.compacted()));
    assert!(diff(&graph, &graph.clone()).is_equal());
    let samples = sample_inputs(&graph, 1, &SampleOptions::default()).expect("samples");
    let result = evaluate(&graph, &samples.inputs, &samples.weights).expect("it evaluates");
    assert!(
        result.outputs["y"].bitwise_eq(&samples.inputs["x"]),
        "an even number of signs"
    );
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
