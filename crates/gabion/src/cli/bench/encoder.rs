//! `gabion bench encoder`: a sentence encoder, for each batch size.

use std::ffi::OsString;
use std::time::Duration;

use gabion::SentenceEncoder;
use gabion::cpu::limits::Limits;
use gabion::ir::Sampler;
use gabion::nn::BertConfig;
use serde_json::{Value, json};

use super::super::engine_args::EngineArgs;
use super::super::error::CliError;
use super::super::output::{Output, table};
use super::super::{Done, model_arg};
use super::{
    limit_time, limits_json, limits_line, measure_limits, median, millis, peak_rss_bytes, sample,
};

/// Words of `gabion bench encoder`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset or a folder
    #[arg(long, value_name = "MODEL", default_value = "minilm")]
    model: OsString,
    /// Numbers of texts
    #[arg(
        long,
        value_name = "B1,B2,..",
        value_delimiter = ',',
        default_value = "1,8"
    )]
    batch: Vec<usize>,
    /// Tokens of each text
    #[arg(long, value_name = "N", default_value_t = 128)]
    tokens: usize,
    #[command(flatten)]
    engine: EngineArgs,
}

/// At least so many runs of each row, for at least about so long.
const LEAST: usize = 7;
const BUDGET: Duration = Duration::from_secs(1);
/// More at once is a slip of the finger.
const MOST_TOKENS: usize = 1 << 20;

pub(super) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    let (located, files) = model_arg::open(&args.model, out)?;
    let config = BertConfig::from_json(files.config(), &files.config_path().display().to_string())?;
    check(args, &config)?;
    let mut encoder = SentenceEncoder::load(&engine, &files)?;
    let limits = measure_limits(args.engine.threads()?, out)?;
    let rows = rows(args, &mut encoder, &config, &limits, out)?;
    out.text(&limits_line(&limits))?;
    out.text(&table(
        &["texts", "median ms", "min ms", "limit ms", "of limit"],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    ))?;
    out.object(|| {
        json!({
            "model": located.name,
            "limits": limits_json(&limits),
            "rows": rows,
            "packed_weight_bytes": encoder.compiled().packed_weight_bytes(),
            "peak_rss_bytes": peak_rss_bytes(),
        })
    })?;
    Ok(true)
}

/// Sizes that mean nothing to the model, or that nobody means.
fn check(args: &Args, config: &BertConfig) -> Result<(), CliError> {
    let refuse = |message: String| Err(CliError::Options(message));
    if args.tokens == 0 || args.batch.contains(&0) {
        return refuse("--batch and --tokens: expected at least 1".to_owned());
    }
    if args.tokens > config.context_length {
        return refuse(format!(
            "--tokens {}: the model has {} positions",
            args.tokens, config.context_length
        ));
    }
    let most = args.batch.iter().copied().max().unwrap_or(0);
    if most.saturating_mul(args.tokens) > MOST_TOKENS {
        return refuse(format!(
            "--batch {most} of --tokens {}: expected at most {MOST_TOKENS} tokens at once",
            args.tokens
        ));
    }
    Ok(())
}

/// A row of measurements for each batch.
fn rows(
    args: &Args,
    encoder: &mut SentenceEncoder,
    config: &BertConfig,
    limits: &Limits,
    out: &Output,
) -> anyhow::Result<Vec<Value>> {
    let weight_bytes = encoder.compiled().packed_weight_bytes();
    let mut sampler = Sampler::new(4);
    let mut rows = Vec::new();
    let progress = out.bar("measuring", args.batch.len());
    for &batch in &args.batch {
        let mut text = || {
            (0..args.tokens)
                .map(|_| sampler.int(0, config.vocab_size as i64 - 1) as u32)
                .collect::<Vec<_>>()
        };
        let ids: Vec<Vec<u32>> = (0..batch).map(|_| text()).collect();
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let times = sample(LEAST, BUDGET, || Ok(encoder.run(&ids).map(drop)?))?;
        let limit = limit_time(
            limits,
            (batch * args.tokens) as f64 * flops_per_token(config, args.tokens),
            weight_bytes,
        );
        rows.push(json!({
            "batch": batch,
            "tokens": args.tokens,
            "median_ms": millis(median(&times)),
            "min_ms": millis(times.first().copied().unwrap_or_default()),
            "limit_ms": millis(limit),
            "fraction_of_limit": limit.as_secs_f64() / median(&times).as_secs_f64(),
        }));
        progress.step();
    }
    Ok(rows)
}

/// A row as people read it.
fn cells(row: &Value) -> Vec<String> {
    let number =
        |field: &str, digits: usize| format!("{:.digits$}", row[field].as_f64().unwrap_or(0.0));
    vec![
        format!("{} x {}", row["batch"], row["tokens"]),
        number("median_ms", 2),
        number("min_ms", 2),
        number("limit_ms", 2),
        number("fraction_of_limit", 3),
    ]
}

/// Two operations for each weight of the layers, and attention to every token.
fn flops_per_token(config: &BertConfig, tokens: usize) -> f64 {
    let h = config.hidden_size;
    let weights = 4 * h * h + 2 * h * config.intermediate_size;
    (config.n_layers * (2 * weights + 4 * h * tokens)) as f64
}
