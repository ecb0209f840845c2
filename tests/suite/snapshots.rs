//! Snapshots: the graph as built and after lowering, what each pass did with the ledger, and the plan, of a stack, of a
//! SmolLM2 layer and of a MiniLM layer at their real sizes.

use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower};
use gabion_nn::{Scope, StackedLinear, StackedLinearConfig};
use gabion_testing::{assert_graph, assert_passes, assert_plan};
use serde_json::json;

use crate::models::{bert, causal_lm, encoder_config, f32s, q4_1};
use crate::running::{plan_laws, target};

/// The graph after all passes, whose plan keeps the laws.
fn lowered(graph: &Graph) -> Graph {
    let lowered =
        lower(graph, target(), &LowerOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let plan = lowered.plan.expect("a plan");
    plan_laws(&plan).unwrap_or_else(|e| panic!("{e}"));
    lowered.graph
}

/// All that is kept of a graph.
macro_rules! assert_everything {
    ($graph:expr, $built:literal, $lowered:literal, $passes:literal, $plan:literal $(,)?) => {{
        let graph: &Graph = $graph;
        assert_graph!($built, graph);
        assert_graph!($lowered, &lowered(graph));
        assert_passes!($passes, graph, target());
        assert_plan!($plan, graph, target());
    }};
}

fn stack(stacked: bool) -> Graph {
    let mut config =
        StackedLinearConfig::new(576, [("q_proj", 576), ("k_proj", 192), ("v_proj", 192)]);
    config.stacked = stacked;
    let stack = StackedLinear::new(config).unwrap_or_else(|e| panic!("{e}"));
    let b = Builder::new("qkv");
    let x = b.input("x", "f32[tokens, 576]".parse().expect("a type"));
    let scope = Scope::at(&b, "model.layers.0.self_attn");
    for (name, value) in ["q", "k", "v"].iter().zip(stack.forward_split(&scope, x)) {
        b.output(name, value);
    }
    b.finish().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn stack_unfused() {
    assert_everything!(
        &stack(false),
        "stack_unfused_graph",
        "stack_unfused_lowered",
        "stack_unfused_passes",
        "stack_unfused_plan",
    );
}

#[test]
fn stack_stacked() {
    assert_everything!(
        &stack(true),
        "stack_stacked_graph",
        "stack_stacked_lowered",
        "stack_stacked_passes",
        "stack_stacked_plan",
    );
}

#[test]
fn smollm2_layer() {
    let config = json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": true, "rope_theta": 100000.0,
    });
    let graph = causal_lm(&config, q4_1)
        .layer_graph(3)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_everything!(
        &graph,
        "smollm2_layer_graph",
        "smollm2_layer_lowered",
        "smollm2_layer_passes",
        "smollm2_layer_plan",
    );
}

#[test]
fn minilm_layer() {
    let config = encoder_config(json!({
        "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 6, "num_attention_heads": 12, "max_position_embeddings": 512,
    }));
    let graph = bert(&config, f32s)
        .layer_graph(2)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_everything!(
        &graph,
        "minilm_layer_graph",
        "minilm_layer_lowered",
        "minilm_layer_passes",
        "minilm_layer_plan",
    );
}
