//! What a session measures of its steps, and what is made of that: times per step, a trace file.
//!
//! A session that measures writes one [`StepSpan`] per worker and step into memory that was reserved
//! before, so measured runs allocate nothing in their steps and compute the same bits.

mod cost;
mod read;
mod trace;

use std::time::{Duration, Instant};

use gabion_tensor::Bindings;

use crate::plan::Plan;

pub use cost::{StepCost, step_cost};
pub use read::{PlanId, TraceError, read_trace};
pub use trace::{Phase, plan_digest, write_trace};

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct ProfileOptions {
    /// Spans that each worker keeps; once there are more, the oldest are lost.
    pub spans_per_worker: usize,
    /// The moment that times are counted from.
    pub since: Instant,
}

impl Default for ProfileOptions {
    /// Room for 65,536 spans a worker (2.5 MB each), counted from now.
    fn default() -> Self {
        Self {
            spans_per_worker: 1 << 16,
            since: Instant::now(),
        }
    }
}

/// One step on one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepSpan {
    /// Which run, from 0: the index in [`Profile::runs`].
    pub run: u32,
    /// Which step of the plan. Copies of outputs that are no steps of the plan come after the last.
    pub step: u32,
    /// When the worker came to the step, in nanoseconds.
    pub start_ns: u64,
    /// Of the time since, how long it waited for the others before it began.
    pub waited_ns: u64,
    /// When its share was done.
    pub end_ns: u64,
}

impl StepSpan {
    /// At work, without the waiting.
    pub fn busy_ns(&self) -> u64 {
        (self.end_ns - self.start_ns).saturating_sub(self.waited_ns)
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfiledRun {
    /// When it began, in nanoseconds.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What its symbols were.
    pub sizes: Bindings,
}

/// What a session measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The runs, in order.
    pub runs: Vec<ProfiledRun>,
    /// The spans of each worker, in order. A step that one worker runs alone has no
    /// span elsewhere, or one of nothing but waiting.
    pub workers: Vec<Vec<StepSpan>>,
    /// Spans that there was no room for: the oldest.
    pub lost: u64,
}

/// How long a step of one run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTiming {
    /// Which step of the plan.
    pub step: usize,
    /// From the first worker that began to the last that was done.
    pub wall: Duration,
    /// At work, all workers together.
    pub busy: Duration,
    /// Waiting before the step, all workers together.
    pub waited: Duration,
}

/// Times of one step of one run, which has at least one span.
fn timing_of(spans: &[StepSpan]) -> StepTiming {
    let begin = spans.iter().map(|s| s.start_ns + s.waited_ns).min();
    let end = spans.iter().map(|s| s.end_ns).max();
    let wall = end.unwrap_or(0).saturating_sub(begin.unwrap_or(0));
    // What was read from a file may say anything.
    let sum = |of: fn(&StepSpan) -> u64| {
        Duration::from_nanos(spans.iter().map(of).fold(0, u64::saturating_add))
    };
    StepTiming {
        step: spans.first().map_or(0, |span| span.step as usize),
        wall: Duration::from_nanos(wall),
        busy: sum(StepSpan::busy_ns),
        waited: sum(|s| s.waited_ns),
    }
}

impl Profile {
    /// How long each step of a run took, in order; steps whose spans are lost are left out.
    pub fn steps(&self, run: usize) -> Vec<StepTiming> {
        self.steps_of(run..run.saturating_add(1))
    }

    /// The same of several runs, one after another.
    fn steps_of(&self, runs: std::ops::Range<usize>) -> Vec<StepTiming> {
        let spans = self.workers.iter().flatten();
        let mut spans: Vec<StepSpan> = spans
            .filter(|span| runs.contains(&(span.run as usize)))
            .copied()
            .collect();
        spans.sort_unstable_by_key(|span| (span.run, span.step));
        let steps = spans.chunk_by(|a, b| (a.run, a.step) == (b.run, b.step));
        steps.map(timing_of).collect()
    }

    /// How long a run took.
    pub fn wall(&self, run: usize) -> Duration {
        let run = self.runs.get(run);
        run.map_or(Duration::ZERO, |run| {
            Duration::from_nanos(run.end_ns.saturating_sub(run.start_ns))
        })
    }

    /// The share of the workers' time, from 0 to 1, that a run spent waiting between steps.
    pub fn waiting_share(&self, run: usize) -> f64 {
        let waited: Duration = self.steps(run).iter().map(|s| s.waited).sum();
        let all = self.wall(run).as_secs_f64() * self.workers.len() as f64;
        if all == 0.0 {
            return 0.0;
        }
        (waited.as_secs_f64() / all).min(1.0)
    }

    /// For each step, the median of its times over several runs (of equal sizes): one measurement
    /// that a pause of the machine does not show in.
    pub fn median_steps(&self, runs: std::ops::Range<usize>) -> Vec<StepTiming> {
        let mut all = self.steps_of(runs);
        all.sort_unstable_by_key(|timing| (timing.step, timing.wall, timing.busy));
        let steps = all.chunk_by(|a, b| a.step == b.step);
        steps.map(|times| times[(times.len() - 1) / 2]).collect()
    }
}

/// What people call a step: `step 12 matmul model.layers.0.self_attn`.
pub fn step_name(plan: &Plan, step: usize) -> String {
    match plan.steps.get(step) {
        Some(it) if it.scope.is_empty() => format!("step {step} {}", it.kernel.name()),
        Some(it) => format!("step {step} {} {}", it.kernel.name(), it.scope),
        None => format!("step {step} copy of an output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(run: u32, step: u32, start_ns: u64, waited_ns: u64, end_ns: u64) -> StepSpan {
        StepSpan {
            run,
            step,
            start_ns,
            waited_ns,
            end_ns,
        }
    }

    fn run(start_ns: u64, end_ns: u64) -> ProfiledRun {
        ProfiledRun {
            start_ns,
            end_ns,
            sizes: Bindings::default(),
        }
    }

    #[test]
    fn times_of_workers_become_times_of_steps() {
        let profile = Profile {
            runs: vec![run(0, 100), run(100, 160)],
            workers: vec![
                vec![
                    span(0, 0, 0, 0, 40),
                    span(0, 1, 40, 10, 90),
                    span(1, 0, 100, 0, 130),
                ],
                vec![span(0, 0, 5, 0, 50), span(1, 0, 100, 0, 150)],
            ],
            lost: 0,
        };
        let nanos = |n| Duration::from_nanos(n);
        let timing = |step, wall, busy, waited| StepTiming {
            step,
            wall: nanos(wall),
            busy: nanos(busy),
            waited: nanos(waited),
        };
        assert_eq!(
            profile.steps(0),
            [timing(0, 50, 85, 0), timing(1, 40, 40, 10)]
        );
        assert_eq!(profile.steps(1), [timing(0, 50, 80, 0)]);
        assert_eq!(profile.steps(2), []);
        assert_eq!(profile.wall(1), nanos(60));
        assert_eq!(profile.waiting_share(0), 0.05);
        assert_eq!(profile.waiting_share(7), 0.0);
        let median = profile.median_steps(0..2);
        assert_eq!(median, [timing(0, 50, 80, 0), timing(1, 40, 40, 10)]);
    }
}
