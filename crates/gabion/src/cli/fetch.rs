//! `gabion fetch`: a preset's model into the cache.

use gabion::presets::{FetchError, Preset};
use serde_json::json;

use super::output::Output;
use super::{Done, model_arg};

/// Words of `gabion fetch`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// smollm2 or minilm
    preset: String,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let preset = Preset::by_name(&args.preset).ok_or_else(|| FetchError::Unknown {
        name: args.preset.clone(),
        known: model_arg::preset_names(),
    })?;
    let path = model_arg::fetch(preset, out)?;
    out.line(path.display())?;
    out.object(|| json!({ "preset": preset.name, "path": path }))?;
    Ok(true)
}
