//! Faults of a graph that does not verify, put at the boxes of the nodes that they speak of.

use gabion_ir::text::{Fault, FaultAt, Written};
use rustc_hash::FxHashMap;

use crate::document::{BoxId, Document, FIRST_OUTPUT, Key, Sizes};

impl Document {
    /// A graph as a text states it, with what is wrong at the boxes of the lines where it stands. It has one stage: what does
    /// not verify is not lowered.
    pub fn of_written(written: &Written, sizes: &Sizes) -> Self {
        let mut document = Self::of_graph(&written.graph, sizes);
        // A document numbers nodes in this order.
        let order = written.graph.canonical_order().into_iter();
        let keys: FxHashMap<_, _> = (0..)
            .map(Key)
            .zip(order)
            .map(|(key, id)| (id, key))
            .collect();
        let found = |at: FaultAt| -> Option<BoxId> {
            let key = match at {
                FaultAt::Graph => return None,
                FaultAt::Node(id) => *keys.get(&id)?,
                FaultAt::Output(at) => Key(FIRST_OUTPUT + u32::try_from(at).ok()?),
            };
            document.find(0, key)
        };
        let faults = written.faults.iter();
        let mut faults: Vec<_> = faults
            .map(|fault| (found(fault.at), words(fault)))
            .collect();
        if written.more > 0 {
            faults.push((
                None,
                format!("and {} more faults, which are not shown", written.more),
            ));
        }
        document.faults = faults;
        document
    }
}

fn words(fault: &Fault) -> String {
    let error = &fault.error;
    let help = error.help.iter().map(|help| format!("; {help}"));
    let help: String = help.collect();
    format!("line {}: {}{help}", error.line, error.message)
}
