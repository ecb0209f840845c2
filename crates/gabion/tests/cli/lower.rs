//! `gabion lower`: stages, dumps, the ledger.

use std::fs;

use gabion::ir::Graph;
use gabion::lower::PASSES;
use gabion::plan::Plan;

use super::{fixture, gabion, names, tiny_llama};
use crate::words;

#[test]
fn every_stage_prints_a_text_that_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    for model in [
        tiny_llama(),
        fixture("tiny_bert"),
        fixture("tiny_models/phi3_fused"),
    ] {
        for stage in PASSES.iter().map(|p| p.name).chain(["graph"]) {
            let text = gabion(folder.path(), words!["lower", &model, "--stage", stage]).ok();
            assert_eq!(Graph::parse(&text).unwrap().to_text(), text, "{stage}");
        }
        let text = gabion(folder.path(), words!["lower", &model]).ok();
        assert_eq!(Plan::parse(&text).unwrap().to_text(), text);
    }
}

#[test]
fn a_dump_has_every_pass_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let summary = gabion(
        folder.path(),
        words!["lower", tiny_llama(), "--dump-dir", "a/b"],
    )
    .ok();
    assert!(summary.starts_with("pass"), "{summary}");
    let dump = folder.path().join("a/b");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dump.join("manifest.json")).unwrap()).unwrap();
    let passes = manifest["passes"].as_array().unwrap();
    assert_eq!(passes.len(), PASSES.len());
    let mut last = None;
    for (i, (entry, pass)) in passes.iter().zip(PASSES).enumerate() {
        assert_eq!(entry["pass"], pass.name);
        assert_eq!(
            entry["files"][0],
            format!("{i:02}_{}.before.gir", pass.name)
        );
        let text = |at: usize| {
            fs::read_to_string(dump.join(entry["files"][at].as_str().unwrap())).unwrap()
        };
        let (before, after) = (text(0), text(1));
        if let Some(last) = last {
            assert_eq!(last, before, "{}", pass.name);
        }
        assert_eq!(before != after, entry["rewrites"] != 0, "{}", pass.name);
        last = Some(after);
    }
    assert_eq!(names(&dump).len(), 2 * PASSES.len() + 3);
    assert!(Plan::parse(&fs::read_to_string(dump.join("plan.txt")).unwrap()).is_ok());
}

#[test]
fn the_ledger_says_what_became_of_each_stack() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = gabion(folder.path(), words!["lower", tiny_llama(), "--ledger"]).ok();
    for layer in 0..2 {
        for stack in ["self_attn", "mlp"] {
            let of_stack = |line: &&str| {
                line.starts_with("stack_weights: ")
                    && line.contains(&format!("layers.{layer}.{stack}"))
            };
            assert!(
                ledger.lines().any(|line| of_stack(&line)),
                "layer {layer} {stack} in\n{ledger}"
            );
        }
    }
    let report = gabion(
        folder.path(),
        words!["lower", tiny_llama(), "--ledger", "--json"],
    )
    .json();
    assert_eq!(
        report["ledger"].as_array().unwrap().len(),
        ledger.lines().count()
    );
}

#[test]
fn stopping_early_stops_at_that_pass() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |words: &[&str]| {
        gabion(
            folder.path(),
            words![tiny_llama()]
                .iter()
                .cloned()
                .fold(words![words[0]].to_vec(), |mut all, w| {
                    all.push(w);
                    all
                })
                .into_iter()
                .chain(words[1..].iter().map(Into::into)),
        )
    };
    let after = |n: &str| stage(&["lower", "--stop-after", n]).ok();
    assert_eq!(after("0"), stage(&["lower", "--stage", "graph"]).ok());
    assert_eq!(
        after("8"),
        stage(&["lower", "--stage", PASSES[7].name]).ok()
    );
    stage(&["lower", "--stop-after", "3", "--stage", "plan"])
        .refused(&["--stage plan needs", "--stop-after 3"]);
    stage(&["lower", "--stage", "nope"]).refused(&[
        "there is no pass `nope`",
        "stack_weights",
        "graph and plan",
    ]);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "old").unwrap();
    gabion(
        folder.path(),
        words!["lower", tiny_llama(), "--dump-dir", "file/d"],
    )
    .refused(&["file/d: cannot write"]);
    gabion(folder.path(), ["lower", "absent"])
        .refused(&["there is no model `absent`", "smollm2, minilm"]);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"old");
}
