//! `gabion run`: a graph in text form, on tensors from files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gabion::checkpoint::Checkpoint;
use gabion::ir::Graph;
use gabion::plan::RunError;
use gabion::tensor::{Bindings, Dim, HostTensor, Symbol};
use gabion::{CheckpointWeights, Compiled, Engine};
use serde_json::{Value, json};

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::output::Output;
use super::{Done, graph_file, tensor_file};

/// Words of `gabion run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The graph's file; - is standard input
    graph: PathBuf,
    /// Files that hold the graph's weights; none if it has none
    #[arg(long, value_name = "FILE", num_args = 1..)]
    weights: Vec<PathBuf>,
    /// A safetensors file whose tensors bear the names of the graph's inputs; none if it has none
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,
    /// The safetensors file to write, with the names of the graph's outputs
    #[arg(long, value_name = "FILE")]
    outputs: PathBuf,
    /// The size of a donated input that is not given (it begins with zeros)
    #[arg(long = "size", value_name = "SYMBOL=N", value_parser = size)]
    sizes: Vec<(String, i64)>,
    #[command(flatten)]
    engine: EngineArgs,
}

fn size(word: &str) -> Result<(String, i64), String> {
    let (name, value) = word.split_once('=').ok_or("expected SYMBOL=N")?;
    let value = value.parse().map_err(|_| format!("`{value}` is no size"))?;
    Ok((name.to_owned(), value))
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    let graph = graph_file::read_graph(&args.graph)?;
    let inputs = match &args.inputs {
        Some(path) => tensor_file::read(path)?,
        None => BTreeMap::new(),
    };
    let sizes = sizes(&graph, &inputs, args)?;
    let checkpoint = weights(&graph, args)?;
    let compiled = compile(&engine, &graph, &checkpoint)?;
    let outputs = execute(
        &compiled,
        &sizes,
        &inputs,
        args.inputs.as_deref().unwrap_or(&args.graph),
    )?;
    tensor_file::write(&args.outputs, &outputs)?;
    describe(&args.outputs, &outputs, out)?;
    Ok(true)
}

/// The files of the weights, after they were compared with the graph.
fn weights(graph: &Graph, args: &Args) -> anyhow::Result<Checkpoint> {
    let read = graph.weights();
    if let (true, [(name, ty, _), ..]) = (args.weights.is_empty(), &read[..]) {
        let problem = format!(
            "the graph reads {} weights, the first of them `{name}`, {ty}: name the files that hold them with --weights",
            read.len()
        );
        return Err(CliError::file(&args.graph, problem).into());
    }
    let checkpoint = Checkpoint::open_files(&args.weights)?;
    tensor_file::check(graph, &checkpoint, &args.weights, &|_| true)?;
    Ok(checkpoint)
}

/// Compiles a graph on the tensors of a checkpoint.
pub(crate) fn compile(
    engine: &Engine,
    graph: &Graph,
    checkpoint: &Checkpoint,
) -> anyhow::Result<Compiled> {
    Ok(engine.compile(graph, &CheckpointWeights::new(checkpoint))?)
}

/// Runs once; errors of inputs name the file that they came from.
pub(crate) fn execute(
    compiled: &Compiled,
    sizes: &Bindings,
    inputs: &BTreeMap<String, HostTensor>,
    file: &Path,
) -> anyhow::Result<Vec<(String, HostTensor)>> {
    let given: Vec<(&str, &HostTensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut session = compiled.session_with(sizes)?;
    session.run(&given).map_err(|error| match error {
        RunError::Executor(_) | RunError::Output { .. } => error.into(),
        of_inputs => CliError::in_file(file, of_inputs).into(),
    })
}

/// The sizes of donated inputs: given in words, or by the shapes of the inputs.
fn sizes(
    graph: &Graph,
    inputs: &BTreeMap<String, HostTensor>,
    args: &Args,
) -> anyhow::Result<Bindings> {
    let mut sizes = Bindings::new();
    let symbols = symbols(graph);
    for (name, value) in &args.sizes {
        if !symbols.contains(name.as_str()) {
            let known: Vec<_> = symbols.iter().map(|s| format!("`{s}`")).collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            let message = format!("--size {name}={value}: the graph's symbols are {known}");
            return Err(CliError::Options(message).into());
        }
        sizes.bind(name, *value)?;
    }
    let file = args.inputs.as_deref().unwrap_or(&args.graph);
    for input in graph.inputs() {
        let Some(tensor) = inputs.get(&*input.name) else {
            continue;
        };
        let ty = &graph.node(input.node).results[0];
        ty.accepts(tensor, &mut sizes)
            .map_err(|error| CliError::file(file, format!("input `{}`: {error}", input.name)))?;
    }
    Ok(sizes)
}

/// Every symbol in the graph's types.
fn symbols(graph: &Graph) -> BTreeSet<Symbol> {
    let order = graph.canonical_order();
    let types = order.iter().flat_map(|id| &graph.node(*id).results);
    types
        .flat_map(|ty| ty.shape.iter().flat_map(Dim::symbols))
        .collect()
}

/// What was written.
pub(crate) fn describe(
    file: &Path,
    outputs: &[(String, HostTensor)],
    out: &Output,
) -> Result<(), CliError> {
    for (name, tensor) in outputs {
        out.line(format_args!(
            "{name}: {}",
            gabion::tensor::TensorType::of(tensor)
        ))?;
    }
    out.object(|| json!({ "outputs_file": file, "outputs": types(outputs) }))
}

/// Names, dtypes and shapes as JSON.
pub(crate) fn types(outputs: &[(String, HostTensor)]) -> Value {
    let output = |(name, t): &(String, HostTensor)| json!({ "name": name, "dtype": t.dtype().name(), "shape": t.shape() });
    Value::Array(outputs.iter().map(output).collect())
}
