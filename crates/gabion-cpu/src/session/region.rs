//! The one parallel region of a run: every worker walks the whole list of steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gabion_plan::RunError;
use gabion_plan::profile::StepSpan;

use super::recorder::Recorder;

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
    pub(super) fn run(self, recorder: Option<&Recorder>) -> Result<(), RunError> {
        let failure = Failure {
            phase: AtomicUsize::new(usize::MAX),
            first: Mutex::new(None),
        };
        let team = &self.model.team;
        let shared = Shared(self);
        let result = match recorder {
            None => team.run(|worker| shared.get().walk(worker, &failure)),
            Some(to) => team.run(|worker| shared.get().walk_measured(worker, &failure, to)),
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
    fn walk_measured(&self, worker: &Worker<'_>, failure: &Failure, recorder: &Recorder) {
        let mut cx = self.context(worker);
        let everyone = cx.part;
        let mut phase = 0;
        let (mut ring, run) = (recorder.ring(worker.index()), recorder.run());
        for (index, ready) in self.steps.iter().enumerate() {
            let start_ns = recorder.now();
            let mut began = start_ns;
            if ready.barrier {
                worker.barrier();
                phase += 1;
                if failure.phase.load(Ordering::Relaxed) < phase {
                    return;
                }
                began = recorder.now();
            }
            let idle = ready.alone && worker.index() != 0;
            if idle && !ready.barrier {
                continue;
            }
            cx.part = if ready.alone { (0, 1) } else { everyone };
            if !idle && let Err(error) = ready.step.run(&cx) {
                failure.record(phase, index, worker.index(), error);
            }
            ring.push(StepSpan {
                run,
                step: index as u32,
                start_ns,
                waited_ns: began - start_ns,
                end_ns: if idle { began } else { recorder.now() },
            });
        }
    }
}

impl<'a> Shared<'a> {
    /// By method, so that closures borrow the whole.
    fn get(&self) -> &Region<'a> {
        &self.0
    }
}
