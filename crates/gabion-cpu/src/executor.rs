//! The executor: what this machine can do, and where loading begins.

use std::sync::Arc;

use gabion_plan::{Executor, LoadError, Loaded, Plan, Target, WeightSource};
use gabion_tensor::{BlockFormat, DType, UnaryFn};

use crate::isa::Isa;
use crate::load::CpuLoaded;
use crate::step::Kernels;
use crate::workers::Team;

/// How to run. The default is all processors that this process may use, and the best
/// instruction set that they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// How many threads; the caller's counts.
    pub threads: Option<usize>,
    /// The instruction set; the default is what `GABION_ISA` names, else the best.
    pub isa: Option<Isa>,
}

/// Runs plans on this machine's processors.
pub struct CpuExecutor {
    target: Target,
    team: Arc<Team>,
    kernels: Kernels,
}

impl CpuExecutor {
    /// Starts the workers.
    ///
    /// # Errors
    /// Zero threads, threads that cannot be had, or an instruction set that this machine lacks.
    pub fn new(options: CpuOptions) -> Result<CpuExecutor, LoadError> {
        let setup = |e: &dyn std::fmt::Display| LoadError::Setup(e.to_string());
        let isa = match options.isa {
            Some(isa) => Isa::checked(isa.name()).map_err(|e| setup(&e))?,
            None => Isa::detect().map_err(|e| setup(&e))?,
        };
        let threads = match options.threads {
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Ok(CpuExecutor {
            target: cpu_target(),
            team: Arc::new(Team::new(threads).map_err(|e| setup(&e))?),
            kernels: Kernels::new(isa),
        })
    }

    /// How many threads run plans.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.kernels.isa
    }

    /// As [`Executor::load`], with the type that has this executor's own methods.
    ///
    /// # Errors
    /// As [`Executor::load`].
    pub fn load_cpu(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
    ) -> Result<CpuLoaded, LoadError> {
        CpuLoaded::new(plan, weights, self.team.clone(), self.kernels)
    }
}

impl Executor for CpuExecutor {
    fn target(&self) -> &Target {
        &self.target
    }

    fn load(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
    ) -> Result<Arc<dyn Loaded>, LoadError> {
        Ok(Arc::new(self.load_cpu(plan, weights)?))
    }
}

/// What the CPU executor can do; no executor is needed to ask.
pub fn cpu_target() -> Target {
    let blocks = BlockFormat::ALL.into_iter().map(DType::Block);
    let composites = [
        "softmax",
        "log_softmax",
        "rms_norm",
        "layer_norm",
        "rope",
        "attention",
    ];
    Target {
        name: "cpu".to_owned(),
        tile_formats: [DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .chain(blocks)
            .collect(),
        epilogue_maps: vec![
            UnaryFn::Relu,
            UnaryFn::Silu,
            UnaryFn::Sigmoid,
            UnaryFn::Tanh,
            UnaryFn::GeluErf,
            UnaryFn::GeluTanh,
            UnaryFn::GeluQuick,
        ],
        norm_prologue: true,
        pair_granularity: crate::pack::HALF,
        cache_epilogue: true,
        composites: composites.map(str::to_owned).to_vec(),
        max_map_instrs: 96,
    }
}
