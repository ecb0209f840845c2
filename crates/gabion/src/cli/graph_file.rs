//! Graphs in text form, read from files or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gabion::ir::Graph;

use super::error::CliError;

/// The longest text that is read: the graphs of models have some hundred thousand bytes.
const MAX_TEXT: u64 = 1 << 28;

/// The text of a file; `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, CliError> {
    read_text_up_to(path, MAX_TEXT)
}

/// The same, of at most `limit` bytes.
pub(crate) fn read_text_up_to(path: &Path, limit: u64) -> Result<String, CliError> {
    let read = |source| CliError::Read {
        path: path.to_owned(),
        source,
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(read)?)
    };
    let mut bytes = Vec::new();
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() as u64 > limit {
        let problem = format!("a text of more than {limit} bytes, which is the limit");
        return Err(CliError::file(path, problem));
    }
    utf8(bytes, || path.display().to_string())
}

/// Bytes as text, or an error that says where they are none.
/// A mark of the byte order at the start is no part of the text.
pub(crate) fn utf8(mut bytes: Vec<u8>, what: impl FnOnce() -> String) -> Result<String, CliError> {
    const MARK: &[u8] = b"\xEF\xBB\xBF";
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
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
    let graph = Graph::parse_file(&read_text(path)?, &path.display().to_string())?;
    gabion::ir::verify::verify(&graph).map_err(|errors| CliError::in_file(path, errors))?;
    Ok(graph)
}
