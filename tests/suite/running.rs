//! Runs graphs on the CPU executor, for comparison with the reference evaluator. Every plan on the
//! way is verified and survives its text.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gabion_cpu::{CpuExecutor, CpuOptions};
use gabion_ir::eval::{SampleOptions, Samples, evaluate, sample_inputs};
use gabion_ir::{Graph, Op, Tolerance};
use gabion_lower::{LowerOptions, lower};
use gabion_plan::{Executor, Plan, Target};
use gabion_tensor::{Bindings, HostTensor};

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, HostTensor>;

/// Executors of one, two and three threads, on the instruction set that `GABION_ISA` names.
pub(crate) fn executors() -> &'static [CpuExecutor] {
    static EXECUTORS: OnceLock<Vec<CpuExecutor>> = OnceLock::new();
    EXECUTORS.get_or_init(|| {
        let executor = |threads| {
            let options = CpuOptions {
                threads: Some(threads),
                ..CpuOptions::default()
            };
            CpuExecutor::new(options).expect("an executor")
        };
        (1..=3).map(executor).collect()
    })
}

/// What the executors can do.
pub(crate) fn target() -> &'static Target {
    executors()[0].target()
}

/// A target that runs primitive operators and plain products only, so that everything else is
/// decomposed.
pub(crate) fn plainest() -> Target {
    Target {
        composites: Vec::new(),
        epilogue_maps: Vec::new(),
        norm_prologue: false,
        pair_granularity: 0,
        cache_epilogue: false,
        ..target().clone()
    }
}

/// Lowers a graph to a plan that verifies and survives its text.
pub(crate) fn plan_with(
    graph: &Graph,
    target: &Target,
    options: &LowerOptions,
) -> Result<Plan, String> {
    let lowered = lower(graph, target, options).map_err(|e| format!("lower: {e}"))?;
    let plan = lowered.plan.ok_or("lowering gave no plan")?;
    plan_laws(&plan)?;
    Ok(plan)
}

/// As [`plan_with`], for the CPU with all passes.
pub(crate) fn plan(graph: &Graph) -> Result<Plan, String> {
    plan_with(graph, target(), &LowerOptions::default())
}

/// A plan verifies, and `parse(print(p)) == p`.
pub(crate) fn plan_laws(plan: &Plan) -> Result<(), String> {
    let text = plan.to_text();
    gabion_plan::verify::verify(plan).map_err(|e| format!("the plan is wrong: {e}\n{text}"))?;
    let parsed = Plan::parse(&text).map_err(|e| format!("the plan's text: {e}\n{text}"))?;
    // A plan with a NaN in it is not equal to itself.
    #[allow(clippy::eq_op)]
    let comparable = *plan == *plan;
    if parsed.to_text() != text || comparable && parsed != *plan {
        return Err(format!(
            "the plan is not what its text says\n{text}\n{}",
            parsed.to_text()
        ));
    }
    Ok(())
}

/// The sizes that a session is told: those of donated inputs.
fn cache_sizes(graph: &Graph, bindings: &Bindings) -> Bindings {
    let mut sizes = Bindings::new();
    for input in graph.inputs() {
        if matches!(graph.op(input.node), Op::Input(op) if op.donated) {
            for symbol in graph.node(input.node).results[0]
                .shape
                .iter()
                .flat_map(|d| d.symbols())
            {
                if let Some(value) = bindings.get(symbol.name()) {
                    sizes
                        .bind(symbol.name(), value)
                        .expect("each symbol has one value");
                }
            }
        }
    }
    sizes
}

/// Runs a plan of `graph` once.
pub(crate) fn run_plan(
    executor: &CpuExecutor,
    graph: &Graph,
    plan: &Arc<Plan>,
    samples: &Samples,
) -> Result<Tensors, String> {
    let loaded = executor
        .load(plan.clone(), &samples.weights)
        .map_err(|e| format!("load: {e}"))?;
    let mut session = loaded
        .session(&cache_sizes(graph, &samples.bindings))
        .map_err(|e| format!("session: {e}"))?;
    let inputs: Vec<(&str, &HostTensor)> = samples
        .inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let outputs = session.run(&inputs).map_err(|e| format!("run: {e}"))?;
    Ok(outputs.into_iter().collect())
}

/// Runs a graph on one, two and three threads, which must give the same bits.
pub(crate) fn run_all_threads(
    graph: &Graph,
    plan: &Arc<Plan>,
    samples: &Samples,
) -> Result<Tensors, String> {
    let mut results = Vec::new();
    for executor in executors() {
        results.push(run_plan(executor, graph, plan, samples)?);
    }
    for (n, result) in results.iter().enumerate().skip(1) {
        same_bits(result, &results[0]).map_err(|e| format!("{} threads and 1: {e}", n + 1))?;
    }
    Ok(results.swap_remove(0))
}

/// The reference evaluator's outputs.
pub(crate) fn reference(graph: &Graph, samples: &Samples) -> Result<Tensors, String> {
    let evaluation = evaluate(graph, &samples.inputs, &samples.weights)
        .map_err(|e| format!("evaluator: {e}"))?;
    Ok(evaluation.outputs.into_iter().collect())
}

/// The executor agrees with the evaluator, whatever the number of threads.
pub(crate) fn conforms(
    graph: &Graph,
    target: &Target,
    options: &LowerOptions,
    samples: &Samples,
    tolerance: Tolerance,
) -> Result<(), String> {
    let expected = reference(graph, samples)?;
    let plan = Arc::new(plan_with(graph, target, options)?);
    let found = run_all_threads(graph, &plan, samples)
        .map_err(|e| format!("{e}\n--- plan\n{}", plan.to_text()))?;
    close(&found, &expected, tolerance).map_err(|e| format!("{e}\n--- plan\n{}", plan.to_text()))
}

/// Every tensor is within the tolerance.
pub(crate) fn close(
    found: &Tensors,
    expected: &Tensors,
    tolerance: Tolerance,
) -> Result<(), String> {
    for (name, tensor) in expected {
        let result = found.get(name).ok_or_else(|| format!("no output {name}"))?;
        tolerance
            .check(result, tensor)
            .map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Every tensor has the same bits.
pub(crate) fn same_bits(found: &Tensors, expected: &Tensors) -> Result<(), String> {
    for (name, tensor) in expected {
        let result = found.get(name).ok_or_else(|| format!("no output {name}"))?;
        if !result.bitwise_eq(tensor) {
            let detail = Tolerance::Exact.check(result, tensor);
            return Err(format!(
                "{name}: other bits: {}",
                detail.err().unwrap_or_else(|| "a NaN".to_owned())
            ));
        }
    }
    Ok(())
}

/// Samples of a graph whose symbols and inputs bear the names that models use: a cache has room
/// for what is appended, a mask is 0 or 1.
pub(crate) fn samples_of(graph: &Graph, seed: u64) -> Result<Samples, String> {
    let mut options = SampleOptions::default();
    let mentions = |name: &str| {
        graph.inputs().iter().any(|input| {
            graph.node(input.node).results[0]
                .shape
                .iter()
                .any(|d| d.symbols().iter().any(|s| s.name() == name))
        })
    };
    for (name, value) in [
        ("capacity", 24),
        ("tokens", [3, 1, 9][seed as usize % 3]),
        ("batch", 2),
        ("seq", [5, 1, 8][seed as usize % 3]),
    ] {
        if mentions(name) {
            options.symbols.insert(name.to_owned(), value);
        }
    }
    let masks = graph.inputs().iter().filter(|i| &*i.name == "mask");
    for mask in masks.filter(|i| graph.node(i.node).results[0].dtype.is_int()) {
        options.ranges.insert(mask.name.to_string(), 0..2);
    }
    sample_inputs(graph, seed, &options)
        .or_else(|_| {
            // The graph relates its symbols in a way that these sizes break: any will do.
            options.symbols.clear();
            sample_inputs(graph, seed, &options)
        })
        .map_err(|e| format!("samples: {e}"))
}
