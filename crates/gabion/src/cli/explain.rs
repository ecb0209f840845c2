//! `gabion explain`: where a row of a result or a byte of a weight comes from and goes to.

use std::ffi::OsString;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gabion::checkpoint::{Checkpoint, ModelFiles};
use gabion::cpu::cpu_target;
use gabion::explain::{
    ExplainError, Explainer, Explanation, LedgerLine, NodeStory, PackedStory, StepStory,
    StoredStory, UseStory,
};
use serde_json::json;

use super::Done;
use super::error::CliError;
use super::lower::graph_of;
use super::output::Output;

/// Words of `gabion explain`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["value", "weight", "node"])))]
pub(crate) struct Args {
    /// A preset, a folder, a .gguf file, or a graph in text form (then with --weights)
    #[arg(value_name = "MODEL|GRAPH")]
    source: OsString,
    /// A value's printed name, a module (layers.3.qkv), a plan weight or a tensor; with --row
    #[arg(long, value_name = "NAME", requires = "row")]
    value: Option<String>,
    /// The row: element R of a product's last axis, which is row R of its weight
    #[arg(long, value_name = "R", requires = "value")]
    row: Option<usize>,
    /// One element of the weight's row
    #[arg(long, value_name = "C", requires = "value")]
    col: Option<usize>,
    /// A tensor of the checkpoint, by its name there or in the file; with --byte
    #[arg(long, value_name = "TENSOR", requires = "byte")]
    weight: Option<String>,
    /// The byte, from the tensor's first
    #[arg(long, value_name = "N", requires = "weight")]
    byte: Option<usize>,
    /// A node of the graph as it was built: its number, or a printed name with %
    #[arg(long, value_name = "ID|%NAME")]
    node: Option<String>,
    /// The files with the weights of a GRAPH
    #[arg(long, value_name = "FILE", num_args = 1..)]
    weights: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let progress = out.spinner("lowering");
    let (graph, model) = graph_of(&args.source, None, out)?;
    let files;
    let opened;
    let checkpoint = match (&model, args.weights.as_slice()) {
        (Some(path), []) => {
            files = ModelFiles::open(path)?;
            files.checkpoint()
        }
        // What became of a node is told without its numbers.
        (None, weights) if !weights.is_empty() || args.node.is_some() => {
            opened = Checkpoint::open_files(weights)?;
            &opened
        }
        (Some(_), _) => {
            let message = "--weights goes with a graph in text form; a model has its own";
            return Err(CliError::Options(message.to_owned()).into());
        }
        (None, _) => {
            let message = "a graph in text form has no weights: give --weights FILE";
            return Err(CliError::Options(message.to_owned()).into());
        }
    };
    // What does not name its file is about the model or the graph.
    let model = model.as_deref().unwrap_or(Path::new(&args.source));
    let named = |error: ExplainError| -> anyhow::Error {
        match error.names_its_file() {
            true => error.into(),
            false => CliError::in_file(model, error).into(),
        }
    };
    let explainer = Explainer::new(&graph, &cpu_target(), checkpoint).map_err(named)?;
    drop(progress);
    if let Some(id) = &args.node {
        let story = explainer.node(id).map_err(named)?;
        out.text(&node_text(&story))?;
        out.object(|| json!(story))?;
        return Ok(true);
    }
    let explanation = match (&args.value, args.row, &args.weight, args.byte) {
        (Some(name), Some(row), _, _) => explainer.value(name, row, args.col).map_err(named)?,
        (_, _, Some(tensor), Some(byte)) => explainer.weight_byte(tensor, byte).map_err(named)?,
        // The words of the command are checked before.
        _ => return Err(CliError::Options("give --value, --weight or --node".to_owned()).into()),
    };
    out.text(&text(&explanation))?;
    out.object(|| json!(explanation))?;
    Ok(true)
}

/// Lines of a text; writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($arg:tt)*) => {{
        let _ = writeln!($text, $($arg)*);
    }};
}

fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    line!(text, "{}", explanation.asked);
    line!(text, "  taken for {}", explanation.matched);
    for other in &explanation.others {
        line!(text, "  (not {other})");
    }
    match &explanation.stored {
        Some(stored) => stored_text(&mut text, stored),
        None => line!(text, "a constant of the graph: no file has it"),
    }
    if explanation.uses.is_empty() {
        line!(text, "never loaded: nothing that is returned needs it");
    }
    for used in &explanation.uses {
        use_text(&mut text, used);
    }
    ledger_text(&mut text, &explanation.ledger);
    text
}

fn stored_text(text: &mut String, stored: &StoredStory) {
    line!(text, "in the checkpoint");
    line!(text, "  file    {}", stored.file);
    let name = if stored.stored_name == stored.tensor {
        String::new()
    } else {
        format!(", in the file `{}`", stored.stored_name)
    };
    line!(
        text,
        "  tensor  `{}`: {}{:?}{name}",
        stored.tensor,
        stored.format,
        stored.shape
    );
    let order = if stored.reordered {
        format!(
            "; the file's order is another: row {} of the graph's weight",
            stored.graph_row
        )
    } else {
        String::new()
    };
    line!(
        text,
        "  row     {}, column {}{order}",
        stored.row,
        stored.column
    );
    line!(text, "  bytes   {} of the file", span(&stored.bytes));
    if let Some(byte) = &stored.byte {
        line!(
            text,
            "  byte    {} of the tensor, {} of the file: {:?} of columns {}",
            byte.in_tensor,
            byte.in_file,
            byte.role,
            columns(&byte.columns)
        );
    }
    if let Some(block) = &stored.block {
        let min = block.min.map_or_else(String::new, |m| format!(", min {m}"));
        line!(
            text,
            "  block   columns {}, bytes {}: scale {}{min}",
            span(&block.columns),
            span(&block.bytes),
            block.scale
        );
    }
    if let Some(value) = stored.value {
        line!(text, "  value   {value}");
    }
}

fn use_text(text: &mut String, used: &UseStory) {
    line!(
        text,
        "loaded into plan weight `{}`: {}",
        used.weight,
        used.ty
    );
    line!(
        text,
        "  row     {} (part {}, rows {} of its tensor)",
        used.row,
        used.part,
        span(&used.part_rows)
    );
    if !used.recipe.is_empty() {
        line!(text, "  recipe  {}", used.recipe.join(", then "));
    }
    if let Some(value) = used.value {
        line!(text, "  value   {value}");
    }
    if let (Some(segment), Some(rows), Some(arrangement)) =
        (used.segment, &used.segment_rows, &used.arrangement)
    {
        let partner = used.partner.map_or_else(String::new, |row| {
            format!(", computed together with row {row}")
        });
        line!(
            text,
            "  segment {segment} (rows {}): {arrangement}{partner}",
            span(rows)
        );
    }
    line!(
        text,
        "  packed  {} bytes, {}",
        used.packed_bytes,
        used.layout
    );
    for packed in &used.packed {
        packed_text(text, packed);
    }
    for step in &used.steps {
        step_text(text, step);
    }
}

fn packed_text(text: &mut String, packed: &PackedStory) {
    let tile = match (packed.tile, packed.lane) {
        (Some(tile), Some(lane)) => format!("tile {tile}, lane {lane}, "),
        _ => String::new(),
    };
    let mut extra = String::new();
    if let Some((byte, bit)) = packed.fifth {
        let _ = write!(extra, ", fifth bit at byte {byte} bit {bit}");
    }
    if let Some(scale) = packed.scale {
        let _ = write!(extra, ", scale at byte {scale}");
    }
    if let Some(min) = packed.min {
        let _ = write!(extra, ", min at byte {min}");
    }
    line!(
        text,
        "          column {}: {tile}{} at byte {} bit {} ({} bits){extra}",
        packed.column,
        packed.format,
        packed.byte,
        packed.bit,
        packed.bits
    );
}

fn step_text(text: &mut String, step: &StepStory) {
    let mut what = Vec::new();
    if let Some(prologue) = &step.prologue {
        what.push(format!("after {prologue}"));
    }
    what.extend(step.epilogue.iter().cloned());
    if let Some(result) = &step.result {
        what.push(match step.column {
            Some(column) => format!("to {result}, column {column}"),
            None => format!("to {result}"),
        });
    }
    line!(text, "  read by {}: {}", step.name, what.join("; "));
}

fn ledger_text(text: &mut String, ledger: &[LedgerLine]) {
    if ledger.is_empty() {
        line!(text, "the passes noted nothing about it");
        return;
    }
    line!(text, "what the passes noted");
    for entry in ledger {
        let refused = if entry.fired { "" } else { "refused: " };
        line!(
            text,
            "  {}: {}: {refused}{}",
            entry.pass,
            entry.candidate,
            entry.said
        );
    }
}

fn node_text(story: &NodeStory) -> String {
    let mut text = String::new();
    line!(text, "node {}", story.id);
    line!(text, "  {}", story.text);
    if let Some(at) = &story.built_at {
        line!(text, "  built at {at}");
    }
    for after in &story.after {
        line!(text, "after {}", after.pass);
        if after.nodes.is_empty() {
            line!(text, "  nothing is left of it");
        }
        for node in &after.nodes {
            line!(text, "  {node}");
        }
    }
    for step in &story.steps {
        line!(text, "in the plan: {step}");
    }
    for weight in &story.weights {
        line!(text, "in the plan: weight `{weight}`");
    }
    ledger_text(&mut text, &story.ledger);
    text
}

fn span(range: &Range<usize>) -> String {
    format!("{}..{}", range.start, range.end)
}

/// `3, 19`, or `0..32` for many.
fn columns(columns: &[usize]) -> String {
    match columns {
        [first, .., last] if columns.len() > 2 => format!("{first}..{}", last + 1),
        few => few
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}
