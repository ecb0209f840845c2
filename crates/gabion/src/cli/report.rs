//! `gabion report`: one HTML file that shows a graph, what each pass made of it, and its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gabion::checkpoint::{ModelFiles, write_bytes};
use gabion::ir::Graph;
use gabion::plan::profile::ProfileOptions;
use gabion::tensor::{Bindings, Dim, HostTensor, Symbol};
use gabion::{CheckpointWeights, Compiled};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Sizes};
use serde_json::json;

use super::Done;
use super::engine_args::EngineArgs;
use super::error::CliError;
use super::looked_at::LookedAt;
use super::output::Output;

/// What a symbol is where nothing else is said.
const SIZE: i64 = 128;

/// Words of `gabion report`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder, a .gguf file, or a graph in text form (- is standard input)
    #[arg(value_name = "MODEL|GRAPH")]
    source: OsString,
    /// The HTML file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Count bytes and operations for so many tokens: the same as --size tokens=N [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    tokens: Option<i64>,
    /// Count bytes and operations with this value of a symbol; 128 for those not named
    #[arg(long = "size", value_name = "SYMBOL=N", value_parser = size)]
    sizes: Vec<(String, i64)>,
    /// Run the plan on zeros, so that the report has how long each step took
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

fn size(word: &str) -> Result<(String, i64), String> {
    let (name, value) = word.split_once('=').ok_or("expected SYMBOL=N")?;
    let value = value.parse().ok().filter(|value| *value >= 0);
    let value = value.ok_or_else(|| "expected SYMBOL=N with N of at least 0".to_owned())?;
    Ok((name.to_owned(), value))
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let progress = out.spinner("lowering");
    let looked_at = LookedAt::open(&args.source, out)?;
    let sizes = sizes(&looked_at.graph, args)?;
    let document = looked_at.document(&sizes, out);
    drop(progress);
    let options = match args.run && document.plan().is_some() {
        true => measured(args, &looked_at, &document.sizes, out)?,
        false => ReportOptions::default(),
    };
    let progress = out.spinner("writing");
    let page = report(&document, &options)?;
    write_bytes(&args.output, page.as_bytes())?;
    drop(progress);
    describe(args, &document, &options, page.len(), out)?;
    Ok(document.faults.is_empty())
}

/// The values of symbols that were asked for.
fn sizes(graph: &Graph, args: &Args) -> anyhow::Result<Sizes> {
    let order = graph.canonical_order();
    let types = order.iter().flat_map(|id| &graph.node(*id).results);
    let dims = types.flat_map(|ty| ty.shape.iter());
    let symbols: BTreeSet<Symbol> = dims.flat_map(Dim::symbols).collect();
    let mut bindings = Bindings::new();
    let tokens = args.tokens.map(|n| ("--tokens", "tokens".to_owned(), n));
    let named = args.sizes.iter().cloned();
    let named = named.map(|(name, value)| ("--size", name, value));
    for (option, name, value) in tokens.into_iter().chain(named) {
        if !symbols.iter().any(|symbol| symbol.name() == name) {
            let known: Vec<String> = symbols.iter().map(|it| format!("`{it}`")).collect();
            let known = match known.is_empty() {
                true => "the graph has none".to_owned(),
                false => format!("the graph's are {}", known.join(", ")),
            };
            let message = format!("{option}: there is no symbol `{name}`; {known}");
            return Err(CliError::Options(message).into());
        }
        bindings.bind(&name, value)?;
    }
    Ok(Sizes::new(bindings, SIZE))
}

/// Runs that are measured; the fastest time of each step counts.
const RUNS: usize = 3;

/// How long each step takes, with the sizes that costs are counted with.
fn measured(
    args: &Args,
    looked_at: &LookedAt,
    sizes: &Sizes,
    out: &Output,
) -> anyhow::Result<ReportOptions> {
    let graph = &looked_at.graph;
    let weights = graph.weights().len();
    if looked_at.model.is_none() && weights > 0 {
        let problem = format!(
            "the graph reads {weights} weights and a text has none, so it cannot be run: leave out --run, or name the model"
        );
        return Err(CliError::file(Path::new(&args.source), problem).into());
    }
    let engine = args.engine.engine()?;
    let _progress = out.spinner("running");
    let compiled = match &looked_at.model {
        Some(path) => {
            let files = ModelFiles::open(path)?;
            engine.compile(graph, &CheckpointWeights::new(files.checkpoint()))?
        }
        None => engine.compile(graph, &BTreeMap::<String, HostTensor>::new())?,
    };
    let bindings = sizes.bindings().iter();
    let shown: Vec<String> = bindings.map(|(s, n)| format!("{s} = {n}")).collect();
    let with = match shown.is_empty() {
        true => String::new(),
        false => format!(" with {}", shown.join(", ")),
    };
    Ok(ReportOptions {
        step_ns: step_times(&compiled, sizes)?,
        run: format!("fastest of {RUNS} runs{with}"),
    })
}

/// Nanoseconds of each step on zeros: the fastest of some runs, and 0 where a step took no time that was seen.
fn step_times(compiled: &Compiled, sizes: &Sizes) -> anyhow::Result<Vec<u64>> {
    let plan = compiled.plan();
    let mut inputs = Vec::new();
    for input in plan.inputs.iter().filter(|input| !input.donated) {
        let shape = input.ty.shape.iter().map(|dim| sizes.dim(dim) as usize);
        let shape: Vec<usize> = shape.collect();
        let zeros = HostTensor::zeros(input.ty.dtype, &shape)?;
        inputs.push((input.name.as_str(), zeros));
    }
    let inputs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, t)| (*name, t)).collect();
    let mut session = compiled.session_with(sizes.bindings())?;
    // The first run is slower than all that follow.
    session.run(&inputs)?;
    session.set_profile(Some(ProfileOptions::default()))?;
    for _ in 0..RUNS {
        session.run(&inputs)?;
    }
    let profile = session.take_profile().unwrap_or_default();
    let mut fastest: Vec<Option<u64>> = vec![None; plan.steps.len()];
    for timing in (0..profile.runs.len()).flat_map(|run| profile.steps(run)) {
        if let Some(known) = fastest.get_mut(timing.step) {
            let ns = u64::try_from(timing.wall.as_nanos()).unwrap_or(u64::MAX);
            *known = Some(known.map_or(ns, |it| it.min(ns)));
        }
    }
    Ok(fastest.into_iter().map(|ns| ns.unwrap_or(0)).collect())
}

fn describe(
    args: &Args,
    document: &Document,
    options: &ReportOptions,
    bytes: usize,
    out: &Output,
) -> anyhow::Result<()> {
    let stages = document.stages.len();
    let boxes = document.boxes.len();
    out.line(format_args!(
        "{}: {bytes} bytes, {stages} stages, {boxes} boxes",
        args.output.display()
    ))?;
    out.object(|| {
        json!({
            "report": args.output,
            "bytes": bytes,
            "stages": stages,
            "boxes": boxes,
            "run_us": (!options.step_ns.is_empty()).then(|| options.step_ns.iter().sum::<u64>() as f64 / 1e3),
            "faults": document.faults.iter().map(|(_, what)| what).collect::<Vec<_>>(),
        })
    })?;
    Ok(())
}
