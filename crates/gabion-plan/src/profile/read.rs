//! Traces read back, for the plan that they were measured on.

use std::fmt;
use std::time::Duration;

use gabion_tensor::Bindings;
use serde::Deserialize;
use serde_json::Value;

use super::trace::{PHASES, Phase, plan_digest};
use super::{Profile, ProfiledRun, StepSpan};
use crate::plan::Plan;

/// Why a trace cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It is no JSON, or no trace that was written here.
    #[error("not a trace of a plan: {0}; write one with `gabion generate --profile`")]
    Form(String),
    /// It was measured on another plan.
    #[error(
        "the trace was measured on another plan: expected {expected}, found {found}; measure again with this model and this version, or look at the model that was measured"
    )]
    OtherPlan {
        /// The plan.
        expected: Box<PlanId>,
        /// The one that the trace has.
        found: Box<PlanId>,
    },
}

/// What a trace says of its plan: `@name (71 steps, 0f3c..)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanId {
    /// Its name.
    pub name: String,
    /// [`plan_digest`]: plans are the same if this is.
    pub digest: String,
    /// How many steps it has, if that is said.
    pub steps: Option<u64>,
}

impl PlanId {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            digest: plan_digest(plan),
            steps: Some(plan.steps.len() as u64),
        }
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{} (", self.name)?;
        if let Some(steps) = self.steps {
            write!(f, "{steps} steps, ")?;
        }
        write!(f, "{})", self.digest)
    }
}

/// What is read of a file; all else in it is passed over.
#[derive(Deserialize)]
struct Trace {
    #[serde(default, rename = "otherData")]
    other_data: Value,
    #[serde(rename = "traceEvents")]
    trace_events: Option<Vec<Event>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    ph: Value,
    name: Value,
    tid: Value,
    ts: Value,
    dur: Value,
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    run: Value,
    step: Value,
    waited_ns: Value,
}

/// Reads a trace that [`write_trace`](super::write_trace) wrote of this plan.
///
/// # Errors
/// No such trace, one of another plan, or one with runs or steps that are not there.
pub fn read_trace(text: &str, plan: &Plan) -> Result<(Profile, Vec<Phase>), TraceError> {
    let form = |problem: String| TraceError::Form(problem);
    let trace: Trace = serde_json::from_str(text).map_err(|e| form(e.to_string()))?;
    let head = &trace.other_data;
    check_plan(head, plan)?;
    let workers = number(&head["workers"], "otherData.workers")?;
    if workers > MOST_WORKERS {
        return Err(form(format!("{workers} workers, at most {MOST_WORKERS}")));
    }
    let mut profile = Profile {
        runs: Vec::new(),
        workers: vec![Vec::new(); workers as usize],
        lost: number(&head["lost"], "otherData.lost")?,
    };
    for run in list(&head["runs"], "otherData.runs")? {
        profile.runs.push(read_run(run)?);
    }
    // Copies of outputs come after the last step.
    let steps = (plan.steps.len() + plan.outputs.len()) as u64;
    let mut phases = Vec::new();
    let Some(events) = trace.trace_events else {
        return Err(form("there is no traceEvents".to_owned()));
    };
    for event in &events {
        if event.ph != "X" {
            continue;
        }
        let track = number(&event.tid, "tid")?;
        if track == PHASES {
            phases.push(Phase {
                name: event.name.as_str().unwrap_or_default().to_owned(),
                start: Duration::from_nanos(nanos(&event.ts, "ts")?),
                time: Duration::from_nanos(nanos(&event.dur, "dur")?),
            });
            continue;
        }
        let span = read_span(event, profile.runs.len() as u64, steps)?;
        let Some(spans) = profile.workers.get_mut(track as usize - 1) else {
            return Err(form(format!("track {track}, there are {workers} workers")));
        };
        spans.push(span);
    }
    Ok((profile, phases))
}

/// Refuses what was measured on another plan, or does not say on which.
fn check_plan(head: &Value, plan: &Plan) -> Result<(), TraceError> {
    let (Some(name), Some(digest)) = (head["plan"].as_str(), head["digest"].as_str()) else {
        let problem = "otherData has no plan and digest".to_owned();
        return Err(TraceError::Form(problem));
    };
    let expected = Box::new(PlanId::of(plan));
    if digest == expected.digest {
        return Ok(());
    }
    let found = Box::new(PlanId {
        name: name.to_owned(),
        digest: digest.to_owned(),
        steps: head["steps"].as_u64(),
    });
    Err(TraceError::OtherPlan { expected, found })
}

/// A step's event, of one of `runs` runs and one of `steps` steps.
fn read_span(event: &Event, runs: u64, steps: u64) -> Result<StepSpan, TraceError> {
    let args = &event.args;
    let below = |value: &Value, field: &str, limit: u64| -> Result<u32, TraceError> {
        let value = number(value, field)?;
        let known = u32::try_from(value).ok().filter(|_| value < limit);
        known.ok_or_else(|| TraceError::Form(format!("{field} {value}: there are {limit}, from 0")))
    };
    let start_ns = nanos(&event.ts, "ts")?;
    let time = nanos(&event.dur, "dur")?;
    let waited_ns = number(&args.waited_ns, "waited_ns")?;
    let overflow = || TraceError::Form(format!("a time of {start_ns} ns and {time} ns more"));
    Ok(StepSpan {
        run: below(&args.run, "run", runs)?,
        step: below(&args.step, "step", steps)?,
        start_ns: start_ns.checked_sub(waited_ns).ok_or_else(overflow)?,
        waited_ns,
        end_ns: start_ns.checked_add(time).ok_or_else(overflow)?,
    })
}

/// More workers than any machine has: such a file was not written here.
const MOST_WORKERS: u64 = 4096;

fn read_run(run: &Value) -> Result<ProfiledRun, TraceError> {
    let mut sizes = Bindings::default();
    let Some(given) = run["sizes"].as_object() else {
        return Err(TraceError::Form("a run has no sizes".to_owned()));
    };
    for (symbol, size) in given {
        let size = size.as_i64().unwrap_or(-1);
        let wrong = |e: String| TraceError::Form(format!("size `{symbol}`: {e}"));
        sizes.bind(symbol, size).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(ProfiledRun {
        start_ns: number(&run["start_ns"], "start_ns")?,
        end_ns: number(&run["end_ns"], "end_ns")?,
        sizes,
    })
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a Vec<Value>, TraceError> {
    let list = value.as_array();
    list.ok_or_else(|| TraceError::Form(format!("{what} is no list")))
}

fn number(value: &Value, what: &str) -> Result<u64, TraceError> {
    let number = value.as_u64();
    number.ok_or_else(|| TraceError::Form(format!("{what}: expected a number, found {value}")))
}

fn nanos(value: &Value, what: &str) -> Result<u64, TraceError> {
    match value.as_f64() {
        Some(micros) if (0.0..1e15).contains(&micros) => Ok((micros * 1e3).round() as u64),
        _ => Err(TraceError::Form(format!(
            "{what}: expected microseconds, found {value}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{plan, sample, written};
    use super::*;

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let plan = plan();
        assert_eq!(read_trace(&written(&plan), &plan), Ok(sample()));
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let plan = plan();
        let text = written(&plan);
        let said = |text: &str, plan: &Plan| read_trace(text, plan).unwrap_err().to_string();
        let mut other = plan.clone();
        other.name = "other".to_owned();
        let error = said(&text, &other);
        assert!(
            error.contains("another plan: expected @other (1 steps, ")
                && error.contains("found @gate (1 steps, "),
            "{error}"
        );
        // A trace that does not say how many steps its plan has.
        let older = said(&text.replace("\"steps\":1,", ""), &other);
        assert!(older.contains("found @gate ("), "{older}");
        assert!(!older.contains("found @gate (1 steps"), "{older}");
        assert!(said("[", &plan).contains("not a trace of a plan: "));
        assert!(said("{}", &plan).contains("otherData has no plan and digest"));
        let error = said(&text.replace("\"workers\":2", "\"workers\":1"), &plan);
        assert!(error.contains("track 2, there are 1 workers"), "{error}");
        let error = said(
            &text.replace("\"workers\":2", "\"workers\":99999999999"),
            &plan,
        );
        assert!(error.contains("99999999999 workers"), "{error}");
        let error = said(&text.replace("\"step\":0", "\"step\":-1"), &plan);
        assert!(
            error.contains("step: expected a number, found -1"),
            "{error}"
        );
    }

    /// Files that were cut, or that somebody wrote by hand.
    #[test]
    fn what_no_run_can_have_taken_is_refused() {
        let plan = plan();
        let text = written(&plan);
        let said = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            let error = read_trace(&text.replace(from, to), &plan).unwrap_err();
            error.to_string()
        };
        for cut in [text.len() / 4, text.len() / 2, text.len() - 3] {
            let error = read_trace(&text[..cut], &plan).unwrap_err().to_string();
            assert!(error.contains("EOF while parsing"), "{cut}: {error}");
        }
        // Steps: the plan's one and the copy of its one output.
        for (from, to, words) in [
            ("\"step\":0", "\"step\":2", "step 2: there are 2, from 0"),
            ("\"run\":1", "\"run\":7", "run 7: there are 2, from 0"),
            (
                "\"dur\":1234.55",
                "\"dur\":-1234.55",
                "dur: expected microseconds",
            ),
            ("\"dur\":1234.55", "\"dur\":NaN", "expected value at line"),
            ("\"dur\":1234.55", "\"dur\":1e999", "number out of range"),
            (
                "\"dur\":1234.55",
                "\"dur\":1e15",
                "dur: expected microseconds",
            ),
            (
                "\"dur\":1234.55",
                "\"dur\":\"3\"",
                "dur: expected microseconds",
            ),
            (
                "\"waited_ns\":17",
                "\"waited_ns\":1000000000000",
                "a time of",
            ),
            ("\"digest\":", "\"digits\":", "no plan and digest"),
            ("\"traceEvents\":", "\"events\":", "there is no traceEvents"),
            ("\"n\":3", "\"n\":-3", "size `n`"),
        ] {
            let error = said(from, to);
            assert!(error.contains(words), "{to}: {error}");
        }
    }

    /// The longest times that are read: their sums stay within a number.
    #[test]
    fn sums_of_huge_times_do_not_overflow() {
        let plan = plan();
        let text = written(&plan).replace("\"dur\":1234.55", "\"dur\":9.9e14");
        let (mut profile, _) = read_trace(&text, &plan).expect("large, not too large");
        let span = profile.workers[0][0];
        profile.workers[0] = vec![span; 40];
        let timing = profile.steps(0)[0];
        assert_eq!(timing.busy, Duration::from_nanos(u64::MAX));
        assert!(profile.waiting_share(0) <= 1.0);
    }
}
