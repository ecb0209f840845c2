//! `gabion check`: everything that is wrong with graphs in text form.

use std::path::{Path, PathBuf};

use gabion::ir::Graph;
use serde_json::{Value, json};

use super::output::Output;
use super::{Done, graph_file};

/// Words of `gabion check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files; - is standard input
    #[arg(value_name = "GRAPH", required = true)]
    graphs: Vec<PathBuf>,
}

/// What is wrong with one file: for people, and one by one.
struct Faults {
    message: String,
    items: Vec<Value>,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let mut files = Vec::new();
    let mut good = true;
    for path in &args.graphs {
        let faults = faults(path);
        good &= faults.is_none();
        match &faults {
            Some(faults) => out.note(&faults.message),
            None => out.line(format_args!("{}: ok", path.display()))?,
        }
        let errors = faults.map(|f| f.items).unwrap_or_default();
        files.push(json!({ "file": path, "ok": errors.is_empty(), "errors": errors }));
    }
    out.object(|| json!({ "ok": good, "files": files }))?;
    Ok(good)
}

fn faults(path: &Path) -> Option<Faults> {
    let text = match graph_file::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            let items = vec![json!({ "message": error.to_string() })];
            return Some(Faults {
                message: format!("error: {error}"),
                items,
            });
        }
    };
    match Graph::parse(&text).map_err(|errors| errors.with_file(path.display().to_string())) {
        Err(errors) => {
            let item = |e: &gabion::ir::text::TextError| {
                json!({ "line": e.line, "column": e.column, "message": e.message, "label": e.label, "help": e.help })
            };
            Some(Faults { items: errors.items().iter().map(item).collect(), message: errors.to_string() })
        }
        Ok(graph) => gabion::ir::verify::verify(&graph).err().map(|errors| {
            let item = |e: &gabion::ir::verify::VerifyError| json!({ "node": e.node, "text": e.line, "message": e.message });
            Faults { items: errors.items.iter().map(item).collect(), message: format!("error: {}: {errors}", path.display()) }
        }),
    }
}
