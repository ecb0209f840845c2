//! Random graphs: from a list of steps (so that proptest shrinks them), and one with every operator
//! that has samples.

use gabion_ir::ops::Input;
use gabion_ir::{Graph, InferCx, Node, NodeId, Op, OpDef, Sampler, Value};
use gabion_tensor::{Bindings, DType, TensorType};
use proptest::prelude::*;

/// One step: which operator, which operands, which decoration.
pub(crate) type Step = (u16, u16, u16, u16);

/// Steps of random graphs.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 0..40)
}

/// `n` graphs of 40 steps each, always the same.
pub(crate) fn fixed_graphs(n: usize) -> Vec<Graph> {
    let mut sampler = Sampler::new(1);
    let mut step = || {
        let bits = sampler.bits();
        (
            bits as u16,
            (bits >> 16) as u16,
            (bits >> 32) as u16,
            (bits >> 48) as u16,
        )
    };
    (0..n)
        .map(|_| random_graph(&(0..40).map(|_| step()).collect::<Vec<Step>>()))
        .collect()
}

/// Operators that steps choose from: word, operands, attributes.
const CHOICES: &[(&str, usize, &str)] = &[
    ("exp", 1, "{}"),
    ("neg", 1, "{}"),
    ("relu", 1, "{}"),
    ("tanh", 1, "{}"),
    ("silu", 1, "{}"),
    ("add", 2, "{}"),
    ("mul", 2, "{}"),
    ("max", 2, "{}"),
    ("sub", 2, "{}"),
    ("lt", 2, "{}"),
    ("concat", 2, r#"{"axis": 0}"#),
    ("concat", 2, r#"{"axis": 1}"#),
    ("concat", 3, r#"{"axis": -1}"#),
    ("matmul", 2, "{}"),
    ("matmul", 2, r#"{"transpose_b": true}"#),
    ("transpose", 1, r#"{"perm": [1, 0]}"#),
    ("split", 1, r#"{"axis": 1, "sizes": [3, 1]}"#),
    ("split", 1, r#"{"axis": 0, "sizes": ["tokens", "tokens"]}"#),
    ("reshape", 1, r#"{"shape": [2, "tokens", 2]}"#),
    ("weight", 0, r#"{"name": "w"}"#),
    ("weight", 0, r#"{"name": "layers.0.\"b\" \\ é.weight"}"#),
    (
        "constant",
        0,
        r#"{"dtype": "f32", "shape": [2, 2], "value": [1.5, -0.0, 1e-40, "inf"]}"#,
    ),
    (
        "constant",
        0,
        r#"{"dtype": "i64", "shape": [], "value": -7}"#,
    ),
    (
        "constant",
        0,
        r#"{"dtype": "bool", "shape": [3], "value": [true, false, true]}"#,
    ),
];

fn attrs(json: &str) -> gabion_ir::op::Attrs {
    serde_json::from_str(json).expect("attributes of the list are JSON")
}

/// Adds a node if the type rule takes the operands.
pub(crate) fn add(
    graph: &mut Graph,
    op: Op,
    operands: &[Value],
    declared: Option<&[TensorType]>,
) -> Option<NodeId> {
    let types: Vec<TensorType> = operands
        .iter()
        .map(|v| graph.value_type(*v).clone())
        .collect();
    let mut cx = InferCx::new(graph.relations(), declared);
    let results = op.infer(&types, &mut cx).ok()?;
    for guard in cx.into_guards() {
        graph.add_guard(guard);
    }
    let node = Node {
        op,
        results,
        names: Default::default(),
        scope: None,
        loc: None,
        origins: Default::default(),
    };
    Some(graph.add_node(node, operands))
}

fn guards_hold(
    graph: &Graph,
    op: &Op,
    operands: &[Value],
    declared: &[TensorType],
    sizes: Option<&Bindings>,
) -> bool {
    let Some(sizes) = sizes else { return true };
    let types: Vec<TensorType> = operands
        .iter()
        .map(|v| graph.value_type(*v).clone())
        .collect();
    let mut cx = InferCx::new(graph.relations(), Some(declared));
    op.infer(&types, &mut cx).is_ok() && cx.into_guards().iter().all(|g| g.check(sizes).is_ok())
}

pub(crate) fn add_input(graph: &mut Graph, name: &str, ty: TensorType, donated: bool) -> Value {
    let op = Input {
        name: name.into(),
        donated,
    }
    .into();
    let id = add(graph, op, &[], Some(&[ty])).expect("an input takes its stated type");
    let value = Value::new(id, 0);
    graph.set_name(value, name);
    graph.push_input(name, id);
    value
}

/// A valid graph, the same for the same steps. Its guards may contradict each other.
pub(crate) fn random_graph(steps: &[Step]) -> Graph {
    build(steps, None)
}

/// As [`random_graph`], but all guards hold where both symbols are 4.
pub(crate) fn consistent_graph(steps: &[Step]) -> Graph {
    let mut sizes = Bindings::new();
    for symbol in ["tokens", "seq"] {
        sizes.bind(symbol, 4).expect("4 is a size");
    }
    build(steps, Some(&sizes))
}

fn build(steps: &[Step], sizes: Option<&Bindings>) -> Graph {
    let mut graph = Graph::new("random");
    let relation = "tokens % 2 == 0".parse().expect("a constraint");
    graph
        .relations_mut()
        .declare(relation)
        .expect("it can hold");
    let inputs = [
        "f32[tokens, 4]",
        "f32[seq, 4]",
        "f32[4, 4]",
        "i32[2*tokens, 4]",
        "f32[]",
        "f32[4]",
    ];
    let mut values: Vec<Value> = Vec::new();
    for (i, ty) in inputs.iter().enumerate() {
        values.push(add_input(
            &mut graph,
            &format!("x{i}"),
            ty.parse().expect("a type"),
            i == 1,
        ));
    }
    for (n, &(choice, a, b, style)) in steps.iter().enumerate() {
        let (word, arity, json) = CHOICES[choice as usize % CHOICES.len()];
        let Some(Ok(op)) = Op::from_word(word, attrs(json)) else {
            continue;
        };
        let known = matches!(&op, Op::Weight(w) if graph.weights().iter().any(|(name, _, _)| *name == w.name));
        let picks = [a, b, style];
        let operands: Vec<Value> = picks[..arity]
            .iter()
            .map(|p| values[*p as usize % values.len()])
            .collect();
        let declared: [TensorType; 1] = ["f32[4, 4]".parse().expect("a type")];
        if known {
            continue;
        }
        if !guards_hold(&graph, &op, &operands, &declared, sizes) {
            continue;
        }
        let Some(id) = add(&mut graph, op, &operands, Some(&declared)) else {
            continue;
        };
        for result in 0..graph.node(id).results.len() {
            let value = Value::new(id, result as u32);
            if (style >> result) % 3 == 1 {
                graph.set_name(value, ["y", "layers.0.y", "a-b", "_"][n % 4]);
            }
            values.push(value);
        }
        if style % 5 == 0 {
            graph.node_mut(id).scope = Some(["layers.0", "a \"b\"\n"][n % 2].into());
        }
    }
    for (i, pick) in [1usize, 3, 4].into_iter().enumerate() {
        let last = values.len() - 1;
        let value = values[last.saturating_sub(pick * (i + 1))];
        if i > 0 && graph.is_output(value) {
            continue;
        }
        let name = match &graph.node(value.node).names[value.result as usize] {
            Some(name) if i == 0 => name.to_string(),
            _ => format!("out{i}"),
        };
        graph.push_output(name, value);
    }
    graph
}

/// A graph with several samples of every operator, each with inputs of its own.
pub(crate) fn every_operator(seed: u64) -> Graph {
    let mut graph = Graph::new("every operator");
    let mut sampler = Sampler::new(seed);
    for (family, make) in Op::samplers() {
        for n in 0..4 {
            let sample = make(&mut sampler);
            let mut operands = Vec::new();
            for (i, arg) in sample.args.iter().enumerate() {
                let ty = TensorType::new(arg.dtype(), arg.shape());
                operands.push(add_input(
                    &mut graph,
                    &format!("{family}.{n}.{i}"),
                    ty,
                    false,
                ));
            }
            let id = add(&mut graph, sample.op.clone(), &operands, None).unwrap_or_else(|| {
                panic!(
                    "{family}: the type rule refuses its own sample {:?}",
                    sample.op
                )
            });
            graph.push_output(format!("{family}.{n}"), Value::new(id, 0));
        }
    }
    graph
}

/// The same graph, made in another order: every node again, dead ones between them.
pub(crate) fn rebuilt_with_other_ids(graph: &Graph) -> Graph {
    let mut other = Graph::new(&*graph.name);
    *other.relations_mut() = graph.relations().clone();
    let junk = gabion_ir::ops::Constant::scalar(DType::F32, 1.0).expect("f32 holds 1");
    let types = junk
        .infer(&[], &mut InferCx::new(graph.relations(), None))
        .expect("a constant has a type");
    let mut map = std::collections::BTreeMap::new();
    let mut dead = Vec::new();
    for id in graph.node_ids() {
        let node = Node {
            op: junk.clone().into(),
            results: types.clone(),
            names: Default::default(),
            scope: None,
            loc: None,
            origins: Default::default(),
        };
        dead.push(other.add_node(node, &[]));
        let operands: Vec<Value> = graph
            .operands(id)
            .iter()
            .map(|v| Value::new(map[&v.node], v.result))
            .collect();
        map.insert(id, other.add_node(graph.node(id).clone(), &operands));
    }
    for id in dead {
        assert!(other.remove_node(id));
    }
    for guard in graph.guards().iter().rev() {
        other.add_guard(guard.clone());
    }
    for input in graph.inputs() {
        other.push_input(input.name.clone(), map[&input.node]);
    }
    for output in graph.outputs() {
        other.push_output(
            output.name.clone(),
            Value::new(map[&output.value.node], output.value.result),
        );
    }
    other
}
