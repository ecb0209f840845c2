//! The file of a profile: checked before the work, written after it.

use std::path::Path;
use std::time::{Duration, Instant};

use gabion::checkpoint::write_bytes;
use gabion::plan::profile::{Phase, write_trace};
use gabion::plan::{Plan, ProfileOptions};
use gabion::{LanguageModel, Measured};

use super::error::CliError;

/// The most spans that a worker keeps (160 MB); of a longer text the last runs are told.
const MOST_SPANS: usize = 1 << 22;

/// Refuses a path that no file can be written to, before anything long is done.
pub(crate) fn check(path: &Path) -> Result<(), CliError> {
    if path.is_dir() {
        let problem = "is a folder: give the name of a file for the profile";
        return Err(CliError::file(path, problem));
    }
    // What is no file (a pipe, /dev/null) is written to as it is.
    if path.exists() && !path.is_file() {
        return Ok(());
    }
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let problem = format!(
            "cannot write: there is no folder {}: make it, or name a file in another",
            folder.display()
        );
        return Err(CliError::file(path, problem));
    }
    match tempfile::NamedTempFile::new_in(folder) {
        Ok(_) => Ok(()),
        // Its words have the temporary name.
        Err(error) => Err(CliError::Write {
            path: path.to_owned(),
            source: error.kind().into(),
        }),
    }
}

/// Room for every step of a prompt and `new` tokens.
pub(crate) fn options(plan: &Plan, new: usize, since: Instant) -> ProfileOptions {
    let steps = plan.steps.len() + plan.outputs.len();
    let spans = steps.saturating_mul(new.saturating_add(2));
    ProfileOptions {
        spans_per_worker: spans.min(MOST_SPANS),
        since,
    }
}

/// Opening, compiling and loading, from the moment `start` to now.
pub(crate) fn loading(start: Instant, open: Duration, model: &LanguageModel) -> Vec<Phase> {
    let compiled = model.compiled();
    let compile = model.build_time + compiled.lower_time;
    let load_start = start.elapsed().saturating_sub(compiled.load_time);
    let phase = |name: &str, start, time| Phase {
        name: name.to_owned(),
        start,
        time,
    };
    vec![
        phase("open", Duration::ZERO, open),
        phase("compile", load_start.saturating_sub(compile), compile),
        phase("load", load_start, compiled.load_time),
    ]
}

/// Writes a trace, whole or not at all.
pub(crate) fn write(
    path: &Path,
    plan: &Plan,
    measured: &Measured,
    mut phases: Vec<Phase>,
) -> anyhow::Result<()> {
    phases.extend(measured.phases.iter().cloned());
    let mut bytes = Vec::new();
    write_trace(&mut bytes, plan, &measured.profile, &phases)?;
    write_bytes(path, &bytes)?;
    Ok(())
}
