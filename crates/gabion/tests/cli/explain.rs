//! `gabion explain`, and the profiles of `gabion generate` and `gabion bench model`.

use std::fs;

use gabion::plan::Plan;
use gabion::plan::profile::read_trace;
use serde_json::Value;

use super::{fixture, gabion, tiny_llama};
use crate::words;

#[test]
fn a_row_is_told_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    for model in [tiny_llama(), fixture("tiny_models/phi3_fused")] {
        let ask = words!["explain", &model, "--value", "layers.1.qkv", "--row", "3"];
        let text = gabion(folder.path(), ask).ok();
        for word in [
            "in the checkpoint",
            "loaded into plan weight",
            "read by step",
            "stack_weights: ",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let ask = words![
            "--json",
            "explain",
            &model,
            "--value",
            "layers.1.qkv",
            "--row",
            "3",
            "--col",
            "2"
        ];
        let told = gabion(folder.path(), ask).json();
        assert_eq!(told["uses"][0]["row"], 3);
        assert_eq!(told["stored"]["column"], 2);
        let file = fs::read(told["stored"]["file"].as_str().unwrap()).unwrap();
        let at = told["stored"]["bytes"]["start"].as_u64().unwrap() as usize;
        assert_eq!(told["stored"]["format"], "f32");
        let value = f32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!(told["stored"]["value"].as_f64(), Some(f64::from(value)));
    }
}

#[test]
fn a_graph_with_weights_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let text = "graph @g(%x: f32[n, 4]) -> (f32[n, 3]) {
  %w = weight {name = \"w\"} : f32[3, 4]
  %y = matmul %x, %w {transpose_b = true} : f32[n, 3]
  return y = %y
}
";
    fs::write(folder.path().join("g.gir"), text).unwrap();
    let mut file = br#"{"w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}"#.to_vec();
    let mut bytes = (file.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut file);
    bytes.extend((0..12).flat_map(|i| (i as f32 + 0.5).to_le_bytes()));
    fs::write(folder.path().join("w.safetensors"), bytes).unwrap();
    let ask = |more: &[&str]| {
        let mut ask = words!["--json", "explain", "g.gir", "--weights", "w.safetensors"].to_vec();
        ask.extend(more.iter().map(Into::into));
        gabion(folder.path(), ask)
    };
    for name in ["y", "%y", "w", "%w"] {
        let told = ask(&["--value", name, "--row", "1", "--col", "2"]).json();
        assert_eq!(told["stored"]["value"], 6.5, "{name}");
        assert_eq!(told["uses"][0]["value"], 6.5, "{name}");
    }
    let told = ask(&["--weight", "w", "--byte", "25"]).json();
    assert_eq!(told["stored"]["value"], 6.5);
    assert_eq!(told["stored"]["byte"]["role"], "value");
    let told = ask(&["--node", "%y"]).json();
    let after = told["after"].as_array().unwrap();
    assert_eq!(after.last().unwrap()["pass"], "stack_weights");
    ask(&["--node", "%z"]).refused(&["there is no node `%z`", "0..3"]);
    let alone = words!["explain", "g.gir", "--node", "%y"];
    gabion(folder.path(), alone).refused(&["--weights FILE"]);
    gabion(folder.path(), words!["explain", "g.gir"]).misused(&["--value"]);
}

#[test]
fn what_has_no_answer_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let refused = |more: &[&str], said: &[&str]| {
        let mut ask = words!["explain", &model].to_vec();
        ask.extend(more.iter().map(Into::into));
        gabion(folder.path(), ask).refused(said);
    };
    refused(
        &["--value", "layer.1.qkv", "--row", "0"],
        &["`layer.1.qkv`", "the nearest names are `model.layers.1."],
    );
    refused(
        &["--value", "qkv", "--row", "0"],
        &["is the end of", "say which, for example `model.layers.0."],
    );
    refused(
        &["--value", "layers.1.qkv", "--row", "99999"],
        &["row 99999 is outside 0.."],
    );
    refused(
        &["--value", "layers.1.qkv", "--row", "0", "--col", "99999"],
        &["column 99999 is outside 0.."],
    );
    refused(
        &["--value", "ids", "--row", "0"],
        &["is no product with a weight", "it is `input`"],
    );
    refused(
        &["--weight", "model.norm.weigth", "--byte", "0"],
        &["the nearest names are `model.norm.weight`"],
    );
    refused(
        &["--weight", "model.norm.weight", "--byte", "99999"],
        &["model.safetensors", "byte 99999 is outside 0.."],
    );
}

#[test]
fn a_profile_is_a_trace_of_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let generate = |file: &str| {
        words![
            "generate",
            "--model",
            tiny_llama(),
            "--prompt-ids",
            "5,6,7",
            "--max-new-tokens",
            "3",
            "--ignore-eos",
            "--threads",
            "2",
            "--profile",
            file
        ]
    };
    gabion(folder.path(), generate("trace.json")).ok();
    let text = fs::read_to_string(folder.path().join("trace.json")).unwrap();
    let events: Value = serde_json::from_str(&text).unwrap();
    let events = events["traceEvents"].as_array().unwrap();
    let phases: Vec<&str> = events
        .iter()
        .filter(|e| e["cat"] == "phase")
        .filter_map(|e| e["name"].as_str())
        .collect();
    let expected = [
        "open",
        "compile",
        "load",
        "prefill of 3 tokens",
        "token 1",
        "token 2",
    ];
    assert_eq!(phases, expected);
    let plan = Plan::parse(&gabion(folder.path(), words!["lower", tiny_llama()]).ok()).unwrap();
    let (profile, _) = read_trace(&text, &plan).unwrap();
    assert_eq!((profile.runs.len(), profile.workers.len()), (3, 2));
    for run in 0..3 {
        let steps = profile.steps(run);
        assert!(steps.len() >= plan.steps.len(), "{}", steps.len());
    }
    // Another model's plan does not fit.
    let other = gabion(
        folder.path(),
        words!["lower", fixture("tiny_models/phi3_fused")],
    )
    .ok();
    let error = read_trace(&text, &Plan::parse(&other).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another plan"), "{error}");
    // What cannot be written is refused before anything is done.
    fs::create_dir(folder.path().join("dir")).unwrap();
    gabion(folder.path(), generate("dir")).refused(&["dir", "is a folder"]);
    gabion(folder.path(), generate("no/such/file.json")).refused(&["cannot write"]);
}

#[test]
fn a_benchmark_says_where_the_time_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = words![
        "--json",
        "bench",
        "model",
        "--model",
        tiny_llama(),
        "--prefill",
        "8",
        "--decode",
        "2",
        "--by-step",
        "--svg",
        "by.svg"
    ];
    let report = gabion(folder.path(), bench).json();
    let kinds = report["by_step"].as_array().unwrap();
    assert_eq!(kinds.len(), 2);
    for kind in kinds {
        let rows = kind["rows"].as_array().unwrap();
        let named = |row: &&Value| {
            let step = row["step"].as_str().unwrap();
            step.starts_with("matmul model.layers.*.")
        };
        let layers = rows.iter().find(named).unwrap();
        assert!(layers["calls"].as_u64().unwrap() > 1, "{layers}");
        let us = |row: &Value| row["us"].as_f64().unwrap();
        assert!(rows.windows(2).all(|pair| us(&pair[0]) >= us(&pair[1])));
    }
    let svg = fs::read_to_string(folder.path().join("by.svg")).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.contains("matmul model.layers.*."),
        "{svg}"
    );
}
