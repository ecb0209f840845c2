//! JSON that is no graph is refused with its place. (The round trip is among the laws.)

use gabion_ir::Graph;
use serde_json::{Value as Json, json};

fn document() -> Json {
    json!({
        "version": 1,
        "name": "g",
        "inputs": [{"name": "x", "value": "%x", "type": "f32[n, 4]"}],
        "nodes": [
            {"op": "weight", "attrs": {"name": "w"}, "results": ["%w"], "types": ["f32[4, 4]"]},
            {"op": "matmul", "operands": ["%x", "%w"], "results": ["%0"], "types": ["f32[n, 4]"], "scope": "mlp"},
        ],
        "outputs": [{"name": "y", "value": "%0"}],
    })
}

#[test]
fn a_document_is_the_graph_that_its_text_is() {
    let text = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {\n  %w = weight {name = \"w\"} : f32[4, 4]\n  \
                %0 = matmul %x, %w : f32[n, 4] in \"mlp\"\n  return y = %0\n}\n";
    let graph = Graph::from_json(&document()).expect("a graph");
    assert_eq!(graph.to_text(), text);
    assert_eq!(graph.to_json(), document());
    let through_serde: Graph =
        serde_json::from_str(&serde_json::to_string(&graph).expect("JSON")).expect("a graph");
    assert!(through_serde == graph);
}

#[test]
fn wrong_documents_are_refused_with_their_place() {
    let cases: [(&str, Json, &str); 9] = [
        ("/version", json!(2), "version: expected 1, found 2"),
        (
            "/nodes/1/op",
            json!("matmull"),
            "node 1 (%0 = matmull): `matmull` is no operator",
        ),
        (
            "/nodes/1/operands/1",
            json!("%v"),
            "`%v` is not defined before this",
        ),
        (
            "/nodes/1/types/0",
            json!("f32[n, 5]"),
            "expected f32[n, 4], found f32[n, 5]",
        ),
        ("/nodes/1/results/0", json!("%w"), "`%w` is defined twice"),
        ("/nodes/1/results/0", json!("y"), "expected `%y`, found `y`"),
        (
            "/outputs/0/name",
            json!("a b"),
            "output `a b`: expected an identifier",
        ),
        ("/outputs", json!([]), "expected an output, found none"),
        ("/nodes/0/attrs/nama", json!("w"), "unknown field `nama`"),
    ];
    for (pointer, value, expected) in cases {
        let mut document = document();
        match document.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
                document.pointer_mut(parent).expect("a parent")[key] = value;
            }
        }
        let error = Graph::from_json(&document).expect_err(pointer).to_string();
        assert!(error.contains(expected), "{pointer}: {error}");
    }
    let mut extra = document();
    extra["colour"] = json!("red");
    assert!(
        Graph::from_json(&extra)
            .expect_err("extra field")
            .to_string()
            .contains("colour")
    );
}
