//! Properties of loading: however a weight is cut into stored tensors, decoded, clipped or laid out,
//! a product gives what its meaning gives, and parts that touch no other rows change nothing.

use std::sync::Arc;

use gabion_ir::eval::Samples;
use gabion_ir::{Builder, Graph, Sampler, TensorValue};
use gabion_tensor::{Bindings, DType, TensorType};
use proptest::prelude::*;

use crate::running::{Tensors, close, plan, reference, run_all_threads};
use gabion_ir::Tolerance;

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
    let tokens: gabion_tensor::Dim = "tokens".parse().expect("a dim");
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
