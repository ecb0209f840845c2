//! `gabion report`: one HTML file that shows a graph, what each pass made of it, and its plan.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gabion::CheckpointWeights;
use gabion::checkpoint::{Checkpoint, ModelFiles, write_bytes};
use gabion::cpu::cpu_target;
use gabion::ir::Graph;
use gabion::ir::verify::VerifyErrors;
use gabion::lower::{LowerOptions, lower, lower_graph};
use gabion::plan::profile::ProfileOptions;
use gabion::tensor::{Bindings, Dim, HostTensor, Symbol};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Sizes};
use serde_json::json;

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::output::Output;
use super::{Done, graph_file, lower as lower_command, model_arg};

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
    let (graph, model, faults) = graph_of(args, out)?;
    let sizes = sizes(&graph, args)?;
    let document = document(&graph, faults.as_ref(), &sizes);
    drop(progress);
    for (_, fault) in &document.faults {
        out.warn(format_args!("@{}: {fault}", graph.name));
    }
    let options = match args.run && document.plan().is_some() {
        true => measured(args, &graph, model.as_deref(), &document, out)?,
        false => ReportOptions::default(),
    };
    let progress = out.spinner("writing");
    let page = report(&document, &options)?;
    write_bytes(&args.output, page.as_bytes())?;
    drop(progress);
    describe(args, &document, &options, page.len(), out)?;
    Ok(document.faults.is_empty())
}

/// A graph, where its model is if it is one, and what is wrong with it.
type Source = (Graph, Option<PathBuf>, Option<VerifyErrors>);

/// What is no graph is an error; what does not verify can be looked at.
fn graph_of(args: &Args, out: &Output) -> anyhow::Result<Source> {
    let path = Path::new(&args.source);
    let is_text = path == Path::new("-") || (path.is_file() && !model_arg::is_model(path));
    if !is_text {
        let (graph, model) = lower_command::graph_of(&args.source, None, out)?;
        return Ok((graph, model, None));
    }
    let graph = Graph::parse(&graph_file::read_text(path)?)
        .map_err(|errors| errors.with_file(path.display().to_string()))?;
    let faults = gabion::ir::verify::verify(&graph).err();
    Ok((graph, None, faults))
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

/// The graph at every stage, as far as lowering comes; why it comes no further is a fault.
fn document(graph: &Graph, faults: Option<&VerifyErrors>, sizes: &Sizes) -> Document {
    if let Some(errors) = faults {
        let mut document = Document::of_graph(graph, sizes);
        document.mark(errors);
        return document;
    }
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let failed = match lower(graph, &cpu_target(), &options) {
        Ok(lowered) => return Document::of_lowered(graph, &lowered, sizes),
        Err(error) => error.to_string(),
    };
    let mut document = match lower_graph(graph, &cpu_target(), &options) {
        Ok(lowered) => Document::of_lowered(graph, &lowered, sizes),
        Err(_) => Document::of_graph(graph, sizes),
    };
    document.faults.push((None, failed));
    document
}

/// Runs that are measured; the fastest time of each step counts.
const RUNS: usize = 3;

/// How long each step takes, with the sizes that costs are counted with.
fn measured(
    args: &Args,
    graph: &Graph,
    model: Option<&Path>,
    document: &Document,
    out: &Output,
) -> anyhow::Result<ReportOptions> {
    let weights = graph.weights().len();
    if model.is_none() && weights > 0 {
        let problem = format!(
            "the graph reads {weights} weights and a text has none, so it cannot be run: leave out --run, or name the model"
        );
        return Err(CliError::file(Path::new(&args.source), problem).into());
    }
    let engine = args.engine.engine()?;
    let _progress = out.spinner("running");
    let checkpoint = match model {
        Some(_) => None,
        None => Some(Checkpoint::open_files::<PathBuf>(&[])?),
    };
    let files = model.map(ModelFiles::open).transpose()?;
    let checkpoint = files
        .as_ref()
        .map(ModelFiles::checkpoint)
        .or(checkpoint.as_ref());
    let Some(checkpoint) = checkpoint else {
        return Ok(ReportOptions::default());
    };
    let compiled = engine.compile(graph, &CheckpointWeights::new(checkpoint))?;
    let plan = compiled.plan();
    let sizes = &document.sizes;
    let mut inputs = Vec::new();
    for input in plan.inputs.iter().filter(|input| !input.donated) {
        let shape = input.ty.shape.iter().map(|dim| sizes.dim(dim) as usize);
        let shape: Vec<usize> = shape.collect();
        inputs.push((
            input.name.as_str(),
            HostTensor::zeros(input.ty.dtype, &shape)?,
        ));
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
    let mut step_ns = vec![u64::MAX; plan.steps.len()];
    for timing in (0..profile.runs.len()).flat_map(|run| profile.steps(run)) {
        if let Some(ns) = step_ns.get_mut(timing.step) {
            *ns = (*ns).min(u64::try_from(timing.wall.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    // A step without a span took no time that was seen.
    for ns in &mut step_ns {
        *ns = if *ns == u64::MAX { 0 } else { *ns };
    }
    let shown: Vec<String> = sizes
        .bindings()
        .iter()
        .map(|(s, n)| format!("{s} = {n}"))
        .collect();
    let with = if shown.is_empty() {
        String::new()
    } else {
        format!(" with {}", shown.join(", "))
    };
    Ok(ReportOptions {
        step_ns,
        run: format!("fastest of {RUNS} runs{with}"),
    })
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
