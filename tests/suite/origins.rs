//! Where nodes come from: after every pass each node knows the nodes of the source graph that it was
//! made from, nothing that is still needed is forgotten, and the plan knows it of its steps and weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use gabion_ir::{Graph, NodeId, Op, Origins};
use gabion_lower::{LowerOptions, Lowered, lower};
use gabion_plan::Target;

use crate::filetests::graphs_of;
use crate::models::layer_graphs;
use crate::random_graph::every_operator;
use crate::running::{plainest, target};

fn recorded(graph: &Graph, target: &Target) -> Result<Lowered, String> {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    lower(graph, target, &options).map_err(|e| e.to_string())
}

fn live(graph: &Graph) -> BTreeSet<NodeId> {
    let mut live = BTreeSet::new();
    let mut stack: Vec<NodeId> = graph.outputs().iter().map(|o| o.value.node).collect();
    while let Some(id) = stack.pop() {
        if live.insert(id) {
            stack.extend(graph.operands(id).iter().map(|v| v.node));
        }
    }
    live
}

fn weight_name(graph: &Graph, id: NodeId) -> Option<&str> {
    match graph.op(id) {
        Op::Weight(weight) => Some(&weight.name),
        _ => None,
    }
}

/// What must hold of a graph that passes made from `source`, which is compact.
fn knows_its_origins(source: &Graph, graph: &Graph) -> Result<(), String> {
    let mut of_live: BTreeSet<u32> = BTreeSet::new();
    let live = live(graph);
    for id in graph.node_ids() {
        let origins = &graph.node(id).origins;
        let word = graph.op(id).name();
        if origins.is_empty() && !matches!(graph.op(id), Op::Constant(_)) {
            return Err(format!("{id:?} ({word}) has no origin"));
        }
        if let Some(wrong) = origins.ids().iter().find(|o| source.node_at(**o).is_none()) {
            return Err(format!(
                "{id:?} ({word}) comes from node {wrong}, there is none"
            ));
        }
        if live.contains(&id) {
            of_live.extend(origins.ids());
        }
        // What is stored keeps to what is stored under its name; so do inputs.
        if let Some(name) = weight_name(graph, id) {
            let from = origins.ids().iter().filter_map(|o| source.node_at(*o));
            let names: BTreeSet<&str> = from.filter_map(|o| weight_name(source, o)).collect();
            if names != BTreeSet::from([name]) {
                return Err(format!("weight `{name}` comes from weights {names:?}"));
            }
        }
    }
    // What an output returns was made from what the source's output of that name returned.
    for (old, new) in source.outputs().iter().zip(graph.outputs()) {
        let origin = old.value.node.index() as u32;
        if !graph.node(new.value.node).origins.contains(origin) {
            let name = &old.name;
            let found = &graph.node(new.value.node).origins;
            return Err(format!(
                "output `{name}` was node {origin}, it is made from {found:?}"
            ));
        }
    }
    Ok(())
}

fn plan_knows(source: &Graph, lowered: &Lowered) -> Result<(), String> {
    let plan = lowered.plan.as_ref().ok_or("no plan")?;
    let origins = &lowered.origins;
    if origins.steps.len() != plan.steps.len() || origins.weights.len() != plan.weights.len() {
        return Err("not a set of origins per step and weight".to_owned());
    }
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    for (at, set) in origins.steps.iter().enumerate() {
        let constant = plan.steps[at].reads.is_empty();
        if set.is_empty() && !constant {
            return Err(format!("step {at} has no origin"));
        }
        seen.extend(set.ids());
    }
    for (at, weight) in plan.weights.iter().enumerate() {
        let set = &origins.weights[at];
        seen.extend(set.ids());
        for part in &weight.parts {
            let gabion_plan::PartSource::Checkpoint(name) = &part.source else {
                continue;
            };
            let stored = set.ids().iter().filter_map(|o| source.node_at(*o));
            if !stored
                .into_iter()
                .any(|id| weight_name(source, id) == Some(name))
            {
                return Err(format!(
                    "plan weight `{}` does not know `{name}`",
                    weight.name
                ));
            }
        }
    }
    // Everything that computes in the lowered graph is a step, a weight, or seen through by one.
    let live = live(&lowered.graph);
    for id in &live {
        let leaf = matches!(lowered.graph.op(*id), Op::Input(_) | Op::Constant(_));
        let own = &lowered.graph.node(*id).origins;
        if !leaf && !own.ids().iter().all(|o| seen.contains(o)) {
            let word = lowered.graph.op(*id).name();
            return Err(format!("{id:?} ({word}): {own:?} is not all in the plan"));
        }
    }
    Ok(())
}

fn check(graph: &Graph) -> Result<(), String> {
    let source = graph.compacted();
    for target in [target(), &plainest()] {
        let lowered = recorded(graph, target)?;
        for pass in &lowered.passes {
            let snapshot = pass.snapshot.as_ref().ok_or("no snapshot")?;
            let wrong = |e| format!("after `{}`: {e}\n{}", pass.name, snapshot.after);
            knows_its_origins(&source, &snapshot.after).map_err(wrong)?;
        }
        plan_knows(&source, &lowered).map_err(|e| format!("{e}\n{}", lowered.graph))?;
        for entry in lowered.ledger.entries() {
            if entry.origins.is_empty() {
                return Err(format!("{entry}: no origin"));
            }
        }
    }
    Ok(())
}

#[test]
fn every_node_of_every_pass_knows_its_origins() {
    let mut graphs = layer_graphs();
    graphs.extend(graphs_of("passes"));
    graphs.extend(graphs_of("plan"));
    graphs
        .extend((0..4).map(|seed| (format!("every operator, seed {seed}"), every_operator(seed))));
    let failures: Vec<String> = graphs
        .iter()
        .filter_map(|(name, graph)| Some(format!("=== {name}: {}", check(graph).err()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const THREE: &str =
    "graph @three(%x: f32[tokens, 64]) -> (f32[tokens, 64], f32[tokens, 32], f32[tokens, 32]) {
  %wq = weight {name = \"q\"} : f32[64, 64]
  %wk = weight {name = \"k\"} : f32[32, 64]
  %wv = weight {name = \"v\"} : f32[32, 64]
  %bk = weight {name = \"k.bias\"} : f32[32]
  %q = matmul %x, %wq {transpose_b = true} : f32[tokens, 64]
  %p = matmul %x, %wk {transpose_b = true} : f32[tokens, 32]
  %k = add %p, %bk : f32[tokens, 32]
  %v = matmul %x, %wv {transpose_b = true} : f32[tokens, 32]
  return q = %q, k = %k, v = %v
}
";

/// The one step of three products, exactly.
#[test]
fn a_stack_knows_its_products_and_what_was_fused() {
    let graph = Graph::parse(THREE).unwrap_or_else(|e| panic!("{e}"));
    let source = graph.compacted();
    let lowered = recorded(&graph, target()).unwrap_or_else(|e| panic!("{e}"));
    let words = |origins: &Origins| -> Vec<String> {
        let nodes = origins.ids().iter().filter_map(|id| source.node_at(*id));
        let mut words: Vec<String> = nodes
            .map(|id| match weight_name(&source, id) {
                Some(name) => format!("weight {name}"),
                None => source.op(id).name().to_owned(),
            })
            .collect();
        words.sort();
        words
    };
    let plan = lowered.plan.as_ref().expect("a plan");
    assert_eq!(plan.steps.len(), 1, "{}", plan.to_text());
    assert_eq!(
        words(lowered.origins.step(0)),
        ["add", "matmul", "matmul", "matmul"]
    );
    let stack = lowered.origins.weight(gabion_plan::WeightId(0));
    assert_eq!(words(stack), ["weight k", "weight q", "weight v"]);
    // The line of each product leads to the ledger's lines about it.
    let q = source.outputs()[0].value.node;
    let about: Vec<&str> = lowered
        .ledger
        .about(&Origins::from(q))
        .map(|entry| entry.pass)
        .collect();
    assert!(about.contains(&"stack_weights"), "{about:?}");
    assert!(about.contains(&"stack_siblings"), "{about:?}");
}

/// An operator that is made anew in another place keeps its own origin, and has that of the cut whose
/// value it makes now: the last layer's products do not all come from the head.
#[test]
fn what_moves_keeps_its_own_origin() {
    let text = "graph @g(%x: f32[tokens, 8]) -> (f32[1, 8]) where tokens >= 1 {
  %a = weight {name = \"a\"} : f32[8, 8]
  %y = matmul %x, %a : f32[tokens, 8]
  %z = exp %y : f32[tokens, 8]
  %last = slice %z {axes = [{axis = 0, start = -1, step = 1}]} : f32[1, 8]
  return y = %last
}
";
    let graph = Graph::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let source = graph.compacted();
    let lowered = recorded(&graph, target()).unwrap_or_else(|e| panic!("{e}"));
    let hoisted = lowered.passes.iter().find(|p| p.name == "hoist_slices");
    let hoisted = hoisted.and_then(|p| p.snapshot.as_ref()).expect("recorded");
    assert_ne!(hoisted.before, hoisted.after);
    for id in hoisted.after.node_ids() {
        let node = hoisted.after.node(id);
        let from = node.origins.ids().iter().filter_map(|o| source.node_at(*o));
        let found: BTreeSet<&str> = from.map(|o| source.op(o).name()).collect();
        let own = node.op.name();
        let expected = match own {
            "exp" | "matmul" => BTreeSet::from([own, "slice"]),
            _ => BTreeSet::from([own]),
        };
        assert_eq!(found, expected);
    }
}

/// Recording keeps one graph for each pass that changed something, and graphs share their nodes.
#[test]
fn snapshots_share_what_is_the_same() {
    let graph = Graph::parse(THREE).unwrap_or_else(|e| panic!("{e}"));
    let lowered = recorded(&graph, target()).unwrap_or_else(|e| panic!("{e}"));
    let mut last: Option<Arc<Graph>> = None;
    let mut same = 0;
    for pass in &lowered.passes {
        let snapshot = pass.snapshot.as_ref().expect("recorded");
        if let Some(last) = &last {
            assert!(Arc::ptr_eq(last, &snapshot.before), "{}", pass.name);
        }
        let shared = Arc::ptr_eq(&snapshot.before, &snapshot.after);
        assert_eq!(shared, pass.rewrites == 0, "{}", pass.name);
        same += usize::from(shared);
        if !shared {
            let kept = snapshot.after.node_ids().find(|id| {
                let before = snapshot.before.contains(*id);
                before && std::ptr::eq(snapshot.before.node(*id), snapshot.after.node(*id))
            });
            assert!(kept.is_some(), "{}: every node was copied", pass.name);
        }
        last = Some(snapshot.after.clone());
    }
    assert!(same > 8 && same < lowered.passes.len(), "{same}");
}
