//! Traces in the Chrome trace event format (`chrome://tracing`, Perfetto): written from a profile, read
//! back for a plan. <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>

use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use gabion_tensor::Bindings;
use serde_json::{Value, json};

use super::{Profile, ProfiledRun, StepSpan, step_cost, step_name};
use crate::plan::Plan;
use crate::view::View;

/// Something that the caller did meanwhile: loading, compiling, a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// What it is called.
    pub name: String,
    /// When it began, since the moment that the profile counts from.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

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

/// The track of phases; worker `n` has track `n + 1`.
const PHASES: u64 = 0;

/// A number by which plans are told apart: FNV-1a of the text form, in hexadecimal.
pub fn plan_digest(plan: &Plan) -> String {
    let hash = plan
        .to_text()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// Writes a trace: a track for the phases, one for each worker. Times are in microseconds.
///
/// # Errors
/// What `out` says.
pub fn write_trace(
    out: &mut dyn io::Write,
    plan: &Plan,
    profile: &Profile,
    phases: &[Phase],
) -> io::Result<()> {
    let sizes = |run: &ProfiledRun| -> Value {
        run.sizes
            .iter()
            .map(|(symbol, size)| (symbol.to_string(), json!(size)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let runs: Vec<Value> = profile
        .runs
        .iter()
        .map(|run| json!({"start_ns": run.start_ns, "end_ns": run.end_ns, "sizes": sizes(run)}))
        .collect();
    let head = json!({
        "plan": plan.name,
        "digest": plan_digest(plan),
        "steps": plan.steps.len(),
        "workers": profile.workers.len(),
        "lost": profile.lost,
        "runs": runs,
    });
    write!(
        out,
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{head},\"traceEvents\":[\n{}",
        track(PHASES, "phases")
    )?;
    for worker in 0..profile.workers.len() {
        let name = track(worker as u64 + 1, &format!("worker {worker}"));
        write!(out, ",\n{name}")?;
    }
    for phase in phases {
        let (ts, dur) = (phase.start.as_nanos() as u64, phase.time.as_nanos() as u64);
        let event = event(&phase.name, "phase", PHASES, ts, dur, json!({}));
        write!(out, ",\n{event}")?;
    }
    let names: Vec<String> = (0..plan.steps.len())
        .map(|at| step_name(plan, at))
        .collect();
    let mut described: Described = Described::default();
    for (worker, spans) in profile.workers.iter().enumerate() {
        for span in spans {
            let name = match names.get(span.step as usize) {
                Some(name) => name.clone(),
                None => step_name(plan, span.step as usize),
            };
            let mut args = described.of(plan, profile, span).clone();
            args["run"] = json!(span.run);
            args["waited_ns"] = json!(span.waited_ns);
            let start = span.start_ns + span.waited_ns;
            let time = span.end_ns.saturating_sub(start);
            let event = event(&name, "step", worker as u64 + 1, start, time, args);
            write!(out, ",\n{event}")?;
        }
    }
    out.write_all(b"\n]}\n")
}

fn track(id: u64, name: &str) -> Value {
    json!({"ph": "M", "name": "thread_name", "pid": 1, "tid": id, "args": {"name": name}})
}

/// A complete event. Nanoseconds are thousandths of the format's microseconds.
fn event(name: &str, category: &str, track: u64, ts: u64, dur: u64, args: Value) -> Value {
    let micros = |ns: u64| ns as f64 / 1e3;
    json!({
        "ph": "X", "name": name, "cat": category, "pid": 1, "tid": track,
        "ts": micros(ts), "dur": micros(dur), "args": args,
    })
}

/// What is said of a step with the sizes of a run: the same for every run of equal sizes.
#[derive(Default)]
struct Described {
    of: Vec<(Bindings, Vec<Option<Value>>)>,
}

impl Described {
    fn of(&mut self, plan: &Plan, profile: &Profile, span: &StepSpan) -> &Value {
        let none = Bindings::default();
        let run = profile.runs.get(span.run as usize);
        let sizes = run.map_or(&none, |run| &run.sizes);
        let at = match self.of.iter().position(|(known, _)| known == sizes) {
            Some(at) => at,
            None => {
                self.of.push((sizes.clone(), Vec::new()));
                self.of.len() - 1
            }
        };
        let step = span.step as usize;
        let known = &mut self.of[at].1;
        if known.len() <= step {
            known.resize(step + 1, None);
        }
        known[step].get_or_insert_with(|| describe(plan, step, sizes))
    }
}

fn describe(plan: &Plan, number: usize, sizes: &Bindings) -> Value {
    let Some(step) = plan.steps.get(number) else {
        return json!({ "step": number });
    };
    let cost = step_cost(plan, step, sizes);
    let views = |views: &[View]| -> Vec<String> {
        let text = |view: &View| shown(plan, view, sizes);
        views.iter().map(text).collect()
    };
    json!({
        "step": number, "kernel": step.kernel.name(), "module": step.scope,
        "reads": views(&step.reads), "writes": views(&step.writes),
        "read_bytes": cost.read, "written_bytes": cost.written, "flops": cost.flops,
    })
}

/// `f32[1, 576]`, with numbers for symbols.
fn shown(plan: &Plan, view: &View, sizes: &Bindings) -> String {
    let mut text = format!("{}[", plan.dtype(view));
    for (axis, dim) in view.shape.iter().enumerate() {
        let comma = if axis == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = match dim.eval(sizes) {
            Ok(size) => write!(text, "{comma}{size}"),
            Err(_) => write!(text, "{comma}{dim}"),
        };
    }
    text + "]"
}

/// Reads a trace that [`write_trace`] wrote of this plan.
///
/// # Errors
/// No such trace, one of another plan, or one with runs or steps that are not there.
pub fn read_trace(text: &str, plan: &Plan) -> Result<(Profile, Vec<Phase>), TraceError> {
    let form = |problem: String| TraceError::Form(problem);
    let trace: Value = serde_json::from_str(text).map_err(|e| form(e.to_string()))?;
    let head = &trace["otherData"];
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
    for event in list(&trace["traceEvents"], "traceEvents")? {
        if event["ph"] != "X" {
            continue;
        }
        let track = number(&event["tid"], "tid")?;
        if track == PHASES {
            phases.push(Phase {
                name: event["name"].as_str().unwrap_or_default().to_owned(),
                start: Duration::from_nanos(nanos(&event["ts"], "ts")?),
                time: Duration::from_nanos(nanos(&event["dur"], "dur")?),
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
fn read_span(event: &Value, runs: u64, steps: u64) -> Result<StepSpan, TraceError> {
    let args = &event["args"];
    let below = |field: &str, limit: u64| -> Result<u32, TraceError> {
        let value = number(&args[field], field)?;
        let known = u32::try_from(value).ok().filter(|_| value < limit);
        known.ok_or_else(|| TraceError::Form(format!("{field} {value}: there are {limit}, from 0")))
    };
    let start_ns = nanos(&event["ts"], "ts")?;
    let time = nanos(&event["dur"], "dur")?;
    let waited_ns = number(&args["waited_ns"], "waited_ns")?;
    let overflow = || TraceError::Form(format!("a time of {start_ns} ns and {time} ns more"));
    Ok(StepSpan {
        run: below("run", runs)?,
        step: below("step", steps)?,
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
    use super::*;

    fn plan() -> Plan {
        Plan::parse(include_str!("gate.plan")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn sample() -> (Profile, Vec<Phase>) {
        let mut sizes = Bindings::default();
        sizes.bind("n", 3).expect("bound once");
        let span = |run, start_ns| StepSpan {
            run,
            step: 0,
            start_ns,
            waited_ns: 17,
            end_ns: start_ns + 1_234_567,
        };
        let run = ProfiledRun {
            start_ns: 1_000_001,
            end_ns: 9_000_003,
            sizes,
        };
        let profile = Profile {
            runs: vec![run.clone(), run],
            workers: vec![
                vec![span(0, 1_000_002), span(1, 5_000_000)],
                vec![span(0, 1_000_009)],
            ],
            lost: 4,
        };
        let phase = Phase {
            name: "prefill".to_owned(),
            start: Duration::from_nanos(999_999),
            time: Duration::from_millis(8),
        };
        (profile, vec![phase])
    }

    fn written(plan: &Plan) -> String {
        let (profile, phases) = sample();
        let mut bytes = Vec::new();
        write_trace(&mut bytes, plan, &profile, &phases).expect("memory takes it");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let plan = plan();
        assert_eq!(read_trace(&written(&plan), &plan), Ok(sample()));
    }

    #[test]
    fn events_say_what_a_viewer_needs() {
        let trace: Value = serde_json::from_str(&written(&plan())).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("a list");
        let tracks: Vec<&str> = events
            .iter()
            .filter(|e| e["ph"] == "M")
            .filter_map(|e| e["args"]["name"].as_str())
            .collect();
        assert_eq!(tracks, ["phases", "worker 0", "worker 1"]);
        let step = events.iter().find(|e| e["cat"] == "step").expect("a step");
        assert_eq!(step["name"], "step 0 matmul");
        assert_eq!((&step["tid"], &step["ts"]), (&json!(1), &json!(1000.019)));
        assert_eq!(step["args"]["reads"], json!(["f32[3, 64]"]));
        assert_eq!(step["args"]["writes"], json!(["f32[3, 64]"]));
        assert_eq!(step["args"]["flops"], json!(2 * 3 * 128 * 64));
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
            ("\"traceEvents\":", "\"events\":", "traceEvents is no list"),
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
