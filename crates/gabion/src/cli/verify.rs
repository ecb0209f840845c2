//! `gabion verify`: the reference evaluator on a graph as built, after each pass, and the executor,
//! all on the same samples.

mod ranges;
mod subject;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;

use gabion::Engine;
use gabion::ir::eval::{evaluate, evaluate_all};
use gabion::ir::text::Names;
use gabion::ir::{Graph, Value as GraphValue};
use gabion::lower::{LowerOptions, lower_graph};
use gabion::tensor::{DType, HostTensor};
use serde_json::{Value, json};

use super::engine_args::EngineArgs;
use super::error::CliError;
use super::output::{Output, table};
use super::{Done, lower};
use subject::{Subject, Tensors};

/// Words of `gabion verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset, a folder, a .gguf file, or a graph in text form
    #[arg(value_name = "MODEL|GRAPH")]
    source: OsString,
    /// Only the first N layers of a model: the evaluator is plain and slow
    #[arg(long, value_name = "N", default_value_t = 2)]
    layers: usize,
    /// Tokens of a model's sample
    #[arg(long, value_name = "N", default_value_t = 3)]
    tokens: usize,
    /// Other samples for other seeds
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The values of an integer input's samples: LO and more, below HI (ids of a vocabulary,
    /// positions, divisors)
    #[arg(long = "range", value_name = "NAME=LO..HI", value_parser = ranges::parse)]
    ranges: Vec<(String, Range<i64>)>,
    /// The largest norm of a difference, relative to the norm of the value
    #[arg(long, value_name = "X", default_value_t = 1e-4)]
    tolerance: f64,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args, out: &Output) -> Done {
    let engine = args.engine.engine()?;
    if args.layers == 0 || args.tokens == 0 {
        return Err(
            CliError::Options("--layers and --tokens: expected at least 1".to_owned()).into(),
        );
    }
    let (graph, model) = lower::graph_of(&args.source, Some(args.layers), out)?;
    let ranges = ranges::check(&graph, &args.ranges)?;
    let subject = match model {
        Some(path) => Subject::of_model(graph, &path, args.seed, args.tokens, &ranges)?,
        None => Subject::of_graph(graph, args.seed, ranges)?,
    };
    let rows = subject.compare(&engine, args.tolerance, out)?;
    let good = rows.iter().all(|row| row.parted.is_none());
    let cells = |row: &Row| {
        vec![
            row.stage.clone(),
            format!("{:.3e}", row.error),
            row.verdict(),
        ]
    };
    out.text(&table(
        &["stage", "largest error", "verdict"],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    ))?;
    for row in rows.iter().filter(|row| row.parted.is_some()) {
        out.note(format_args!(
            "error: {} parts from the reference at {}",
            row.stage,
            row.verdict()
        ));
    }
    out.object(|| json!({ "ok": good, "tolerance": args.tolerance, "stages": rows.iter().map(Row::json).collect::<Vec<_>>() }))?;
    Ok(good)
}

/// One stage compared with the reference.
struct Row {
    stage: String,
    rewrites: Option<usize>,
    error: f64,
    /// The first value that differs, if the stage is beyond the tolerance.
    parted: Option<String>,
}

impl Row {
    fn verdict(&self) -> String {
        self.parted.clone().unwrap_or_else(|| "ok".to_owned())
    }

    fn json(&self) -> Value {
        json!({ "stage": self.stage, "rewrites": self.rewrites, "error": self.error, "parted_at": self.parted })
    }
}

impl Subject {
    fn compare(&self, engine: &Engine, tolerance: f64, out: &Output) -> anyhow::Result<Vec<Row>> {
        let options = LowerOptions {
            record: true,
            ..LowerOptions::default()
        };
        let lowered = lower_graph(&self.graph, engine.target(), &options)?;
        let progress = out.bar("evaluating", lowered.passes.len() + 2);
        let reference: Tensors = evaluate(&self.graph, &self.inputs, &self.weights)
            .map_err(|error| ranges::explained(&self.graph, &self.inputs, error))?
            .outputs
            .into_iter()
            .collect();
        progress.step();
        let mut rows: Vec<Row> = Vec::new();
        let mut before = &self.graph;
        for pass in &lowered.passes {
            let error = match (&pass.snapshot, rows.last()) {
                // Nothing was changed.
                (_, last) if pass.rewrites == 0 => last.map_or(0.0, |row| row.error),
                (Some(snapshot), _) => {
                    let after = evaluate(&snapshot.after, &self.inputs, &self.weights)?;
                    largest(&reference, after.outputs.iter())
                }
                (None, last) => last.map_or(0.0, |row| row.error),
            };
            let after = pass.snapshot.as_ref().map_or(before, |s| &s.after);
            let parted = if error <= tolerance {
                None
            } else {
                Some(self.parted(before, after, tolerance)?)
            };
            rows.push(Row {
                stage: pass.name.to_owned(),
                rewrites: Some(pass.rewrites),
                error,
                parted,
            });
            before = after;
            progress.step();
        }
        rows.push(self.executor(engine, &reference, tolerance)?);
        Ok(rows)
    }

    /// The executor's row.
    fn executor(
        &self,
        engine: &Engine,
        reference: &Tensors,
        tolerance: f64,
    ) -> anyhow::Result<Row> {
        let outputs = self.execute(engine, &self.graph)?;
        let error = largest(
            reference,
            outputs.iter().map(|(name, tensor)| (name, tensor)),
        );
        let parted = if error <= tolerance {
            None
        } else {
            Some(self.parted_executor(engine, tolerance)?)
        };
        Ok(Row {
            stage: format!("executor {}", engine.target().name),
            rewrites: None,
            error,
            parted,
        })
    }

    fn execute(&self, engine: &Engine, graph: &Graph) -> anyhow::Result<Vec<(String, HostTensor)>> {
        let compiled = engine.compile(graph, &self.weights)?;
        let inputs: Vec<(&str, &HostTensor)> =
            self.inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        Ok(compiled.session_with(&self.sizes)?.run(&inputs)?)
    }

    /// The first value that both graphs name and that differs.
    fn parted(&self, before: &Graph, after: &Graph, tolerance: f64) -> anyhow::Result<String> {
        let old = evaluate_all(before, &self.inputs, &self.weights)?;
        let new = evaluate_all(after, &self.inputs, &self.weights)?;
        let names = Names::new(before);
        let named: BTreeMap<&str, GraphValue> =
            old.values.keys().map(|v| (names.get(*v), *v)).collect();
        let new_names = Names::new(after);
        for &id in new_names.order() {
            for result in 0..after.node(id).results.len() {
                let value = GraphValue::new(id, result as u32);
                let twin = named
                    .get(new_names.get(value))
                    .and_then(|v| old.values.get(v));
                let (Some(twin), Some(here)) = (twin, new.values.get(&value)) else {
                    continue;
                };
                let error = difference(twin, here);
                if twin.shape() == here.shape() && error > tolerance {
                    return Ok(format!("%{} (error {error:.3e})", new_names.get(value)));
                }
            }
        }
        Ok("an output, with no inner value that both graphs name".to_owned())
    }

    /// The first value at which the executor differs when every value is an output.
    fn parted_executor(&self, engine: &Engine, tolerance: f64) -> anyhow::Result<String> {
        let mut open = self.graph.compacted();
        let names = Names::new(&open);
        let mut order = Vec::new();
        for &id in names.order() {
            for result in 0..open.node(id).results.len() {
                let value = GraphValue::new(id, result as u32);
                if !open.is_output(value) && !open.value_type(value).dtype.is_block() {
                    order.push((format!("value.{}", order.len()), value));
                }
            }
        }
        for (name, value) in &order {
            open.push_output(name.as_str(), *value);
        }
        let reference: Tensors = evaluate(&open, &self.inputs, &self.weights)?
            .outputs
            .into_iter()
            .collect();
        let found: Tensors = self.execute(engine, &open)?.into_iter().collect();
        for (name, value) in &order {
            let (Some(a), Some(b)) = (reference.get(name), found.get(name)) else {
                continue;
            };
            let error = difference(a, b);
            if error > tolerance {
                return Ok(format!("%{} (error {error:.3e})", names.get(*value)));
            }
        }
        Ok("an output, only when its steps are fused: every value alone is right".to_owned())
    }
}

/// The largest difference of the outputs of two runs.
fn largest<'a>(
    reference: &Tensors,
    found: impl Iterator<Item = (&'a String, &'a HostTensor)>,
) -> f64 {
    found
        .map(|(name, tensor)| {
            reference
                .get(name)
                .map_or(f64::INFINITY, |r| difference(r, tensor))
        })
        .fold(0.0, f64::max)
}

/// The norm of the difference relative to the norm of the reference; infinite for other shapes,
/// other dtypes, integers that differ, and NaN or infinities that do not agree.
fn difference(reference: &HostTensor, found: &HostTensor) -> f64 {
    if reference.dtype() != found.dtype() || reference.shape() != found.shape() {
        return f64::INFINITY;
    }
    if reference.bitwise_eq(found) {
        return 0.0;
    }
    let float = |t: &HostTensor| {
        matches!(
            t.dtype(),
            DType::F16 | DType::BF16 | DType::F32 | DType::F64
        )
    };
    let (true, Ok(a), Ok(b)) = (float(reference), reference.to_f64_vec(), found.to_f64_vec())
    else {
        return f64::INFINITY;
    };
    let (mut norm, mut apart) = (0.0f64, 0.0f64);
    for (a, b) in a.into_iter().zip(b) {
        if a.is_finite() && b.is_finite() {
            norm += a * a;
            apart += (a - b) * (a - b);
        } else if a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) {
            return f64::INFINITY;
        }
    }
    if apart == 0.0 {
        0.0
    } else {
        (apart / norm.max(f64::MIN_POSITIVE)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_and_never_hide_nan() {
        let t = |values: &[f32]| HostTensor::from_slice(&[values.len()], values).unwrap();
        assert_eq!(difference(&t(&[3.0, 4.0]), &t(&[3.0, 4.0])), 0.0);
        assert!((difference(&t(&[3.0, 4.0]), &t(&[3.0, 4.5])) - 0.1).abs() < 1e-12);
        assert_eq!(difference(&t(&[1.0]), &t(&[f32::NAN])), f64::INFINITY);
        assert_eq!(
            difference(&t(&[f32::INFINITY]), &t(&[f32::NEG_INFINITY])),
            f64::INFINITY
        );
        assert_eq!(difference(&t(&[f32::NAN, 1.0]), &t(&[f32::NAN, 1.0])), 0.0);
        assert_eq!(difference(&t(&[1.0]), &t(&[1.0, 1.0])), f64::INFINITY);
    }
}
