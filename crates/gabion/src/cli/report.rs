//! `gabion report`: one HTML file that shows a graph, what each pass made of it, and its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gabion::checkpoint::write_bytes;
use gabion::cpu::cpu_target;
use gabion::ir::Graph;
use gabion::ir::verify::VerifyErrors;
use gabion::lower::{LowerOptions, lower, lower_graph};
use gabion::tensor::{Bindings, Dim, Symbol};
use gabion_view::report::{ReportOptions, report};
use gabion_view::{Document, Sizes};
use serde_json::json;

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
}

fn size(word: &str) -> Result<(String, i64), String> {
    let (name, value) = word.split_once('=').ok_or("expected SYMBOL=N")?;
    let value = value.parse().ok().filter(|value| *value >= 0);
    let value = value.ok_or_else(|| "expected SYMBOL=N with N of at least 0".to_owned())?;
    Ok((name.to_owned(), value))
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let progress = out.spinner("lowering");
    let (graph, faults) = graph_of(args, out)?;
    let sizes = sizes(&graph, args)?;
    let document = document(&graph, faults.as_ref(), &sizes);
    drop(progress);
    for (_, fault) in &document.faults {
        out.warn(format_args!("@{}: {fault}", graph.name));
    }
    let _progress = out.spinner("writing");
    let page = report(&document, &ReportOptions::default())?;
    write_bytes(&args.output, page.as_bytes())?;
    describe(args, &document, page.len(), out)?;
    Ok(document.faults.is_empty())
}

/// The graph, and what is wrong with it. What is no graph is an error; what does not verify can be looked at.
fn graph_of(args: &Args, out: &Output) -> anyhow::Result<(Graph, Option<VerifyErrors>)> {
    let path = Path::new(&args.source);
    let is_text = path == Path::new("-") || (path.is_file() && !model_arg::is_model(path));
    if !is_text {
        return Ok((lower_command::graph_of(&args.source, None, out)?.0, None));
    }
    let graph = Graph::parse(&graph_file::read_text(path)?)
        .map_err(|errors| errors.with_file(path.display().to_string()))?;
    let faults = gabion::ir::verify::verify(&graph).err();
    Ok((graph, faults))
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
        mark(&mut document, errors);
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

/// Puts the faults at the boxes of the nodes that they speak of.
fn mark(document: &mut Document, errors: &VerifyErrors) {
    let text = document.text(0);
    let lines = text.text.lines().zip(&text.boxes);
    let named =
        lines.filter_map(|(line, id)| Some((line.trim_start().split_once(" = ")?.0, (*id)?)));
    let by_name: BTreeMap<&str, u32> = named.collect();
    let faults = errors.items.iter().map(|error| {
        let node = error.node.as_deref();
        let id = node.and_then(|node| by_name.get(node).copied());
        let message = match (id, node) {
            (None, Some(node)) => format!("{node}: {}", error.message),
            _ => error.message.clone(),
        };
        (id, message)
    });
    document.faults = faults.collect();
}

fn describe(args: &Args, document: &Document, bytes: usize, out: &Output) -> anyhow::Result<()> {
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
            "faults": document.faults.iter().map(|(_, what)| what).collect::<Vec<_>>(),
        })
    })?;
    Ok(())
}
