//! `gabion report`: one HTML file that shows a graph, what each pass made of it, and its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gabion::checkpoint::write_bytes;
use gabion::ir::Graph;
use gabion::tensor::{Bindings, Dim, Symbol};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Histogram, Sizes, Timings};
use serde_json::{Value, json};

use super::Done;
use super::error::CliError;
use super::looked_at::LookedAt;
use super::output::Output;
use super::step_times::TimeArgs;

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
    #[command(flatten)]
    times: TimeArgs,
}

fn size(word: &str) -> Result<(String, i64), String> {
    let (name, value) = word.split_once('=').ok_or("expected SYMBOL=N")?;
    let value = value.parse().ok().filter(|value| *value >= 0);
    let value = value.ok_or_else(|| "expected SYMBOL=N with N of at least 0".to_owned())?;
    Ok((name.to_owned(), value))
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    args.times.check()?;
    args.check_output()?;
    let progress = out.spinner("lowering");
    let looked_at = LookedAt::open(&args.source, out)?;
    let sizes = sizes(&looked_at.graph, args)?;
    let document = looked_at.document(&sizes, None, out)?;
    drop(progress);
    let progress = args.times.task().map(|task| out.spinner(&task));
    let timings = args.times.timings(&args.source, &looked_at, &document)?;
    drop(progress);
    let histograms = match (document.plan(), looked_at.loader()) {
        (Some(plan), Some(load)) => Histogram::of_plan(plan, load),
        _ => BTreeMap::new(),
    };
    let options = ReportOptions {
        timings,
        histograms,
    };
    let progress = out.spinner("writing");
    let page = report(&document, &options)?;
    write_bytes(&args.output, page.as_bytes())?;
    drop(progress);
    describe(args, &document, &options, page.len(), out)?;
    Ok(document.faults.is_empty())
}

impl Args {
    /// A page in the place of the graph that it is of would be all that is left of it.
    fn check_output(&self) -> Result<(), CliError> {
        if self.output == Path::new("-") {
            let message = "-o -: a page is written to a file, name one (-o report.html)";
            return Err(CliError::Options(message.to_owned()));
        }
        let same = std::fs::canonicalize(&self.output)
            .and_then(|output| Ok(output == std::fs::canonicalize(&self.source)?));
        match same {
            Ok(true) => Err(CliError::file(
                &self.output,
                "is the graph itself: give the page another name",
            )),
            Ok(false) | Err(_) => Ok(()),
        }
    }
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

fn time_json(timings: &Timings) -> Value {
    json!({ "of": timings.name, "whence": timings.whence, "us": timings.total() })
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
            "run_us": options.timings.first().map(Timings::total),
            "times": options.timings.iter().map(time_json).collect::<Vec<_>>(),
            "faults": document.faults.iter().map(|(_, what)| what).collect::<Vec<_>>(),
        })
    })?;
    Ok(())
}
