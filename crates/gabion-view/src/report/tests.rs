//! The data of a report, read back as the page reads it.

use gabion_cpu::cpu_target;
use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower};
use gabion_tensor::{HostTensor, TensorType};
use serde_json::Value;

use super::data::Data;
use super::{ReportError, ReportOptions, report, text_of_stages};
use crate::document::{Document, Sizes};
use crate::{Histogram, Timings};

fn ty(text: &str) -> TensorType {
    text.parse().expect("a type")
}

/// q, k and v of one module, which become one stack.
fn three_linears() -> Graph {
    let b = Builder::new("three");
    let x = b.input("x", ty("f32[tokens, 64]"));
    for (name, rows) in [("q", 64), ("k", 32), ("v", 32)] {
        let _scope = b.scope("self_attn");
        let weight = b.weight(
            &format!("self_attn.{name}_proj.weight"),
            ty(&format!("f32[{rows}, 64]")),
        );
        b.output(name, x.matmul_t(weight).named(name));
    }
    b.finish().expect("a graph")
}

fn lowered(graph: &Graph) -> Document {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let lowered = lower(graph, &cpu_target(), &options).expect("it lowers");
    Document::of_lowered(graph, &lowered, &Sizes::default())
}

fn data_of(document: &Document) -> Value {
    let options = ReportOptions::default();
    let texts = text_of_stages(document);
    let data = Data::new(document, &options, &texts);
    serde_json::to_value(&data).expect("JSON")
}

/// The numbers of a field.
fn numbers(value: &Value) -> Vec<usize> {
    let list = value.as_array().expect("a list").iter();
    list.map(|it| it.as_u64().expect("a number") as usize)
        .collect()
}

#[test]
fn the_page_gets_every_box_as_the_document_has_it() {
    let document = lowered(&three_linears());
    let data = data_of(&document);
    let boxes = &data["boxes"];
    let words: Vec<&str> = data["words"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .expect("words");
    let field = |name: &str| numbers(&boxes[name]);
    let (ops, names, starts, ends) = (field("op"), field("name"), field("start"), field("end"));
    let (n_operands, operands, keys) = (field("n_operands"), field("operands"), field("key"));
    let mut key = 0;
    let differences = boxes["keys"].as_array().expect("keys").iter();
    let document_keys: Vec<i64> = differences
        .map(|it| {
            key += it.as_i64().expect("a number");
            key
        })
        .collect();
    let mut at = 0;
    for (id, it) in document.boxes.iter().enumerate() {
        assert_eq!(document_keys[keys[id]], i64::from(it.key.0));
        assert_eq!((words[ops[id]], words[names[id]]), (&*it.op, &*it.name));
        assert_eq!(
            (starts[id], ends[id]),
            (it.stages.start as usize, it.stages.end as usize)
        );
        let stage = starts[id];
        let wanted: Vec<usize> = document
            .operands(stage, id as u32)
            .map(|(operand, _)| keys[operand as usize])
            .collect();
        assert_eq!(operands[at..at + n_operands[id]], wanted[..]);
        at += n_operands[id];
    }
    assert_eq!(at, operands.len());
}

#[test]
fn a_word_is_written_once() {
    let data = data_of(&lowered(&three_linears()));
    let mut words: Vec<&str> = data["words"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .expect("words");
    let n = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), n);
}

#[test]
fn stages_that_change_nothing_share_their_orders_and_their_text() {
    let document = lowered(&three_linears());
    let data = data_of(&document);
    let changes = data["orders"]["stages"].as_array().expect("stages");
    let mut quiet = 0;
    for (at, stage) in document.stages.iter().enumerate().skip(1) {
        let text = data["stages"][at]["text"].as_u64().expect("a stage") as usize;
        let same = document.stages[at - 1].boxes == stage.boxes;
        assert_eq!(
            changes[at].as_array().is_some_and(Vec::is_empty),
            same,
            "{}",
            stage.name
        );
        assert_eq!(
            document.text(text).text,
            document.text(at).text,
            "{}",
            stage.name
        );
        quiet += usize::from(text < at);
    }
    assert!(quiet > 5);
}

#[test]
fn the_ledger_leads_to_what_it_speaks_of() {
    let document = lowered(&three_linears());
    let data = data_of(&document);
    let ledger = &data["ledger"];
    let (seen, target) = (numbers(&ledger["seen"]), numbers(&ledger["target"]));
    let entries = document.ledger.entries();
    assert_eq!(target.len(), entries.len());
    let siblings = entries
        .iter()
        .position(|it| it.candidate == "stacked_matmul %q");
    let at = siblings.expect("three products of one input are candidates");
    let id = target[at] - 1;
    assert_eq!(id % 2, 0, "a box");
    let it = document.get((id / 2) as u32);
    assert_eq!((&*it.op, &*it.name), ("stacked_matmul", "%q"));
    assert!(it.stages.contains(&(seen[at] as u32)));
}

#[test]
fn a_stack_is_shown_with_its_parts_and_segments() {
    let data = data_of(&lowered(&three_linears()));
    let weights = data["plan"]["weights"].as_array().expect("weights");
    assert_eq!(weights.len(), 1);
    let rows: Vec<(u64, u64)> = weights[0]["parts"]
        .as_array()
        .map(|parts| {
            parts
                .iter()
                .filter_map(|it| Some((it[3].as_u64()?, it[4].as_u64()?)))
                .collect()
        })
        .expect("parts");
    assert_eq!(rows, [(0, 64), (0, 32), (0, 32)]);
    assert_eq!(weights[0]["bytes"], 128 * 64 * 4);
    assert_eq!(weights[0]["segments"].as_array().map(Vec::len), Some(3));
}

#[test]
fn values_of_the_plans_weights_are_counted_and_those_that_cannot_be_read_are_left_out() {
    let document = lowered(&three_linears());
    let load = |name: &str| {
        let k = [-1.0, 0.0, 0.0, 3.0, f32::NAN];
        let values = (name == "self_attn.k_proj.weight").then_some(k)?;
        HostTensor::from_slice(&[5], &values).ok()
    };
    let plan = document.plan().expect("a plan");
    let options = ReportOptions {
        histograms: Histogram::of_plan(plan, load),
        ..ReportOptions::default()
    };
    let texts = text_of_stages(&document);
    let data = serde_json::to_value(Data::new(&document, &options, &texts)).expect("JSON");
    let all = data["plan"]["histograms"].as_array().expect("histograms");
    let [k] = &all[..] else {
        panic!("{} histograms", all.len())
    };
    assert_eq!(k["values"], serde_json::json!([-1.0, 3.0, 0.5, 1.5]));
    assert_eq!((&k["not_finite"], &k["step"]), (&1.into(), &1.into()));
    let bins = numbers(&k["bins"]);
    assert_eq!(bins.len(), Histogram::BINS);
    assert_eq!((bins[0], bins[16], bins[63]), (1, 2, 1));
    // Of the stack's parts the second has it.
    let parts = data["plan"]["weights"][0]["parts"].as_array();
    let numbers: Vec<u64> = parts
        .into_iter()
        .flatten()
        .filter_map(|part| part[6].as_u64())
        .collect();
    assert_eq!(numbers, [0, 1, 0]);
}

#[test]
fn times_of_another_plan_are_refused() {
    let document = lowered(&three_linears());
    let steps = document.plan().expect("a plan").steps.len();
    let of = |n| ReportOptions {
        timings: vec![Timings {
            name: "run".to_owned(),
            whence: "once".to_owned(),
            steps_ns: vec![Some(1_000); n],
        }],
        ..ReportOptions::default()
    };
    assert!(report(&document, &of(steps)).is_ok());
    let error = report(&document, &of(steps + 1)).expect_err("one too many");
    assert!(
        matches!(error, ReportError::Steps(it) if it.found == steps + 1 && it.expected == steps)
    );
    assert!(error.to_string().contains("another plan"));
}
