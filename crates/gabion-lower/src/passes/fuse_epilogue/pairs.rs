//! Epilogues that see two rows at a time: gated activations and rotary embeddings.

use gabion_ir::ops::{Fused, Pairing, Segment, StackedMatmul};
use gabion_ir::{Graph, Op, Value};
use gabion_tensor::{BinaryFn, DType, UnaryFn};

use super::Site;
use crate::patch::Patch;
use crate::rewriter::Verdict;
use crate::run::LowerError;

/// `func(segment at) * segment at + 1`.
pub(super) fn glu(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let graph = site.graph;
    let (Op::Unary(unary), Some(gate), Some(up)) = (
        graph.op(site.user),
        site.stack.segments.get(site.at),
        site.stack.segments.get(site.at + 1),
    ) else {
        return Ok(Verdict::Skip);
    };
    let activated = Value::new(site.user, 0);
    let upper = Value::new(site.id, site.at as u32 + 1);
    let (Some((product, _)), Some((other_user, _))) =
        (graph.single_user(activated), graph.single_user(upper))
    else {
        return Ok(Verdict::Skip);
    };
    let Op::Binary(mul) = graph.op(product) else {
        return Ok(Verdict::Skip);
    };
    if product != other_user || mul.func != BinaryFn::Mul {
        return Ok(Verdict::Skip);
    }
    let what = format!(
        "{} gate of rows {:?} and {:?}",
        unary.func.name(),
        gate.rows,
        up.rows
    );
    if let Some(why) = glu_obstacle(site, unary.func, gate, up) {
        return Ok(Verdict::Refuse(format!("{what}: {why}")));
    }
    merge_halves(site, unary.func, gate, up, Value::new(product, 0), what)
}

fn glu_obstacle(site: &Site<'_>, func: UnaryFn, gate: &Segment, up: &Segment) -> Option<String> {
    let granularity = site.target.pair_granularity;
    let bias_only = |s: &Segment| matches!(s.epilogue.as_slice(), [] | [Fused::Bias { .. }]);
    if gate.n_rows() != up.n_rows() {
        return Some("the halves differ in size".to_owned());
    }
    if granularity == 0 || !gate.n_rows().is_multiple_of(granularity) {
        return Some(format!(
            "{} pairs rows in groups of {granularity}",
            site.target.name
        ));
    }
    if !site.target.epilogue_maps.contains(&func) {
        return Some(format!(
            "{} applies no such function while storing",
            site.target.name
        ));
    }
    if !bias_only(gate) || !bias_only(up) || gate.epilogue.len() != up.epilogue.len() {
        return Some("the halves have different epilogues".to_owned());
    }
    None
}

/// The two segments become one of twice the rows. Two biases become their concat.
fn merge_halves(
    site: &Site<'_>,
    func: UnaryFn,
    gate: &Segment,
    up: &Segment,
    product: Value,
    label: String,
) -> Result<Verdict, LowerError> {
    let stack = site.stack;
    let operands = site.graph.operands(site.id);
    let biases = match (gate.epilogue.as_slice(), up.epilogue.as_slice()) {
        ([Fused::Bias { extra: a }], [Fused::Bias { extra: b }]) => Some((*a, *b)),
        _ => None,
    };
    let mut epilogue = Vec::new();
    if biases.is_some() {
        epilogue.push(Fused::Bias {
            extra: stack.n_extras(),
        });
    }
    epilogue.push(Fused::Glu { func });
    let rows = [gate.rows[0], up.rows[1]];
    let merged = Segment {
        rows,
        halves: Some(rows[1] - rows[0]),
        epilogue,
    };
    let mut new = StackedMatmul {
        parts: stack.parts,
        norm: stack.norm,
        segments: stack.segments.clone(),
    };
    new.segments.splice(site.at..site.at + 2, [merged]);
    let first_extra = stack.first_extra();
    let (keep, renamed) = renumber_extras(&mut new, stack.n_extras() + 1);
    let mut replaced = vec![product];
    let mut results = vec![site.at];
    for i in (0..stack.segments.len()).filter(|&i| i != site.at && i != site.at + 1) {
        let value = Value::new(site.id, i as u32);
        if site.graph.is_output(value) || !site.graph.users(value).is_empty() {
            replaced.push(value);
            results.push(if i < site.at { i } else { i - 1 });
        }
    }
    let patch = Patch::build(site.graph, label, &operands, &replaced, |b, t| {
        let mut args = t[..first_extra].to_vec();
        for &old in &keep {
            match biases {
                Some((gate, up)) if old == t.len() - first_extra => {
                    args.push(b.concat(&[t[first_extra + gate], t[first_extra + up]], 0));
                }
                _ => args.push(t[first_extra + old]),
            }
        }
        let outs = b.apply(renamed, &args);
        results
            .iter()
            .map(|&r| outs.get(r).copied().unwrap_or(outs[0]))
            .collect()
    })?;
    Ok(Verdict::Apply(patch))
}

/// Numbers the extras that are still named from 0; which old numbers they were.
fn renumber_extras(stack: &mut StackedMatmul, n: usize) -> (Vec<usize>, StackedMatmul) {
    let named: Vec<usize> = stack
        .segments
        .iter()
        .flat_map(|s| &s.epilogue)
        .flat_map(Fused::extras)
        .collect();
    let keep: Vec<usize> = (0..n).filter(|i| named.contains(i)).collect();
    let number = |old: &mut usize| *old = keep.iter().position(|k| k == old).unwrap_or(*old);
    for fused in stack.segments.iter_mut().flat_map(|s| &mut s.epilogue) {
        match fused {
            Fused::Bias { extra } | Fused::Binary { extra, .. } => number(extra),
            Fused::Map { .. } | Fused::Scalar { .. } | Fused::Glu { .. } => {}
            Fused::Rope { cos, sin } => {
                number(cos);
                number(sin);
            }
            Fused::CacheWrite { cache, position } => {
                number(cache);
                number(position);
            }
        }
    }
    (keep, stack.clone())
}

/// `rope(reshape(stack), cos, sin)` over whole heads, halves paired.
pub(super) fn rope(site: &Site<'_>) -> Result<Verdict, LowerError> {
    let (user, value) = site.past_reshape();
    let Op::Rope(rope) = site.graph.op(user) else {
        return Ok(Verdict::Skip);
    };
    let operands = site.graph.operands(user);
    if operands[0] != value || operands[1] == value || operands[2] == value {
        return Ok(Verdict::Skip);
    }
    let rows = site.stack.segments[site.at].rows;
    let what = format!("rotary embedding of rows {rows:?}");
    match rope_head(site, &rope.pairing, operands[1], operands[2], value) {
        Err(why) => Ok(Verdict::Refuse(format!("{what}: {why}"))),
        Ok(head) => {
            let angles = [operands[1], operands[2]];
            site.append_paired(
                what,
                angles,
                Value::new(user, 0),
                Some(head),
                |[cos, sin]| Fused::Rope { cos, sin },
            )
        }
    }
}

/// The rows of one head, if the epilogue can rotate them.
fn rope_head(
    site: &Site<'_>,
    pairing: &Pairing,
    cos: Value,
    sin: Value,
    value: Value,
) -> Result<usize, String> {
    let graph: &Graph = site.graph;
    let granularity = site.target.pair_granularity;
    let segment = &site.stack.segments[site.at];
    let shape = &graph.value_type(value).shape;
    let lead = site.shape().rank() - 1;
    if *pairing != Pairing::Half {
        return Err("pairs are interleaved, not halves".to_owned());
    }
    if segment
        .epilogue
        .iter()
        .any(|e| !matches!(e, Fused::Bias { .. } | Fused::Scalar { .. }))
    {
        return Err("something else is fused before it".to_owned());
    }
    if shape.rank() != lead + 2 || shape[..lead] != site.shape()[..lead] {
        return Err(format!(
            "its operand {shape} is not [.., heads, head_dim] of the stack's rows"
        ));
    }
    let head = shape[lead + 1]
        .as_fixed()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or("head_dim is symbolic")?;
    for angles in [cos, sin] {
        let ty = graph.value_type(angles);
        if ty.dtype != DType::F32
            || ty.shape.rank() != lead + 1
            || ty.shape[..lead] != shape[..lead]
        {
            return Err(format!(
                "its angles {ty} are not f32 [.., head_dim / 2] per row"
            ));
        }
        if ty.shape[lead].as_fixed() != Some(head as i64 / 2) {
            return Err(format!("it rotates a part of each head of {head}"));
        }
        if !site.is_before(angles) {
            return Err("its angles depend on the stack".to_owned());
        }
    }
    if granularity == 0 || !head.is_multiple_of(2 * granularity) {
        return Err(format!(
            "{} pairs rows in groups of {granularity}, half a head has {}",
            site.target.name,
            head / 2
        ));
    }
    Ok(head)
}
