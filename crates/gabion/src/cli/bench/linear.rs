//! `gabion bench linear`: one stack of separately stored projections, whole plan, for each number of
//! rows.

use std::collections::BTreeMap;
use std::time::Duration;

use gabion::Engine;
use gabion::ir::{Builder, Graph, Sampler};
use gabion::nn::{PerProjection, Scope, StackedLinear, StackedLinearConfig};
use gabion::plan::InputRef;
use gabion::tensor::{Bindings, DType, Dim, HostTensor, TensorType};
use serde_json::{Value, json};

use super::super::Done;
use super::super::engine_args::EngineArgs;
use super::super::error::CliError;
use super::super::output::{Output, table};
use super::{limit_time, limits_json, limits_line, measure_limits, median, micros, sample};

/// Words of `gabion bench linear`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Columns of the weights
    #[arg(long, value_name = "K")]
    in_dim: usize,
    /// Rows of each projection
    #[arg(long, value_name = "N1,N2,..", value_delimiter = ',', required = true)]
    out_dims: Vec<usize>,
    /// Numbers of rows of the activation
    #[arg(
        long,
        value_name = "M1,M2,..",
        value_delimiter = ',',
        default_value = "1"
    )]
    m: Vec<usize>,
    /// How the weights are stored: f32, f16, bf16, or a block format
    #[arg(long, value_name = "F", default_value = "f32")]
    format: DType,
    #[command(flatten)]
    engine: EngineArgs,
}

/// At least so many runs of each row, for at least about so long.
const LEAST: usize = 20;
const BUDGET: Duration = Duration::from_millis(500);

/// A stack `x[tokens, K] -> y` of projections `p0`, `p1`, ..
pub(super) fn stack_graph(
    in_dim: usize,
    out_dims: &[usize],
    format: DType,
) -> anyhow::Result<Graph> {
    let named = out_dims
        .iter()
        .enumerate()
        .map(|(i, rows)| (format!("p{i}"), *rows));
    let mut config = StackedLinearConfig::new(in_dim, named);
    config.attribute = "stack".to_owned();
    config.dtype = PerProjection::All(format);
    let layer = StackedLinear::new(config)?;
    let b = Builder::new("stack");
    let tokens = Dim::symbol("tokens")?;
    let x = b.input("x", TensorType::new(DType::F32, [tokens, in_dim.into()]));
    b.output("y", layer.forward(&Scope::root(&b), x));
    Ok(b.finish()?)
}

/// Random weights of a stack, in its format.
pub(super) fn stack_weights(graph: &Graph) -> anyhow::Result<BTreeMap<String, HostTensor>> {
    let mut sampler = Sampler::new(1);
    let mut weights = BTreeMap::new();
    for (name, ty, _) in graph.weights() {
        gabion::ir::eval::check_room(&ty, &Bindings::new())?;
        let shape = ty.shape.as_fixed().unwrap_or_default();
        let bound = (3.0 / shape.last().copied().unwrap_or(1).max(1) as f64).sqrt();
        weights.insert(
            name.to_string(),
            sampler
                .tensor_in(DType::F32, &shape, -bound, bound)
                .cast(ty.dtype)?,
        );
    }
    Ok(weights)
}

pub(super) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    if args.m.contains(&0) {
        return Err(CliError::Options("--m: expected at least 1 row".to_owned()).into());
    }
    let limits = measure_limits(args.engine.threads()?, out)?;
    let rows = measure(args, &engine, &limits, out)?;
    let cell = |row: &Value, field: &str, digits: usize| {
        format!("{:.digits$}", row[field].as_f64().unwrap_or(0.0))
    };
    let cells = |row: &Value| {
        let mut cells = vec![row["m"].to_string()];
        for (field, digits) in [
            ("median_us", 1),
            ("min_us", 1),
            ("gflops", 1),
            ("limit_us", 1),
            ("fraction_of_limit", 3),
        ] {
            cells.push(cell(row, field, digits));
        }
        cells
    };
    out.text(&limits_line(&limits))?;
    let n: usize = args.out_dims.iter().sum();
    out.line(format_args!("{} stack {} -> {n}", args.format, args.in_dim))?;
    let head = [
        "m",
        "median us",
        "min us",
        "GFLOP/s",
        "limit us",
        "of limit",
    ];
    out.text(&table(&head, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    out.object(|| json!({ "limits": limits_json(&limits), "rows": rows }))?;
    Ok(true)
}

fn measure(
    args: &Args,
    engine: &Engine,
    limits: &gabion::cpu::limits::Limits,
    out: &Output,
) -> anyhow::Result<Vec<Value>> {
    let graph = stack_graph(args.in_dim, &args.out_dims, args.format)?;
    let compiled = engine.compile(&graph, &stack_weights(&graph)?)?;
    let (k, n) = (args.in_dim, args.out_dims.iter().sum::<usize>());
    let weight_bytes = args.format.bytes_for(&[n, k]).unwrap_or(0);
    let mut rows = Vec::new();
    let progress = out.bar("measuring", args.m.len());
    for &m in &args.m {
        let mut session = compiled.session()?;
        let ty = TensorType::new(DType::F32, [m.into(), Dim::from(k.max(n))]);
        gabion::ir::eval::check_room(&ty, &Bindings::new())?;
        let x = Sampler::new(2).tensor_in(DType::F32, &[m, k], -1.0, 1.0);
        let input = [InputRef {
            name: "x",
            dtype: DType::F32,
            shape: x.shape(),
            bytes: x.bytes(),
        }];
        let times = sample(LEAST, BUDGET, || Ok(session.execute(&input)?))?;
        let (median, least) = (median(&times), times.first().copied().unwrap_or_default());
        let flops = 2.0 * m as f64 * k as f64 * n as f64;
        let limit = limit_time(limits, flops, weight_bytes + 4 * m * (k + n));
        rows.push(json!({
            "m": m, "k": k, "n": n, "format": args.format.name(),
            "median_us": micros(median),
            "min_us": micros(least),
            "gflops": flops / median.as_secs_f64() / 1e9,
            "limit_us": micros(limit),
            "fraction_of_limit": limit.as_secs_f64() / median.as_secs_f64(),
        }));
        progress.step();
    }
    Ok(rows)
}
