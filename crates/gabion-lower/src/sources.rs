//! Names what the ledger's lines speak of: the values of the source graph, and the lines that made them.

use std::fmt;

use gabion_ir::text::Names;
use gabion_ir::{Graph, Origins};
use serde::Serialize;

/// A value of the source graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceValue {
    /// Its printed name in the text form of the source graph: `%q`.
    pub value: String,
    /// The line that made it: of the code, or of the file that the graph was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl fmt::Display for SourceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{} {location}", self.value),
            None => f.write_str(&self.value),
        }
    }
}

/// The values of the graph that was lowered, by the numbers that origins are made of.
pub struct Sources {
    graph: Graph,
    names: Names,
}

impl Sources {
    /// Of the graph that was given to [`crate::lower`].
    pub fn new(graph: &Graph) -> Self {
        let graph = graph.compacted();
        let names = Names::new(&graph);
        Self { graph, names }
    }

    /// The values that these origins stand for, in the order of the text.
    pub fn of(&self, origins: &Origins) -> Vec<SourceValue> {
        let nodes = origins.ids().iter();
        let nodes = nodes.filter_map(|id| self.graph.node_at(*id));
        nodes
            .map(|id| SourceValue {
                value: self.names.node(id),
                location: self.graph.node(id).loc.as_ref().map(ToString::to_string),
            })
            .collect()
    }

    /// The same as the end of a line: ` [%q g.gir:5, %k g.gir:6]`; nothing if there are none. Of many, the first eight.
    pub fn words(&self, origins: &Origins) -> String {
        const SHOWN: usize = 8;
        let values = self.of(origins);
        let mut words: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
        if let more @ 1.. = values.len().saturating_sub(SHOWN) {
            words.push(format!("and {more} more"));
        }
        match words.is_empty() {
            true => String::new(),
            false => format!(" [{}]", words.join(", ")),
        }
    }
}
