//! `gabion bench model`: prefill and decode of a language model.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gabion::checkpoint::write_bytes;
use gabion::cpu::limits::Limits;
use gabion::cpu::{CpuExecutor, CpuLoaded, CpuSession};
use gabion::ir::Sampler;
use gabion::language_model::causal_lm;
use gabion::lower::{LowerOptions, lower};
use gabion::nn::CausalLmConfig;
use gabion::plan::{Executor, InputRef, Loaded, ProfileOptions, Session};
use gabion::tensor::{Bindings, DType};
use gabion::{CheckpointWeights, ModelError};
use serde_json::{Value, json};

use super::super::engine_args::EngineArgs;
use super::super::error::CliError;
use super::super::output::Output;
use super::super::{Done, model_arg, profile_file};
use super::by_step::{self, ByStep};
use super::{limits_json, limits_line, measure_limits, median, peak_rss_bytes};

/// Words of `gabion bench model`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder or a .gguf file
    #[arg(long, value_name = "MODEL", default_value = "smollm2")]
    model: OsString,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 512)]
    prefill: usize,
    /// Tokens decoded one by one, after a prompt of a few
    #[arg(long, value_name = "N", default_value_t = 96)]
    decode: usize,
    /// Tokens in the cache before the first decoded one
    #[arg(long, value_name = "N", default_value_t = 5)]
    past: usize,
    /// Say where the time of one decoded token (the last of --decode) and of one prompt goes
    #[arg(long)]
    by_step: bool,
    /// Write that as a bar chart to this file
    #[arg(long, value_name = "FILE", requires = "by_step")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Each measurement is the median of so many.
const RUNS: usize = 5;

pub(super) fn run(args: &Args, out: &Output) -> Done {
    let options = args.engine.cpu_options()?;
    if args.prefill == 0 || args.decode == 0 || args.past == 0 {
        return Err(CliError::Options(
            "--prefill, --decode and --past: expected at least 1".to_owned(),
        )
        .into());
    }
    if let Some(path) = &args.svg {
        profile_file::check(path)?;
    }
    let executor = CpuExecutor::new(options)?;
    // Before the limits are measured, which takes memory of its own.
    let progress = out.spinner("loading");
    let mut loading = load(args, &executor, out)?;
    drop(progress);
    let progress = out.spinner("measuring");
    let measured = Measured::of(args, &mut loading.model)?;
    let by_step = if args.by_step {
        loading.model.by_step(args)?
    } else {
        Vec::new()
    };
    drop(progress);
    let limits = measure_limits(args.engine.threads()?, out)?;
    let compared = Compared::of(args, &loading.model, &measured, &limits);
    out.text(&limits_line(&limits))?;
    out.line(format_args!(
        "load {:.3} s, compile {:.3} s",
        loading.load.as_secs_f64(),
        loading.compile.as_secs_f64()
    ))?;
    out.text(&compared.text(args, &measured))?;
    for it in &by_step {
        out.text(&it.text(&limits))?;
    }
    if let Some(path) = &args.svg {
        write_bytes(path, by_step::svg(&by_step).as_bytes())?;
    }
    out.object(|| {
        let mut report = report(&loading, &measured, &compared, &limits);
        if args.by_step {
            report["by_step"] = by_step.iter().map(ByStep::json).collect();
        }
        report
    })?;
    Ok(true)
}

/// What was measured.
struct Measured {
    prefill: Duration,
    decode: Duration,
    sync_share: f64,
    peak_rss: u64,
}

impl Measured {
    fn of(args: &Args, model: &mut Model) -> anyhow::Result<Self> {
        Ok(Self {
            prefill: model.prefill(args.prefill)?,
            decode: model.decode(args.past, args.decode)?,
            sync_share: model.sync_share(args.past, args.decode)?,
            peak_rss: peak_rss_bytes(),
        })
    }
}

/// Tokens a second beside what the machine's limits permit.
struct Compared {
    prefill: f64,
    prefill_limit: f64,
    decode: f64,
    decode_limit: f64,
    bytes_per_token: usize,
}

impl Compared {
    fn of(args: &Args, model: &Model, measured: &Measured, limits: &Limits) -> Self {
        let config = &model.config;
        // Every weight once, and on the average half of what the decoded tokens add to the cache.
        let row = 2 * config.n_layers * config.kv_heads * config.head_dim * 4;
        let bytes_per_token =
            model.loaded.packed_weight_bytes() + row * (args.past + args.decode / 2);
        let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64();
        Self {
            prefill: rate(args.prefill, measured.prefill),
            prefill_limit: limits.f32_gflops * 1e9 / flops_per_token(config, args.prefill),
            decode: rate(args.decode, measured.decode),
            decode_limit: limits.dram_gbs * 1e9 / bytes_per_token as f64,
            bytes_per_token,
        }
    }

    fn text(&self, args: &Args, measured: &Measured) -> String {
        format!(
            "prefill {} tokens: {:.1} tok/s ({:.1} % of the f32 limit {:.0})\n\
             decode {} tokens: {:.1} tok/s ({:.1} % of the memory limit {:.0})\n\
             {:.1} MB per token, {:.1} % of the time at barriers, peak RSS {:.1} MB\n",
            args.prefill,
            self.prefill,
            100.0 * self.prefill / self.prefill_limit,
            self.prefill_limit,
            args.decode,
            self.decode,
            100.0 * self.decode / self.decode_limit,
            self.decode_limit,
            self.bytes_per_token as f64 / 1e6,
            100.0 * measured.sync_share,
            measured.peak_rss as f64 / 1e6
        )
    }
}

fn report(loading: &Loading, measured: &Measured, compared: &Compared, limits: &Limits) -> Value {
    let model = &loading.model;
    json!({
        "model": loading.name,
        "limits": limits_json(limits),
        "load_s": loading.load.as_secs_f64(),
        "compile_s": loading.compile.as_secs_f64(),
        "prefill_tok_s": compared.prefill,
        "prefill_limit_tok_s": compared.prefill_limit,
        "decode_tok_s": compared.decode,
        "decode_limit_tok_s": compared.decode_limit,
        "sync_share": measured.sync_share,
        "bytes_per_token": compared.bytes_per_token,
        "packed_weight_bytes": model.loaded.packed_weight_bytes(),
        "arena_bytes": model.session.memory().arena_bytes,
        "cache_bytes": model.session.memory().state_bytes,
        "peak_rss_bytes": measured.peak_rss,
    })
}

/// Two operations for each weight of the layers, and attention; the head counts once, for the last
/// token.
fn flops_per_token(config: &CausalLmConfig, tokens: usize) -> f64 {
    let (h, q, kv) = (
        config.hidden_size,
        config.heads * config.head_dim,
        config.kv_heads * config.head_dim,
    );
    let weights = h * (q + 2 * kv) + q * h + 3 * h * config.intermediate_size;
    // Each token attends to half of them on the average: scores and sums.
    let attention = 4 * q * tokens / 2;
    let head = 2 * h * config.vocab_size / tokens;
    (config.n_layers * (2 * weights + attention) + head) as f64
}

struct Loading {
    name: String,
    model: Model,
    load: Duration,
    compile: Duration,
}

fn load(args: &Args, executor: &CpuExecutor, out: &Output) -> anyhow::Result<Loading> {
    let start = Instant::now();
    let (located, files) = model_arg::open(&args.model, out)?;
    let open = start.elapsed();
    let start = Instant::now();
    let (model, graph) = causal_lm(&files)?;
    let plan = lower(&graph, executor.target(), &LowerOptions::default())?.plan;
    let plan = plan.ok_or_else(|| CliError::Options("lowering gave no plan".to_owned()))?;
    let compile = start.elapsed();
    let config = model.config().clone();
    let capacity = args.prefill.max(args.past.saturating_add(args.decode));
    if capacity > config.context_length {
        let (prompt, new) = if args.prefill == capacity {
            (capacity, 0)
        } else {
            (args.past, args.decode)
        };
        return Err(ModelError::Context {
            prompt,
            new,
            context: config.context_length,
        }
        .into());
    }
    let start = Instant::now();
    let loaded = executor.load_cpu(Arc::new(plan), &CheckpointWeights::new(files.checkpoint()))?;
    let load = open + start.elapsed();
    let mut sizes = Bindings::new();
    sizes.bind("capacity", capacity as i64)?;
    let session = loaded.cpu_session(&sizes)?;
    Ok(Loading {
        name: located.name,
        model: Model {
            config,
            loaded,
            session,
            sampler: Sampler::new(3),
        },
        load,
        compile,
    })
}

/// A model with one session.
struct Model {
    config: CausalLmConfig,
    loaded: CpuLoaded,
    session: CpuSession,
    sampler: Sampler,
}

impl Model {
    /// Runs `tokens` random tokens at `position`.
    fn feed(&mut self, position: usize, tokens: usize) -> anyhow::Result<()> {
        let ids: Vec<i32> = (0..tokens)
            .map(|_| self.sampler.int(0, self.config.vocab_size as i64 - 1) as i32)
            .collect();
        let position = [position as i64];
        self.session.execute(&[
            InputRef {
                name: "ids",
                dtype: DType::I32,
                shape: &[tokens],
                bytes: bytemuck::cast_slice(&ids),
            },
            InputRef {
                name: "position",
                dtype: DType::I64,
                shape: &[],
                bytes: bytemuck::cast_slice(&position),
            },
        ])?;
        Ok(())
    }

    /// The median time of a prompt.
    fn prefill(&mut self, tokens: usize) -> anyhow::Result<Duration> {
        self.feed(0, tokens)?;
        self.median_of(|model| model.feed(0, tokens))
    }

    /// The median time of decoding `tokens` one by one after `past`.
    fn decode(&mut self, past: usize, tokens: usize) -> anyhow::Result<Duration> {
        self.feed(0, past)?;
        self.feed(past, 1)?;
        self.median_of(|model| (0..tokens).try_for_each(|i| model.feed(past + i, 1)))
    }

    fn median_of(
        &mut self,
        job: impl Fn(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            job(self)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(median(&times))
    }

    /// One token at the last position, and one prompt, each in caches that are exactly as long: what a
    /// step's views show is what it reads.
    fn by_step(&mut self, args: &Args) -> anyhow::Result<Vec<ByStep>> {
        let last = args.past + args.decode - 1;
        Ok(vec![
            self.profiled(format!("decode of one token at position {last}"), last, 1)?,
            self.profiled(
                format!("prefill of {} tokens", args.prefill),
                0,
                args.prefill,
            )?,
        ])
    }

    fn profiled(
        &mut self,
        title: String,
        position: usize,
        tokens: usize,
    ) -> anyhow::Result<ByStep> {
        let mut sizes = Bindings::new();
        sizes.bind("capacity", (position + tokens) as i64)?;
        let own = std::mem::replace(&mut self.session, self.loaded.cpu_session(&sizes)?);
        if position > 0 {
            self.feed(0, position)?;
        }
        self.feed(position, tokens)?;
        self.session.set_profile(Some(ProfileOptions::default()))?;
        for _ in 0..RUNS {
            self.feed(position, tokens)?;
        }
        let profile = self.session.take_profile().unwrap_or_default();
        self.session = own;
        let mut walls: Vec<Duration> = (0..RUNS).map(|run| profile.wall(run)).collect();
        walls.sort_unstable();
        Ok(ByStep {
            title,
            rows: by_step::rows(self.loaded.plan(), &profile, 0..RUNS),
            wall: median(&walls),
        })
    }

    /// The mean share of the workers' time at barriers, over decoded tokens.
    fn sync_share(&mut self, past: usize, tokens: usize) -> anyhow::Result<f64> {
        self.session.set_profile(Some(ProfileOptions::default()))?;
        let mut sum = 0.0;
        for i in 0..tokens {
            self.feed(past + i, 1)?;
            let profile = self.session.take_profile().unwrap_or_default();
            sum += profile.waiting_share(0);
        }
        self.session.set_profile(None)?;
        Ok(sum / tokens as f64)
    }
}
