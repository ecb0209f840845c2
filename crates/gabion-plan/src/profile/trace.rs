//! Traces in the Chrome trace event format (`chrome://tracing`, Perfetto), written from a profile.
//! <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>

use std::fmt::Write as _;
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

/// The track of phases; worker `n` has track `n + 1`.
pub(super) const PHASES: u64 = 0;

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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        Plan::parse(include_str!("gate.plan")).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn sample() -> (Profile, Vec<Phase>) {
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

    pub(crate) fn written(plan: &Plan) -> String {
        let (profile, phases) = sample();
        let mut bytes = Vec::new();
        write_trace(&mut bytes, plan, &profile, &phases).expect("memory takes it");
        String::from_utf8(bytes).expect("JSON is UTF-8")
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
}
