//! `gabion view` where there is no display: what is wrong with the words or the input is said first.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Ran, command, fixture, gabion, tiny_llama};
use crate::words;

const GRAPH: &str = "graph @g(%x: f32[tokens, 8]) -> (f32[tokens, 8]) {\n  %y = relu %x : f32[tokens, 8] in \"mlp\"\n  return %y\n}\n";

/// `gabion view` without a display.
fn view(folder: &Path, words: impl IntoIterator<Item = OsString>) -> Ran {
    let mut command = command(folder);
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        command.env_remove(name);
    }
    command.arg("view").args(words);
    Ran::of(command.output().unwrap())
}

/// A trace of a few tokens of a model, as `trace.json`.
fn trace(folder: &Path, model: &Path) {
    let words = words![
        "generate",
        "--model",
        model,
        "--prompt-ids",
        "5,6,7",
        "--max-new-tokens",
        "3",
        "--ignore-eos",
        "--threads",
        "1",
        "--profile",
        "trace.json"
    ];
    gabion(folder, words).ok();
}

#[test]
fn without_a_display_there_is_a_page() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), GRAPH).unwrap();
    let way_out = "`gabion report g.gir -o report.html` writes the same as a page for a browser";
    for more in [
        words![].to_vec(),
        words!["--stage", "stack_weights", "--focus", "mlp"].to_vec(),
        words!["--run", "--theme", "dark"].to_vec(),
    ] {
        let words = words!["g.gir"].into_iter().chain(more);
        view(folder.path(), words).refused(&["there is no display", way_out]);
    }
    // From standard input there is nothing either.
    view(folder.path(), words!["-"]).refused(&["-"]);
}

#[test]
fn what_is_no_graph_is_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let text = GRAPH.replace("return %y", "%z = relluu %y\n  return %y");
    fs::write(folder.path().join("no.gir"), text).unwrap();
    view(folder.path(), words!["no.gir"]).refused(&["no.gir", "relluu"]);
    view(folder.path(), words!["nowhere"]).refused(&["nowhere", "no preset"]);
    fs::write(folder.path().join("bytes.gir"), [0xff, 0xfe]).unwrap();
    view(folder.path(), words!["bytes.gir"]).refused(&["bytes.gir", "UTF-8"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    view(folder.path(), words!["empty"]).refused(&["config.json"]);
}

#[test]
fn names_that_are_not_there_are_said_first() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), GRAPH).unwrap();
    view(folder.path(), words!["g.gir", "--stage", "stack_wights"]).refused(&[
        "`stack_wights`",
        "stack_weights",
        "graph and plan",
    ]);
    view(folder.path(), words!["g.gir", "--focus", "layers.9"])
        .refused(&["g.gir: nothing is called layers.9"]);
    let weight = "model.layers.1.mlp.down_proj.weigth";
    view(folder.path(), words![tiny_llama(), "--focus", weight]).refused(&[
        "llama_gqa: nothing is called",
        "the nearest names are model.layers.1.mlp.down_proj.weight",
    ]);
    view(folder.path(), words!["g.gir", "--threads", "0"]).refused(&["--threads 0"]);
    view(folder.path(), words!["g.gir", "--theme", "red"]).misused(&["--theme", "red"]);
    view(folder.path(), words!["g.gir", "--run", "--profile", "t"]).misused(&["--profile"]);
}

#[test]
fn profiles_that_do_not_fit_are_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    trace(folder, &tiny_llama());
    let profile = |model: &Path, file: &str| view(folder, words![model, "--profile", file]);
    profile(&tiny_llama(), "trace.json").refused(&["there is no display"]);
    profile(&fixture("tiny_models/phi3_fused"), "trace.json").refused(&[
        "trace.json: the trace was measured on another plan",
        "expected @phi3 (",
        "found @llama (",
        " steps, ",
        "measure again",
    ]);
    profile(&tiny_llama(), "nowhere.json").refused(&["nowhere.json: cannot read"]);
    let text = fs::read_to_string(folder.join("trace.json")).unwrap();
    let write = "write one with `gabion generate --profile`";
    for (name, bytes) in [
        ("none.json", "no JSON".to_owned()),
        ("cut.json", text[..text.len() / 2].to_owned()),
        ("other.json", "{\"traceEvents\": []}".to_owned()),
    ] {
        fs::write(folder.join(name), bytes).unwrap();
        profile(&tiny_llama(), name).refused(&[name, "not a trace of a plan", write]);
    }
    // A trace of the right plan with nothing in it.
    let head = text.lines().next().unwrap();
    fs::write(folder.join("bare.json"), format!("{head}\n]}}\n")).unwrap();
    profile(&tiny_llama(), "bare.json").refused(&["bare.json", "no time of any step", write]);
}
