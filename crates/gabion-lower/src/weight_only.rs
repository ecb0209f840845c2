//! Which values depend on weights alone: what a plan may compute while loading.

use std::cell::RefCell;

use gabion_ir::{Graph, NodeId, Value};
use rustc_hash::FxHashMap;

use crate::class::{Class, Leaf, class_of};

/// True if a value depends on weights and constants alone.
pub fn is_weight_only(graph: &Graph, value: Value) -> bool {
    WeightOnly::default().holds(graph, value)
}

/// What a value depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing from outside the graph.
    Nothing,
    Weights,
    Inputs,
}

/// The answers of [`is_weight_only`] for many values of one graph, each node looked at once. They stay right while rewrites
/// keep what a value depends on: a value that needs inputs still does in other words.
#[derive(Default)]
pub(crate) struct WeightOnly(RefCell<FxHashMap<NodeId, Needs>>);

impl WeightOnly {
    /// True if the value depends on weights and constants alone.
    pub(crate) fn holds(&self, graph: &Graph, value: Value) -> bool {
        let mut known = self.0.borrow_mut();
        if let Some(needs) = known.get(&value.node) {
            return *needs == Needs::Weights;
        }
        let begun = |id: NodeId| (id, graph.operands(id), 0, own_needs(graph, id));
        let mut stack = vec![begun(value.node)];
        while let Some((id, operands, next, needs)) = stack.last_mut() {
            let child = operands.get(*next).map(|operand| operand.node);
            let of_child = child.map(|child| known.get(&child).copied());
            match (child, of_child) {
                _ if *needs == Needs::Inputs => {
                    // So does all that waits for it.
                    known.extend(stack.drain(..).map(|(id, ..)| (id, Needs::Inputs)));
                }
                (Some(_), Some(Some(found))) => {
                    *next += 1;
                    *needs = needs.with(found);
                }
                (Some(child), _) => {
                    // Only a cycle meets it again before it is known.
                    known.insert(child, Needs::Nothing);
                    stack.push(begun(child));
                }
                (None, _) => {
                    known.insert(*id, *needs);
                    stack.pop();
                }
            }
        }
        known.get(&value.node) == Some(&Needs::Weights)
    }
}

impl Needs {
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Needs::Inputs, _) | (_, Needs::Inputs) => Needs::Inputs,
            (Needs::Weights, _) | (_, Needs::Weights) => Needs::Weights,
            (Needs::Nothing, Needs::Nothing) => Needs::Nothing,
        }
    }
}

fn own_needs(graph: &Graph, id: NodeId) -> Needs {
    match class_of(graph.op(id)) {
        Class::Leaf(Leaf::Input) => Needs::Inputs,
        Class::Leaf(Leaf::Weight) => Needs::Weights,
        Class::Leaf(Leaf::Constant)
        | Class::Elementwise(_)
        | Class::Movement(_)
        | Class::Work(_)
        | Class::Composite(_)
        | Class::Decomposed => Needs::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node's leaves by a plain walk.
    fn plain(graph: &Graph, value: Value) -> bool {
        let (mut stack, mut weights) = (vec![value.node], false);
        while let Some(id) = stack.pop() {
            let operands = graph.operands(id);
            match graph.op(id).name() {
                "input" => return false,
                "weight" => weights = true,
                _ => stack.extend(operands.iter().map(|v| v.node)),
            }
        }
        weights
    }

    #[test]
    fn answers_are_the_same_in_any_order_of_questions() {
        let text = "graph @g(%x: f32[4]) -> (f32[4], f32[4], f32[4]) {\n  %c = constant {dtype = \"f32\", shape = [4], value = [1, 2, 3, 4]} : f32[4]\n  \
                    %w = weight {name = \"w\"} : f32[4]\n  %a = neg %w : f32[4]\n  %b = add %a, %c : f32[4]\n  %k = neg %c : f32[4]\n  \
                    %d = add %b, %x : f32[4]\n  %e = add %b, %d : f32[4]\n  %f = add %k, %k : f32[4]\n  return %e, %f, b = %b\n}\n";
        let graph = match Graph::parse(text) {
            Ok(graph) => graph,
            Err(errors) => panic!("{errors}"),
        };
        let ids: Vec<NodeId> = graph.node_ids().collect();
        let expected: Vec<bool> = ids
            .iter()
            .map(|id| plain(&graph, Value::new(*id, 0)))
            .collect();
        assert_eq!(expected.iter().filter(|it| **it).count(), 3, "w, a and b");
        for turn in 0..ids.len() {
            let known = WeightOnly::default();
            for at in (0..ids.len()).map(|at| (at * 7 + turn) % ids.len()) {
                let value = Value::new(ids[at], 0);
                assert_eq!(known.holds(&graph, value), expected[at], "{graph}\n{at}");
                assert_eq!(known.holds(&graph, value), expected[at], "asked again");
                assert_eq!(is_weight_only(&graph, value), expected[at]);
            }
        }
    }
}
