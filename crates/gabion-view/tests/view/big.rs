//! Graphs of a hundred thousand nodes.

use gabion_ir::Builder;
use gabion_view::place::{Direction, Open, Scene, default_size, place};
use gabion_view::{Document, Sizes};

use crate::samples::{layered, ty};

/// Nothing here depends on recursion over nodes or on squares of their number: it ends.
#[test]
fn a_hundred_thousand_nodes_are_placed_while_closed() {
    let graph = layered(300, 111);
    assert!(graph.len() > 99_000, "{}", graph.len());
    let document = Document::of_graph(&graph, &Sizes::default());
    let mut scene = Scene::with_leaves(&document, 0, true);
    let placement = place(&mut scene, &Open::default(), Direction::Down, &default_size);
    assert_eq!(placement.items.len(), 3);
}

#[test]
fn a_graph_without_modules_is_divided() {
    let b = Builder::new("flat");
    let mut x = b.input("x", ty("f32[8]"));
    for _ in 0..20_000 {
        x = x.relu();
    }
    b.output("y", x);
    let graph = b.finish().expect("a graph");
    let document = Document::of_graph(&graph, &Sizes::default());
    for group in &document.tree.groups {
        assert!(group.groups.len() + group.boxes.len() <= 240);
    }
    let mut scene = Scene::with_leaves(&document, 0, true);
    let open: Open = (0..4).map(gabion_view::document::GroupId).collect();
    let placement = place(&mut scene, &open, Direction::Down, &default_size);
    assert!((10..1_000).contains(&placement.items.len()));
}
