//! `gabion bench compile`: building a graph, lowering it, loading its weights.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use gabion::checkpoint::ModelFiles;
use gabion::encoder::{bert_encoder, sentence_options};
use gabion::ir::Graph;
use gabion::language_model::causal_lm;
use gabion::lower::{LowerOptions, lower};
use gabion::plan::WeightSource;
use gabion::tensor::DType;
use gabion::{CheckpointWeights, Engine};
use serde_json::json;

use super::super::engine_args::EngineArgs;
use super::super::output::Output;
use super::super::{Done, model_arg};
use super::linear::{stack_graph, stack_weights};
use super::{median, millis, peak_rss_bytes, reset_peak, rss_bytes};

/// Words of `gabion bench compile`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder or a .gguf file
    #[arg(long, value_name = "MODEL", default_value = "smollm2")]
    model: OsString,
    /// One stack instead of a model: columns of its weights
    #[arg(
        long,
        value_name = "K",
        requires = "out_dims",
        conflicts_with = "model"
    )]
    in_dim: Option<usize>,
    /// One stack instead of a model: rows of each projection
    #[arg(
        long,
        value_name = "N1,N2,..",
        value_delimiter = ',',
        requires = "in_dim"
    )]
    out_dims: Vec<usize>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Times are medians of so many.
const RUNS: usize = 5;

pub(super) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    let progress = out.spinner("measuring");
    let (name, measured) = match args.in_dim {
        Some(in_dim) => {
            let weights = stack_weights(&stack_graph(in_dim, &args.out_dims, DType::F32)?)?;
            let build = || stack_graph(in_dim, &args.out_dims, DType::F32);
            ("stack".to_owned(), measure(&engine, build, &weights)?)
        }
        None => {
            let (located, files) = model_arg::open(&args.model, out)?;
            let builder = builder(&files)?;
            let weights = CheckpointWeights::new(files.checkpoint());
            (located.name, measure(&engine, builder, &weights)?)
        }
    };
    drop(progress);
    let (build, lower, load) = (
        millis(measured.build),
        millis(measured.lower),
        millis(measured.load),
    );
    out.line(format_args!(
        "{name}: {} nodes, build {build:.2} ms, lower {lower:.2} ms, load {load:.1} ms, {:.1} MB at most for building and lowering",
        measured.nodes,
        measured.peak as f64 / 1e6,
    ))?;
    out.object(|| {
        json!({
            "model": name,
            "nodes": measured.nodes,
            "steps": measured.steps,
            "build_ms": build,
            "lower_ms": lower,
            "load_ms": load,
            "peak_alloc_bytes": measured.peak,
        })
    })?;
    Ok(true)
}

/// What builds the graph, the model being known: no file is touched.
fn builder(files: &ModelFiles) -> anyhow::Result<Box<dyn Fn() -> anyhow::Result<Graph>>> {
    if model_arg::is_encoder(files) {
        let options = sentence_options(files)?.1;
        let encoder = bert_encoder(files, options)?.0;
        return Ok(Box::new(move || Ok(encoder.build_graph(options)?)));
    }
    let model = causal_lm(files)?.0;
    Ok(Box::new(move || Ok(model.build_graph()?)))
}

struct Measured {
    nodes: usize,
    steps: usize,
    build: Duration,
    lower: Duration,
    load: Duration,
    /// By how much building and lowering raised the resident memory at most, in bytes.
    peak: u64,
}

fn measure(
    engine: &Engine,
    build: impl Fn() -> anyhow::Result<Graph>,
    weights: &dyn WeightSource,
) -> anyhow::Result<Measured> {
    let (mut builds, mut lowers) = (Vec::new(), Vec::new());
    let before = rss_bytes();
    reset_peak();
    let mut nodes = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        let graph = build()?;
        builds.push(start.elapsed());
        nodes = graph.len();
        let start = Instant::now();
        let lowered = lower(&graph, engine.target(), &LowerOptions::default())?;
        lowers.push(start.elapsed());
        drop(lowered);
    }
    let peak = peak_rss_bytes().saturating_sub(before);
    builds.sort_unstable();
    lowers.sort_unstable();
    let compiled = engine.compile(&build()?, weights)?;
    let steps = compiled.plan().steps.len();
    Ok(Measured {
        nodes,
        steps,
        build: median(&builds),
        lower: median(&lowers),
        load: compiled.load_time,
        peak,
    })
}
