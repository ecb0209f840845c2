//! Lowering: a graph that verifies is lowered without a panic, every pass leaves a graph that
//! verifies, and the plan verifies and keeps the laws of its text.

use gabion_ir::Graph;
use gabion_lower::{LowerError, LowerOptions, lower};
use gabion_plan::{Plan, verify};

use super::graphs;
use crate::Target;
use crate::mutate::Form;
use crate::outcome::{accepted, refused};

/// See the module.
pub const TARGET: Target = Target {
    name: "passes",
    run,
    seeds,
    form: Form::Text,
};

fn seeds() -> Vec<Vec<u8>> {
    let built = graphs::built().into_iter().map(|graph| graph.to_text());
    let written = ["passes", "text"].into_iter().flat_map(graphs::filetests);
    built.chain(written).map(String::into_bytes).collect()
}

/// One input.
pub fn run(bytes: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return 0;
    };
    let graph = match Graph::parse(text) {
        Ok(graph) => graph,
        Err(errors) => return refused(&errors.to_string()),
    };
    if let Err(errors) = gabion_ir::verify::verify(&graph) {
        return refused(&errors.to_string());
    }
    let lowered = match lower(&graph, &gabion_cpu::cpu_target(), &LowerOptions::default()) {
        Ok(lowered) => lowered,
        Err(
            e @ (LowerError::Verify { .. }
            | LowerError::Patch(_)
            | LowerError::Plan(_)
            | LowerError::NoFixpoint { .. }),
        ) => {
            panic!("{e}\n{}", graph.to_text())
        }
        Err(e) => return refused(&e.to_string()),
    };
    let fired: Vec<bool> = lowered
        .passes
        .iter()
        .map(|pass| pass.rewrites > 0)
        .collect();
    if let Some(plan) = &lowered.plan {
        if let Err(errors) = verify(plan) {
            panic!("{errors}\n{}\n{plan}", graph.to_text());
        }
        let printed = plan.to_text();
        let again = Plan::parse(&printed)
            .unwrap_or_else(|e| panic!("printed text is not read back:\n{e}\n{printed}"));
        assert!(again == *plan, "the text gives another plan:\n{printed}");
    }
    accepted(fired)
}
