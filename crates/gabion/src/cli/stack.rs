//! `gabion stack`: one `StackedLinear` from its constructor's arguments, on a checkpoint's tensors.

mod leftovers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use gabion::Engine;
use gabion::checkpoint::{Checkpoint, TensorInfo, parse_json};
use gabion::ir::{Builder, Graph};
use gabion::lower::{LowerOptions, lower};
use gabion::nn::{
    Device, PerProjection, Projection, Scope, StackedLinear, StackedLinearConfig, holds,
};
use gabion::tensor::{Bindings, DType, Dim, HostTensor, Shape, TensorType};
use serde_json::{Value, json};

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::output::Output;
use super::{Done, graph_file, run as graph_run, tensor_file};

/// Words of `gabion stack`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JSON: in_dim, out_dims, names and, if they are not the default, dtype, device, stacked,
    /// has_bias, clip_weight, attribute
    config: PathBuf,
    /// The checkpoint: a file, several, or a folder
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    weights: Vec<PathBuf>,
    /// A safetensors file with `x`, f32[.., in_dim]
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    inputs: Option<PathBuf>,
    /// The safetensors file to write: `y` and every `stacked_*` tensor that exists
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    outputs: Option<PathBuf>,
    /// The parent's name in the checkpoint, such as model.layers.0.self_attn
    #[arg(long, value_name = "P", default_value = "")]
    prefix: String,
    /// How scales of quantised projections meet: each keeps its own, or all get the largest
    #[arg(long, value_enum, default_value_t = Policy::Exact)]
    policy: Policy,
    /// How activations of quantised projections are treated
    #[arg(long, value_enum, default_value_t = Activations::AsFormat)]
    activations: Activations,
    /// Over how many devices the stack is split
    #[arg(long, value_name = "D", default_value_t = 1)]
    shards: usize,
    /// How it is split
    #[arg(long, value_name = "S", requires = "shards")]
    strategy: Option<String>,
    /// Print the graph that was built or the plan that it became
    #[arg(long, value_enum)]
    print: Option<Print>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Policy {
    Exact,
    #[value(name = "requant_max")]
    RequantMax,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Activations {
    #[value(name = "as_format")]
    AsFormat,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Print {
    Graph,
    Plan,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    refuse(args)?;
    let checkpoint = Checkpoint::open_files(&args.weights)?;
    let layer = layer(args, &checkpoint)?;
    let x = match &args.inputs {
        Some(path) => Some(read_x(path, layer.config().in_dim)?),
        None => None,
    };
    let rank = x.as_ref().map_or(2, HostTensor::rank);
    let graph = forward_graph(&layer, &args.prefix, rank)?;
    check(args, &layer, &graph, &checkpoint)?;
    if let Some(warning) = leftovers::warning(&checkpoint, &graph, &args.prefix, &args.weights) {
        out.warn(warning);
    }
    let printed = print(args, &graph, &engine)?;
    if let Some((_, text)) = &printed {
        out.text(text)?;
    }
    let outputs = match x {
        Some(x) => execute(args, &engine, &layer, &graph, &checkpoint, x)?,
        None => Vec::new(),
    };
    if printed.is_none() && !out.is_json() {
        for (name, tensor) in &outputs {
            out.line(format_args!("{name}: {}", TensorType::of(tensor)))?;
        }
    }
    out.object(|| report(args, &outputs, printed))?;
    Ok(true)
}

/// Runs the layer on `x` and writes `y` and the stacked tensors, if they are to be written.
fn execute(
    args: &Args,
    engine: &Engine,
    layer: &StackedLinear,
    graph: &Graph,
    checkpoint: &Checkpoint,
    x: HostTensor,
) -> anyhow::Result<Vec<(String, HostTensor)>> {
    let (Some(inputs), Some(file)) = (&args.inputs, &args.outputs) else {
        return Ok(Vec::new());
    };
    let sizes = Bindings::new();
    let compiled = graph_run::compile(engine, graph, checkpoint)?;
    let given = [("x".to_owned(), x)].into();
    let mut outputs = graph_run::execute(&compiled, &sizes, &given, inputs)?;
    let stacked = stacked_graph(layer, &args.prefix)?;
    let compiled = graph_run::compile(engine, &stacked, checkpoint)?;
    let none = BTreeMap::new();
    outputs.extend(graph_run::execute(&compiled, &sizes, &none, file)?);
    tensor_file::write(file, &outputs)?;
    Ok(outputs)
}

/// What was done, as JSON.
fn report(
    args: &Args,
    outputs: &[(String, HostTensor)],
    printed: Option<(&'static str, String)>,
) -> Value {
    // Plain stacks have no scales, so every way of treating them gives the same.
    let activations = match args.activations {
        Activations::None => "none",
        Activations::AsFormat => "as_format",
    };
    let mut report = json!({
        "outputs_file": args.outputs,
        "policy": "exact",
        "activations": activations,
        "outputs": graph_run::types(outputs),
    });
    if let Some((what, text)) = printed {
        report[what] = text.into();
    }
    report
}

/// What belongs to quantised and sharded stacks.
fn refuse(args: &Args) -> Result<(), CliError> {
    let refused = |what: String, instead| Err(CliError::NotBuilt { what, instead });
    if args.policy == Policy::RequantMax {
        return refused(
            "--policy requant_max (it is for static FP8 stacks)".to_owned(),
            "use --policy exact",
        );
    }
    match args.shards {
        1 => Ok(()),
        0 => Err(CliError::Options(
            "--shards 0: expected at least 1 device".to_owned(),
        )),
        d => {
            let strategy = args
                .strategy
                .as_ref()
                .map(|s| format!(" --strategy {s}"))
                .unwrap_or_default();
            refused(
                format!("--shards {d}{strategy}"),
                "leave it out for one device",
            )
        }
    }
}

/// The layer of the arguments, with dtypes from the checkpoint where the arguments state none.
fn layer(args: &Args, checkpoint: &Checkpoint) -> anyhow::Result<StackedLinear> {
    let file = args.config.display().to_string();
    let text = graph_file::read_text(&args.config)?;
    let value = parse_json(&text).map_err(|error| CliError::in_file(&args.config, error))?;
    let mut config = StackedLinearConfig::from_json(&value, &file)?;
    config
        .check()
        .map_err(|errors| CliError::in_file(&args.config, errors))?;
    if let Device::Cuda(_) = config.device {
        return Err(CliError::NoCuda {
            what: format!("{file}: `device` is {}", config.device),
            instead: "leave `device` out or set it to cpu",
        }
        .into());
    }
    let full = |name: &str| {
        if args.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", args.prefix)
        }
    };
    let stored = |name: &str| checkpoint.info(&full(name)).and_then(TensorInfo::dtype);
    if value.get("dtype").is_none_or(Value::is_null)
        && value.get("format").is_none_or(Value::is_null)
    {
        let dtype = |name: &String| stored(&format!("{name}.weight")).unwrap_or(DType::F32);
        config.dtype = if config.stacked {
            PerProjection::All(dtype(&config.attribute))
        } else {
            PerProjection::Each(config.names.iter().map(dtype).collect())
        };
    }
    let layer = StackedLinear::with_projections(config, |linear| -> Arc<dyn Projection> {
        let mut linear = linear.clone();
        // A bias may be stored otherwise than its weight.
        if let Some(dtype) = stored(&format!("{}.bias", linear.name)).filter(|d| d.is_float()) {
            linear.bias_dtype = dtype;
        }
        Arc::new(linear)
    });
    Ok(layer.map_err(|errors| CliError::in_file(&args.config, errors))?)
}

/// `x` of a file.
fn read_x(path: &Path, in_dim: usize) -> anyhow::Result<HostTensor> {
    let mut tensors = tensor_file::read(path)?;
    let Some(x) = tensors.remove("x") else {
        let found = tensors
            .keys()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(CliError::file(
            path,
            format!(
                "expected a tensor `x`, found {}",
                if found.is_empty() { "none" } else { &found }
            ),
        )
        .into());
    };
    if let Some(other) = tensors.keys().next() {
        return Err(CliError::file(
            path,
            format!("expected the tensor `x` alone, found `{other}` beside it"),
        )
        .into());
    }
    let fits = x.dtype() == DType::F32 && x.shape().last() == Some(&in_dim);
    if !fits {
        let found = TensorType::of(&x);
        return Err(CliError::file(
            path,
            format!("input `x`: expected f32[.., {in_dim}] of rank 1 or more, found {found}"),
        )
        .into());
    }
    Ok(x)
}

/// `x -> y` for `x` of this rank, leading dims symbolic.
fn forward_graph(layer: &StackedLinear, prefix: &str, rank: usize) -> anyhow::Result<Graph> {
    let b = Builder::new(&layer.config().attribute);
    let mut shape = Vec::with_capacity(rank);
    for i in 0..rank - 1 {
        shape.push(Dim::symbol(&format!("d{i}"))?);
    }
    shape.push(layer.config().in_dim.into());
    let x = b.input(
        "x",
        TensorType::new(DType::F32, shape.into_iter().collect::<Shape>()),
    );
    let y = layer.forward(&Scope::at(&b, prefix), x);
    b.output("y", y);
    Ok(b.finish()?)
}

/// The values of the stacked tensors, in a graph of their own: the layer never needs them whole.
fn stacked_graph(layer: &StackedLinear, prefix: &str) -> anyhow::Result<Graph> {
    let b = Builder::new("stacked");
    let scope = Scope::at(&b, prefix);
    b.output("stacked_weight", layer.stacked_weight(&scope));
    if let Some(bias) = layer.stacked_bias(&scope) {
        b.output("stacked_bias", bias);
    }
    Ok(b.finish()?)
}

/// Everything that is wrong with the layer's tensors, before any is loaded. Tensors of other modules
/// are none of its business.
fn check(
    args: &Args,
    layer: &StackedLinear,
    graph: &Graph,
    checkpoint: &Checkpoint,
) -> anyhow::Result<()> {
    let config = layer.config();
    let elsewhere = |name: &str| {
        let ours = match args.prefix.as_str() {
            "" => Some(name),
            prefix => name
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        ours.is_none_or(|ours| {
            !config
                .names
                .iter()
                .chain([&config.attribute])
                .any(|module| holds(module, ours))
        })
    };
    Ok(tensor_file::check(
        graph,
        checkpoint,
        &args.weights,
        &elsewhere,
    )?)
}

fn print(
    args: &Args,
    graph: &Graph,
    engine: &Engine,
) -> anyhow::Result<Option<(&'static str, String)>> {
    Ok(match args.print {
        None => None,
        Some(Print::Graph) => Some(("graph", graph.to_text())),
        Some(Print::Plan) => {
            let lowered = lower(graph, engine.target(), &LowerOptions::default())?;
            lowered.plan.map(|plan| ("plan", plan.to_text()))
        }
    })
}
