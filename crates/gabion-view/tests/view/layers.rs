//! What a viewer makes of models at their real sizes: their layers are one group at every stage, in one order, and what was
//! opened in the graph as built is found again once it is lowered.

use gabion_ir::{Builder, TensorValue};
use gabion_view::document::GroupId;
use gabion_view::look::Look;
use gabion_view::place::Item;
use gabion_view::{Document, Sizes};

use crate::samples::{minilm, recorded, smollm2, ty};

/// The names of the modules right in a group, from which passes filled none alone.
fn modules(document: &Document, id: GroupId) -> Vec<String> {
    let built = |id: GroupId| {
        let inside = |group| document.tree.ancestors(group).any(|it| it == id);
        let mut boxes = document.boxes.iter();
        boxes.any(|it| it.stages.start == 0 && inside(it.group))
    };
    let inside = document.tree.get(id).groups.iter();
    let inside = inside.filter(|id| built(**id));
    inside
        .map(|id| document.tree.get(*id).name.to_string())
        .collect()
}

#[test]
fn all_layers_of_a_model_are_one_group_in_one_order() {
    for (graph, path, layers) in [
        (smollm2(), "model.layers", 30),
        (minilm(), "encoder.layer", 6),
    ] {
        let document = recorded(&graph);
        let around = document.tree.by_path(path).expect("the layers");
        let around = document.tree.get(around);
        assert_eq!(around.repeats, Some(layers), "{path}");
        let first = modules(&document, around.groups[0]);
        assert!(first.len() >= 2, "{first:?}");
        for layer in &around.groups {
            assert_eq!(modules(&document, *layer), first, "{path}");
        }
    }
}

#[test]
fn what_was_opened_in_the_graph_as_built_is_open_once_it_is_lowered() {
    let graph = smollm2();
    let (early, document) = (
        Document::of_graph(&graph, &Sizes::default()),
        recorded(&graph),
    );
    let mut before = Look::new(&early);
    let attention = early.tree.by_path("model.layers.3.self_attn").expect("it");
    for group in early.tree.ancestors(attention) {
        before.set_open(group, true);
    }
    before.select(Some(Item::Group(attention)));
    let mut after = Look::new(&document);
    after.go_on_from(&before);
    let path = |look: &Look<'_>, id: GroupId| look.document().tree.get(id).path.to_string();
    let opened = |look: &Look<'_>| -> Vec<String> {
        let mut open: Vec<String> = look.open().iter().map(|id| path(look, *id)).collect();
        open.sort();
        open
    };
    assert!(opened(&before).contains(&"model.layers.3.self_attn".to_owned()));
    assert_eq!(opened(&after), opened(&before));
    let Some(Item::Group(selected)) = after.selection() else {
        panic!("{:?}", after.selection());
    };
    assert_eq!(path(&after, selected), "model.layers.3.self_attn");
}

fn input<'b>(b: &'b Builder, at: usize, name: &str) -> TensorValue<'b> {
    b.input(&format!("{name}{at}"), ty("f32[8, 8]"))
}

/// Projections of one size are three things, as their names say.
#[test]
fn neighbours_with_names_of_their_own_are_not_one_group() {
    let document = recorded(&minilm());
    let attention = document.tree.by_path("encoder.layer.2.attention.self.qkv");
    let inside = modules(&document, attention.expect("it"));
    assert_eq!(inside, ["query", "key", "value"]);
}

/// Groups that differ in an attribute, or in what reads what, are not the same.
#[test]
fn groups_of_the_same_operators_that_do_something_else_are_not_one() {
    let folded = |build: &dyn Fn(&Builder, usize)| {
        let b = Builder::new("alike");
        for at in 0..4 {
            let _scope = b.scope(&format!("layers.{at}"));
            build(&b, at);
        }
        let graph = b.finish().unwrap_or_else(|e| panic!("{e}"));
        let document = Document::of_graph(&graph, &Sizes::default());
        let around = document.tree.by_path("layers").expect("the layers");
        document.tree.get(around).repeats
    };
    let with_axes = |axes: [i64; 4]| {
        folded(&move |b, at| {
            let x = input(b, at, "x");
            b.output(&format!("y{at}"), x.softmax(axes[at]));
        })
    };
    assert_eq!(with_axes([0, 0, 0, 0]), Some(4));
    assert_eq!(with_axes([0, 1, 0, 1]), None);
    let wired = |swapped: usize| {
        folded(&move |b, at| {
            let (x, y) = (input(b, at, "x"), input(b, at, "y"));
            let (a, c) = (x.relu(), y.tanh());
            let z = if at == swapped { c - a } else { a - c };
            b.output(&format!("z{at}"), z);
        })
    };
    assert_eq!(wired(9), Some(4));
    assert_eq!(wired(1), None);
}
