//! Structural differences.

use gabion_ir::Graph;
use gabion_ir::diff::{DiffLine, diff};

fn parse(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

const OLD: &str = "\
graph @old(%x: f32[n, 4]) -> (f32[n, 4]) {
  %w = weight {name = \"w\"} : f32[4, 4]
  %0 = matmul %x, %w : f32[n, 4]
  %1 = relu %0 : f32[n, 4]
  %2 = neg %1 : f32[n, 4]
  %3 = exp %2 : f32[n, 4]
  %4 = add %3, %x : f32[n, 4]
  return y = %4
}
";

#[test]
fn names_and_numbers_are_no_difference() {
    let renamed = OLD
        .replace("%1", "%relu")
        .replace("%4", "%7")
        .replace("@old", "@new");
    let difference = diff(&parse(OLD), &parse(&renamed));
    assert!(difference.is_equal(), "{difference}");
    assert_eq!(
        difference.to_string(),
        "the graphs @old and @new are equal\n"
    );
}

#[test]
fn a_changed_attribute_changes_one_line() {
    let new = OLD
        .replace("@old", "@new")
        .replace("matmul %x, %w", "matmul %x, %w {transpose_b = true}");
    let difference = diff(&parse(OLD), &parse(&new));
    let expected = "\
--- @old
+++ @new
  %x: f32[n, 4]
  %w = weight {name = \"w\"} : f32[4, 4]
- %0 = matmul %x, %w : f32[n, 4]
+ %0 = matmul %x, %w {transpose_b = true} : f32[n, 4]
  %1 = relu %0 : f32[n, 4]
  %2 = neg %1 : f32[n, 4]
";
    assert_eq!(difference.to_string(), expected);
    assert!(difference.added.is_empty() && difference.removed.is_empty());
}

#[test]
fn a_node_put_in_between_adds_one_line() {
    let new = OLD.replace("%3 = exp %2", "%5 = tanh %2 : f32[n, 4]\n  %3 = exp %5");
    let difference = diff(&parse(OLD), &parse(&new));
    let added: Vec<_> = difference
        .lines
        .iter()
        .filter(|l| matches!(l, DiffLine::Added(_)))
        .collect();
    assert_eq!(difference.added.len(), 1, "{difference}");
    assert!(difference.removed.is_empty(), "{difference}");
    // The new node, and its user whose operand changed.
    assert_eq!(added.len(), 2, "{difference}");
}

#[test]
fn a_removed_node_is_removed() {
    let new = OLD
        .replace("  %2 = neg %1 : f32[n, 4]\n", "")
        .replace("exp %2", "exp %1");
    let difference = diff(&parse(OLD), &parse(&new));
    assert_eq!(
        (difference.added.len(), difference.removed.len()),
        (0, 1),
        "{difference}"
    );
    assert!(difference.to_string().contains("- %old."), "{difference}");
}

#[test]
fn inputs_outputs_types_relations_and_guards_show() {
    for (from, to, line) in [
        (
            "(%x: f32[n, 4])",
            "(donate %x: f32[n, 4])",
            "+ donate %x: f32[n, 4]",
        ),
        ("return y", "return z", "+ return z"),
        (
            "[n, 4])  {",
            "[n, 4]) where n % 2 == 0 {",
            "+ where n % 2 == 0",
        ),
        (
            "  return",
            "  guard n == 4 \"a rule\"\n  return",
            "+ guard n == 4 \"a rule\"",
        ),
        ("f32[n", "f32[m", "+ %x: f32[m, 4]"),
    ] {
        let old = OLD.replace("[n, 4]) {", "[n, 4])  {");
        let new = old.replace(from, to);
        assert_ne!(old, new, "{from}");
        let difference = diff(&parse(&old), &parse(&new));
        assert!(!difference.is_equal());
        assert!(
            difference.to_string().contains(line),
            "{from}: {difference}"
        );
    }
}
