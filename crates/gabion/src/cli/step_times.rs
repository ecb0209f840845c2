//! Times of steps for `view` and `report`: measured here, or read from a trace.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gabion::checkpoint::ModelFiles;
use gabion::plan::Plan;
use gabion::plan::profile::{ProfileOptions, read_trace};
use gabion::tensor::HostTensor;
use gabion::{CheckpointWeights, Compiled};
use gabion_view::{Document, Sizes, Timings};

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::graph_file;
use super::looked_at::LookedAt;

/// Words that ask for times.
#[derive(Clone, clap::Args)]
pub(crate) struct TimeArgs {
    /// Run the plan on zeros, so that there is how long each step took
    #[arg(long, conflicts_with = "profile")]
    run: bool,
    /// Show the times of a trace that `gabion generate --profile FILE` wrote of this model
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs that are measured; the fastest time of each step counts.
const RUNS: usize = 3;

impl TimeArgs {
    /// Refuses options of the engine that mean nothing, before anything is done.
    ///
    /// # Errors
    /// See [`EngineArgs::cpu_options`].
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.engine.cpu_options().map(drop)
    }

    /// What will be done to have the times; nothing if none are asked for.
    pub(crate) fn task(&self) -> Option<String> {
        match (&self.profile, self.run) {
            (Some(path), _) => Some(format!("reading {}", path.display())),
            (None, true) => Some("running".to_owned()),
            (None, false) => None,
        }
    }

    /// Whether what is asked for can be wrong though the model is right.
    #[cfg(feature = "window")]
    pub(crate) fn reads_a_file(&self) -> bool {
        self.profile.is_some()
    }

    /// The same, but nothing is run.
    #[cfg(feature = "window")]
    pub(crate) fn without_run(&self) -> Self {
        Self {
            run: false,
            ..self.clone()
        }
    }

    /// The times that are asked for: none where lowering came to no plan.
    ///
    /// # Errors
    /// A file that is no trace of this plan; a graph that cannot be run.
    pub(crate) fn timings(
        &self,
        source: &OsStr,
        looked_at: &LookedAt,
        document: &Document,
    ) -> anyhow::Result<Vec<Timings>> {
        let Some(plan) = document.plan() else {
            return Ok(Vec::new());
        };
        match &self.profile {
            Some(path) => read(path, plan),
            None if self.run => {
                let measured = self.measured(source, looked_at, &document.sizes)?;
                Ok(vec![measured])
            }
            None => Ok(Vec::new()),
        }
    }

    /// How long each step takes on zeros, with the sizes that costs are counted with.
    fn measured(
        &self,
        source: &OsStr,
        looked_at: &LookedAt,
        sizes: &Sizes,
    ) -> anyhow::Result<Timings> {
        let graph = &looked_at.graph;
        let weights = graph.weights().len();
        if looked_at.model.is_none() && weights > 0 {
            let problem = format!(
                "the graph reads {weights} weights and a text has none, so it cannot be run: leave out --run, or name the model"
            );
            return Err(CliError::file(Path::new(source), problem).into());
        }
        let engine = self.engine.engine()?;
        let compiled = match &looked_at.model {
            Some(path) => {
                let files = ModelFiles::open(path)?;
                engine.compile(graph, &CheckpointWeights::new(files.checkpoint()))?
            }
            None => engine.compile(graph, &BTreeMap::<String, HostTensor>::new())?,
        };
        run(&compiled, sizes)
    }
}

/// Times of a few runs on zeros, after one that is not counted.
fn run(compiled: &Compiled, sizes: &Sizes) -> anyhow::Result<Timings> {
    let plan = compiled.plan();
    let mut inputs = Vec::new();
    for input in plan.inputs.iter().filter(|input| !input.donated) {
        let shape = input.ty.shape.iter().map(|dim| sizes.dim(dim) as usize);
        let shape: Vec<usize> = shape.collect();
        let zeros = HostTensor::zeros(input.ty.dtype, &shape);
        let zeros = zeros.with_context(|| format!("input `{}`", input.name))?;
        inputs.push((input.name.as_str(), zeros));
    }
    let inputs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, t)| (*name, t)).collect();
    let mut session = compiled.session_with(sizes.bindings())?;
    // The first run is slower than all that follow.
    session.run(&inputs)?;
    session.set_profile(Some(ProfileOptions::default()))?;
    for _ in 0..RUNS {
        session.run(&inputs)?;
    }
    let profile = session.take_profile().unwrap_or_default();
    Ok(Timings::fastest(plan, &profile))
}

/// The longest trace that is read: a hundred bytes or more for each step of each run on each worker.
const MOST_TRACE: u64 = 1 << 32;

/// Times from a trace of this plan.
fn read(path: &Path, plan: &Plan) -> anyhow::Result<Vec<Timings>> {
    let text = graph_file::read_text_up_to(path, MOST_TRACE)?;
    let (profile, _) = read_trace(&text, plan).map_err(|error| CliError::in_file(path, error))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let timings = Timings::of_generation(plan, &profile, &name.to_string_lossy());
    if timings
        .iter()
        .all(|it| it.steps_ns.iter().all(Option::is_none))
    {
        let problem =
            "the trace has no time of any step: write one with `gabion generate --profile`";
        return Err(CliError::file(path, problem).into());
    }
    Ok(timings)
}
