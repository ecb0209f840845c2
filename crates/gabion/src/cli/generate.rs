//! `gabion generate`: text after a prompt, token by token.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use gabion::checkpoint::{ModelFiles, StreamDecoder, Tokenizer};
use gabion::{Generation, LanguageModel, Measured, ModelError, Request, Sampler, Sampling};
use serde_json::json;

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::model_arg::Located;
use super::output::Output;
use super::{Done, bench, chat, graph_file, model_arg, profile_file};

/// Words of `gabion generate`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("start").required(true).args(["prompt", "prompt_ids"])))]
pub(crate) struct Args {
    /// The text to continue
    prompt: Option<OsString>,
    /// A preset, a folder or a .gguf file
    #[arg(long, value_name = "MODEL", default_value = "smollm2")]
    model: OsString,
    /// Token ids to continue; no tokenizer is needed, and no text is printed
    #[arg(
        long,
        value_name = "I,J,..",
        conflicts_with = "chat",
        allow_hyphen_values = true
    )]
    prompt_ids: Option<Ids>,
    /// How many tokens to add at most [default: 64, or what the context has room for]
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// Draw from the distribution at this temperature; 0 takes the best token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Draw from this many best tokens; 0: from all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw from the best tokens whose probabilities sum to this
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Where the random numbers begin
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The prompt is a user's message: put it into the model's chat template
    #[arg(long)]
    chat: bool,
    /// Go on after the tokens that end a text, and show them
    #[arg(long)]
    ignore_eos: bool,
    /// Add this many best logits of the first step to the JSON
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_logits: usize,
    /// Measure every step and write a trace (Chrome trace event format, for Perfetto) to this file
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Token ids, separated by commas.
#[derive(Clone, Debug)]
pub(crate) struct Ids(pub(crate) Vec<u32>);

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Ids(Vec::new()));
        }
        let id = |word: &str| {
            word.trim().parse().map_err(|_| {
                format!("`{word}` is no token id: expected numbers such as 504,3575,282")
            })
        };
        text.split(',').map(id).collect::<Result<_, _>>().map(Ids)
    }
}

const DEFAULT_NEW: usize = 64;

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    let mut sampler = Sampler::new(args.sampling()).map_err(ModelError::from)?;
    let prompt = prompt_text(args)?;
    if let Some(path) = &args.profile {
        profile_file::check(path)?;
    }
    let progress = out.spinner("loading");
    let start = Instant::now();
    let (located, files) = open(args, out)?;
    let tokenizer = match &prompt {
        Some(_) => Some(files.tokenizer()?),
        None => None,
    };
    let end = if args.ignore_eos {
        Vec::new()
    } else {
        files.generation_ids()?.eos
    };
    let ids = match (&prompt, &tokenizer, &args.prompt_ids) {
        (Some(text), Some(tokenizer), _) => encode(args, &files, tokenizer, text)?,
        (_, _, ids) => ids.as_ref().map(|ids| ids.0.clone()).unwrap_or_default(),
    };
    if ids.is_empty() {
        return Err(ModelError::EmptyPrompt.into());
    }
    let open_time = start.elapsed();
    let model = LanguageModel::load(&engine, &files)?;
    let loading = profile_file::loading(start, open_time, &model);
    drop(files);
    drop(progress);
    let room = model.config().context_length.saturating_sub(ids.len());
    let request = Request {
        prompt: &ids,
        new: args
            .max_new_tokens
            .unwrap_or_else(|| DEFAULT_NEW.min(room.max(1))),
        end: &end,
        top_logits: args.top_logits,
    };
    let (made, text, measured) = stream(
        args,
        &model,
        &request,
        &mut sampler,
        tokenizer.as_ref(),
        out,
        start,
    )?;
    if let (Some(path), Some(measured)) = (&args.profile, measured) {
        profile_file::write(path, model.compiled().plan(), &measured, loading)?;
    }
    out.object(|| report(args, &located.name, &ids, &made, &text, &model, open_time))?;
    Ok(true)
}

impl Args {
    fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        }
    }
}

/// Finds and opens the model, which must be no encoder.
fn open(args: &Args, out: &Output) -> anyhow::Result<(Located, ModelFiles)> {
    let (located, files) = model_arg::open(&args.model, out)?;
    if !model_arg::is_encoder(&files) {
        return Ok((located, files));
    }
    Err(CliError::ModelKind {
        path: files.config_path().to_owned(),
        found: "bert".to_owned(),
        expected: "this is an encoder, which generates no text; use `gabion embed`".to_owned(),
    }
    .into())
}

/// Generates while the text goes out; what was made, and the whole text.
fn stream(
    args: &Args,
    model: &LanguageModel,
    request: &Request<'_>,
    sampler: &mut Sampler,
    tokenizer: Option<&Tokenizer>,
    out: &Output,
    since: Instant,
) -> anyhow::Result<(Generation, String, Option<Measured>)> {
    let mut stream = Stream {
        decoder: tokenizer.map(|t| t.stream(!args.ignore_eos)),
        text: String::new(),
        out,
    };
    let mut failed = None;
    let mut sink = |id| match stream.push(id) {
        Ok(()) => true,
        Err(error) => {
            failed = Some(error);
            false
        }
    };
    let (made, measured) = if args.profile.is_some() {
        let options = profile_file::options(model.compiled().plan(), request.new, since);
        let (made, measured) = model.generate_measured(request, sampler, &mut sink, options)?;
        (made, Some(measured))
    } else {
        (model.generate(request, sampler, &mut sink)?, None)
    };
    match failed {
        Some(error) => Err(error),
        None => Ok((made, stream.finish()?, measured)),
    }
}

/// The prompt, if it was given as text.
fn prompt_text(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(prompt) = &args.prompt else {
        return Ok(None);
    };
    let text = graph_file::utf8(prompt.as_encoded_bytes().to_vec(), || {
        "the prompt".to_owned()
    })?;
    if text.is_empty() {
        return Err(ModelError::EmptyPrompt.into());
    }
    Ok(Some(text))
}

fn encode(
    args: &Args,
    files: &ModelFiles,
    tokenizer: &Tokenizer,
    text: &str,
) -> anyhow::Result<Vec<u32>> {
    if !args.chat {
        return Ok(tokenizer.encode(text, true)?);
    }
    let template = files
        .chat_template()?
        .ok_or_else(|| CliError::NoTemplate(files.path().to_owned()))?;
    // The template writes the special tokens itself.
    Ok(tokenizer.encode(&chat::render(files.path(), &template, text)?, false)?)
}

/// Text on its way out, piece by piece.
struct Stream<'a> {
    decoder: Option<StreamDecoder<'a>>,
    text: String,
    out: &'a Output,
}

impl Stream<'_> {
    fn push(&mut self, id: u32) -> anyhow::Result<()> {
        let piece = match &mut self.decoder {
            Some(decoder) => decoder.push(id)?,
            None => return Ok(()),
        };
        self.give(piece)
    }

    fn give(&mut self, piece: Option<String>) -> anyhow::Result<()> {
        if let Some(piece) = piece {
            self.out.text(&piece)?;
            self.text += &piece;
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<String> {
        if let Some(decoder) = self.decoder.take() {
            self.give(decoder.finish()?)?;
            self.out.text("\n")?;
        }
        Ok(self.text)
    }
}

fn report(
    args: &Args,
    name: &str,
    prompt: &[u32],
    made: &Generation,
    text: &str,
    model: &LanguageModel,
    open_time: Duration,
) -> serde_json::Value {
    let compiled = model.compiled();
    let rate = |n: usize, time: Duration| {
        if n == 0 || time.is_zero() {
            0.0
        } else {
            n as f64 / time.as_secs_f64()
        }
    };
    let mut report = json!({
        "model": name,
        "target": args.engine.target_name(),
        "threads": args.engine.threads().unwrap_or(1),
        "numerics": args.engine.numerics.name(),
        "prompt_ids": prompt,
        "output_ids": made.ids,
        "text": text,
        "timings": {
            "load_s": (open_time + compiled.load_time).as_secs_f64(),
            "compile_s": (model.build_time + compiled.lower_time).as_secs_f64(),
            "first_token_s": made.prefill_time.as_secs_f64(),
            "prefill_tok_s": rate(prompt.len(), made.prefill_time),
            "decode_tok_s": rate(made.ids.len().saturating_sub(1), made.decode_time),
        },
        "memory": {
            "peak_rss_bytes": bench::peak_rss_bytes(),
            "packed_weight_bytes": compiled.packed_weight_bytes(),
            "arena_bytes": made.memory.arena_bytes,
            "cache_bytes": made.memory.state_bytes,
        },
    });
    if args.top_logits > 0 {
        report["first_logits"] = json!(made.top_logits);
    }
    report
}
