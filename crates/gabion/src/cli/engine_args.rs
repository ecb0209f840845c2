//! The words that choose what a model or graph runs on.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use gabion::Engine;
use gabion::cpu::CpuOptions;
use gabion::nn::{Device, UnknownDevice};

use super::error::CliError;

/// Where to run and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineArgs {
    /// What to run on: cpu, cuda or cuda:N
    #[arg(long, value_name = "TARGET", default_value = "cpu")]
    pub(crate) target: Target,
    /// How many threads compute [default: the cores that this process may use]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// exact: multiply what the stored codes mean with f32 activations and f32 accumulation; fast:
    /// activations may be quantised (nothing is faster than exact yet, so fast runs the exact path)
    #[arg(long, value_enum, default_value_t = Numerics::Exact)]
    pub(crate) numerics: Numerics,
}

/// What to run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target(Device);

impl FromStr for Target {
    type Err = UnknownDevice;

    fn from_str(word: &str) -> Result<Self, UnknownDevice> {
        word.parse().map(Target)
    }
}

/// How exact products are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Numerics {
    /// What the stored codes mean, f32 activations, f32 accumulation.
    Exact,
    /// Activations may be quantised.
    Fast,
}

impl Numerics {
    /// The word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Numerics::Exact => "exact",
            Numerics::Fast => "fast",
        }
    }
}

impl EngineArgs {
    /// How many threads compute.
    pub(crate) fn threads(&self) -> Result<usize, CliError> {
        threads(self.threads)
    }

    /// The options of the CPU executor.
    ///
    /// # Errors
    /// No threads; a target that is not built.
    pub(crate) fn cpu_options(&self) -> Result<CpuOptions, CliError> {
        if let Device::Cuda(_) = self.target.0 {
            return Err(CliError::NoCuda {
                what: format!("--target {}", self.target_name()),
                instead: "use --target cpu",
            });
        }
        Ok(CpuOptions {
            threads: Some(self.threads()?),
            ..CpuOptions::default()
        })
    }

    /// The engine.
    pub(crate) fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::cpu_with(self.cpu_options()?)?)
    }

    /// The target's word.
    pub(crate) fn target_name(&self) -> String {
        self.target.0.to_string()
    }
}

/// The threads asked for, else all that this process may use.
pub(crate) fn threads(asked: Option<usize>) -> Result<usize, CliError> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    match asked {
        Some(0) => Err(CliError::NoThreads { available }),
        Some(n) => Ok(n),
        None => Ok(available),
    }
}
