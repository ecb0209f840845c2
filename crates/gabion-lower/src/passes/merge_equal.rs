//! `merge_equal`: operators with equal attributes on equal operands become one (common
//! subexpressions). Inputs stay; weights of one name are one.

use gabion_ir::{Graph, NodeId, Op, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::rewriter::PassCx;
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// None.
pub(super) fn run(graph: &mut Graph, _: &mut PassCx<'_>) -> Result<usize, LowerError> {
    Ok(merge(graph))
}

/// Merges equal operators; how many were removed.
pub(super) fn merge(graph: &mut Graph) -> usize {
    let mut known: FxHashMap<(Op, SmallVec<[Value; 4]>), NodeId> = FxHashMap::default();
    let mut merged = 0;
    for id in graph.canonical_order() {
        if matches!(graph.op(id), Op::Input(_)) {
            continue;
        }
        let key = (graph.op(id).clone(), graph.operands(id));
        match known.get(&key) {
            Some(&first) if graph.node(first).results == graph.node(id).results => {
                for result in 0..graph.node(id).results.len() as u32 {
                    graph.replace_uses(Value::new(id, result), Value::new(first, result));
                }
                let origins = graph.node(id).origins.clone();
                graph.add_origins(first, &origins);
                graph.remove_node(id);
                merged += 1;
            }
            Some(_) => {}
            None => {
                known.insert(key, id);
            }
        }
    }
    merged
}
