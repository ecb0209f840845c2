//! What a builder collects instead of stopping: every wrong call, with the caller's line.

use std::fmt;

use crate::graph::SourceLoc;

/// One wrong call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The caller's file and line.
    pub loc: SourceLoc,
    /// The module path that was open (`layers.3.self_attn`).
    pub scope: Option<String>,
    /// The operator or call.
    pub what: String,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.loc, self.what, self.message)?;
        match &self.scope {
            Some(scope) => write!(f, " (in {scope})"),
            None => Ok(()),
        }
    }
}

/// Every diagnostic of one graph, in the order of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The graph's name.
    pub graph: String,
    /// What was wrong; never empty.
    pub items: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.graph, &self.items)
    }
}

impl std::error::Error for Diagnostics {}

/// What is wrong with a graph: how much, then one thing a line.
pub(crate) fn write_list(
    f: &mut fmt::Formatter<'_>,
    graph: &str,
    items: &[impl fmt::Display],
) -> fmt::Result {
    let n = items.len();
    let plural = if n == 1 { "" } else { "s" };
    write!(f, "graph @{graph}: {n} error{plural}")?;
    items.iter().try_for_each(|item| write!(f, "\n  {item}"))
}
