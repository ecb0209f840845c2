//! `remove_dead`: operators that no output needs are removed.

use gabion_ir::Graph;

use crate::rewriter::PassCx;
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// None.
pub(super) fn run(graph: &mut Graph, _: &mut PassCx<'_>) -> Result<usize, LowerError> {
    Ok(graph.remove_dead())
}
