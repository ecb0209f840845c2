//! The one parallel region of a run: every worker walks the whole list of steps.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use gabion_plan::RunError;

use crate::kernels::matmul::Scratch as MatmulScratch;
use crate::load::Model;
use crate::resolve::Ready;
use crate::step::{Bases, StepCx};
use crate::workers::Worker;

/// What all workers see.
pub(super) struct Region<'a> {
    pub(super) model: &'a Model,
    pub(super) steps: &'a [Ready],
    pub(super) bases: &'a [*mut u8],
    pub(super) scratch: *mut u8,
    /// Bytes from one worker's scratch to the next; what they share comes after the last.
    pub(super) scratch_stride: usize,
    pub(super) matmul_scratch: &'a MatmulScratch,
}

/// Measurements of one run, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Timings {
    /// For each step on worker 0: at work, and waiting before it.
    pub(super) steps: Vec<(u64, u64)>,
    /// The whole run.
    total: u64,
    /// Waiting, all workers together.
    waited: u64,
}

impl Timings {
    pub(super) fn sync_share(&self, threads: usize) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        self.waited as f64 / (self.total as f64 * threads as f64)
    }
}

/// The first error of a run: of the earliest step, then of the lowest worker, so that it does not
/// depend on who was faster.
struct Failure {
    /// The least phase (barriers passed) in which a step failed.
    phase: AtomicUsize,
    first: Mutex<Option<(usize, usize, RunError)>>,
}

impl Failure {
    fn record(&self, phase: usize, step: usize, worker: usize, error: RunError) {
        self.phase.fetch_min(phase, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first
            .as_ref()
            .is_none_or(|(s, w, _)| (step, worker) < (*s, *w))
        {
            *first = Some((step, worker, error));
        }
    }
}

/// What workers share besides the region: pointers are `Sync` by the region's rules.
struct Shared<'a>(Region<'a>);

// SAFETY: workers use the pointers by the schedule's rules: memory that one writes, no other
// touches until the next barrier; scratch is cut so that each has its own.
#[allow(unsafe_code)]
unsafe impl Sync for Shared<'_> {}

impl Region<'_> {
    /// Runs all steps on all workers.
    ///
    /// A worker whose step fails goes on to the next barrier; all leave there together, so the
    /// session stays usable.
    ///
    /// # Errors
    /// The first step's that failed, or a worker's panic.
    pub(super) fn run(self, timings: Option<&mut Timings>) -> Result<(), RunError> {
        let failure = Failure {
            phase: AtomicUsize::new(usize::MAX),
            first: Mutex::new(None),
        };
        let team = &self.model.team;
        let steps = self.steps.len();
        let shared = Shared(self);
        let result = match timings {
            None => team.run(|worker| shared.get().walk(worker, &failure)),
            Some(timings) => {
                timings.steps.resize(steps, (0, 0));
                let waited = AtomicU64::new(0);
                let measured = Mutex::new(&mut timings.steps);
                let start = Instant::now();
                let result = team.run(|worker| {
                    shared
                        .get()
                        .walk_measured(worker, &failure, &measured, &waited)
                });
                timings.total = nanos(start);
                timings.waited = waited.load(Ordering::Relaxed);
                result
            }
        };
        result.map_err(|e| RunError::Executor(e.to_string()))?;
        let first = failure
            .first
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        first.map_or(Ok(()), |(_, _, error)| Err(error))
    }

    fn context<'c>(&'c self, worker: &'c Worker<'c>) -> StepCx<'c> {
        let all = self.scratch_stride * worker.count();
        StepCx {
            worker,
            part: (worker.index(), worker.count()),
            bases: Bases(self.bases),
            scratch: self
                .scratch
                .wrapping_add(self.scratch_stride * worker.index()),
            shared: self.scratch.wrapping_add(all),
            kernels: &self.model.kernels,
            weights: &self.model.weights,
            matmul_scratch: self.matmul_scratch,
        }
    }

    fn walk(&self, worker: &Worker<'_>, failure: &Failure) {
        let mut cx = self.context(worker);
        let everyone = cx.part;
        let mut phase = 0;
        for (index, ready) in self.steps.iter().enumerate() {
            if ready.barrier {
                worker.barrier();
                phase += 1;
                // Every failure of an earlier phase is visible here to all workers alike.
                if failure.phase.load(Ordering::Relaxed) < phase {
                    return;
                }
            }
            if ready.alone && worker.index() != 0 {
                continue;
            }
            cx.part = if ready.alone { (0, 1) } else { everyone };
            if let Err(error) = ready.step.run(&cx) {
                failure.record(phase, index, worker.index(), error);
            }
        }
    }

    /// As `walk`, with clocks.
    fn walk_measured(
        &self,
        worker: &Worker<'_>,
        failure: &Failure,
        steps: &Mutex<&mut Vec<(u64, u64)>>,
        waited: &AtomicU64,
    ) {
        let mut cx = self.context(worker);
        let everyone = cx.part;
        let (mut phase, mut all) = (0, 0);
        for (index, ready) in self.steps.iter().enumerate() {
            let start = Instant::now();
            if ready.barrier {
                worker.barrier();
                phase += 1;
            }
            let wait = if ready.barrier { nanos(start) } else { 0 };
            all += wait;
            if failure.phase.load(Ordering::Relaxed) < phase {
                break;
            }
            let start = Instant::now();
            cx.part = if ready.alone { (0, 1) } else { everyone };
            if !(ready.alone && worker.index() != 0)
                && let Err(error) = ready.step.run(&cx)
            {
                failure.record(phase, index, worker.index(), error);
            }
            if worker.index() == 0 {
                steps.lock().unwrap_or_else(PoisonError::into_inner)[index] = (nanos(start), wait);
            }
        }
        waited.fetch_add(all, Ordering::Relaxed);
    }
}

impl<'a> Shared<'a> {
    /// By method, so that closures borrow the whole.
    fn get(&self) -> &Region<'a> {
        &self.0
    }
}

fn nanos(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
