//! The texts that snapshots hold.

use std::fmt::Write;

use gabion_ir::Graph;
use gabion_ir::diff::diff;
use gabion_lower::{LowerError, LowerOptions, Lowered, lower};
use gabion_plan::Target;

use crate::redact::Redactions;

/// The text of a graph.
pub fn graph_text(graph: &Graph, redactions: &Redactions) -> String {
    redactions.text(&redactions.graph(graph).to_text())
}

/// The text of the plan that a graph becomes for a target; where it cannot be lowered, the error, which no snapshot equals
/// that held a plan.
pub fn plan_text(graph: &Graph, target: &Target, redactions: &Redactions) -> String {
    match lowered(graph, target, false) {
        Ok(Lowered {
            plan: Some(plan), ..
        }) => redactions.text(&redactions.plan(&plan).to_string()),
        Ok(_) => "no plan".to_owned(),
        Err(error) => refused(&error),
    }
}

/// What each pass did to a graph: the graph, the structural difference that every pass made, and the ledger.
pub fn passes_text(graph: &Graph, target: &Target, redactions: &Redactions) -> String {
    let graph = redactions.graph(graph);
    let lowered = match lowered(&graph, target, true) {
        Ok(lowered) => lowered,
        Err(error) => return refused(&error),
    };
    let mut text = graph.to_text();
    for pass in &lowered.passes {
        let Some(snapshot) = &pass.snapshot else {
            continue;
        };
        let change = diff(&snapshot.before, &snapshot.after);
        if pass.rewrites == 0 && change.is_equal() {
            continue;
        }
        let s = if pass.rewrites == 1 { "" } else { "s" };
        let _ = write!(
            text,
            "\n{}: {} rewrite{s}\n{change}",
            pass.name, pass.rewrites
        );
    }
    let _ = write!(text, "\nledger\n{}", lowered.ledger);
    redactions.text(&text)
}

fn lowered(graph: &Graph, target: &Target, record: bool) -> Result<Lowered, LowerError> {
    let options = LowerOptions {
        record,
        ..LowerOptions::default()
    };
    lower(graph, target, &options)
}

fn refused(error: &LowerError) -> String {
    format!("refused: {error}")
}
