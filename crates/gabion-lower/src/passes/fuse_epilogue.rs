//! `fuse_epilogue`: what follows a stack moves into it, applied to each finished element before its
//! only store: bias, gate (`silu(gate) * up`), scale, activation, residual, rotary embedding, cache
//! write. Each rule is in `fuse_epilogue/`.

mod elementwise;
mod gate;
mod rotary;
mod rows;

use gabion_ir::ops::{Fused, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::Target;
use gabion_tensor::Shape;

use crate::ledger::TensorRows;
use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub(super) fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let target = cx.target;
    let mut fired = 0;
    // A gate pairs two whole segments, so it goes before single activations; a bias belongs below.
    for rules in [
        &[elementwise::bias as SegmentRule] as &[SegmentRule],
        &[gate::glu],
        &[
            elementwise::bias,
            elementwise::scalar,
            elementwise::map,
            elementwise::binary,
            rotary::rope,
            rows::cache_write,
        ],
    ] {
        fired += rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| {
            visit(graph, id, op, target, rules)
        })?;
    }
    Ok(fired)
}

/// A rule for result `at` of a stack.
type SegmentRule = fn(&Site<'_>) -> Result<Verdict, LowerError>;

/// One result of a stack and its only user.
struct Site<'a> {
    graph: &'a Graph,
    target: &'a Target,
    id: NodeId,
    stack: &'a StackedMatmul,
    at: usize,
    user: NodeId,
    operand: usize,
}

fn visit(
    graph: &Graph,
    id: NodeId,
    op: &Op,
    target: &Target,
    rules: &[SegmentRule],
) -> Result<Verdict, LowerError> {
    let Op::StackedMatmul(stack) = op else {
        return Ok(Verdict::Skip);
    };
    let mut refusals = Vec::new();
    for (at, segment) in stack.segments.iter().enumerate() {
        if segment
            .epilogue
            .iter()
            .any(|e| matches!(e, Fused::CacheWrite { .. }))
        {
            continue;
        }
        let Some((user, operand)) = graph.single_user(Value::new(id, at as u32)) else {
            continue;
        };
        let site = Site {
            graph,
            target,
            id,
            stack,
            at,
            user,
            operand,
        };
        for rule in rules {
            match rule(&site)? {
                Verdict::Skip => {}
                Verdict::Refuse(why) => refusals.push((why, site.rows(at).unwrap_or_default())),
                Verdict::RefuseRows(reasons) => refusals.extend(reasons),
                Verdict::Apply(mut patch) => {
                    if patch.rows.is_empty() {
                        patch.rows = site.rows(at).unwrap_or_default();
                    }
                    return Ok(Verdict::Apply(patch));
                }
            }
        }
    }
    Ok(if refusals.is_empty() {
        Verdict::Skip
    } else {
        Verdict::RefuseRows(refusals)
    })
}

impl Site<'_> {
    /// The result that is looked at.
    fn value(&self) -> Value {
        Value::new(self.id, self.at as u32)
    }

    /// What the rows of a segment are; none if they are computed or constant.
    fn rows(&self, segment: usize) -> Option<Vec<TensorRows>> {
        let stack = self.stack;
        let parts = &self.graph.operands(self.id)[stack.first_part()..stack.first_extra()];
        let [start, end] = stack.segments[segment].rows;
        TensorRows::of(self.graph, parts, start..end)
    }

    /// What the rows of two segments are, if both are stored.
    fn rows_of_two(&self, segments: [usize; 2]) -> Vec<TensorRows> {
        let [a, b] = segments.map(|at| self.rows(at));
        a.zip(b).map_or_else(Vec::new, |(a, b)| [a, b].concat())
    }

    fn shape(&self) -> &Shape {
        &self.graph.value_type(self.value()).shape
    }

    /// The user's other operand of two.
    fn other(&self) -> Option<Value> {
        let operands = self.graph.operands(self.user);
        (operands.len() == 2).then(|| operands[1 - self.operand])
    }

    /// The user's only operand chain `stack -> reshape -> user`, stepped over.
    fn past_reshape(&self) -> (NodeId, Value) {
        if let Op::Reshape(_) = self.graph.op(self.user) {
            let value = Value::new(self.user, 0);
            if let Some((next, 0 | 1)) = self.graph.single_user(value) {
                return (next, value);
            }
        }
        (self.user, self.value())
    }

    /// The stack with one more step in this segment's epilogue, in place of `replaced`. `fused`
    /// makes the step from the numbers of `extras`.
    fn append<const N: usize>(
        &self,
        label: String,
        extras: [Value; N],
        replaced: Value,
        fused: impl FnOnce([usize; N]) -> Fused,
    ) -> Result<Verdict, LowerError> {
        self.append_paired(label, extras, replaced, None, fused)
    }

    /// As [`Site::append`], with rows paired in blocks.
    fn append_paired<const N: usize>(
        &self,
        label: String,
        extras: [Value; N],
        replaced: Value,
        halves: Option<usize>,
        fused: impl FnOnce([usize; N]) -> Fused,
    ) -> Result<Verdict, LowerError> {
        let mut taps = self.graph.operands(self.id).to_vec();
        let first = self.stack.first_extra();
        // A value that the stack reads already keeps its number.
        let numbers = extras.map(
            |value| match taps[first..].iter().position(|t| *t == value) {
                Some(number) => number,
                None => {
                    taps.push(value);
                    taps.len() - 1 - first
                }
            },
        );
        let mut new = self.stack.clone();
        let segment = &mut new.segments[self.at];
        segment.epilogue.push(fused(numbers));
        segment.halves = halves.or(segment.halves);
        self.rebuild(label, new, &taps, replaced)
    }

    /// The stack as `new` on `taps`. Result `at` takes the place of `moved`, reshaped if need be.
    fn rebuild(
        &self,
        label: String,
        new: StackedMatmul,
        taps: &[Value],
        moved: Value,
    ) -> Result<Verdict, LowerError> {
        let mut replaced = vec![moved];
        let mut results = vec![self.at];
        for i in (0..self.stack.segments.len()).filter(|&i| i != self.at) {
            let value = Value::new(self.id, i as u32);
            if self.graph.is_output(value) || self.graph.is_used(value) {
                replaced.push(value);
                results.push(i);
            }
        }
        let shapes: Vec<Shape> = replaced
            .iter()
            .map(|v| self.graph.value_type(*v).shape.clone())
            .collect();
        let patch = Patch::build(self.graph, label, taps, &replaced, |b, t| {
            let outs = b.apply(new, t);
            let shaped = results.iter().zip(&shapes).map(|(&result, shape)| {
                let value = outs.get(result).copied().unwrap_or(outs[0]);
                if value.shape() == *shape {
                    value
                } else {
                    value.reshape(shape.iter().cloned())
                }
            });
            shaped.collect()
        })?;
        Ok(Verdict::Apply(patch))
    }

    /// True if `value` does not depend on this stack.
    fn is_before(&self, value: Value) -> bool {
        !self.graph.depends_on(value.node, self.id)
    }
}
