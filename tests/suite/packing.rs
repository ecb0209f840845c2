//! Properties of loading: however a weight is cut into stored tensors, decoded, clipped or laid out,
//! a product gives what its meaning gives, and parts that touch no other rows change nothing.

use std::sync::Arc;

use gabion_cpu::isa::Isa;
use gabion_cpu::{CpuExecutor, CpuOptions};
use gabion_ir::eval::Samples;
use gabion_ir::ops::Unary;
use gabion_ir::{Builder, Graph, Sampler, TensorValue, Tolerance};
use gabion_lower::LowerOptions;
use gabion_tensor::{Bindings, DType, Dim, TensorType, UnaryFn};
use proptest::prelude::*;

use crate::running::{
    Tensors, close, plan, plan_with, reference, run_all_threads, run_plan, same_bits, target,
};

/// One stored tensor of a stack.
#[derive(Clone, Debug)]
struct Piece {
    rows: usize,
    format: usize,
    transposed: bool,
    clip: Clip,
    cut: Option<(usize, usize)>,
}

/// What is limited to -0.1..=0.1, which is another number in every dtype.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clip {
    No,
    /// The numbers as stored (blocks have none: the decoded ones).
    Stored,
    Decoded,
}

const BOUND: f64 = 0.1;

const FORMATS: [&str; 9] = [
    "f32", "f16", "bf16", "f64", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
];

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let cut = prop::option::weighted(0.3, (0usize..40, 0usize..40));
    let clip = prop::sample::select(vec![Clip::No, Clip::Stored, Clip::Decoded]);
    let piece = (1usize..70, 0usize..9, any::<bool>(), clip, cut).prop_map(
        |(rows, format, transposed, clip, cut)| Piece {
            rows,
            format,
            transposed,
            clip,
            cut,
        },
    );
    prop::collection::vec(piece, 1..5)
}

fn decoded(value: TensorValue<'_>) -> TensorValue<'_> {
    if value.dtype().is_block() {
        value.dequantize(DType::F32)
    } else {
        value.cast(DType::F32)
    }
}

/// A product with the pieces on top of each other; `blocks` of 32 along K.
fn stack(pieces: &[Piece], blocks: usize, split: bool, seed: u64) -> (Graph, Tensors) {
    let mut sampler = Sampler::new(seed);
    let k = 32 * blocks;
    let b = Builder::new("pieces");
    let tokens: Dim = "tokens".parse().expect("a dim");
    let x = b.input("x", TensorType::new(DType::F32, [tokens, k.into()]));
    let mut weights = Tensors::new();
    let mut parts = Vec::new();
    let mut sizes = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let dtype: DType = FORMATS[piece.format].parse().expect("a dtype");
        // Blocks lie along the last axis, so only plain tensors are stored [K, N].
        let transposed = piece.transposed && !dtype.is_block();
        let shape = if transposed {
            [k, piece.rows]
        } else {
            [piece.rows, k]
        };
        let stored = sampler.tensor_in(DType::F32, &shape, -1.0, 1.0).cast(dtype);
        let name = format!("layer.part{i}.weight");
        let mut w = b.weight(&name, TensorType::new(dtype, shape));
        if piece.clip == Clip::Stored && !dtype.is_block() {
            w = w.clamp(-BOUND, BOUND);
        }
        let mut w = decoded(w);
        weights.insert(name, stored.expect("it encodes"));
        if transposed {
            w = w.t();
        }
        if piece.clip == Clip::Decoded || piece.clip == Clip::Stored && dtype.is_block() {
            w = w.clamp(-BOUND, BOUND);
        }
        let mut n = piece.rows;
        if let Some((start, len)) = piece.cut {
            let start = start % piece.rows;
            let end = (start + 1 + len).min(piece.rows);
            w = w.slice_axis(0, start as i64..end as i64, 1);
            n = end - start;
        }
        sizes.push(n);
        parts.push(w);
    }
    let y = x.matmul_t(b.concat(&parts, 0));
    if split {
        for (i, value) in y.split(sizes, -1).into_iter().enumerate() {
            b.output(&format!("y{i}"), value);
        }
    } else {
        b.output("y", y);
    }
    (b.finish().unwrap_or_else(|e| panic!("{e}")), weights)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stack_of_stored_tensors_is_its_meaning(
        pieces in pieces(), blocks in 1usize..6, m in prop::sample::select(vec![1usize, 2, 5, 16, 40]),
        split in any::<bool>(), seed in any::<u64>(),
    ) {
        let (graph, weights) = stack(&pieces, blocks, split, seed);
        let x = Sampler::new(seed ^ 1).tensor_in(DType::F32, &[m, 32 * blocks], -1.0, 1.0);
        let mut bindings = Bindings::new();
        bindings.bind("tokens", m as i64).expect("a size");
        let samples = Samples { inputs: Tensors::from([("x".to_owned(), x)]), weights, bindings };
        let check = || {
            let expected = reference(&graph, &samples)?;
            let plan = plan(&graph)?;
            let matmuls = plan.steps.iter().filter(|s| s.kernel.name() == "matmul").count();
            if matmuls != 1 || plan.steps.len() != 1 {
                return Err(format!("expected one matmul\n{}", plan.to_text()));
            }
            let found = run_all_threads(&graph, &Arc::new(plan), &samples)?;
            close(&found, &expected, Tolerance::Norm(1e-5))
        };
        check().map_err(|e| TestCaseError::fail(format!("{e}\n{graph}")))?;
    }
}

/// A weight read row by row is read as it is meant, to the last bit: limits of stored halves are
/// halves.
#[test]
fn looked_up_rows_of_clipped_halves_are_the_evaluators_bits() {
    for dtype in ["f16", "bf16", "f64", "q8_0"] {
        for seed in 0..4 {
            let dtype: DType = dtype.parse().expect("a dtype");
            let mut sampler = Sampler::new(seed);
            let b = Builder::new("rows");
            let ids = b.input("ids", TensorType::new(DType::I64, [5usize]));
            let table = b.weight("table", TensorType::new(dtype, [9usize, 64]));
            let clipped = match dtype.is_block() {
                true => decoded(table).clamp(-BOUND, BOUND),
                false => decoded(table.clamp(-BOUND, BOUND)),
            };
            b.output("y", clipped.gather(ids, 0));
            let graph = b.finish().unwrap_or_else(|e| panic!("{e}"));
            let stored = sampler.tensor_in(DType::F32, &[9, 64], -0.3, 0.3);
            let weights =
                Tensors::from([("table".to_owned(), stored.cast(dtype).expect("stored"))]);
            let inputs = Tensors::from([("ids".to_owned(), sampler.indices(DType::I64, &[5], 9))]);
            let samples = Samples {
                inputs,
                weights,
                bindings: Bindings::new(),
            };
            let expected = reference(&graph, &samples).expect("values");
            let plan = Arc::new(plan(&graph).expect("a plan"));
            let found = run_all_threads(&graph, &plan, &samples).expect("values");
            close(&found, &expected, Tolerance::Exact).unwrap_or_else(|e| panic!("{dtype}: {e}"));
        }
    }
}

/// A gate, what it is multiplied with, and rows that have nothing to do with them.
#[derive(Clone, Debug)]
struct Gated {
    /// Which of gate (0), up (1) and the rest (2) lies where.
    order: [usize; 3],
    /// Rows of the gate, in sixteens, and of the rest.
    sixteens: usize,
    rest: usize,
    func: UnaryFn,
    /// Formats of the three, or of one tensor that holds them all.
    formats: [usize; 3],
    joined: bool,
    biased: bool,
    gate_first: bool,
}

fn gated() -> impl Strategy<Value = Gated> {
    let orders = vec![
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    (
        prop::sample::select(orders),
        (1usize..5, 2usize..50),
        prop::sample::select(target().epilogue_maps.clone()),
        [0usize..9, 0usize..9, 0usize..9],
        any::<[bool; 3]>(),
    )
        .prop_map(
            |(order, (sixteens, rest), func, formats, [joined, biased, gate_first])| Gated {
                order,
                sixteens,
                rest,
                func,
                formats,
                joined,
                biased,
                gate_first,
            },
        )
}

/// `func(gate) * up`, and the rest, from one product of an activation `[tokens, 64]`.
fn gated_graph(case: &Gated, seed: u64) -> (Graph, Tensors) {
    let mut sampler = Sampler::new(seed);
    let b = Builder::new("gated");
    let tokens = Dim::symbol("tokens").expect("a name");
    let x = b.input("x", TensorType::new(DType::F32, [tokens, 64.into()]));
    let rows = [16 * case.sixteens, 16 * case.sixteens, case.rest];
    let mut weights = Tensors::new();
    let mut weight = |name: &str, dtype: DType, shape: &[usize]| {
        let stored = sampler.tensor_in(DType::F32, shape, -1.0, 1.0).cast(dtype);
        weights.insert(name.to_owned(), stored.expect("it encodes"));
        b.weight(name, TensorType::new(dtype, shape))
    };
    let format =
        |member: usize| -> DType { FORMATS[case.formats[member]].parse().expect("a dtype") };
    let stack = if case.joined {
        let n = rows.iter().sum();
        decoded(weight("all", format(0), &[n, 64]))
    } else {
        let parts = case.order.map(|member| {
            let name = ["gate", "up", "rest"][member];
            decoded(weight(name, format(member), &[rows[member], 64]))
        });
        b.concat(&parts, 0)
    };
    let columns = x.matmul_t(stack).split(case.order.map(|i| rows[i]), -1);
    let member = |i: usize| columns[case.order.iter().position(|&o| o == i).expect("all three")];
    let (mut gate, mut up) = (member(0), member(1));
    if case.biased {
        gate = gate + weight("gate.bias", DType::F32, &[rows[0]]);
        up = weight("up.bias", DType::F32, &[rows[1]]) + up;
    }
    let active = b.apply1(Unary { func: case.func }, &[gate]);
    let product = match case.gate_first {
        true => active * up,
        false => up * active,
    };
    b.output("product", product);
    b.output("rest", member(2));
    (b.finish().unwrap_or_else(|e| panic!("{e}")), weights)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_gate_anywhere_in_a_stack_is_one_product(
        case in gated(), m in prop::sample::select(vec![1usize, 3, 16, 33]), seed in any::<u64>(),
    ) {
        let (graph, weights) = gated_graph(&case, seed);
        let x = Sampler::new(seed ^ 1).tensor_in(DType::F32, &[m, 64], -1.0, 1.0);
        let mut bindings = Bindings::new();
        bindings.bind("tokens", m as i64).expect("a size");
        let samples = Samples { inputs: Tensors::from([("x".to_owned(), x)]), weights, bindings };
        let check = || {
            let expected = reference(&graph, &samples)?;
            let fused = plan(&graph)?;
            let text = fused.to_text();
            if fused.steps.len() != 1 || text.matches("glu = ").count() != 1 {
                return Err(format!("expected one gated product\n{text}"));
            }
            let found = run_all_threads(&graph, &Arc::new(fused), &samples)?;
            close(&found, &expected, Tolerance::Norm(1e-5))?;
            let skip = LowerOptions { skip: vec!["fuse_epilogue".to_owned()], ..LowerOptions::default() };
            let unfused = plan_with(&graph, target(), &skip)?;
            same_bits(&found, &run_all_threads(&graph, &Arc::new(unfused), &samples)?)
        };
        check().map_err(|e| TestCaseError::fail(format!("{e}\n{graph}")))?;
    }
}

/// What becomes of a product `[tokens, n]` over `k` values, some of which sizes are zero.
#[derive(Clone, Copy, Debug)]
enum After {
    Nothing,
    Bias,
    Gate,
    Norm,
    Transposed,
    Inputs,
}

/// A product with nothing in it, and its operands.
fn empty_product(after: After, dtype: DType, [m, n, k]: [usize; 3]) -> (Graph, Samples) {
    let mut sampler = Sampler::new(9);
    let b = Builder::new("empty");
    let tokens = Dim::symbol("tokens").expect("a name");
    let mut x = b.input("x", TensorType::new(DType::F32, [tokens, k.into()]));
    let mut inputs = Tensors::from([("x".to_owned(), sampler.tensor(DType::F32, &[m, k]))]);
    let mut weights = Tensors::new();
    let mut weight = |name: &str, dtype: DType, shape: &[usize]| {
        let stored = sampler.tensor_in(DType::F32, shape, -1.0, 1.0).cast(dtype);
        weights.insert(name.to_owned(), stored.expect("it encodes"));
        b.weight(name, TensorType::new(dtype, shape))
    };
    if let After::Norm = after {
        x = x.rms_norm(weight("norm", DType::F32, &[k]), 1e-5);
    }
    let y = match after {
        After::Transposed if !dtype.is_block() => x.matmul(decoded(weight("w", dtype, &[k, n]))),
        After::Inputs => {
            let w = Sampler::new(10).tensor(DType::F32, &[n, k]);
            inputs.insert("w".to_owned(), w);
            x.matmul_t(b.input("w", TensorType::new(DType::F32, [n, k])))
        }
        After::Nothing | After::Bias | After::Gate | After::Norm | After::Transposed => {
            x.matmul_t(decoded(weight("w", dtype, &[n, k])))
        }
    };
    let y = match after {
        After::Bias => y + weight("bias", DType::F32, &[n]),
        After::Gate if n % 2 == 0 => {
            let halves = y.split([n / 2, n / 2], -1);
            b.apply1(
                Unary {
                    func: UnaryFn::Silu,
                },
                &[halves[0]],
            ) * halves[1]
        }
        After::Nothing | After::Gate | After::Norm | After::Transposed | After::Inputs => y,
    };
    b.output("y", y);
    let graph = b.finish().unwrap_or_else(|e| panic!("{e}"));
    let mut bindings = Bindings::new();
    bindings.bind("tokens", m as i64).expect("a size");
    let samples = Samples {
        inputs,
        weights,
        bindings,
    };
    (graph, samples)
}

/// Sums of nothing are zeros, to which biases are added; products without rows or columns are
/// empty.
#[test]
fn products_over_nothing_are_zeros_on_every_instruction_set() {
    let executor = |isa, threads| {
        let options = CpuOptions {
            threads: Some(threads),
            isa: Some(isa),
        };
        CpuExecutor::new(options).expect("an executor")
    };
    let executors: Vec<CpuExecutor> = Isa::available()
        .flat_map(|isa| [executor(isa, 1), executor(isa, 3)])
        .collect();
    let sizes = [
        [1, 32, 0],
        [3, 5, 0],
        [70, 64, 0],
        [600, 33, 0],
        [0, 32, 0],
        [3, 0, 32],
        [3, 0, 0],
        [0, 32, 64],
        [0, 0, 32],
        [0, 0, 0],
    ];
    let afters = [
        After::Nothing,
        After::Bias,
        After::Gate,
        After::Norm,
        After::Transposed,
        After::Inputs,
    ];
    for format in FORMATS {
        for (after, sizes) in afters.iter().flat_map(|a| sizes.map(|s| (*a, s))) {
            let dtype: DType = format.parse().expect("a dtype");
            let (graph, samples) = empty_product(after, dtype, sizes);
            let check = || {
                let expected = reference(&graph, &samples)?;
                let plan = Arc::new(plan(&graph)?);
                for executor in &executors {
                    let found = run_plan(executor, &graph, &plan, &samples)
                        .map_err(|e| format!("{}: {e}\n{}", executor.isa(), plan.to_text()))?;
                    close(&found, &expected, Tolerance::Exact)
                        .map_err(|e| format!("{}: {e}\n{}", executor.isa(), plan.to_text()))?;
                }
                Ok::<(), String>(())
            };
            check().unwrap_or_else(|e| panic!("{format} {after:?} {sizes:?}: {e}\n{graph}"));
        }
    }
}
