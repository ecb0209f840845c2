//! `fuse_elementwise`: a chain of elementwise operators whose intermediate results nobody else reads
//! becomes one `fused_map`: one pass over memory instead of one per operator.

use gabion_ir::ops::FusedMap;
use gabion_ir::{Graph, NodeId, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::elementwise::{ProgramBuilder, is_elementwise};
use crate::ledger::Outcome;
use crate::patch::Patch;
use crate::recipe::parts_of;
use crate::rewriter::PassCx;
use crate::run::LowerError;
use crate::weight_only::is_weight_only;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let mut fired = 0;
    let mut taken: FxHashSet<NodeId> = FxHashSet::default();
    let order = graph.canonical_order();
    let place: FxHashMap<NodeId, usize> =
        order.iter().enumerate().map(|(at, &id)| (id, at)).collect();
    for id in order.into_iter().rev() {
        if !graph.contains(id) || taken.contains(&id) || !fusible(graph, id) {
            continue;
        }
        let members = chain(graph, id, cx.target.max_map_instrs, &place);
        if members.len() < 2 {
            continue;
        }
        taken.extend(&members);
        let mut builder = ProgramBuilder::default();
        for &member in &members {
            builder.add(graph, member);
        }
        let label = format!(
            "{} operators become one program of {} instructions",
            members.len(),
            builder.len()
        );
        let taps = builder.reads();
        let result = Value::new(id, 0);
        let program = builder.finish(&[result]);
        let patch = Patch::build(graph, label.clone(), &taps, &[result], |b, t| {
            vec![b.apply1(FusedMap { program }, t)]
        })?;
        if !patch.keeps_types(graph) {
            cx.refuse(
                graph,
                id,
                "the program does not broadcast to the result's shape",
            );
            continue;
        }
        let origins = patch.origins(graph);
        cx.note_from(graph, id, Outcome::Fired(label), origins);
        patch.apply(graph, id);
        graph.sweep(id);
        fired += 1;
    }
    Ok(fired)
}

/// Elementwise and no part of a load-time recipe.
fn fusible(graph: &Graph, id: NodeId) -> bool {
    let value = Value::new(id, 0);
    // A recipe is small; what an activation is computed from is all that is before it.
    is_elementwise(graph, id) && !(parts_of(graph, value).is_some() && is_weight_only(graph, value))
}

/// `root` and the operators that only it and each other need, operands before users.
fn chain(
    graph: &Graph,
    root: NodeId,
    limit: usize,
    place: &FxHashMap<NodeId, usize>,
) -> Vec<NodeId> {
    let shape = &graph.node(root).results[0].shape;
    let mut members = vec![root];
    // A value with several users joins once all of them are members.
    loop {
        let before = members.len();
        let mut next = 0;
        while next < members.len() {
            for operand in graph.operands(members[next]) {
                let fits = members.len() < limit / 3
                    && !members.contains(&operand.node)
                    && fusible(graph, operand.node)
                    && graph.node(operand.node).results.len() == 1
                    && graph.value_type(operand).shape == *shape
                    && !graph.is_output(operand)
                    && graph.all_users(operand, |user| members.contains(&user));
                if fits {
                    members.push(operand.node);
                }
            }
            next += 1;
        }
        if members.len() == before {
            break;
        }
    }
    members.sort_by_key(|id| place.get(id));
    members
}
