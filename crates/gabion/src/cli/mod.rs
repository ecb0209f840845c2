//! The commands, one file each. This file has the words they share, how they end, and nothing of
//! what they do.

mod bench;
mod chat;
mod check;
mod convert;
mod diff;
mod embed;
mod engine_args;
mod error;
mod explain;
mod fetch;
mod fmt;
mod generate;
mod graph_file;
mod looked_at;
mod lower;
mod model_arg;
mod output;
mod profile_file;
mod report;
mod run;
mod stack;
mod step_times;
mod tensor_file;
mod verify;
#[cfg(feature = "window")]
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::CliError;
use output::Output;

/// How a command ended, if nothing went wrong: `true` for exit code 0, `false` for 1.
type Done = anyhow::Result<bool>;

/// A graph builder, compiler and runtime for neural networks.
///
/// Exit codes: 0 done, 1 the input is wrong, 2 the words of the command are wrong.
#[derive(Parser)]
#[command(
    name = "gabion",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    /// Print one JSON object on standard output and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Get a preset's model into the cache and print where it is
    Fetch(fetch::Args),
    /// Continue a text
    Generate(generate::Args),
    /// Turn texts into vectors
    Embed(embed::Args),
    /// Run a graph in text form
    Run(run::Args),
    /// Run one StackedLinear from its arguments in JSON
    Stack(stack::Args),
    /// Print a graph at a stage of lowering
    Lower(lower::Args),
    /// Verify graphs in text form
    Check(check::Args),
    /// Put graphs in text form into canonical form
    Fmt(fmt::Args),
    /// Compare two graphs by structure
    Diff(diff::Args),
    /// Compare the reference evaluator with each pass and with the executor
    Verify(verify::Args),
    /// Say where a row of a result or a byte of a weight comes from and goes to
    Explain(explain::Args),
    /// Write a model in another format, dtype or layout
    Convert(convert::Args),
    /// Look at a graph, what each pass made of it, and its plan
    #[cfg(feature = "window")]
    View(view::Args),
    /// Write one HTML file that shows a graph, its passes and its plan
    Report(report::Args),
    /// Measure, beside this machine's limits
    Bench(bench::Args),
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(cli.json);
    let done = match cli.command {
        Command::Fetch(args) => fetch::run(&args, &out),
        Command::Generate(args) => generate::run(&args, &out),
        Command::Embed(args) => embed::run(&args, &out),
        Command::Run(args) => run::run(&args, &out),
        Command::Stack(args) => stack::run(&args, &out),
        Command::Lower(args) => lower::run(&args, &out),
        Command::Check(args) => check::run(&args, &out),
        Command::Fmt(args) => fmt::run(&args, &out),
        Command::Diff(args) => diff::run(&args, &out),
        Command::Verify(args) => verify::run(&args, &out),
        Command::Explain(args) => explain::run(&args, &out),
        Command::Convert(args) => convert::run(&args, &out),
        #[cfg(feature = "window")]
        Command::View(args) => view::run(&args, &out),
        Command::Report(args) => report::run(&args, &out),
        Command::Bench(args) => bench::run(&args, &out),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader has seen enough.
        Err(error) if matches!(error.downcast_ref(), Some(CliError::BrokenPipe)) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            out.error(&error);
            ExitCode::from(1)
        }
    }
}
