//! `gabion embed`: texts as vectors.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use gabion::checkpoint::ModelFiles;
use gabion::{Embeddings, ModelError, SentenceEncoder};
use serde_json::json;

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::generate::Ids;
use super::model_arg::Located;
use super::output::Output;
use super::{Done, bench, graph_file, model_arg};

/// Words of `gabion embed`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["texts", "token_ids"])))]
pub(crate) struct Args {
    /// The texts
    #[arg(value_name = "TEXT")]
    texts: Vec<OsString>,
    /// A preset or a folder
    #[arg(long, value_name = "MODEL", default_value = "minilm")]
    model: OsString,
    /// Token ids of one text, special tokens included, instead of texts; may be given many times
    #[arg(long, value_name = "I,J,..", allow_hyphen_values = true)]
    token_ids: Vec<Ids>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    let texts = texts(args)?;
    let progress = out.spinner("loading");
    let start = Instant::now();
    let (located, files) = open(args, out)?;
    let mut encoder = SentenceEncoder::load(&engine, &files)?;
    drop(files);
    drop(progress);
    let compile = encoder.build_time + encoder.compiled().lower_time;
    let load = start.elapsed().saturating_sub(compile);
    let start = Instant::now();
    let made = embed(args, &mut encoder, &texts)?;
    let embed = start.elapsed();
    for (text, before, after) in &made.cut {
        out.warn(format_args!(
            "text {text} has {before} tokens and was cut to the model's {after}"
        ));
    }
    if !out.is_json() {
        for vector in &made.vectors {
            out.line(json!(vector))?;
        }
    }
    out.object(|| report(&located.name, &made, &encoder, [load, compile, embed]))?;
    Ok(true)
}

/// The texts, which must be UTF-8.
fn texts(args: &Args) -> Result<Vec<String>, CliError> {
    let texts = args.texts.iter().enumerate();
    texts
        .map(|(i, text)| {
            let bytes = text.as_encoded_bytes().to_vec();
            graph_file::utf8(bytes, || format!("text {i}"))
        })
        .collect()
}

/// Finds and opens the model, which must be an encoder.
fn open(args: &Args, out: &Output) -> anyhow::Result<(Located, ModelFiles)> {
    let (located, files) = model_arg::open(&args.model, out)?;
    if model_arg::is_encoder(&files) {
        return Ok((located, files));
    }
    Err(CliError::ModelKind {
        path: files.config_path().to_owned(),
        found: model_arg::model_type(&files).to_owned(),
        expected: "expected `bert`; a language model generates text: use `gabion generate`"
            .to_owned(),
    }
    .into())
}

fn embed(
    args: &Args,
    encoder: &mut SentenceEncoder,
    texts: &[String],
) -> Result<Embeddings, ModelError> {
    if args.token_ids.is_empty() {
        return encoder.embed(texts);
    }
    let token_ids: Vec<Vec<u32>> = args.token_ids.iter().map(|ids| ids.0.clone()).collect();
    Ok(Embeddings {
        vectors: encoder.embed_ids(&token_ids)?,
        token_ids,
        cut: Vec::new(),
    })
}

fn report(
    model: &str,
    made: &Embeddings,
    encoder: &SentenceEncoder,
    [load, compile, embed]: [Duration; 3],
) -> serde_json::Value {
    let cut = made
        .cut
        .iter()
        .map(|(text, tokens, kept)| json!({ "text": text, "tokens": tokens, "kept": kept }));
    json!({
        "model": model,
        "embeddings": made.vectors,
        "token_ids": made.token_ids,
        "cut": cut.collect::<Vec<_>>(),
        "timings": {
            "load_s": load.as_secs_f64(),
            "compile_s": compile.as_secs_f64(),
            "embed_s": embed.as_secs_f64(),
        },
        "memory": {
            "peak_rss_bytes": bench::peak_rss_bytes(),
            "packed_weight_bytes": encoder.compiled().packed_weight_bytes(),
            "arena_bytes": encoder.memory().arena_bytes,
        },
    })
}
