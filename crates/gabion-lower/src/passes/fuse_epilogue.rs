//! `fuse_epilogue`: what follows a stack moves into it, applied to each finished element before its
//! only store: bias, gate (`silu(gate) * up`), scale, activation, residual, rotary embedding, cache
//! write. Each rule is in `fuse_epilogue/`.

mod elementwise;
mod pairs;
mod rows;

use gabion_ir::ops::{Fused, StackedMatmul};
use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_plan::Target;
use gabion_tensor::Shape;

use crate::patch::Patch;
use crate::rewriter::{PassCx, Verdict, rewrite};
use crate::run::LowerError;

/// Runs the pass.
///
/// # Errors
/// A patch that does not build.
pub fn run(graph: &mut Graph, cx: &mut PassCx<'_>) -> Result<usize, LowerError> {
    let target = cx.target;
    let mut fired = 0;
    // A gate pairs two whole segments, so it goes before single activations; a bias belongs below.
    for rules in [&[elementwise::bias as SegmentRule] as &[SegmentRule], &[pairs::glu], &[
        elementwise::bias,
        elementwise::scalar,
        elementwise::map,
        elementwise::binary,
        pairs::rope,
        rows::cache_write,
    ]] {
        fired += rewrite(graph, cx, &|graph: &Graph, id: NodeId, op: &Op| visit(graph, id, op, target, rules))?;
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

fn visit(graph: &Graph, id: NodeId, op: &Op, target: &Target, rules: &[SegmentRule]) -> Result<Verdict, LowerError> {
    let Op::StackedMatmul(stack) = op else { return Ok(Verdict::Skip) };
    let mut refusal = None;
    for (at, segment) in stack.segments.iter().enumerate() {
        if segment.epilogue.iter().any(|e| matches!(e, Fused::CacheWrite { .. })) {
            continue;
        }
        let Some((user, operand)) = graph.single_user(Value::new(id, at as u32)) else { continue };
        let site = Site { graph, target, id, stack, at, user, operand };
        for rule in rules {
            match rule(&site)? {
                Verdict::Skip => {}
                Verdict::Refuse(why) => refusal = Some(why),
                apply @ Verdict::Apply(_) => return Ok(apply),
            }
        }
    }
    Ok(refusal.map_or(Verdict::Skip, Verdict::Refuse))
}

impl Site<'_> {
    /// The result that is looked at.
    fn value(&self) -> Value {
        Value::new(self.id, self.at as u32)
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

    /// The stack with `fused` appended to this segment (its extras are numbered from the end of the
    /// present ones) in place of `replaced`.
    fn append(&self, label: String, fused: Fused, extras: &[Value], replaced: Value) -> Result<Verdict, LowerError> {
        let mut new = self.stack.clone();
        new.segments[self.at].epilogue.push(fused);
        self.rebuild(label, new, extras, &[(self.at, replaced)], |i| i)
    }

    /// The stack as `new`, with more extras. `moved` are results (of the new stack) that take the
    /// place of other values, reshaped if need be; every other result `i` of the old stack is
    /// result `renumber(i)` of the new.
    fn rebuild(
        &self,
        label: String,
        new: StackedMatmul,
        extras: &[Value],
        moved: &[(usize, Value)],
        renumber: impl Fn(usize) -> usize,
    ) -> Result<Verdict, LowerError> {
        let mut taps = self.graph.operands(self.id).to_vec();
        taps.extend(extras);
        let mut replaced: Vec<Value> = moved.iter().map(|(_, value)| *value).collect();
        let mut results: Vec<usize> = moved.iter().map(|(result, _)| *result).collect();
        for i in 0..self.stack.segments.len() {
            let value = Value::new(self.id, i as u32);
            let used = self.graph.is_output(value) || !self.graph.users(value).is_empty();
            if used && !results.contains(&renumber(i)) {
                replaced.push(value);
                results.push(renumber(i));
            }
        }
        let shapes: Vec<Shape> = replaced.iter().map(|v| self.graph.value_type(*v).shape.clone()).collect();
        let patch = Patch::build(self.graph, label, &taps, &replaced, |b, t| {
            let outs = b.apply(new, t);
            let shaped = results.iter().zip(&shapes).map(|(&result, shape)| {
                let value = outs.get(result).copied().unwrap_or(outs[0]);
                if value.shape() == *shape { value } else { value.reshape(shape.iter().cloned()) }
            });
            shaped.collect()
        })?;
        Ok(Verdict::Apply(patch))
    }

    /// The number of the next extra.
    fn next_extra(&self) -> usize {
        self.stack.n_extras()
    }

    /// True if `value` does not depend on this stack.
    fn is_before(&self, value: Value) -> bool {
        !self.graph.depends_on(value.node, self.id)
    }
}
