//! `gabion diff`: two graphs compared by structure.

use std::path::PathBuf;

use gabion::ir::diff::{DiffLine, diff};
use serde_json::json;

use super::output::Output;
use super::{Done, graph_file};

/// Words of `gabion diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The old graph's file; - is standard input
    a: PathBuf,
    /// The new graph's file
    b: PathBuf,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let (a, b) = (
        graph_file::read_graph(&args.a)?,
        graph_file::read_graph(&args.b)?,
    );
    let diff = diff(&a, &b);
    out.text(&diff.to_string())?;
    out.object(|| {
        let line = |line: &DiffLine| match line {
            DiffLine::Same(_) => None,
            DiffLine::Removed(text) => Some(json!({ "removed": text })),
            DiffLine::Added(text) => Some(json!({ "added": text })),
        };
        json!({
            "equal": diff.is_equal(),
            "removed": diff.removed.len(),
            "added": diff.added.len(),
            "changed": diff.changed.len(),
            "lines": diff.lines.iter().filter_map(line).collect::<Vec<_>>(),
        })
    })?;
    Ok(diff.is_equal())
}
