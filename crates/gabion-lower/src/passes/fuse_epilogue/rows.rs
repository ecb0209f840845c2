//! Epilogues that choose where rows go: the cache write.

use gabion_ir::ops::Fused;
use gabion_ir::{Op, Value};
use gabion_tensor::DType;

use super::Site;
use crate::rewriter::Verdict;
use crate::run::LowerError;

/// `cache_append(cache, reshape(stack), position)` into a donated cache.
pub(super) fn cache_write(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (user, value) = site.past_reshape();
    let Op::CacheAppend(append) = site.graph.op(user) else {
        return Ok(Verdict::Skip);
    };
    let operands = site.graph.operands(user);
    if operands[1] != value || operands[0] == value {
        return Ok(Verdict::Skip);
    }
    let rows = site.stack.segments[site.at].rows;
    let what = format!("cache write of rows {rows:?}");
    if let Some(why) = obstacle(site, append.axis, operands[0], operands[2]) {
        return Ok(Verdict::Refuse(format!("{what}: {why}")));
    }
    let extras = [operands[0], operands[2]];
    site.append(what, extras, Value::new(user, 0), |[cache, position]| {
        Fused::CacheWrite { cache, position }
    })
}

fn obstacle(site: &Site<'_>, axis: i64, cache: Value, position: Value) -> Option<String> {
    let graph = site.graph;
    let ty = graph.value_type(cache);
    if !site.target.cache_epilogue {
        return Some(format!("{} does not store into a cache", site.target.name));
    }
    if axis != 0 && axis != -(ty.shape.rank() as i64) {
        return Some(format!("positions lie along axis {axis}, not 0"));
    }
    if ty.dtype != DType::F32 || site.shape().rank() != 2 {
        return Some(format!(
            "needs rows [tokens, width] and an f32 cache, found {} and {ty}",
            site.shape()
        ));
    }
    let donated = matches!(graph.op(cache.node), Op::Input(input) if input.donated);
    if !donated {
        return Some("the cache is not donated, so it may not be overwritten".to_owned());
    }
    if graph.single_user(cache).is_none() {
        return Some("the cache's old value is read elsewhere".to_owned());
    }
    if !site.is_before(position) {
        return Some("the position depends on the stack".to_owned());
    }
    None
}
