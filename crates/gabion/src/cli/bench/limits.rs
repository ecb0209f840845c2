//! `gabion bench limits`.

use serde_json::json;

use super::super::Done;
use super::super::engine_args;
use super::super::output::Output;
use super::{limits_json, limits_line, measure_limits};

/// Words of `gabion bench limits`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many threads work together [default: the cores that this process may use]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(args: &Args, out: &Output) -> Done {
    let limits = measure_limits(engine_args::threads(args.threads)?, out)?;
    out.text(&limits_line(&limits))?;
    out.object(|| json!({ "limits": limits_json(&limits) }))?;
    Ok(true)
}
