//! Passes that filetests can run. A pass gets a row here and a folder `filetests/passes/NAME/`.

use gabion_ir::Graph;

/// A pass as filetests see it.
pub(crate) type Pass = fn(Graph) -> Result<Graph, String>;

/// Every pass with filetests, by its name on the command line.
pub(crate) const PASSES: &[(&str, Pass)] = &[];

/// Runs one pass and verifies what it leaves.
pub(super) fn run(name: &str, graph: Graph) -> Result<Graph, String> {
    let (_, pass) = PASSES
        .iter()
        .find(|(n, _)| *n == name)
        .ok_or_else(|| format!("no pass `{name}`"))?;
    let result = pass(graph)?;
    gabion_ir::verify::verify(&result).map_err(|e| e.to_string())?;
    Ok(result)
}
