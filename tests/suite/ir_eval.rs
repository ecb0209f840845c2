//! The reference evaluator: numbers, symbols, guards, errors, and random inputs.

use std::collections::BTreeMap;

use gabion_ir::eval::{Evaluator, SampleOptions, evaluate, evaluate_all, sample_inputs};
use gabion_ir::{EvalError, Graph};
use gabion_tensor::{DType, HostTensor};
use proptest::prelude::*;

use crate::random_graph::{consistent_graph, steps};

type Tensors = BTreeMap<String, HostTensor>;

fn parse(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

fn f32s(shape: &[usize], values: &[f32]) -> HostTensor {
    HostTensor::from_slice(shape, values).expect("a tensor")
}

fn tensors<const N: usize>(of: [(&str, HostTensor); N]) -> Tensors {
    of.into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .collect()
}

const STACK: &str = "\
graph @stack(%x: f32[tokens, 2]) -> (f32[tokens, 3], f32[tokens, 2], f32[tokens, 1]) {
  %q = weight {name = \"q\"} : f32[2, 2]
  %k = weight {name = \"k\"} : f32[1, 2]
  %w = concat %q, %k {axis = 0} : f32[3, 2]
  %y = matmul %x, %w {transpose_b = true} : f32[tokens, 3]
  %a, %b = split %y {axis = 1, sizes = [2, 1]} : f32[tokens, 2], f32[tokens, 1]
  return %y, %a, k = %b
}
";

fn stack_weights() -> Tensors {
    tensors([
        ("q", f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ("k", f32s(&[1, 2], &[10.0, 100.0])),
    ])
}

#[test]
fn a_stacked_matmul_has_the_numbers_of_its_parts() {
    let inputs = tensors([("x", f32s(&[2, 2], &[1.0, 1.0, 2.0, -1.0]))]);
    let result = evaluate(&parse(STACK), &inputs, &stack_weights()).expect("it evaluates");
    assert_eq!(result.outputs.keys().collect::<Vec<_>>(), ["y", "a", "k"]);
    assert_eq!(
        result.outputs["y"].to_f32_vec().expect("f32"),
        [3.0, 7.0, 110.0, 0.0, 2.0, -80.0]
    );
    assert_eq!(
        result.outputs["a"].to_f32_vec().expect("f32"),
        [3.0, 7.0, 0.0, 2.0]
    );
    assert_eq!(
        result.outputs["k"].to_f32_vec().expect("f32"),
        [110.0, -80.0]
    );
    assert_eq!(result.bindings.get("tokens"), Some(2));
}

#[test]
fn inputs_are_checked() {
    let graph = parse(
        "graph @g(%x: f32[n, 2], %y: f32[n, 2], %z: f32[2*n]) -> (f32[n, 2]) {\n  %s = add %x, %y : f32[n, 2]\n  return %s\n}\n",
    );
    let good = || {
        tensors([
            ("x", f32s(&[1, 2], &[0.0; 2])),
            ("y", f32s(&[1, 2], &[0.0; 2])),
            ("z", f32s(&[2], &[0.0; 2])),
        ])
    };
    assert!(evaluate(&graph, &good(), &Tensors::new()).is_ok());
    let cases = [
        (
            "x",
            None,
            "input `x`: expected a tensor f32[n, 2], found none",
        ),
        (
            "xx",
            Some(f32s(&[1], &[0.0])),
            "input `xx`: the graph has no such input; the nearest name is `x`",
        ),
        (
            "x",
            Some(f32s(&[2], &[0.0; 2])),
            "input `x`: expected f32[n, 2], found f32[2]",
        ),
        (
            "x",
            Some(HostTensor::zeros(DType::I32, &[1, 2]).expect("zeros")),
            "expected f32[n, 2], found i32[1, 2]",
        ),
        (
            "y",
            Some(f32s(&[3, 2], &[0.0; 6])),
            "`n` is 3 at axis 0 of input `y`, but 1 at axis 0 of input `x`",
        ),
        ("y", Some(f32s(&[1, 3], &[0.0; 3])), "input `y`"),
        ("z", Some(f32s(&[3], &[0.0; 3])), "input `z`"),
    ];
    for (name, tensor, expected) in cases {
        let mut inputs = good();
        match tensor {
            Some(tensor) => drop(inputs.insert(name.to_owned(), tensor)),
            None => drop(inputs.remove(name)),
        }
        let error = evaluate(&graph, &inputs, &Tensors::new()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(error, EvalError::Binding { .. }), "{error:?}");
    }
}

#[test]
fn weights_are_checked() {
    let inputs = tensors([("x", f32s(&[1, 2], &[1.0, 1.0]))]);
    let mut weights = stack_weights();
    weights.remove("k");
    let error = evaluate(&parse(STACK), &inputs, &weights)
        .expect_err("no k")
        .to_string();
    assert!(
        error.contains("weight `k`: expected f32[1, 2], found no such tensor"),
        "{error}"
    );
    weights.insert("k".to_owned(), f32s(&[2, 1], &[0.0; 2]));
    let error = evaluate(&parse(STACK), &inputs, &weights)
        .expect_err("wrong shape")
        .to_string();
    assert!(
        error.contains("weight `k`: expected f32[1, 2], found f32[2, 1]"),
        "{error}"
    );
    weights.insert(
        "k".to_owned(),
        HostTensor::zeros(DType::F16, &[1, 2]).expect("zeros"),
    );
    let error = evaluate(&parse(STACK), &inputs, &weights)
        .expect_err("wrong dtype")
        .to_string();
    assert!(
        error.contains("weight `k`: expected f32[1, 2], found f16[1, 2]"),
        "{error}"
    );
}

#[test]
fn relations_and_guards_are_checked() {
    let graph = parse(
        "graph @g(%x: f32[n], %y: f32[m]) -> (f32[n]) where n % 2 == 0 {\n  %s = add %x, %y : f32[n]\n  return %s\n}\n",
    );
    let run = |n: usize, m: usize| {
        let inputs = tensors([
            ("x", f32s(&[n], &vec![0.0; n])),
            ("y", f32s(&[m], &vec![0.0; m])),
        ]);
        evaluate(&graph, &inputs, &Tensors::new())
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(run(2, 2), Ok(()));
    let error = run(3, 3).expect_err("n is odd");
    assert!(error.contains("n % 2") && error.contains('3'), "{error}");
    let error = run(4, 2).expect_err("n is not m");
    assert!(error.contains('4') && error.contains('2'), "{error}");
}

/// The errors of an operator name its node.
#[test]
fn an_operators_error_names_its_node() {
    let graph = parse(
        "graph @g(%x: i32[n], %y: i32[n]) -> (i32[n]) {\n  %q = floor_div %x, %y : i32[n]\n  return %q\n}\n",
    );
    let ints = |v: i32| HostTensor::from_slice(&[1], &[v]).expect("a tensor");
    let error = evaluate(
        &graph,
        &tensors([("x", ints(1)), ("y", ints(0))]),
        &Tensors::new(),
    );
    let error = error.expect_err("division by zero").to_string();
    assert!(error.starts_with("floor_div at %q: "), "{error}");
}

#[test]
fn dead_nodes_are_run_only_when_everything_is_asked_for() {
    let text = "graph @g(%x: i32[n]) -> (i32[n]) {\n  %y = neg %x : i32[n]\n  %dead = floor_div %x, %x : i32[n]\n  return %y\n}\n";
    let inputs = tensors([(
        "x",
        HostTensor::from_slice(&[1], &[0i32]).expect("a tensor"),
    )]);
    assert!(evaluate(&parse(text), &inputs, &Tensors::new()).is_ok());
    let error = evaluate_all(&parse(text), &inputs, &Tensors::new()).expect_err("0 by 0");
    assert!(
        error.to_string().starts_with("floor_div at %dead: "),
        "{error}"
    );
}

#[test]
fn samples_satisfy_relations_and_guards_and_can_be_steered() {
    let graph = parse(
        "graph @g(%x: f32[tokens, 4], %ids: i32[seq], %cache: f32[cap - past, k]) -> (f32[tokens, 4]) \
         where tokens % 16 == 0, k == 4096, seq == tokens + past {\n  return y = %x\n}\n",
    );
    let samples = sample_inputs(&graph, 7, &SampleOptions::default()).expect("samples");
    // `cap` and `past` stand in `cap - past` alone, so that no shape tells them.
    let untold = evaluate(&graph, &samples.inputs, &samples.weights)
        .expect_err("unknown symbols")
        .to_string();
    assert!(
        untold.contains("no shape tells `cap` or `past`"),
        "{untold}"
    );
    let evaluator = Evaluator::new(&graph).with_bindings(samples.bindings.clone());
    evaluator
        .run(&samples.inputs, &samples.weights)
        .expect("they are valid");
    let get = |name: &str| samples.bindings.get(name).expect("a value");
    assert!(
        get("tokens") % 16 == 0 && get("k") == 4096 && get("seq") == get("tokens") + get("past")
    );
    let again = sample_inputs(&graph, 7, &SampleOptions::default()).expect("samples");
    assert!(again.inputs["x"].bitwise_eq(&samples.inputs["x"]));
    let mut options = SampleOptions::default();
    options.symbols.insert("tokens".to_owned(), 48);
    options.ranges.insert("ids".to_owned(), 100..101);
    let steered = sample_inputs(&graph, 7, &options).expect("samples");
    assert_eq!(steered.inputs["x"].shape(), [48, 4]);
    assert!(
        steered.inputs["ids"]
            .to_i64_vec()
            .expect("ints")
            .iter()
            .all(|&id| id == 100)
    );
    options.symbols.insert("tokens".to_owned(), 47);
    let error = sample_inputs(&graph, 7, &options).expect_err("47 is no multiple of 16");
    assert_eq!(
        error.to_string(),
        "the given symbol values break a relation, a guard or a shape"
    );
}

#[test]
fn sampled_weights_are_scaled() {
    let graph = parse(
        "graph @g() -> (f32[64, 256], f32[64], q8_0[4, 64]) {\n  %w = weight {name = \"w\"} : f32[64, 256]\n  \
         %s = weight {name = \"s\"} : f32[64]\n  %q = weight {name = \"q\"} : q8_0[4, 64]\n  return %w, %s, %q\n}\n",
    );
    let samples = sample_inputs(&graph, 1, &SampleOptions::default()).expect("samples");
    let w = samples.weights["w"].to_f32_vec().expect("f32");
    let variance = w.iter().map(|x| x * x).sum::<f32>() / w.len() as f32;
    assert!((variance * 256.0 - 1.0).abs() < 0.1, "{variance}");
    assert!(
        samples.weights["s"]
            .to_f32_vec()
            .expect("f32")
            .iter()
            .all(|s| (0.5..1.5).contains(s))
    );
    assert!(evaluate(&graph, &samples.inputs, &samples.weights).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random graphs evaluate on their samples, and evaluating everything gives the same outputs.
    #[test]
    fn random_graphs_evaluate(steps in steps()) {
        let graph = consistent_graph(&steps);
        let fail = |e: EvalError| TestCaseError::fail(format!("{e}\n{graph}"));
        let samples = sample_inputs(&graph, 3, &SampleOptions::default()).map_err(fail)?;
        let all = evaluate_all(&graph, &samples.inputs, &samples.weights).map_err(fail)?;
        let live = evaluate(&graph, &samples.inputs, &samples.weights).map_err(fail)?;
        prop_assert_eq!(&all.bindings, &samples.bindings);
        for (name, tensor) in &live.outputs {
            prop_assert!(tensor.bitwise_eq(&all.outputs[name]));
        }
        // Whoever reads the text gets the same numbers.
        let parsed = Graph::parse(&graph.to_text()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let again = evaluate(&parsed, &samples.inputs, &samples.weights).map_err(fail)?;
        for (name, tensor) in &live.outputs {
            prop_assert!(tensor.bitwise_eq(&again.outputs[name]));
        }
    }
}
