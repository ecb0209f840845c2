//! What the hash sees and what it does not.

use gabion_ir::Graph;
use gabion_ir::hash::{WeightNames, graph_hash, node_hashes};

fn parse(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

const BASE: &str = "\
graph @g(%x: f32[n, 4], %z: f32[n, 4]) -> (f32[n, 8]) where n % 2 == 0 {
  %w = weight {name = \"w\"} : f32[4, 4]
  %h = matmul %x, %w : f32[n, 4] in \"layers.0\"
  %r = concat %h, %z {axis = 1} : f32[n, 8]
  return y = %r
}
";

#[test]
fn names_of_values_scopes_and_the_graph_do_not_count() {
    let base = graph_hash(&parse(BASE));
    let renamed = BASE
        .replace("%h", "%hidden")
        .replace("%r", "%5")
        .replace(" in \"layers.0\"", "");
    assert_eq!(graph_hash(&parse(&renamed)), base);
    assert_eq!(graph_hash(&parse(&BASE.replace("@g", "@other"))), base);
}

#[test]
fn everything_else_counts() {
    let edits = [
        ("concat %h, %z", "concat %z, %h"),
        ("return y", "return z"),
        ("\"w\"", "\"v\""),
        ("n % 2", "n % 4"),
        ("%z: f32", "donate %z: f32"),
        ("%w : f32[n, 4]", "%w {transpose_b = true} : f32[n, 4]"),
        (
            "(%x: f32[n, 4], %z: f32[n, 4])",
            "(%z: f32[n, 4], %x: f32[n, 4])",
        ),
        ("  return", "  %dead = neg %x : f32[n, 4]\n  return"),
        ("  %r", "  guard n == 6 \"a rule\"\n  %r"),
    ];
    let mut seen = vec![graph_hash(&parse(BASE))];
    for (from, to) in edits {
        let edited = BASE.replace(from, to);
        assert_ne!(edited, BASE, "{from}");
        let hash = graph_hash(&parse(&edited));
        assert!(!seen.contains(&hash), "{from} -> {to}");
        seen.push(hash);
    }
}

#[test]
fn sharing_counts() {
    let shared = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %a = neg %x : f32[n]\n  %y = add %a, %a : f32[n]\n  return %y\n}\n";
    let twice = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %a = neg %x : f32[n]\n  %b = neg %x : f32[n]\n  \
                 %y = add %a, %b : f32[n]\n  return %y\n}\n";
    assert_ne!(graph_hash(&parse(shared)), graph_hash(&parse(twice)));
}

/// The value must never change by accident: caches on disk depend on it.
#[test]
fn the_hash_is_stable() {
    let text = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %y = relu %x : f32[n]\n  return %y\n}\n";
    assert_eq!(
        graph_hash(&parse(text)).to_string(),
        "095ffa6c1ca8c6cd0076d35d64860d08"
    );
}

#[test]
fn layers_that_differ_in_weights_alone_hash_alike() {
    let graph = parse(
        "graph @g(%x: f32[n, 4]) -> (f32[n, 4], f32[n, 4]) {\n  %v = weight {name = \"layers.0.w\"} : f32[4, 4]\n  \
         %a = matmul %x, %v : f32[n, 4]\n  %w = weight {name = \"layers.1.w\"} : f32[4, 4]\n  \
         %b = matmul %x, %w : f32[n, 4]\n  return %a, %b\n}\n",
    );
    let outputs: Vec<_> = graph.outputs().iter().map(|o| o.value.node).collect();
    let kept = node_hashes(&graph, WeightNames::Kept);
    let forgotten = node_hashes(&graph, WeightNames::Forgotten);
    assert_ne!(kept[&outputs[0]], kept[&outputs[1]]);
    assert_eq!(forgotten[&outputs[0]], forgotten[&outputs[1]]);
}
