//! What every pass must leave as it was: the values. Random graphs, layers of every family and every
//! filetest go through the pipeline, and each pass alone; a wrong pass fails under its own name.

use std::sync::Arc;

use gabion_ir::eval::Samples;
use gabion_ir::{Graph, Tolerance};
use gabion_lower::{Ledger, LowerOptions, PASSES, lower_graph, run_pass};
use proptest::prelude::*;

use crate::filetests::graphs_of;
use crate::ir_laws::laws;
use crate::models::layer_graphs;
use crate::random_graph::{consistent_graph, every_operator, steps};
use crate::running::{close, plainest, plan_with, reference, run_all_threads, samples_of, target};

/// Both sides are the evaluator's, whose products sum in f64: what remains is the rounding of f32
/// where a pass reassociates.
const CLOSE: Tolerance = Tolerance::Norm(2e-6);

fn same_on(samples: &Samples, before: &Graph, after: &Graph) -> Result<(), String> {
    let expected = reference(before, samples)?;
    close(&reference(after, samples)?, &expected, CLOSE)
}

/// Two graphs give the same outputs on random inputs.
pub(crate) fn same_values(before: &Graph, after: &Graph, seed: u64) -> Result<(), String> {
    same_on(&samples_of(before, seed)?, before, after)
}

/// Each pass of the pipeline keeps the values, and leaves a graph that verifies and survives its
/// text.
fn pipeline_keeps_values(graph: &Graph, seed: u64) -> Result<(), String> {
    let samples = samples_of(graph, seed)?;
    let expected = reference(graph, &samples)?;
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    for target in [target(), &plainest()] {
        let lowered = lower_graph(graph, target, &options).map_err(|e| e.to_string())?;
        for record in &lowered.passes {
            let snapshot = record.snapshot.as_ref().ok_or("no snapshot was kept")?;
            if record.rewrites == 0 && record.name != "remove_dead" {
                continue;
            }
            laws(&snapshot.after);
            let found = reference(&snapshot.after, &samples);
            found
                .and_then(|found| close(&found, &expected, CLOSE))
                .map_err(|e| {
                    format!(
                        "pass `{}` changed the values: {e}\n--- before\n{}--- after\n{}",
                        record.name, snapshot.before, snapshot.after
                    )
                })?;
        }
    }
    Ok(())
}

/// As [`pipeline_keeps_values`], for each pass on the graph as it was built.
fn each_pass_alone_keeps_values(graph: &Graph, seed: u64) -> Result<(), String> {
    let samples = samples_of(graph, seed)?;
    let expected = reference(graph, &samples)?;
    for pass in PASSES {
        let mut after = graph.clone();
        run_pass(&mut after, pass, target(), &mut Ledger::default()).map_err(|e| e.to_string())?;
        laws(&after);
        reference(&after, &samples)
            .and_then(|found| close(&found, &expected, CLOSE))
            .map_err(|e| {
                format!(
                    "pass `{}` alone changed the values: {e}\n--- before\n{graph}--- after\n{after}",
                    pass.name
                )
            })?;
    }
    Ok(())
}

/// The plan of the lowered graph gives what the evaluator gives.
fn executor_agrees(graph: &Graph, seed: u64, tolerance: Tolerance) -> Result<(), String> {
    let samples = samples_of(graph, seed)?;
    let expected = reference(graph, &samples)?;
    for target in [target(), &plainest()] {
        let plan = Arc::new(plan_with(graph, target, &LowerOptions::default())?);
        run_all_threads(graph, &plan, &samples)
            .and_then(|found| close(&found, &expected, tolerance))
            .map_err(|e| format!("{e}\n--- plan\n{}--- graph\n{graph}", plan.to_text()))?;
    }
    Ok(())
}

#[track_caller]
fn for_each(graphs: Vec<(String, Graph)>, check: impl Fn(&Graph) -> Result<(), String>) {
    let failures: Vec<String> = graphs
        .iter()
        .filter_map(|(name, graph)| check(graph).err().map(|e| format!("=== {name}: {e}")))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} graphs\n{}",
        failures.len(),
        graphs.len(),
        failures.join("\n")
    );
}

#[test]
fn passes_keep_the_values_of_layers() {
    for seed in 0..3 {
        for_each(layer_graphs(), |graph| pipeline_keeps_values(graph, seed));
    }
}

#[test]
fn single_passes_keep_the_values_of_layers() {
    for_each(layer_graphs(), |graph| {
        each_pass_alone_keeps_values(graph, 0)
    });
}

#[test]
fn passes_keep_the_values_of_filetests() {
    for folder in ["passes", "plan"] {
        for seed in 0..2 {
            for_each(graphs_of(folder), |graph| {
                pipeline_keeps_values(graph, seed)
            });
        }
    }
}

#[test]
fn passes_keep_the_values_of_every_operator() {
    let graphs = (0..6)
        .map(|seed| (format!("seed {seed}"), every_operator(seed)))
        .collect();
    for_each(graphs, |graph| {
        // Indices are in range only where the sample says so: each graph has its own inputs.
        let options = LowerOptions {
            record: true,
            ..LowerOptions::default()
        };
        let lowered = lower_graph(graph, target(), &options).map_err(|e| e.to_string())?;
        laws(&lowered.graph);
        Ok(())
    });
}

/// The comparison that passes are held to finds a wrong one.
#[test]
fn a_wrong_rewrite_is_found() {
    let graph = |body: &str| {
        let text =
            format!("graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {{\n{body}  return y = %y\n}}\n");
        Graph::parse(&text).unwrap_or_else(|e| panic!("{e}"))
    };
    let before = graph("  %e = exp %x\n  %y = sub %e, %x\n");
    assert_eq!(same_values(&before, &before, 0), Ok(()));
    for wrong in [
        "  %e = exp %x\n  %y = sub %x, %e\n",
        "  %e = expm1 %x\n  %y = sub %e, %x\n",
    ] {
        let parted = same_values(&before, &graph(wrong), 0).expect_err(wrong);
        assert!(parted.starts_with("y: relative error "), "{parted}");
    }
}

/// What a plan cannot hold is an error that names the weight and the way out.
#[test]
fn a_weight_of_symbolic_size_is_refused() {
    let text = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {\n  %w = weight {name = \"w\"} : f32[n, 4]\n  %y = add %x, %w\n  return %y\n}\n";
    let graph = Graph::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let error = crate::running::plan(&graph).expect_err("it has no size");
    assert!(
        error.contains("weight `w` is f32[n, 4]: a plan needs weights of fixed sizes"),
        "{error}"
    );
}

#[test]
fn layers_run_as_they_evaluate() {
    for seed in 0..3 {
        for_each(layer_graphs(), |graph| {
            executor_agrees(graph, seed, Tolerance::Norm(2e-5))
        });
    }
}

#[test]
fn filetests_run_as_they_evaluate() {
    for seed in 0..3 {
        for folder in ["passes", "plan"] {
            for_each(graphs_of(folder), |graph| {
                executor_agrees(graph, seed, Tolerance::Norm(2e-5))
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_the_values_of_random_graphs(steps in steps(), seed in 0u64..3) {
        let graph = consistent_graph(&steps);
        pipeline_keeps_values(&graph, seed).map_err(TestCaseError::fail)?;
        each_pass_alone_keeps_values(&graph, seed).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn random_graphs_run_as_they_evaluate(steps in steps(), seed in 0u64..3) {
        let graph = consistent_graph(&steps);
        executor_agrees(&graph, seed, Tolerance::Norm(1e-4)).map_err(TestCaseError::fail)?;
    }
}
