//! `pass NAME`: runs one pass of the pipeline on the file's graph. What must be printed is the graph
//! that the pass leaves, then its ledger as comments.
//!
//! `// after: a b` in the header runs passes `a` and `b` first: what the pass meets in the pipeline.

use gabion_ir::Graph;
use gabion_lower::{Ledger, PASSES, Pass, run_pass};

use super::Case;
use crate::ir_laws::laws;
use crate::pass_laws::same_values;
use crate::running::target;

fn pass(name: &str) -> Result<&'static Pass, String> {
    Pass::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = PASSES.iter().map(|p| p.name).collect();
        format!("no pass `{name}`; the passes are {}", known.join(", "))
    })
}

fn run_named(graph: &mut Graph, name: &str, ledger: &mut Ledger) -> Result<(), String> {
    run_pass(graph, pass(name)?, target(), ledger).map_err(|e| e.to_string())?;
    Ok(())
}

/// Runs the pass; the graph and the ledger as text. The values must be what they were.
pub(super) fn run(name: &str, case: &Case) -> Result<String, String> {
    pass(name)?;
    let folder = format!("passes/{name}/");
    if !case.name.contains(&folder) {
        return Err(format!("belongs in {folder}"));
    }
    let mut graph = case.parse()?;
    for line in case.text.lines() {
        for earlier in line
            .strip_prefix("// after: ")
            .unwrap_or("")
            .split_whitespace()
        {
            run_named(&mut graph, earlier, &mut Ledger::default())?;
        }
    }
    let before = graph.clone();
    let mut ledger = Ledger::default();
    run_named(&mut graph, name, &mut ledger)?;
    laws(&graph);
    same_values(&before, &graph, 1).map_err(|e| format!("other values: {e}"))?;
    let mut text = graph.to_text();
    for line in ledger.to_string().lines() {
        text.push_str(&format!("// {line}\n"));
    }
    Ok(text)
}
