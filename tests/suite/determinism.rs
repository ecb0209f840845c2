//! What must be the same to the last bit on the CPU executor: one row alone and among others, fused
//! and unfused, tokens one by one and together, a text alone and in a batch. (Any number of threads
//! is checked wherever the suite runs a plan.)

use std::sync::Arc;

use gabion::{Engine, LanguageModel, SentenceEncoder};
use gabion_checkpoint::ModelFiles;
use gabion_cpu::CpuOptions;
use gabion_ir::eval::Samples;
use gabion_ir::{Graph, Sampler};
use gabion_lower::LowerOptions;
use gabion_tensor::{Bindings, DType, HostTensor};

use crate::models::{fixture, fixture_folders, layer_graphs};
use crate::running::{
    Tensors, executors, plan, plan_with, run_all_threads, run_plan, same_bits, samples_of, target,
};

fn parse(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// A stack with everything that can be folded into it, in every stored format.
fn stack_of(format: &str) -> Graph {
    let decode = if format.starts_with('q') {
        "dequantize"
    } else {
        "cast"
    };
    parse(&format!(
        "graph @stack(%x: f32[tokens, 96], %r: f32[tokens, 70], %cos: f32[tokens, 16], %sin: f32[tokens, 16]) \
           -> (f32[tokens, 2, 32], f32[tokens, 48], f32[tokens, 70]) {{\n  \
         %g = weight {{name = \"norm\"}} : f32[96]\n  \
         %ws = weight {{name = \"w\"}} : {format}[230, 96]\n  \
         %w = {decode} %ws {{dtype = \"f32\"}} : f32[230, 96]\n  \
         %n = rms_norm %x, %g {{eps = 1e-5}}\n  \
         %y = matmul %n, %w {{transpose_b = true}}\n  \
         %q, %gate, %up, %o = split %y {{axis = 1, sizes = [64, 48, 48, 70]}}\n  \
         %qh = reshape %q {{shape = [\"tokens\", 2, 32]}}\n  \
         %qr = rope %qh, %cos, %sin {{pairing = \"half\"}}\n  \
         %a = silu %gate\n  \
         %p = mul %a, %up\n  \
         %b = weight {{name = \"b\"}} : f32[70]\n  \
         %ob = add %o, %b\n  \
         %or = add %r, %ob\n  \
         return %qr, %p, %or\n}}\n"
    ))
}

/// Rows `rows` of every input that has `n` of them.
fn cut(samples: &Samples, n: usize, rows: std::ops::Range<usize>) -> Samples {
    let cut = |tensor: &HostTensor| match tensor.shape().first() {
        Some(&size) if size == n => tensor.rows(rows.clone()).expect("rows"),
        _ => tensor.clone(),
    };
    let inputs = samples
        .inputs
        .iter()
        .map(|(name, t)| (name.clone(), cut(t)))
        .collect();
    Samples {
        inputs,
        weights: samples.weights.clone(),
        bindings: Bindings::new(),
    }
}

fn rows_of(tensors: &Tensors, rows: std::ops::Range<usize>) -> Tensors {
    tensors
        .iter()
        .map(|(name, t)| (name.clone(), t.rows(rows.clone()).expect("rows")))
        .collect()
}

#[test]
fn a_row_alone_is_the_row_among_others() {
    let formats = [
        "f32", "f16", "bf16", "f64", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
    ];
    for format in formats {
        let graph = stack_of(format);
        let plan = Arc::new(plan(&graph).unwrap_or_else(|e| panic!("{format}: {e}")));
        let mut options = gabion_ir::eval::SampleOptions::default();
        options.symbols.insert("tokens".to_owned(), 64);
        let samples = gabion_ir::eval::sample_inputs(&graph, 5, &options).expect("samples");
        let all = run_all_threads(&graph, &plan, &samples).unwrap_or_else(|e| panic!("{e}"));
        for (start, end) in [
            (0, 1),
            (1, 2),
            (37, 38),
            (63, 64),
            (0, 2),
            (5, 12),
            (30, 63),
        ] {
            let part = run_all_threads(&graph, &plan, &cut(&samples, 64, start..end))
                .unwrap_or_else(|e| panic!("{e}"));
            same_bits(&part, &rows_of(&all, start..end))
                .unwrap_or_else(|e| panic!("{format}: rows {start}..{end} of 64: {e}"));
        }
    }
}

const FUSING: [&str; 4] = [
    "fuse_epilogue",
    "fuse_prologue",
    "fuse_elementwise",
    "stack_siblings",
];

#[track_caller]
fn fused_is_unfused(name: &str, graph: &Graph, skip: &[&str]) {
    let options = LowerOptions {
        skip: skip.iter().map(|s| (*s).to_owned()).collect(),
        ..LowerOptions::default()
    };
    let fused = Arc::new(plan(graph).unwrap_or_else(|e| panic!("{name}: {e}")));
    let unfused =
        Arc::new(plan_with(graph, target(), &options).unwrap_or_else(|e| panic!("{name}: {e}")));
    for seed in 0..3 {
        let samples = samples_of(graph, seed).unwrap_or_else(|e| panic!("{name}: {e}"));
        let run = |plan| {
            run_plan(&executors()[1], graph, plan, &samples)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        same_bits(&run(&fused), &run(&unfused)).unwrap_or_else(|e| {
            panic!(
                "{name}: without {skip:?}: {e}\n{}\n{}",
                fused.to_text(),
                unfused.to_text()
            )
        });
    }
}

#[test]
fn fused_layers_have_the_bits_of_unfused_ones() {
    for (name, graph) in layer_graphs() {
        fused_is_unfused(&name, &graph, &FUSING);
    }
    for format in ["f32", "q4_1", "bf16"] {
        fused_is_unfused(format, &stack_of(format), &FUSING);
        for pass in FUSING {
            fused_is_unfused(format, &stack_of(format), &[pass]);
        }
    }
}

#[test]
fn fused_filetests_have_the_bits_of_unfused_ones() {
    for (name, graph) in crate::filetests::graphs_of("passes") {
        fused_is_unfused(&name, &graph, &FUSING);
    }
}

fn engine(threads: usize) -> Engine {
    let options = CpuOptions {
        threads: Some(threads),
        ..CpuOptions::default()
    };
    Engine::cpu_with(options).expect("an engine")
}

fn open(path: &std::path::Path) -> ModelFiles {
    ModelFiles::open(path).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn tokens_one_by_one_are_tokens_together() {
    let mut folders = fixture_folders("tiny_models");
    folders.extend(fixture_folders("tiny_models_more"));
    let ids: Vec<u32> = (0..37).map(|i| (i * 41 + 7) % 160).collect();
    for folder in folders {
        let model =
            LanguageModel::load(&engine(2), &open(&folder)).unwrap_or_else(|e| panic!("{e}"));
        // Where the frequencies change with the length, so do the numbers.
        let n = model
            .config()
            .rope_switch()
            .unwrap_or(ids.len())
            .min(ids.len());
        let ids = &ids[..n];
        let logits_of = |pieces: &[usize]| {
            let mut generator = model.generator(64).expect("a generator");
            let mut logits = Vec::new();
            let mut at = 0;
            for &piece in pieces {
                logits = generator
                    .feed(&ids[at..at + piece])
                    .expect("logits")
                    .to_vec();
                at += piece;
            }
            assert_eq!(at, n);
            logits.iter().map(|l| l.to_bits()).collect::<Vec<u32>>()
        };
        let together = logits_of(&[n]);
        assert_eq!(logits_of(&vec![1; n]), together, "{}", folder.display());
        assert_eq!(
            logits_of(&[n / 2, n - n / 2 - 1, 1]),
            together,
            "{}",
            folder.display()
        );
    }
}

#[test]
fn a_text_alone_is_the_text_in_a_batch() {
    let mut encoder = SentenceEncoder::load(&engine(3), &open(&fixture("tiny_bert")))
        .unwrap_or_else(|e| panic!("{e}"));
    let text = |n: u32, from: u32| {
        (0..n)
            .map(|i| (i * 7 + from) % 60 + 1)
            .collect::<Vec<u32>>()
    };
    let texts: Vec<Vec<u32>> = [3, 9, 1, 16, 9, 2]
        .iter()
        .enumerate()
        .map(|(i, &n)| text(n, i as u32))
        .collect();
    let together = encoder.embed_ids(&texts).expect("embeddings");
    for (i, text) in texts.iter().enumerate() {
        let alone = encoder
            .embed_ids(std::slice::from_ref(text))
            .expect("an embedding");
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&alone[0]), bits(&together[i]), "text {i}");
    }
}

/// A weight that is stored otherwise gives the bits of the numbers that it means.
#[test]
fn stored_formats_are_exact() {
    let graph = stack_of("f32");
    let mut options = gabion_ir::eval::SampleOptions::default();
    options.symbols.insert("tokens".to_owned(), 7);
    let samples = gabion_ir::eval::sample_inputs(&graph, 9, &options).expect("samples");
    let mut sampler = Sampler::new(3);
    let run = |graph: &Graph, samples: &Samples| {
        let plan = Arc::new(plan(graph).unwrap_or_else(|e| panic!("{e}")));
        run_plan(&executors()[0], graph, &plan, samples).unwrap_or_else(|e| panic!("{e}"))
    };
    for format in ["f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"] {
        let dtype: DType = format.parse().expect("a dtype");
        let stored = sampler
            .tensor_in(DType::F32, &[230, 96], -1.0, 1.0)
            .cast(dtype)
            .expect("it encodes");
        let mut quantised = samples.clone();
        let mut decoded = samples.clone();
        decoded
            .weights
            .insert("w".to_owned(), stored.cast(DType::F32).expect("it decodes"));
        quantised.weights.insert("w".to_owned(), stored);
        same_bits(&run(&stack_of(format), &quantised), &run(&graph, &decoded))
            .unwrap_or_else(|e| panic!("{format}: {e}"));
    }
}
