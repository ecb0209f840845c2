//! Where measured steps go: one ring of spans per worker, reserved before the first run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gabion_plan::profile::{ProfiledRun, StepSpan};
use gabion_plan::{Profile, ProfileOptions, RunError};
use gabion_tensor::Bindings;

/// The spans of one worker; the oldest make way.
#[derive(Debug, Default)]
pub(super) struct Ring {
    spans: Vec<StepSpan>,
    capacity: usize,
    /// Where the next one goes once there are as many as fit.
    next: usize,
    lost: u64,
}

impl Ring {
    /// Never allocates: room for `capacity` was reserved.
    pub(super) fn push(&mut self, span: StepSpan) {
        if self.spans.len() < self.capacity {
            self.spans.push(span);
        } else {
            self.lost += 1;
            if let Some(oldest) = self.spans.get_mut(self.next) {
                *oldest = span;
                self.next = (self.next + 1) % self.capacity;
            }
        }
    }

    /// The spans in order; the ring is empty then, and keeps its room.
    fn take(&mut self) -> Vec<StepSpan> {
        self.spans.rotate_left(self.next);
        let spans = self.spans.clone();
        self.spans.clear();
        self.next = 0;
        spans
    }
}

/// What a session measures.
#[derive(Debug)]
pub(super) struct Recorder {
    since: Instant,
    runs: Vec<ProfiledRun>,
    /// Each is locked by its own worker, once for a run.
    rings: Vec<Mutex<Ring>>,
}

impl Recorder {
    /// # Errors
    /// No memory for so many spans.
    pub(super) fn new(options: &ProfileOptions, threads: usize) -> Result<Recorder, RunError> {
        let capacity = options.spans_per_worker;
        let mut rings = Vec::with_capacity(threads);
        for _ in 0..threads {
            let mut spans = Vec::new();
            spans.try_reserve_exact(capacity).map_err(|e| {
                RunError::Executor(format!("a profile of {capacity} spans a worker: {e}"))
            })?;
            rings.push(Mutex::new(Ring {
                spans,
                capacity,
                ..Ring::default()
            }));
        }
        Ok(Recorder {
            since: options.since,
            runs: Vec::new(),
            rings,
        })
    }

    pub(super) fn begin(&mut self, sizes: &Bindings) {
        let start_ns = self.now();
        self.runs.push(ProfiledRun {
            start_ns,
            end_ns: start_ns,
            sizes: sizes.clone(),
        });
    }

    pub(super) fn end(&mut self) {
        let now = self.now();
        if let Some(run) = self.runs.last_mut() {
            run.end_ns = now;
        }
    }

    /// The number of the run that goes on.
    pub(super) fn run(&self) -> u32 {
        self.runs.len().saturating_sub(1) as u32
    }

    pub(super) fn ring(&self, worker: usize) -> MutexGuard<'_, Ring> {
        self.rings[worker]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the profile's beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What was measured; the recorder goes on with nothing.
    pub(super) fn take(&mut self) -> Profile {
        let mut profile = Profile {
            runs: std::mem::take(&mut self.runs),
            ..Profile::default()
        };
        for ring in &mut self.rings {
            let ring = ring.get_mut().unwrap_or_else(PoisonError::into_inner);
            profile.lost += std::mem::take(&mut ring.lost);
            profile.workers.push(ring.take());
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_spans_make_way() {
        let options = ProfileOptions {
            spans_per_worker: 3,
            since: Instant::now(),
        };
        let mut recorder = Recorder::new(&options, 1).unwrap();
        for round in 0..2 {
            recorder.begin(&Bindings::default());
            for step in 0..5 {
                let at = recorder.rings[0].lock().unwrap().spans.as_ptr();
                let step = StepSpan {
                    step,
                    ..StepSpan::default()
                };
                recorder.ring(0).push(step);
                assert_eq!(at, recorder.rings[0].lock().unwrap().spans.as_ptr());
            }
            recorder.end();
            let profile = recorder.take();
            let steps: Vec<u32> = profile.workers[0].iter().map(|s| s.step).collect();
            assert_eq!((steps, profile.lost), (vec![2, 3, 4], 2), "{round}");
            assert_eq!(profile.runs.len(), 1);
        }
    }

    #[test]
    fn too_many_spans_are_an_error() {
        let options = ProfileOptions {
            spans_per_worker: usize::MAX,
            since: Instant::now(),
        };
        let error = Recorder::new(&options, 1).unwrap_err().to_string();
        assert!(error.contains("spans a worker"), "{error}");
    }
}
