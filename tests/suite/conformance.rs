//! Conformance: every operator, on random attributes and values, on the CPU executor against the
//! reference evaluator; whatever feeds the operator, and on any number of threads.

use std::collections::BTreeSet;

use gabion_ir::eval::Samples;
use gabion_ir::{Builder, Graph, Op, Sample, Sampler, Tolerance};
use gabion_lower::LowerOptions;
use gabion_plan::Target;
use gabion_tensor::{Bindings, DType, Dim, HostTensor, Shape, TensorType};

use crate::running::{Tensors, conforms, plainest, reference, same_bits, target};

/// Samples of each operator in each test; a family of operators (`unary`) has more.
const SEEDS: usize = 64;

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    /// An input of fixed size.
    Input,
    /// An input whose first axis has a symbolic size.
    Symbolic,
    /// An input that the caller gives away.
    Donated,
    /// A tensor of the checkpoint.
    Weight,
    /// A constant of the graph.
    Constant,
}

/// A graph that applies one operator, and what it is run on.
struct Case {
    graph: Graph,
    samples: Samples,
}

/// Two sizes are the same symbol if they are equal, so that operators which need equal sizes get
/// them. Sizes of 1 stay: they broadcast.
fn leading_symbol(shape: &[usize]) -> Shape {
    let dim = |(axis, &size): (usize, &usize)| match axis {
        0 if size > 1 => Dim::symbol(&format!("s{size}")).expect("a name"),
        _ => Dim::from(size),
    };
    shape.iter().enumerate().map(dim).collect()
}

/// The operator on its operands; an error if its type rule refuses the operands' (symbolic) types.
fn case(sample: &Sample, feed: impl Fn(usize) -> Feed) -> Result<Case, String> {
    let b = Builder::new("conformance");
    let (mut inputs, mut weights) = (Tensors::new(), Tensors::new());
    let mut bindings = Bindings::new();
    let mut operands = Vec::new();
    for (i, arg) in sample.args.iter().enumerate() {
        let name = format!("x{i}");
        let fixed = TensorType::new(arg.dtype(), arg.shape());
        let feed = match feed(i) {
            Feed::Constant if arg.dtype().is_block() => Feed::Weight,
            feed => feed,
        };
        operands.push(match feed {
            Feed::Weight => {
                weights.insert(name.clone(), arg.clone());
                b.weight(&name, fixed)
            }
            Feed::Constant => b.constant(arg.clone()),
            Feed::Input | Feed::Symbolic | Feed::Donated => {
                inputs.insert(name.clone(), arg.clone());
                match feed {
                    Feed::Symbolic => {
                        let shape = leading_symbol(arg.shape());
                        for symbol in shape.iter().flat_map(Dim::symbols) {
                            let size = arg.shape()[0] as i64;
                            bindings.bind(symbol.name(), size).expect("one size");
                        }
                        b.input(&name, TensorType::new(arg.dtype(), shape))
                    }
                    Feed::Donated => b.donated_input(&name, fixed),
                    _ => b.input(&name, fixed),
                }
            }
        });
    }
    for (i, result) in b
        .apply(sample.op.clone(), &operands)
        .into_iter()
        .enumerate()
    {
        b.output(&format!("y{i}"), result);
    }
    let graph = b.finish().map_err(|e| e.to_string())?;
    let samples = Samples {
        inputs,
        weights,
        bindings,
    };
    Ok(Case { graph, samples })
}

/// Samples of every operator, always the same.
fn samples() -> Vec<(String, Sample)> {
    let mut all = Vec::new();
    let mut words = BTreeSet::new();
    for (family, make) in Op::samplers() {
        let draw = |seed: usize| make(&mut Sampler::new(1000 + seed as u64));
        let own: BTreeSet<&str> = (0..400).map(|seed| draw(seed).op.name()).collect();
        let n = SEEDS * own.len().div_ceil(3);
        for seed in 0..n {
            let sample = draw(seed);
            words.insert(sample.op.name());
            all.push((format!("{} #{seed} of {family}", sample.op.name()), sample));
        }
    }
    let leaves = ["input", "weight"];
    let missing: Vec<&str> = Op::words()
        .into_iter()
        .filter(|w| !words.contains(w) && !leaves.contains(w))
        .collect();
    assert!(missing.is_empty(), "without a sample: {missing:?}");
    all
}

fn check(case: &Case, target: &Target, skip: &[&str], tolerance: Tolerance) -> Result<(), String> {
    let options = LowerOptions {
        skip: skip.iter().map(|s| (*s).to_owned()).collect(),
        ..LowerOptions::default()
    };
    conforms(&case.graph, target, &options, &case.samples, tolerance)
        .map_err(|e| format!("{e}\n--- graph\n{}", case.graph.to_text()))
}

/// Fails with the first failure of each operator, and counts all.
#[track_caller]
fn report(failures: Vec<(String, String)>) {
    let mut shown = Vec::new();
    let mut families: Vec<&str> = Vec::new();
    for (name, failure) in &failures {
        let family = name.split(" #").next().unwrap_or(name);
        if !families.contains(&family) {
            families.push(family);
            shown.push(format!("=== {name}: {failure}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures of {} operators\n{}",
        failures.len(),
        families.len(),
        shown.join("\n")
    );
}

/// Runs all samples with operands fed as `feed(sample number, operand)` says.
#[track_caller]
fn conformance(feed: impl Fn(usize, usize) -> Feed, target: &Target, skip: &[&str]) -> usize {
    let mut failures = Vec::new();
    let mut n_cases = 0;
    for (n, (name, sample)) in samples().into_iter().enumerate() {
        let made = case(&sample, |operand| feed(n, operand));
        let symbolic = (0..sample.args.len()).any(|i| feed(n, i) == Feed::Symbolic);
        match made {
            Ok(case) => {
                n_cases += 1;
                let outcome = check(&case, target, skip, sample.op.tolerance());
                failures.extend(outcome.err().map(|e| (name, e)));
            }
            // Fixed attributes may contradict symbolic sizes.
            Err(_) if symbolic => {}
            Err(error) => failures.push((name, error)),
        }
    }
    report(failures);
    n_cases
}

#[test]
fn operators_on_inputs() {
    conformance(|_, _| Feed::Input, target(), &[]);
}

/// Everything but the first operand is a weight: recipes, dense and tiled weights.
#[test]
fn operators_on_weights() {
    conformance(
        |_, i| if i == 0 { Feed::Input } else { Feed::Weight },
        target(),
        &[],
    );
}

/// No input at all.
#[test]
fn operators_on_weights_alone() {
    conformance(|_, _| Feed::Weight, target(), &[]);
}

/// Every mixture of sources.
#[test]
fn operators_on_mixed_sources() {
    let sources = [
        Feed::Input,
        Feed::Weight,
        Feed::Constant,
        Feed::Donated,
        Feed::Weight,
    ];
    conformance(
        |n, i| sources[(n * 7 + i * 3) % sources.len()],
        target(),
        &[],
    );
}

/// Constants that are not folded are operands like others.
#[test]
fn operators_on_constants() {
    conformance(|_, _| Feed::Constant, target(), &["fold_constants"]);
}

#[test]
fn constants_are_folded_to_the_evaluators_bits() {
    conformance(|_, _| Feed::Constant, target(), &[]);
}

/// Donated inputs may be written in place, and are only where that is sound.
#[test]
fn operators_on_donated_inputs() {
    conformance(|_, _| Feed::Donated, target(), &[]);
}

#[test]
fn operators_on_symbolic_sizes() {
    let n = conformance(|_, _| Feed::Symbolic, target(), &[]);
    let all = samples().len();
    assert!(
        n * 2 > all,
        "only {n} of {all} samples take symbolic sizes: is the type rule too strict?"
    );
}

/// The evaluator itself gives the same bits where sizes are symbolic.
#[test]
fn symbolic_sizes_mean_the_same() {
    let mut failures = Vec::new();
    for (name, sample) in samples() {
        let fixed = case(&sample, |_| Feed::Input).expect("samples are valid");
        let Ok(symbolic) = case(&sample, |_| Feed::Symbolic) else {
            continue;
        };
        let run = |case: &Case| reference(&case.graph, &case.samples);
        let outcome = run(&fixed).and_then(|a| run(&symbolic).and_then(|b| same_bits(&b, &a)));
        failures.extend(outcome.err().map(|e| (name, e)));
    }
    report(failures);
}

/// "Anything in the IR runs, by decomposition if nothing else."
#[test]
fn operators_without_composite_kernels() {
    conformance(|_, _| Feed::Input, &plainest(), &[]);
    conformance(
        |_, i| if i == 0 { Feed::Input } else { Feed::Weight },
        &plainest(),
        &[],
    );
}

/// Without any pass that fuses, the same operators run.
#[test]
fn operators_without_fusion() {
    let skip = [
        "fuse_epilogue",
        "fuse_prologue",
        "fuse_elementwise",
        "stack_siblings",
    ];
    conformance(
        |_, i| if i == 0 { Feed::Symbolic } else { Feed::Weight },
        target(),
        &skip,
    );
}

/// Products big enough for every path of the tiled kernels: many rows, ragged edges, every stored
/// format.
#[test]
fn products_with_stored_weights_of_every_format() {
    let mut failures = Vec::new();
    let mut formats = vec![DType::F32, DType::F16, DType::BF16, DType::F64];
    formats.extend(target().tile_formats.iter().filter(|d| d.is_block()));
    let mut sampler = Sampler::new(77);
    for dtype in formats {
        for (m, n, k) in [
            (1, 1, 32),
            (1, 33, 64),
            (2, 16, 32),
            (5, 100, 96),
            (17, 47, 160),
            (64, 70, 128),
            (131, 31, 288),
            (3, 600, 64),
        ] {
            let b = Builder::new("product");
            let x = b.input(
                "x",
                TensorType::new(
                    DType::F32,
                    [Dim::symbol("tokens").expect("a name"), k.into()],
                ),
            );
            let weight = sampler.tensor_in(DType::F32, &[n, k], -1.0, 1.0);
            let stored = weight.cast(dtype).expect("every format encodes");
            let w = b.weight("w", TensorType::new(dtype, stored.shape()));
            let w = if dtype.is_block() {
                w.dequantize(DType::F32)
            } else {
                w.cast(DType::F32)
            };
            b.output("y", x.matmul_t(w));
            let graph = b.finish().expect("a graph");
            let mut bindings = Bindings::new();
            bindings.bind("tokens", m as i64).expect("a size");
            let x = sampler.tensor(DType::F32, &[m, k]);
            let samples = Samples {
                inputs: Tensors::from([("x".to_owned(), x)]),
                weights: Tensors::from([("w".to_owned(), stored)]),
                bindings,
            };
            let outcome = conforms(
                &graph,
                target(),
                &LowerOptions::default(),
                &samples,
                Tolerance::Norm(1e-5),
            );
            failures.extend(outcome.err().map(|e| (format!("{dtype} #{m}x{n}x{k}"), e)));
        }
    }
    report(failures);
}

/// The comparison itself must fail where it should.
#[test]
fn a_wrong_result_is_found() {
    let tensor = |values: &[f32]| {
        Tensors::from([(
            "y".to_owned(),
            HostTensor::from_slice(&[values.len()], values).expect("a tensor"),
        )])
    };
    let close = |a: &[f32], b: &[f32], t| crate::running::close(&tensor(a), &tensor(b), t).is_ok();
    assert!(close(&[1.0, f32::NAN], &[1.0, f32::NAN], Tolerance::Exact));
    assert!(!close(&[1.0, f32::NAN], &[1.0, 2.0], Tolerance::Norm(1e-5)));
    assert!(!close(&[1.0, -0.0], &[1.0, 0.0], Tolerance::Exact));
    assert!(!close(&[1.0, 1.001], &[1.0, 1.0], Tolerance::Norm(1e-5)));
    assert!(!close(&[1.0], &[1.0, 1.0], Tolerance::Norm(1e-5)));
    assert!(!close(
        &[f32::INFINITY],
        &[f32::NEG_INFINITY],
        Tolerance::Norm(1.0)
    ));
}
