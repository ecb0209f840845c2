//! The text form and the JSON of graphs: whatever is read is printed the same again, and nothing
//! panics.

use gabion_ir::Graph;
use gabion_ir::text::Written;

use super::graphs;
use crate::Target;
use crate::mutate::Form;
use crate::outcome::{accepted, refused};

/// See the module.
pub const TARGET: Target = Target {
    name: "graph_text",
    run,
    seeds,
    form: Form::Text,
};

fn seeds() -> Vec<Vec<u8>> {
    let built = graphs::built().into_iter().map(|graph| graph.to_text());
    let written = ["text", "parse_error", "verify", "passes"]
        .into_iter()
        .flat_map(graphs::filetests);
    let broken = [
        "graph @g() -> () {",
        "graph @g(%x: f32[n]) -> (f32[n]) {\n  return %y\n}\n",
    ]
    .map(str::to_owned);
    built
        .chain(written)
        .chain(broken)
        .map(String::into_bytes)
        .collect()
}

/// One input.
pub fn run(bytes: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return 0;
    };
    match Graph::parse(text) {
        Ok(graph) => {
            let printed = graph.to_text();
            let again = Graph::parse(&printed)
                .unwrap_or_else(|e| panic!("printed text is not read back:\n{e}\n{printed}"));
            assert_eq!(again.to_text(), printed, "printing is not idempotent");
            let json = graph.to_json();
            let from_json = Graph::from_json(&json)
                .unwrap_or_else(|e| panic!("JSON is not read back: {e}\n{printed}"));
            assert_eq!(from_json.to_text(), printed, "JSON gives another graph");
            let verified = gabion_ir::verify::verify(&graph);
            accepted((graph.len().min(12), verified.is_ok()))
        }
        Err(errors) => match Graph::parse_as_written(text, "g.gir") {
            Ok(written) => looked_at(&written),
            Err(again) => {
                assert_eq!(again.items(), errors.items(), "other errors");
                refused(&errors.to_string())
            }
        },
    }
}

/// A graph that does not verify can be numbered afresh and printed.
fn looked_at(written: &Written) -> u64 {
    assert!(!written.faults.is_empty(), "refused, and nothing is wrong");
    let again = written.graph.compacted();
    assert_eq!(again.len(), written.graph.len(), "a node is lost");
    let _ = (again.to_text(), gabion_ir::verify::verify(&again));
    accepted((again.len().min(12), written.faults.len().min(3)))
}
