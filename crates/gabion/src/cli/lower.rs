//! `gabion lower`: a graph at a stage between what was built and what runs.

mod dump;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use gabion::cpu::cpu_target;
use gabion::encoder::{bert_encoder_layers, sentence_options};
use gabion::ir::Graph;
use gabion::language_model::causal_lm_layers;
use gabion::lower::{
    Entry, Ledger, LowerError, LowerOptions, Lowered, PASSES, Pass, PassRecord, Sources, lower,
};
use gabion::presets::Preset;
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Output, table};
use super::{Done, graph_file, model_arg};

/// Words of `gabion lower`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder, a .gguf file, or a graph in text form (- is standard input)
    #[arg(value_name = "MODEL|GRAPH")]
    source: OsString,
    /// graph (as built), a pass (after it), or plan [default: plan]
    #[arg(long, value_name = "graph|PASS|plan")]
    stage: Option<String>,
    /// Write the graph before and after every pass, the plan, the ledger and a manifest into this
    /// folder: a new one, an empty one, or one that an earlier dump is replaced in
    #[arg(long, value_name = "DIR")]
    dump_dir: Option<PathBuf>,
    /// Run only the first N passes
    #[arg(long, value_name = "N")]
    stop_after: Option<usize>,
    /// Print what each pass looked at, did and refused, and why
    #[arg(long)]
    ledger: bool,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let stage = Stage::of(args)?;
    if let Some(folder) = &args.dump_dir {
        dump::check_place(folder)?;
    }
    let progress = out.spinner("lowering");
    let graph = graph_of(&args.source, None, out)?.0;
    let passes = match stage {
        Stage::Graph if args.dump_dir.is_none() && !args.ledger => Some(0),
        Stage::After(n) if args.dump_dir.is_none() && !args.ledger => Some(n),
        Stage::Graph | Stage::After(_) | Stage::Plan => args.stop_after,
    };
    let record = args.dump_dir.is_some() || matches!(stage, Stage::After(_));
    let lowered = lower(
        &graph,
        &cpu_target(),
        &LowerOptions {
            stop_after: passes,
            record,
            ..LowerOptions::default()
        },
    )?;
    drop(progress);
    if let Some(folder) = &args.dump_dir {
        dump::write(folder, &graph, &lowered)?;
    }
    let shown = args.stage.is_some() || (args.dump_dir.is_none() && !args.ledger);
    if shown && !out.is_json() {
        out.text(&stage.text(&graph, &lowered))?;
    }
    if args.ledger {
        out.text(&lowered.ledger.with_sources(&Sources::new(&graph)))?;
    }
    if !shown && !args.ledger {
        out.text(&summary(&lowered))?;
    }
    out.object(|| report(args, stage, &graph, &lowered))?;
    Ok(true)
}

fn report(args: &Args, stage: Stage, graph: &Graph, lowered: &Lowered) -> Value {
    let mut report = json!({
        "graph": graph.name.as_ref(),
        "stage": stage.name(),
        "text": stage.text(graph, lowered),
        "nodes": graph.len(),
        "passes": lowered.passes.iter().map(pass_json).collect::<Vec<_>>(),
        "dump_dir": args.dump_dir,
    });
    if args.ledger {
        report["ledger"] = ledger_json(&lowered.ledger, &Sources::new(graph));
    }
    report
}

/// The lines with the values of the source graph that they speak of.
fn ledger_json(ledger: &Ledger, sources: &Sources) -> Value {
    let line = |entry: &Entry| {
        let mut line = json!(entry);
        line["sources"] = json!(sources.of(&entry.origins));
        line
    };
    ledger.entries().iter().map(line).collect()
}

/// Where to stop and look.
#[derive(Clone, Copy)]
enum Stage {
    Graph,
    /// After this many passes, of which the last is the one named.
    After(usize),
    Plan,
}

/// Refuses what is no stage's name.
///
/// # Errors
/// [`LowerError::UnknownPass`].
#[cfg(feature = "window")]
pub(crate) fn check_stage(name: &str) -> Result<(), LowerError> {
    Stage::named(name).map(drop)
}

impl Stage {
    fn named(name: &str) -> Result<Self, LowerError> {
        match (name, PASSES.iter().position(|p| p.name == name)) {
            ("graph", _) => Ok(Stage::Graph),
            ("plan", _) => Ok(Stage::Plan),
            (_, Some(at)) => Ok(Stage::After(at + 1)),
            (_, None) => {
                let known: Vec<&str> = PASSES.iter().map(|p: &Pass| p.name).collect();
                let known = known.join(", ");
                Err(LowerError::UnknownPass {
                    name: name.to_owned(),
                    known: format!("{known} (and the stages graph and plan)"),
                })
            }
        }
    }

    fn of(args: &Args) -> anyhow::Result<Self> {
        let limit = args.stop_after.unwrap_or(PASSES.len());
        if limit > PASSES.len() {
            return Err(CliError::StopAfter {
                asked: limit,
                passes: PASSES.len(),
            }
            .into());
        }
        let stage = match args.stage.as_deref() {
            None if limit == 0 => Stage::Graph,
            None if limit < PASSES.len() => Stage::After(limit),
            None => Stage::Plan,
            Some(name) => Stage::named(name)?,
        };
        let needed = match stage {
            Stage::Graph => 0,
            Stage::After(n) => n,
            Stage::Plan => PASSES.len(),
        };
        if needed > limit {
            let message = format!(
                "--stage {} needs {needed} passes, --stop-after {limit} runs fewer: leave one of them out",
                stage.name()
            );
            return Err(CliError::Options(message).into());
        }
        Ok(stage)
    }

    fn name(self) -> &'static str {
        match self {
            Stage::Graph => "graph",
            Stage::After(n) => PASSES[n - 1].name,
            Stage::Plan => "plan",
        }
    }

    fn text(self, graph: &Graph, lowered: &Lowered) -> String {
        match self {
            Stage::Graph => graph.to_text(),
            Stage::After(n) => lowered
                .passes
                .get(n - 1)
                .and_then(|p| p.snapshot.as_ref())
                .map_or_else(|| lowered.graph.to_text(), |s| s.after.to_text()),
            Stage::Plan => lowered
                .plan
                .as_ref()
                .map_or_else(String::new, gabion::plan::Plan::to_text),
        }
    }
}

/// The graph of a model (the first `layers` layers) or of a file, with the path of the model.
pub(crate) fn graph_of(
    source: &OsStr,
    layers: Option<usize>,
    out: &Output,
) -> anyhow::Result<(Graph, Option<PathBuf>)> {
    let path = Path::new(source);
    let preset = source.to_str().and_then(Preset::by_name).is_some();
    if !preset && path != Path::new("-") && !path.exists() {
        return Err(CliError::NoModel {
            name: source.to_string_lossy().into_owned(),
            presets: model_arg::preset_names(),
        }
        .into());
    }
    if !preset && !model_arg::is_model(path) {
        return Ok((graph_file::read_graph(path)?, None));
    }
    let (located, files) = model_arg::open(source, out)?;
    let graph = if model_arg::is_encoder(&files) {
        bert_encoder_layers(&files, sentence_options(&files)?.1, layers)?.1
    } else {
        causal_lm_layers(&files, layers)?.1
    };
    Ok((graph, Some(located.path)))
}

fn pass_json(pass: &PassRecord) -> Value {
    json!({ "pass": pass.name, "rewrites": pass.rewrites, "nodes": pass.nodes, "time_us": pass.time.as_secs_f64() * 1e6 })
}

fn summary(lowered: &Lowered) -> String {
    let row = |p: &PassRecord| {
        vec![
            p.name.to_owned(),
            p.rewrites.to_string(),
            p.nodes.to_string(),
            format!("{:.0}", p.time.as_secs_f64() * 1e6),
        ]
    };
    let rows: Vec<_> = lowered.passes.iter().map(row).collect();
    table(&["pass", "rewrites", "nodes", "us"], &rows)
}
