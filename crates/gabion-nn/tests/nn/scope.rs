//! Names and the modules that nodes remember.

use gabion_ir::Builder;
use gabion_nn::{Scope, holds};
use gabion_tensor::DType;

#[test]
fn names_are_joined_by_segments() {
    let b = Builder::new("names");
    let layer = Scope::at(&b, "model").item("layers", 10);
    assert_eq!(layer.path(), "model.layers.10");
    assert_eq!(layer.name("norm.weight"), "model.layers.10.norm.weight");
    assert_eq!(
        layer
            .nameless_child("qkv_proj")
            .child("q_proj")
            .name("bias"),
        "model.layers.10.q_proj.bias"
    );
    assert_eq!(Scope::root(&b).name("lm_head.weight"), "lm_head.weight");
    assert!(holds("model.layers.1", "model.layers.1.norm.weight"));
    assert!(!holds("model.layers.1", "model.layers.10.norm.weight"));
    assert!(holds("", "anything") && holds("lm_head", "lm_head"));
}

#[test]
fn nodes_remember_the_open_module() {
    let b = Builder::new("modules");
    let x = b.input("x", "f32[4]".parse().unwrap());
    let root = Scope::root(&b);
    {
        let (model, _open) = root.enter("model");
        let (layer, _open) = model.enter("layers.0");
        b.output("in_layer", x + 1.0);
        // A tensor is made in its own module, even if nobody opened that.
        b.output(
            "weight",
            layer.child("norm").weight("weight", DType::F32, &[4]),
        );
        {
            let _open = layer.child("mlp").nameless_child("act").open();
            b.output("in_act", x + 2.0);
        }
        b.output("in_layer_again", x + 3.0);
    }
    b.output("outside", x + 4.0);
    let graph = b.finish().unwrap();
    let module = |name: &str| {
        let output = graph.outputs().iter().find(|o| &*o.name == name).unwrap();
        graph
            .node(output.value.node)
            .scope
            .clone()
            .map(|s| s.to_string())
    };
    assert_eq!(module("in_layer").as_deref(), Some("model.layers.0"));
    assert_eq!(module("weight").as_deref(), Some("model.layers.0.norm"));
    assert_eq!(module("in_act").as_deref(), Some("model.layers.0.mlp.act"));
    assert_eq!(module("in_layer_again").as_deref(), Some("model.layers.0"));
    assert_eq!(module("outside"), None);
}
