//! Laws of every operator over its samples, and the harness of the tests by topic.

mod caches;
mod composites;
mod indexing;
mod maths;
mod reductions;
mod shapes;
mod sugar;

use std::collections::BTreeMap;

use gabion_tensor::{Bindings, DType, Dim, Element, HostTensor, Relations, Shape, TensorType};

use crate::builder::{Builder, TensorValue};
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, Results, TypeError};
use crate::ops::Op;
use crate::sample::{Sample, Sampler};

/// Samples of each operator.
const SEEDS: u64 = 300;

fn types(args: &[HostTensor]) -> Vec<TensorType> {
    args.iter().map(TensorType::of).collect()
}

fn infer(op: impl Into<Op>, args: &[TensorType]) -> Result<Results, TypeError> {
    let relations = Relations::new();
    op.into().infer(args, &mut InferCx::new(&relations, None))
}

/// Infers types from their text form.
fn infer_text(op: impl Into<Op>, args: &[&str]) -> Result<Vec<String>, String> {
    let types: Vec<TensorType> = args.iter().map(|a| a.parse().unwrap()).collect();
    let results = infer(op, &types).map_err(|e| e.message)?;
    Ok(results.iter().map(ToString::to_string).collect())
}

/// The message of a wrong call.
fn refused(op: impl Into<Op>, args: &[&str]) -> String {
    infer_text(op, args).unwrap_err()
}

/// The guards of a call that cannot be decided.
fn guards(op: impl Into<Op>, args: &[&str]) -> Vec<String> {
    let types: Vec<TensorType> = args.iter().map(|a| a.parse().unwrap()).collect();
    let relations = Relations::new();
    let mut cx = InferCx::new(&relations, None);
    op.into().infer(&types, &mut cx).unwrap();
    cx.into_guards()
        .iter()
        .map(|g| g.constraint.to_string())
        .collect()
}

fn try_eval(op: impl Into<Op>, args: &[HostTensor]) -> Result<HostTensors, EvalError> {
    let op = op.into();
    let results = infer(op.clone(), &types(args)).unwrap();
    op.eval(args, &EvalCx::new(&Bindings::new(), &results))
}

fn eval(op: impl Into<Op>, args: &[HostTensor]) -> HostTensor {
    try_eval(op, args).unwrap().remove(0)
}

fn tensor<T: Element>(shape: &[usize], values: &[T]) -> HostTensor {
    HostTensor::from_slice(shape, values).unwrap()
}

fn f32s(shape: &[usize], values: &[f32]) -> HostTensor {
    tensor(shape, values)
}

fn i64s(shape: &[usize], values: &[i64]) -> HostTensor {
    tensor(shape, values)
}

fn bools(shape: &[usize], values: &[bool]) -> HostTensor {
    tensor(
        shape,
        &values
            .iter()
            .map(|&b| b.into())
            .collect::<Vec<gabion_tensor::Bool>>(),
    )
}

/// `0, 1, 2, ..` in f32.
fn counting(shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    f32s(shape, &(0..n).map(|i| i as f32).collect::<Vec<_>>())
}

/// Builds a graph of what `f` makes of inputs of these types, and evaluates it.
fn run_types(
    types: &[TensorType],
    args: &[HostTensor],
    f: impl for<'g> FnOnce(&'g Builder, &[TensorValue<'g>]) -> Vec<TensorValue<'g>>,
) -> Result<Vec<HostTensor>, String> {
    let builder = Builder::new("test");
    let values: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(i, ty)| builder.input(&format!("x{i}"), ty.clone()))
        .collect();
    for (i, value) in f(&builder, &values).into_iter().enumerate() {
        builder.output(&format!("y{i}"), value);
    }
    let graph = builder.finish().map_err(|e| e.to_string())?;
    let inputs: BTreeMap<String, HostTensor> = args
        .iter()
        .enumerate()
        .map(|(i, a)| (format!("x{i}"), a.clone()))
        .collect();
    let weights: BTreeMap<String, HostTensor> = BTreeMap::new();
    let evaluation = crate::eval::evaluate(&graph, &inputs, &weights).map_err(|e| e.to_string())?;
    Ok(evaluation.outputs.into_values().collect())
}

/// As [`run_types`] with the types of the arguments, for one result.
fn run(
    args: &[HostTensor],
    f: impl for<'g> FnOnce(&'g Builder, &[TensorValue<'g>]) -> TensorValue<'g>,
) -> HostTensor {
    run_types(&types(args), args, |b, values| vec![f(b, values)])
        .unwrap()
        .remove(0)
}

/// The diagnostics of a wrong call.
fn diagnosed(
    args: &[&str],
    f: impl for<'g> FnOnce(&'g Builder, &[TensorValue<'g>]) -> TensorValue<'g>,
) -> String {
    let builder = Builder::new("test");
    let values: Vec<_> = args
        .iter()
        .enumerate()
        .map(|(i, ty)| builder.input(&format!("x{i}"), ty.parse().unwrap()))
        .collect();
    builder.output("y", f(&builder, &values));
    builder.finish().unwrap_err().to_string()
}

fn every_sample(mut check: impl FnMut(&str, u64, Sample)) {
    for (name, sampler) in Op::samplers() {
        for seed in 0..SEEDS {
            check(name, seed, sampler(&mut Sampler::new(seed)));
        }
    }
}

#[test]
fn results_have_the_inferred_types() {
    every_sample(|name, seed, Sample { op, args }| {
        let relations = Relations::new();
        let types = types(&args);
        let mut cx = InferCx::new(&relations, None);
        let results = op
            .infer(&types, &mut cx)
            .unwrap_or_else(|e| panic!("{name} {seed}: {e}\n{op:?} {types:?}"));
        let guards = cx.into_guards();
        assert!(
            guards.is_empty(),
            "{name} {seed}: fixed sizes leave nothing to guard, found {guards:?}"
        );
        let values = op
            .eval(&args, &EvalCx::new(&Bindings::new(), &results))
            .unwrap_or_else(|e| panic!("{name} {seed}: {e}\n{op:?} {types:?}"));
        let found: Vec<TensorType> = values.iter().map(TensorType::of).collect();
        assert_eq!(found, results.to_vec(), "{name} {seed}: {op:?} {types:?}");
    });
}

#[test]
fn attributes_survive_their_text() {
    every_sample(|name, seed, Sample { op, .. }| {
        let attrs = op.attrs();
        let text = serde_json::to_string(&attrs).unwrap();
        let back = Op::from_word(op.name(), serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back.unwrap(), op, "{name} {seed}: {text}");
        assert!(Op::words().contains(&op.name()));
        let mut more = attrs;
        more.insert("nonsense".to_owned(), 1.into());
        let error = Op::from_word(op.name(), more)
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(error.contains("nonsense"), "{name}: {error}");
    });
}

#[test]
fn graphs_of_every_operator_survive_text_and_json() {
    every_sample(|name, seed, Sample { op, args }| {
        if seed >= SEEDS / 10 {
            return;
        }
        for types in [types(&args), symbolic(&args).0] {
            if !op.is_leaf() && infer(op.clone(), &types).is_err() {
                continue;
            }
            let builder = Builder::new("law");
            let values: Vec<_> = types
                .iter()
                .enumerate()
                .map(|(i, ty)| builder.input(&format!("x{i}"), ty.clone()))
                .collect();
            for (i, value) in builder.apply(op.clone(), &values).into_iter().enumerate() {
                builder.output(&format!("y{i}"), value);
            }
            let graph = builder.finish().unwrap();
            crate::verify::verify(&graph).unwrap_or_else(|e| panic!("{name} {seed}: {e}"));
            let text = graph.to_text();
            let parsed =
                crate::Graph::parse(&text).unwrap_or_else(|e| panic!("{name} {seed}: {e}\n{text}"));
            assert_eq!(parsed.to_text(), text, "{name} {seed}");
            let has = parsed.node_ids().any(|id| *parsed.op(id) == op);
            assert!(has, "{name} {seed}: the operator is not in\n{text}");
            let json = crate::Graph::from_json(&graph.to_json())
                .unwrap_or_else(|e| panic!("{name} {seed}: {e}"));
            assert_eq!(json.to_text(), text, "{name} {seed}");
        }
    });
}

#[test]
fn decompositions_compute_the_same() {
    let mut composites = std::collections::BTreeSet::new();
    every_sample(|name, seed, Sample { op, args }| {
        let types = types(&args);
        check_decomposition(name, seed, &op, &types, &args, |n| {
            composites.insert(n.to_owned());
        });
    });
    for name in [
        "softmax",
        "log_softmax",
        "rms_norm",
        "layer_norm",
        "rope",
        "attention",
        "clamp",
    ] {
        assert!(composites.contains(name), "{name} has no decomposition");
    }
}

/// Evaluates the decomposition on inputs declared with `types`, and compares.
fn check_decomposition(
    name: &str,
    seed: u64,
    op: &Op,
    types: &[TensorType],
    args: &[HostTensor],
    mut seen: impl FnMut(&str),
) {
    let mut has_one = true;
    let results = run_types(types, args, |b, values| {
        op.decompose(values).unwrap_or_else(|| {
            has_one = false;
            b.apply(op.clone(), values).into_vec()
        })
    });
    if !has_one {
        return;
    }
    seen(name);
    let results = results.unwrap_or_else(|e| panic!("{name} {seed}: {e}\n{op:?} {types:?}"));
    let expected = try_eval(op.clone(), args).unwrap();
    assert_eq!(results.len(), expected.len());
    for (found, expected) in results.iter().zip(&expected) {
        if let Err(message) = op.tolerance().check(found, expected) {
            panic!("{name} {seed}: {message}\n{op:?} {types:?}");
        }
    }
}

/// Every size above 1 as a symbol named after it, so that equal sizes stay provably equal.
fn symbolic(args: &[HostTensor]) -> (Vec<TensorType>, Bindings) {
    let mut bindings = Bindings::new();
    let types = args.iter().map(|arg| {
        let mut dim = |&size: &usize| {
            if size < 2 {
                return Dim::from(size);
            }
            bindings.bind(&format!("n{size}"), size as i64).unwrap();
            Dim::symbol(&format!("n{size}")).unwrap()
        };
        let shape: Shape = arg.shape().iter().map(&mut dim).collect();
        TensorType::new(arg.dtype(), shape)
    });
    (types.collect(), bindings)
}

#[test]
fn symbolic_types_are_exact() {
    let mut decided = 0;
    every_sample(|name, seed, Sample { op, args }| {
        let (symbolic, bindings) = symbolic(&args);
        let relations = Relations::new();
        let mut cx = InferCx::new(&relations, None);
        // Attributes hold numbers, so that some calls cannot be proved; those may be refused.
        let Ok(results) = op.infer(&symbolic, &mut cx) else {
            return;
        };
        let expected = infer(op.clone(), &types(&args)).unwrap();
        let guards = cx.into_guards();
        for guard in &guards {
            guard
                .check(&bindings)
                .unwrap_or_else(|e| panic!("{name} {seed}: {e}\n{op:?} {symbolic:?}"));
        }
        let shapes = |of: &Results| -> Vec<Vec<usize>> {
            of.iter()
                .map(|t| t.shape.eval(&bindings).unwrap().to_vec())
                .collect()
        };
        assert_eq!(
            shapes(&results),
            shapes(&expected),
            "{name} {seed}: {op:?} {symbolic:?}"
        );
        decided += 1;
        let values = op.eval(&args, &EvalCx::new(&bindings, &results)).unwrap();
        for (value, expected) in values.iter().zip(try_eval(op.clone(), &args).unwrap()) {
            assert!(
                value.bitwise_eq(&expected),
                "{name} {seed}: symbols changed the values"
            );
        }
    });
    let all = Op::samplers().len() as u64 * SEEDS;
    assert!(
        decided * 10 > all * 9,
        "only {decided} of {all} samples have symbolic types"
    );
}

#[test]
fn decompositions_accept_symbolic_types() {
    every_sample(|name, seed, Sample { op, args }| {
        // Blocks must fill an axis; a table of constants has no symbols.
        let (symbolic, _) = symbolic(&args);
        if infer(op.clone(), &symbolic).is_ok() {
            check_decomposition(name, seed, &op, &symbolic, &args, |_| ());
        }
    });
}

#[test]
fn plain_dtypes_of_samples_are_all_met() {
    let mut met = std::collections::BTreeSet::new();
    every_sample(|_, _, Sample { args, .. }| met.extend(args.iter().map(HostTensor::dtype)));
    let missing: Vec<DType> = DType::PLAIN
        .into_iter()
        .filter(|d| !met.contains(d))
        .collect();
    assert!(missing.is_empty(), "no sample has {missing:?}");
}
