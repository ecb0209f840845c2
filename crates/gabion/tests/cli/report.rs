//! `gabion report`.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{command, gabion, tiny_llama};

const THREE: &str = r#"graph @three(%x: f32[tokens, 64]) -> (f32[tokens, 64], f32[tokens, 32]) {
  %wq = weight {name = "attn.q_proj.weight"} : f32[64, 64] in "attn"
  %q = matmul %x, %wq {transpose_b = true} : f32[tokens, 64] in "attn"
  %wk = weight {name = "attn.k_proj.weight"} : f32[32, 64] in "attn"
  %k = matmul %x, %wk {transpose_b = true} : f32[tokens, 32] in "attn"
  return %q, %k
}
"#;

fn three(folder: &Path) {
    fs::write(folder.join("three.gir"), THREE).unwrap();
}

#[test]
fn a_report_is_one_file_that_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let said = gabion(
        folder.path(),
        ["report", "three.gir", "-o", "three.html", "--json"],
    )
    .json();
    let page = fs::read_to_string(folder.path().join("three.html")).unwrap();
    assert_eq!(said["report"], "three.html");
    assert_eq!(said["bytes"], page.len());
    assert_eq!(said["stages"], 16);
    assert!(said["boxes"].as_u64().is_some_and(|n| n > 8));
    assert!(said["faults"].as_array().is_some_and(Vec::is_empty));
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("<title>three · Gabion report</title>"));
    for outside in ["src=", "@import", "url(", "href=\"http"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

/// The texts of a page before and after its data, and each chunk of the data by its name.
fn parts_of(page: &str) -> (Vec<&str>, Vec<(&str, Value)>) {
    const BEGIN: &str = "<script type=\"application/octet-stream\" id=\"chunk-";
    let (mut around, mut chunks) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some((before, chunk)) = rest.split_once(BEGIN) {
        let (name, chunk) = chunk.split_once("\">").unwrap();
        let (base64, after) = chunk.split_once("</script>").unwrap();
        let mut json = String::new();
        let bytes = from_base64(base64);
        GzDecoder::new(&bytes[..])
            .read_to_string(&mut json)
            .unwrap();
        around.push(before);
        chunks.push((name, serde_json::from_str(&json).unwrap()));
        rest = after;
    }
    around.push(rest);
    (around, chunks)
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut n) = (0u32, 0);
    for char in text.bytes().filter(|char| *char != b'=') {
        let six = ALPHABET.iter().position(|it| *it == char).unwrap();
        bits = bits << 6 | six as u32;
        n += 6;
        if n >= 8 {
            n -= 8;
            bytes.push((bits >> n) as u8);
        }
    }
    bytes
}

/// Takes out the times of the passes, and says how many there are.
fn without_times(data: &mut Value) -> usize {
    match data {
        Value::Object(fields) => {
            let own = usize::from(fields.remove("time_us").is_some());
            own + fields.values_mut().map(without_times).sum::<usize>()
        }
        Value::Array(values) => values.iter_mut().map(without_times).sum(),
        _ => 0,
    }
}

#[test]
fn two_reports_of_one_graph_differ_in_the_times_of_the_passes_alone() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let pages = ["one.html", "two.html"].map(|name| {
        let said = gabion(folder.path(), ["report", "three.gir", "-o", name]).ok();
        assert!(said.starts_with(&format!("{name}: ")), "{said}");
        fs::read_to_string(folder.path().join(name)).unwrap()
    });
    let [(around, mut one), (around_two, mut two)] = [&pages[0], &pages[1]].map(|it| parts_of(it));
    assert_eq!(around, around_two);
    assert!(one.len() > 1, "the data and the texts of stages");
    for chunks in [&mut one, &mut two] {
        let times: usize = chunks.iter_mut().map(|it| without_times(&mut it.1)).sum();
        assert_eq!(times, 16, "one of each stage");
    }
    assert_eq!(one, two);
}

#[test]
fn a_models_report_is_counted_with_the_sizes_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let model = model.to_str().unwrap();
    let words = [
        "report",
        model,
        "-o",
        "r.html",
        "--tokens",
        "7",
        "--size",
        "capacity=32",
    ];
    gabion(folder.path(), words).ok();
    gabion(
        folder.path(),
        ["report", model, "-o", "r.html", "--size", "tokenz=7"],
    )
    .refused(&["--size", "`tokenz`", "`capacity`, `tokens`"]);
    gabion(
        folder.path(),
        [
            "report", model, "-o", "r.html", "--tokens", "7", "--size", "tokens=8",
        ],
    )
    .refused(&["tokens", "7", "8"]);
    gabion(
        folder.path(),
        ["report", model, "-o", "r.html", "--tokens", "0"],
    )
    .misused(&["--tokens"]);
    gabion(folder.path(), ["report", model]).misused(&["--output"]);
}

#[test]
fn what_is_no_graph_leaves_the_old_report() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.html"), "old").unwrap();
    fs::write(
        folder.path().join("no.gir"),
        "graph @g(%x: f32[2]) -> (f32[2]) {\n  %y = relluu %x\n  return %y\n}\n",
    )
    .unwrap();
    gabion(folder.path(), ["report", "no.gir", "-o", "r.html"]).refused(&["no.gir", "relluu"]);
    gabion(folder.path(), ["report", "nowhere", "-o", "r.html"]).refused(&["nowhere", "no preset"]);
    fs::write(folder.path().join("bytes.gir"), [0xff, 0xfe]).unwrap();
    gabion(folder.path(), ["report", "bytes.gir", "-o", "r.html"]).refused(&["bytes.gir", "UTF-8"]);
    assert_eq!(
        fs::read_to_string(folder.path().join("r.html")).unwrap(),
        "old"
    );
}

#[test]
fn a_graph_is_not_replaced_by_its_report() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    let before = fs::read(folder.path().join("three.gir")).unwrap();
    gabion(folder.path(), ["report", "three.gir", "-o", "./three.gir"])
        .refused(&["three.gir", "the graph itself"]);
    gabion(folder.path(), ["report", "three.gir", "-o", "-"]).refused(&["-o -", "-o report.html"]);
    assert!(!folder.path().join("-").exists());
    assert_eq!(fs::read(folder.path().join("three.gir")).unwrap(), before);
}

#[test]
fn sizes_beyond_any_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 8]) {\n  %y = relu %x\n  return %y\n}\n";
    fs::write(folder.path().join("g.gir"), text).unwrap();
    let words = ["report", "g.gir", "-o", "r.html", "--run", "--size"];
    gabion(folder.path(), words.into_iter().chain(["n=100000000000"])).refused(&[
        "input `x`",
        "cannot be allocated",
        "3200000000000 bytes",
    ]);
    assert!(!folder.path().join("r.html").exists());
}

#[test]
fn a_report_that_cannot_be_written_is_told_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    three(folder.path());
    gabion(
        folder.path(),
        ["report", "three.gir", "-o", "nowhere/r.html"],
    )
    .refused(&["nowhere/r.html", "write"]);
    fs::create_dir(folder.path().join("there")).unwrap();
    gabion(folder.path(), ["report", "three.gir", "-o", "there"]).refused(&["there", "write"]);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_graph_that_cannot_become_a_plan_is_shown_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    // A plan's weights have fixed sizes.
    let text = THREE
        .replace("f32[64, 64]", "f32[64, n]")
        .replace("f32[32, 64]", "f32[32, n]");
    let text = text.replace("%x: f32[tokens, 64]", "%x: f32[tokens, n]");
    fs::write(folder.path().join("open.gir"), text).unwrap();
    let ran = super::Ran::of(
        command(folder.path())
            .args(["report", "open.gir", "-o", "r.html", "--json"])
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("warning: @three: "), "{ran:?}");
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["faults"].as_array().map(Vec::len), Some(1), "{said}");
    assert_eq!(said["stages"], 15, "all but the plan");
    assert!(folder.path().join("r.html").exists());
}

#[test]
fn a_graph_that_does_not_verify_is_shown_with_its_faults() {
    let folder = tempfile::tempdir().unwrap();
    let text = THREE.replacen("f32[32, 64]", "f32[32, 63]", 1);
    fs::write(folder.path().join("wrong.gir"), &text).unwrap();
    let ran = super::Ran::of(
        command(folder.path())
            .args(["report", "wrong.gir", "-o", "r.html", "--json"])
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    let faults = said["faults"].as_array().unwrap();
    assert!(
        faults[0].as_str().unwrap().contains("needs 64 == 63"),
        "{said}"
    );
    assert!(ran.stderr.contains("needs 64 == 63"), "{ran:?}");
    assert_eq!(said["stages"], 1);
    assert!(folder.path().join("r.html").exists());
    // Other commands want a graph that verifies, and say where it does not.
    gabion(folder.path(), ["lower", "wrong.gir"]).refused(&["wrong.gir:", "needs 64 == 63"]);
    // What states no graph is refused here too, and nothing is written.
    fs::write(folder.path().join("cut.gir"), &text[..text.len() / 2]).unwrap();
    gabion(folder.path(), ["report", "cut.gir", "-o", "cut.html"]).refused(&["cut.gir:"]);
    assert!(!folder.path().join("cut.html").exists());
}

#[test]
fn a_run_gives_every_step_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let model = model.to_str().unwrap();
    let words = [
        "report",
        model,
        "-o",
        "r.html",
        "--run",
        "--threads",
        "1",
        "--json",
    ];
    let said = gabion(folder.path(), words).json();
    assert!(said["run_us"].as_f64().is_some_and(|us| us > 0.0), "{said}");
    let said = gabion(folder.path(), ["report", model, "-o", "r.html", "--json"]).json();
    assert!(said["run_us"].is_null());
    three(folder.path());
    gabion(
        folder.path(),
        ["report", "three.gir", "-o", "three.html", "--run"],
    )
    .refused(&["three.gir", "2 weights", "--run"]);
    assert!(!folder.path().join("three.html").exists());
    // Without weights, a text can be run.
    let text = "graph @g(%x: f32[tokens, 8]) -> (f32[tokens, 8]) {\n  %y = relu %x : f32[tokens, 8]\n  return %y\n}\n";
    fs::write(folder.path().join("g.gir"), text).unwrap();
    let said = gabion(
        folder.path(),
        ["report", "g.gir", "-o", "g.html", "--run", "--json"],
    )
    .json();
    assert!(said["run_us"].as_f64().is_some(), "{said}");
}

#[test]
fn a_profile_gives_times_of_a_token_and_of_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_llama();
    let model = model.to_str().unwrap();
    let generate = [
        "generate",
        "--model",
        model,
        "--prompt-ids",
        "5,6,7",
        "--max-new-tokens",
        "4",
        "--ignore-eos",
        "--threads",
        "2",
        "--profile",
        "trace.json",
    ];
    gabion(folder.path(), generate).ok();
    let report = |source: &str, profile: &str| {
        let words = ["report", source, "-o", "r.html", "--profile", profile];
        gabion(folder.path(), words.into_iter().chain(["--json"]))
    };
    let said = report(model, "trace.json").json();
    let times = said["times"].as_array().unwrap();
    let of: Vec<(&str, &str)> = times
        .iter()
        .map(|it| (it["of"].as_str().unwrap(), it["whence"].as_str().unwrap()))
        .collect();
    assert_eq!(
        of,
        [
            (
                "token",
                "median of 3 runs in trace.json, with capacity = 7, tokens = 1"
            ),
            (
                "prompt",
                "one run in trace.json, with capacity = 7, tokens = 3"
            ),
        ]
    );
    assert!(
        times.iter().all(|it| it["us"].as_f64() > Some(0.0)),
        "{said}"
    );
    assert_eq!(said["run_us"], times[0]["us"]);
    // Another model's plan does not fit, and the old page stays.
    fs::write(folder.path().join("r.html"), "old").unwrap();
    let other = super::fixture("tiny_models/phi3_fused");
    report(other.to_str().unwrap(), "trace.json").refused(&[
        "trace.json: the trace was measured on another plan",
        "expected @phi3 (",
        "found @llama (",
        "measure again",
    ]);
    report(model, "none.json").refused(&["none.json: cannot read"]);
    let page = fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert_eq!(page, "old");
    gabion(
        folder.path(),
        [
            "report",
            model,
            "-o",
            "r.html",
            "--run",
            "--profile",
            "trace.json",
        ],
    )
    .misused(&["--run", "--profile"]);
}
