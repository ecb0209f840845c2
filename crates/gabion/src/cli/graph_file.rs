//! Graphs in text form, read from files or standard input.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use gabion::ir::Graph;

use super::error::CliError;

/// The text of a file; `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, CliError> {
    let read = |source| CliError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(read)?;
        bytes
    } else {
        fs::read(path).map_err(read)?
    };
    utf8(bytes, || path.display().to_string())
}

/// Bytes as text, or an error that says where they are none.
pub(crate) fn utf8(bytes: Vec<u8>, what: impl FnOnce() -> String) -> Result<String, CliError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or(0);
        CliError::NotUtf8 {
            what: what(),
            at,
            byte,
        }
    })
}

/// Reads and verifies a graph.
///
/// # Errors
/// Every error of the text, each with its line, or of the graph.
pub(crate) fn read_graph(path: &Path) -> anyhow::Result<Graph> {
    let graph = Graph::parse(&read_text(path)?)
        .map_err(|errors| errors.with_file(path.display().to_string()))?;
    gabion::ir::verify::verify(&graph).map_err(|errors| CliError::in_file(path, errors))?;
    Ok(graph)
}
