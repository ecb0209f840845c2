//! Running the pass list: timing, verification, the ledger, before and after, and stopping early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gabion_ir::{Diagnostics, Graph};
use gabion_plan::{Plan, Target};
use gabion_tensor::{DimError, TensorError};

use crate::ledger::Ledger;
use crate::passes::{PASSES, Pass};
use crate::rewriter::PassCx;
use crate::select::{PlanOrigins, SelectError, select_with_origins};
use crate::watch::{Ahead, Watch};

/// How to lower.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions {
    /// Run only the first this many passes; the plan is then not selected.
    pub stop_after: Option<usize>,
    /// Keep the graph before and after each pass.
    pub record: bool,
    /// Leave these passes out.
    pub skip: Vec<String>,
    /// Do not verify the graph after each pass, nor the plan.
    pub trust: bool,
    /// Told before each pass, and may call lowering off.
    pub watch: Option<Watch>,
}

/// The graph around one pass. Neighbouring passes share a graph, and graphs share the nodes that are
/// the same in both.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Before the pass: what the pass before it left.
    pub before: Arc<Graph>,
    /// After it; the very same graph if the pass changed nothing.
    pub after: Arc<Graph>,
}

/// What one pass did.
#[derive(Clone, Debug)]
pub struct PassRecord {
    /// Its name.
    pub name: &'static str,
    /// How many rewrites it made.
    pub rewrites: usize,
    /// How many nodes there were after it.
    pub nodes: usize,
    /// How long it took, without verification.
    pub time: Duration,
    /// The graph before and after, if asked for.
    pub snapshot: Option<Snapshot>,
}

/// A lowered graph.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The graph after the last pass that ran.
    pub graph: Graph,
    /// The plan, unless lowering stopped early.
    pub plan: Option<Plan>,
    /// What the plan's steps and weights were made from; empty without a plan.
    pub origins: PlanOrigins,
    /// What each pass did, in order.
    pub passes: Vec<PassRecord>,
    /// Every candidate.
    pub ledger: Ledger,
}

/// Why lowering failed: a pass is wrong, the graph cannot be run on the target, or it was called off.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The graph does not verify.
    #[error("the graph does not verify {when}: {errors}")]
    Verify {
        /// "before lowering" or "after pass `x`".
        when: String,
        /// Every fault.
        errors: String,
    },
    /// A pass built something ill-typed.
    #[error("a pass built an ill-typed patch: {0}")]
    Patch(#[from] Diagnostics),
    /// A pass does not come to rest.
    #[error("pass `{pass}` still fires after {rounds} rounds")]
    NoFixpoint {
        /// The pass.
        pass: &'static str,
        /// How many rounds it had.
        rounds: usize,
    },
    /// [`LowerOptions::watch`] said not to go on.
    #[error("lowering was called off before `{before}`")]
    Cancelled {
        /// The pass that would have been next, or `plan`.
        before: &'static str,
    },
    /// No such pass.
    #[error("there is no pass `{name}`; the passes are {known}")]
    UnknownPass {
        /// What was asked for.
        name: String,
        /// The list.
        known: String,
    },
    /// A size could not be computed.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A shape could not be computed.
    #[error(transparent)]
    Shape(#[from] gabion_tensor::ShapeError),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No plan could be selected.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The selected plan does not verify: its sizes are out of range, or the selection is wrong.
    #[error("the plan does not verify: {0}")]
    Plan(#[from] gabion_plan::PlanErrors),
}

/// Runs one pass on a graph.
///
/// # Errors
/// The pass's own, and a graph that does not verify afterwards.
pub fn run_pass(
    graph: &mut Graph,
    pass: &Pass,
    target: &Target,
    ledger: &mut Ledger,
) -> Result<usize, LowerError> {
    let rewrites = (pass.run)(
        graph,
        &mut PassCx {
            pass: pass.name,
            target,
            ledger,
        },
    )?;
    verify(graph, || format!("after pass `{}`", pass.name))?;
    Ok(rewrites)
}

fn verify(graph: &Graph, when: impl Fn() -> String) -> Result<(), LowerError> {
    gabion_ir::verify::verify(graph).map_err(|errors| LowerError::Verify {
        when: when(),
        errors: errors.to_string(),
    })
}

/// Runs the passes and selects a plan.
///
/// # Errors
/// See [`LowerError`].
pub fn lower(
    graph: &Graph,
    target: &Target,
    options: &LowerOptions,
) -> Result<Lowered, LowerError> {
    let mut lowered = lower_graph(graph, target, options)?;
    if selects(options) {
        let done = lowered.passes.len();
        tell(options, "plan", done, done + 1)?;
        let (plan, origins) = select_with_origins(&lowered.graph, target)?;
        if !options.trust {
            gabion_plan::verify(&plan)?;
        }
        lowered.plan = Some(plan);
        lowered.origins = origins;
    }
    Ok(lowered)
}

/// Runs the passes only. Each node knows which nodes of `graph.compacted()` it was made from
/// ([`gabion_ir::Node::origins`]).
///
/// # Errors
/// See [`LowerError`].
pub fn lower_graph(
    graph: &Graph,
    target: &Target,
    options: &LowerOptions,
) -> Result<Lowered, LowerError> {
    let passes = passes_of(options)?;
    verify(graph, || "before lowering".to_owned())?;
    let mut graph = graph.compacted();
    graph.set_own_origins();
    let mut last = options.record.then(|| Arc::new(graph.clone()));
    let mut ledger = Ledger::default();
    let mut records = Vec::new();
    let all = passes.len() + usize::from(selects(options));
    for pass in passes {
        tell(options, pass.name, records.len(), all)?;
        let revision = graph.revision();
        let start = Instant::now();
        let rewrites = (pass.run)(
            &mut graph,
            &mut PassCx {
                pass: pass.name,
                target,
                ledger: &mut ledger,
            },
        )?;
        let time = start.elapsed();
        if !options.trust {
            verify(&graph, || format!("after pass `{}`", pass.name))?;
        }
        let snapshot = last.as_mut().map(|last| {
            let before = last.clone();
            if graph.revision() != revision {
                *last = Arc::new(graph.clone());
            }
            let after = last.clone();
            Snapshot { before, after }
        });
        records.push(PassRecord {
            name: pass.name,
            rewrites,
            nodes: graph.len(),
            time,
            snapshot,
        });
    }
    Ok(Lowered {
        graph: graph.compacted(),
        plan: None,
        origins: PlanOrigins::default(),
        passes: records,
        ledger,
    })
}

/// Whether a plan comes after the passes.
fn selects(options: &LowerOptions) -> bool {
    options.stop_after.is_none_or(|n| n >= PASSES.len())
}

fn tell(
    options: &LowerOptions,
    name: &'static str,
    done: usize,
    all: usize,
) -> Result<(), LowerError> {
    match &options.watch {
        Some(watch) if !watch.goes_on(Ahead { name, done, all }) => {
            Err(LowerError::Cancelled { before: name })
        }
        _ => Ok(()),
    }
}

/// The passes to run, in order.
fn passes_of(options: &LowerOptions) -> Result<Vec<&'static Pass>, LowerError> {
    for name in &options.skip {
        if Pass::by_name(name).is_none() {
            let known = PASSES.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
            return Err(LowerError::UnknownPass {
                name: name.clone(),
                known,
            });
        }
    }
    let first = PASSES
        .iter()
        .take(options.stop_after.unwrap_or(PASSES.len()));
    let skipped = |pass: &&Pass| options.skip.iter().any(|name| name == pass.name);
    Ok(first.filter(|pass| !skipped(pass)).collect())
}
