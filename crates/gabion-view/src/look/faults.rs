//! Faults of a graph that does not verify, put at the boxes of the nodes that they speak of.

use std::collections::BTreeMap;

use gabion_ir::verify::VerifyErrors;

use crate::document::Document;

impl Document {
    /// Marks what is wrong. Faults of the graph itself, and of nodes that its text does not show, have no box.
    pub fn mark(&mut self, errors: &VerifyErrors) {
        let text = self.text(0);
        let lines = text.text.lines().zip(&text.boxes);
        let named =
            lines.filter_map(|(line, id)| Some((line.trim_start().split_once(" = ")?.0, (*id)?)));
        let by_name: BTreeMap<&str, u32> = named.collect();
        let faults = errors.items.iter().map(|error| {
            let node = error.node.as_deref();
            let id = node.and_then(|node| by_name.get(node).copied());
            let message = match (id, node) {
                (None, Some(node)) => format!("{node}: {}", error.message),
                _ => error.message.clone(),
            };
            (id, message)
        });
        self.faults.extend(faults.collect::<Vec<_>>());
    }
}
