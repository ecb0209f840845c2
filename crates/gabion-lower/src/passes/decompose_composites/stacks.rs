//! Which stacks the target runs as they are. The passes only make such stacks; one that was written
//! by hand may name what the target has not, or parts that are no load-time recipes.

use gabion_ir::ops::{Fused, Segment, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::Target;

use crate::recipe::parts_of;
use crate::select::is_plannable;
use crate::weight_only::is_weight_only;

/// Why the target cannot run this stack as it is; `None`: it can.
pub(super) fn obstacle(
    graph: &Graph,
    id: NodeId,
    stack: &StackedMatmul,
    target: &Target,
) -> Option<String> {
    let operands = graph.operands(id);
    for &part in &operands[stack.first_part()..stack.first_extra()] {
        let recipe = parts_of(graph, part).is_some_and(|parts| is_plannable(graph, &parts));
        if !recipe || !is_weight_only(graph, part) {
            return Some("a part is no load-time recipe of weights".to_owned());
        }
    }
    if stack.norm.is_some() && !target.norm_prologue {
        return Some(format!("{} computes no norm inside a product", target.name));
    }
    let extras = &operands[stack.first_extra()..];
    stack
        .segments
        .iter()
        .find_map(|segment| segment_obstacle(graph, stack, segment, extras, target))
}

fn segment_obstacle(
    graph: &Graph,
    stack: &StackedMatmul,
    segment: &Segment,
    extras: &[Value],
    target: &Target,
) -> Option<String> {
    let granularity = target.pair_granularity;
    if let Some(halves) = segment.halves
        && (granularity == 0 || halves % (2 * granularity) != 0)
    {
        return Some(format!(
            "{} pairs rows in groups of {granularity}, found halves {halves}",
            target.name
        ));
    }
    segment.epilogue.iter().find_map(|fused| match fused {
        Fused::Map { func } | Fused::Glu { func } if !target.epilogue_maps.contains(func) => Some(
            format!("{} applies no {} while storing", target.name, func.name()),
        ),
        Fused::CacheWrite { cache, .. } => cache_obstacle(graph, stack, *cache, extras, target),
        Fused::Bias { .. }
        | Fused::Map { .. }
        | Fused::Binary { .. }
        | Fused::Scalar { .. }
        | Fused::Glu { .. }
        | Fused::Rope { .. } => None,
    })
}

/// A cache is overwritten: nobody else may need what was there.
fn cache_obstacle(
    graph: &Graph,
    stack: &StackedMatmul,
    cache: usize,
    extras: &[Value],
    target: &Target,
) -> Option<String> {
    let value = extras[cache];
    let donated = matches!(graph.op(value.node), Op::Input(input) if input.donated);
    let named = stack
        .segments
        .iter()
        .flat_map(|s| &s.epilogue)
        .flat_map(Fused::extras);
    if !target.cache_epilogue {
        Some(format!("{} does not store into a cache", target.name))
    } else if !donated
        || graph.single_user(value).is_none()
        || named.filter(|&n| n == cache).count() > 1
    {
        Some("the cache may not be overwritten".to_owned())
    } else {
        None
    }
}
