//! Exports: files that other programs read.

use std::collections::BTreeSet;

use gabion_view::export::{dot, json, model_explorer, svg};
use gabion_view::look::{Command, Look, Pane};
use gabion_view::{Document, Sizes};

use crate::samples::{layered, recorded, three_linears};

#[test]
fn dot_of_three_linears() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    insta::assert_snapshot!(dot(&mut look, Pane::Now).expect("a graph"));
}

/// Braces are closed as often as opened, at every depth of what is open.
#[test]
fn dot_of_open_groups_is_balanced() {
    let document = Document::of_graph(&layered(5, 12), &Sizes::default());
    let mut look = Look::new(&document);
    look.run(Command::OpenAllInside);
    let text = dot(&mut look, Pane::Now).expect("a graph");
    assert_eq!(
        text.matches("{\n").count(),
        text.lines().filter(|line| line.trim() == "}").count()
    );
    assert!(text.matches("subgraph").count() >= 10);
}

#[test]
fn svg_of_three_linears() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    insta::assert_snapshot!(svg(&mut look, Pane::Now).expect("a drawing"));
}

#[test]
fn names_cannot_break_out_of_svg_and_dot() {
    let b = gabion_ir::Builder::new("<script>\"&");
    let x = b.input("x", crate::samples::ty("f32[4]"));
    // Checkpoints name their tensors as they like.
    let w = b.weight("w\"]; evil [<&>", crate::samples::ty("f32[4]"));
    b.output("y", x + w);
    let document = Document::of_graph(&b.finish().expect("a graph"), &Sizes::default());
    let mut look = Look::new(&document);
    let drawing = svg(&mut look, Pane::Now).expect("a drawing");
    assert!(!drawing.contains("<script>") && drawing.contains("&lt;script&gt;&quot;&amp;"));
    assert!(drawing.contains("evil [&lt;&amp;&gt;"));
    let graph = dot(&mut look, Pane::Now).expect("a graph");
    assert!(graph.contains("w\\\"]; evil ["), "{graph}");
}

#[test]
fn json_names_boxes_that_are_there() {
    let document = recorded(&three_linears());
    let value = json(&document);
    let boxes = value["boxes"].as_array().expect("boxes").len();
    assert_eq!(boxes, document.boxes.len());
    for stage in value["stages"].as_array().expect("stages") {
        for id in stage["boxes"].as_array().expect("numbers") {
            assert!((id.as_u64().expect("a number") as usize) < boxes);
        }
    }
    assert_eq!(value["sizes"]["tokens"], 128);
    let text = value.to_string();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).expect("it parses"),
        value
    );
}

#[test]
fn model_explorer_edges_lead_to_nodes_of_their_graph() {
    let document = recorded(&three_linears());
    let value = model_explorer(&document);
    let graphs = value["graphs"].as_array().expect("graphs");
    assert_eq!(graphs.len(), document.stages.len());
    let mut edges = 0;
    for graph in graphs {
        let nodes = graph["nodes"].as_array().expect("nodes");
        let ids: BTreeSet<&str> = nodes
            .iter()
            .map(|node| node["id"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), nodes.len(), "ids are unique");
        for node in nodes {
            for edge in node["incomingEdges"].as_array().expect("edges") {
                edges += 1;
                assert!(ids.contains(edge["sourceNodeId"].as_str().expect("an id")));
            }
        }
    }
    assert!(edges > 20, "{edges}");
    let first = &graphs[0]["nodes"];
    let product = first
        .as_array()
        .expect("nodes")
        .iter()
        .find(|node| node["label"] == "matmul")
        .expect("a product");
    assert_eq!(product["namespace"], "self_attn");
    assert_eq!(
        product["outputsMetadata"][0]["attrs"][0]["value"],
        "f32[tokens, 64]"
    );
}
