//! The engine: lowers a graph for an executor, loads its weights, and runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gabion_checkpoint::{Checkpoint, CheckpointError};
use gabion_cpu::{CpuExecutor, CpuOptions};
use gabion_ir::Graph;
use gabion_lower::{Ledger, LowerError, LowerOptions, PassRecord, lower};
use gabion_plan::{
    Executor, LoadError, Loaded, Plan, RunError, Session, StoredWeight, Target, WeightSource,
};
use gabion_tensor::{Bindings, HostTensor};

/// An executor, ready to compile graphs.
pub struct Engine {
    executor: Box<dyn Executor + Send + Sync>,
}

/// Why a graph could not be compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The graph could not be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The weights could not be loaded, or the executor could not be set up.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Engine {
    /// The CPU, with as many threads as this process may use.
    ///
    /// # Errors
    /// An instruction set that `GABION_ISA` names and this machine lacks.
    pub fn cpu() -> Result<Self, EngineError> {
        Self::cpu_with(CpuOptions::default())
    }

    /// The CPU with options.
    ///
    /// # Errors
    /// As [`Engine::cpu`], and zero threads.
    pub fn cpu_with(options: CpuOptions) -> Result<Self, EngineError> {
        Ok(Self {
            executor: Box::new(CpuExecutor::new(options)?),
        })
    }

    /// What the executor can do.
    pub fn target(&self) -> &Target {
        self.executor.target()
    }

    /// Lowers a graph and loads its weights.
    ///
    /// # Errors
    /// A graph that does not verify, or a weight that is missing or wrong.
    pub fn compile(
        &self,
        graph: &Graph,
        weights: &dyn WeightSource,
    ) -> Result<Compiled, EngineError> {
        self.compile_with(graph, weights, &LowerOptions::default())
    }

    /// As [`Engine::compile`], with options for the passes. `stop_after` is ignored.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    pub fn compile_with(
        &self,
        graph: &Graph,
        weights: &dyn WeightSource,
        options: &LowerOptions,
    ) -> Result<Compiled, EngineError> {
        let options = LowerOptions {
            stop_after: None,
            ..options.clone()
        };
        let start = Instant::now();
        let lowered = lower(graph, self.target(), &options)?;
        let lower_time = start.elapsed();
        // Without `stop_after` a plan is always selected.
        let plan = lowered
            .plan
            .ok_or_else(|| LoadError::Setup("lowering gave no plan".to_owned()))?;
        let start = Instant::now();
        let loaded = self.executor.load(Arc::new(plan), weights)?;
        let load_time = start.elapsed();
        Ok(Compiled {
            loaded,
            ledger: lowered.ledger,
            passes: lowered.passes,
            lower_time,
            load_time,
        })
    }
}

/// A graph with its weights loaded: makes sessions, which may run in different threads.
pub struct Compiled {
    loaded: Arc<dyn Loaded>,
    /// What the passes looked at, did and refused.
    pub ledger: Ledger,
    /// What each pass did.
    pub passes: Vec<PassRecord>,
    /// How long lowering took.
    pub lower_time: Duration,
    /// How long loading and packing the weights took.
    pub load_time: Duration,
}

impl Compiled {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.loaded.plan()
    }

    /// Bytes of packed weights.
    pub fn packed_weight_bytes(&self) -> usize {
        self.loaded.packed_weight_bytes()
    }

    /// A session for a graph without caches.
    ///
    /// # Errors
    /// No memory, or a cache whose size is not known.
    pub fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        self.session_with(&Bindings::default())
    }

    /// A session whose donated inputs have the sizes that `sizes` gives their symbols.
    ///
    /// # Errors
    /// No memory, or a cache whose size is not known.
    pub fn session_with(&self, sizes: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        Ok(self.loaded.session(sizes)?)
    }

    /// Runs once in a new session.
    ///
    /// # Errors
    /// Inputs that do not fit.
    pub fn run(
        &self,
        inputs: &[(&str, &HostTensor)],
    ) -> Result<Vec<(String, HostTensor)>, EngineError> {
        let mut session = self.session()?;
        Ok(session.run(inputs)?)
    }
}

/// A checkpoint as the source of a plan's weights.
pub struct CheckpointWeights<'a> {
    checkpoint: &'a Checkpoint,
    prefix: &'a str,
}

impl<'a> CheckpointWeights<'a> {
    /// Weights under their full names.
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        Self::with_prefix(checkpoint, "")
    }

    /// The graph's weight `name` is the checkpoint's `prefix.name`.
    pub fn with_prefix(checkpoint: &'a Checkpoint, prefix: &'a str) -> Self {
        Self { checkpoint, prefix }
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }
}

impl WeightSource for CheckpointWeights<'_> {
    fn weight(&self, name: &str) -> Result<StoredWeight, LoadError> {
        let full = self.full_name(name);
        let Some(info) = self.checkpoint.info(&full) else {
            return Err(LoadError::Missing { name: full });
        };
        let file = self.checkpoint.path_of(info).to_owned();
        let view = self
            .checkpoint
            .view(&full)
            .map_err(|error| LoadError::Read {
                name: full,
                file,
                problem: error.to_string(),
            })?;
        let rows = view.tensor.shape().first().copied().unwrap_or(1);
        let row_map = view
            .row_map
            .map(|map| map.source_rows(rows).map(|row| row as u32).collect());
        Ok(StoredWeight {
            tensor: view.tensor,
            row_map,
        })
    }

    fn release(&self, name: &str) {
        let full = self.full_name(name);
        if let Some(bytes) = self
            .checkpoint
            .info(&full)
            .and_then(|info| self.checkpoint.raw_bytes(info))
        {
            bytes.advise_dontneed();
        }
    }
}
