//! How long the steps of a plan took: what colours, tables and pages show as measured time.

use std::ops::Range;

use gabion_plan::Plan;
use gabion_plan::profile::{Profile, ProfiledRun, StepTiming};

use crate::document::{FIRST_STEP, Key};

/// One time for each step, and whence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// What was run, in a word or two, to choose by: `token`.
    pub name: String,
    /// Whence the times are, as a line: `median of 63 runs in trace.json, with tokens = 1`.
    pub whence: String,
    /// Nanoseconds by the number of the step; none where no time was seen.
    pub steps_ns: Vec<Option<u64>>,
}

/// Times of another plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the times are of {found} steps, and the plan has {expected}: they were taken with another plan"
)]
pub struct OtherSteps {
    /// How many times there are.
    pub found: usize,
    /// How many steps the plan has.
    pub expected: usize,
}

impl Timings {
    /// The fastest time of each step over all runs, which should be of equal sizes.
    pub fn fastest(plan: &Plan, profile: &Profile) -> Self {
        let n = profile.runs.len();
        let mut fastest: Vec<Option<u64>> = vec![None; plan.steps.len()];
        for timing in (0..n).flat_map(|run| profile.steps(run)) {
            if let Some(known) = fastest.get_mut(timing.step) {
                let ns = nanos(&timing);
                *known = Some(known.map_or(ns, |it| it.min(ns)));
            }
        }
        Self {
            name: "run".to_owned(),
            whence: format!("fastest of {}{}", runs_text(n), with(&profile.runs)),
            steps_ns: fastest,
        }
    }

    /// What the profile of a generated text says: of a token (the median of each step over all runs but the first) and of
    /// the prompt (the first run). A text of one token has only the prompt's times; no runs, none.
    pub fn of_generation(plan: &Plan, profile: &Profile, file: &str) -> Vec<Self> {
        let n = profile.runs.len();
        let of = |name: &str, runs: Range<usize>| {
            let many = match runs.len() {
                0 => return None,
                1 => "one run".to_owned(),
                n => format!("median of {}", runs_text(n)),
            };
            let with = with(&profile.runs[runs.clone()]);
            let mut steps_ns = vec![None; plan.steps.len()];
            for timing in profile.median_steps(runs) {
                if let Some(known) = steps_ns.get_mut(timing.step) {
                    *known = Some(nanos(&timing));
                }
            }
            Some(Self {
                name: name.to_owned(),
                whence: format!("{many} in {file}{with}"),
                steps_ns,
            })
        };
        let token = of("token", 1.min(n)..n);
        let prompt = of("prompt", 0..1.min(n));
        token.into_iter().chain(prompt).collect()
    }

    /// Refuses times of a plan with another number of steps.
    ///
    /// # Errors
    /// [`OtherSteps`].
    pub fn check(&self, plan: Option<&Plan>) -> Result<(), OtherSteps> {
        let expected = plan.map_or(0, |plan| plan.steps.len());
        match self.steps_ns.len() {
            found if found == expected => Ok(()),
            found => Err(OtherSteps { found, expected }),
        }
    }

    /// The time of a box in microseconds, if it is a step that was measured.
    pub fn of(&self, key: Key) -> Option<f64> {
        let number = key.0.checked_sub(FIRST_STEP)?;
        let ns = self.steps_ns.get(number as usize).copied().flatten()?;
        Some(ns as f64 / 1e3)
    }

    /// All steps, in microseconds.
    pub fn total(&self) -> f64 {
        self.steps_ns
            .iter()
            .flatten()
            .map(|ns| *ns as f64 / 1e3)
            .sum()
    }
}

fn nanos(timing: &StepTiming) -> u64 {
    u64::try_from(timing.wall.as_nanos()).unwrap_or(u64::MAX)
}

fn runs_text(n: usize) -> String {
    match n {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    }
}

/// `, with past = 5..67, tokens = 1`; nothing where no run has a symbol.
fn with(runs: &[ProfiledRun]) -> String {
    let Some(first) = runs.first() else {
        return String::new();
    };
    let sizes = first.sizes.iter().map(|(symbol, size)| {
        let others = runs.iter().filter_map(|run| run.sizes.get(symbol.name()));
        let (low, high) = others.fold((size, size), |(low, high), it| (low.min(it), high.max(it)));
        match low == high {
            true => format!("{symbol} = {low}"),
            false => format!("{symbol} = {low}..{high}"),
        }
    });
    let sizes: Vec<String> = sizes.collect();
    match sizes.is_empty() {
        true => String::new(),
        false => format!(", with {}", sizes.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use gabion_plan::profile::StepSpan;
    use gabion_tensor::Bindings;

    use super::*;

    fn plan() -> Plan {
        let text = include_str!("../../gabion-plan/src/profile/gate.plan");
        Plan::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs of the one step and of the copy of the output, which is no step, with times in nanoseconds.
    fn profile(times: &[(i64, i64, u64)]) -> Profile {
        let mut profile = Profile {
            workers: vec![Vec::new()],
            ..Profile::default()
        };
        for (run, (tokens, past, ns)) in times.iter().enumerate() {
            let mut sizes = Bindings::default();
            sizes.bind("tokens", *tokens).expect("bound once");
            sizes.bind("past", *past).expect("bound once");
            profile.runs.push(ProfiledRun {
                start_ns: 0,
                end_ns: 1_000,
                sizes,
            });
            profile.workers[0].extend((0..2).map(|step| StepSpan {
                run: run as u32,
                step,
                start_ns: 0,
                waited_ns: 0,
                end_ns: *ns,
            }));
        }
        profile
    }

    #[test]
    fn a_generated_text_has_times_of_a_token_and_of_its_prompt() {
        let profile = profile(&[(5, 0, 900), (1, 5, 40), (1, 6, 10), (1, 7, 30)]);
        let all = Timings::of_generation(&plan(), &profile, "trace.json");
        assert_eq!(
            all,
            [
                Timings {
                    name: "token".to_owned(),
                    whence: "median of 3 runs in trace.json, with past = 5..7, tokens = 1"
                        .to_owned(),
                    steps_ns: vec![Some(30)],
                },
                Timings {
                    name: "prompt".to_owned(),
                    whence: "one run in trace.json, with past = 0, tokens = 5".to_owned(),
                    steps_ns: vec![Some(900)],
                },
            ]
        );
        assert_eq!(all[0].of(Key(FIRST_STEP)), Some(0.03));
        assert_eq!(all[0].of(Key(FIRST_STEP + 1)), None);
        assert_eq!(all[0].of(Key(3)), None);
    }

    #[test]
    fn a_text_of_one_token_has_its_prompt_and_no_runs_have_nothing() {
        let one = Timings::of_generation(&plan(), &profile(&[(5, 0, 900)]), "t");
        let names: Vec<&str> = one.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["prompt"]);
        assert_eq!(Timings::of_generation(&plan(), &profile(&[]), "t"), []);
    }

    #[test]
    fn steps_whose_spans_are_lost_have_no_time() {
        let mut profile = profile(&[(5, 0, 900), (1, 5, 40)]);
        profile.workers[0].retain(|span| span.run == 0);
        let all = Timings::of_generation(&plan(), &profile, "t");
        assert_eq!(all[0].steps_ns, [None]);
        assert_eq!(all[0].total(), 0.0);
        assert_eq!(all[1].steps_ns, [Some(900)]);
    }

    #[test]
    fn a_run_that_is_repeated_counts_by_its_fastest() {
        let fastest = Timings::fastest(&plan(), &profile(&[(3, 0, 70), (3, 0, 50), (3, 0, 60)]));
        assert_eq!(fastest.steps_ns, [Some(50)]);
        assert_eq!(
            fastest.whence,
            "fastest of 3 runs, with past = 0, tokens = 3"
        );
        assert_eq!(fastest.check(Some(&plan())), Ok(()));
        let error = fastest.check(None).expect_err("there is no plan");
        assert_eq!((error.found, error.expected), (1, 0));
    }
}
