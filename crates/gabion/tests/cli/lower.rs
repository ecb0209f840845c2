//! `gabion lower`: stages, dumps, the ledger.

use std::fs;
use std::path::Path;

use gabion::ir::Graph;
use gabion::lower::PASSES;
use gabion::plan::Plan;

use super::{Ran, fixture, gabion, names, tiny_llama};
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

fn dump(at: &Path, more: &[&str]) -> Ran {
    let mut words = words!["lower", tiny_llama(), "--dump-dir", "d"].to_vec();
    words.extend(more.iter().map(Into::into));
    gabion(at, words)
}

#[test]
fn an_earlier_dump_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("d")).unwrap();
    dump(at, &[]).ok();
    assert!(names(&at.join("d")).contains(&"plan.txt".to_owned()));
    dump(at, &["--stop-after", "1"]).ok();
    let pass = PASSES[0].name;
    assert_eq!(
        names(&at.join("d")),
        [
            format!("00_{pass}.after.gir"),
            format!("00_{pass}.before.gir"),
            "ledger.txt".to_owned(),
            "manifest.json".to_owned()
        ]
    );
    dump(at, &[]).ok();
    assert_eq!(names(&at.join("d")).len(), 2 * PASSES.len() + 3);
    assert_eq!(names(at), ["d"]);
}

#[test]
fn what_is_no_dump_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("d"), "old").unwrap();
    dump(at, &[]).refused(&["d: a dump is a folder, and something else is there"]);
    assert_eq!(fs::read(at.join("d")).unwrap(), b"old");

    fs::remove_file(at.join("d")).unwrap();
    fs::create_dir(at.join("d")).unwrap();
    let refused = |file: &str, content: &str, said: &str| {
        fs::write(at.join("d").join(file), content).unwrap();
        let before = names(&at.join("d"));
        dump(at, &[]).refused(&[said, "name another folder or remove it"]);
        assert_eq!(names(&at.join("d")), before);
        assert_eq!(
            fs::read_to_string(at.join("d").join(file)).unwrap(),
            content
        );
        fs::remove_file(at.join("d").join(file)).unwrap();
    };
    let other = "d: a folder that is not empty is there, and it is no earlier dump";
    refused("thesis.txt", "work", other);
    // Other programs have manifests too.
    refused("manifest.json", "{\"passes\": []}", other);
    refused("manifest.json", "no JSON", other);
    dump(at, &[]).ok();
    refused(
        "thesis.txt",
        "work",
        "d: the earlier dump there has `thesis.txt` beside it",
    );
    fs::create_dir(at.join("d/inner")).unwrap();
    dump(at, &[]).refused(&["d: the earlier dump there has `inner/` beside it"]);
    assert_eq!(names(at), ["d"]);
}

/// A limit on the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_earlier_dump() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    dump(at, &["--stop-after", "1"]).ok();
    let contents = || -> Vec<Vec<u8>> {
        let there = names(&at.join("d")).into_iter();
        there
            .map(|name| fs::read(at.join("d").join(name)).unwrap())
            .collect()
    };
    let (there, before) = (names(&at.join("d")), contents());
    for target in ["d", "new/deep"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 2; exec '{}' lower '{}' --dump-dir {target}",
            env!("CARGO_BIN_EXE_gabion"),
            tiny_llama().display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(at)
            .output()
            .unwrap();
        let said = format!("{target}/00_{}.before.gir: cannot write: ", PASSES[0].name);
        Ran::of(output).refused(&[&said]);
    }
    assert_eq!((names(&at.join("d")), contents()), (there, before));
    assert_eq!(names(at), ["d"]);
}

/// A link stays and the folder that it names is replaced; a pipe is no place for a dump.
#[cfg(unix)]
#[test]
fn links_to_a_dump_stay_and_pipes_are_refused() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("real")).unwrap();
    symlink("real", at.join("d")).unwrap();
    for _ in 0..2 {
        dump(at, &[]).ok();
        assert!(at.join("d").is_symlink());
        assert_eq!(names(&at.join("real")).len(), 2 * PASSES.len() + 3);
    }
    assert_eq!(names(at), ["d", "real"]);
    fs::remove_dir_all(at.join("real")).unwrap();
    dump(at, &[]).refused(&["d: a link that leads nowhere is there"]);
    assert!(at.join("d").is_symlink());
    fs::remove_file(at.join("d")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(at.join("d"))
        .status()
        .unwrap();
    assert!(made.success());
    dump(at, &[]).refused(&["d: a dump is a folder, and something else is there"]);
    let kind = fs::metadata(at.join("d")).unwrap().file_type();
    assert!(kind.is_fifo());
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
fn the_ledger_names_the_lines_that_caused_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "// q and k of one module.\ngraph @two(%x: f32[n, 8]) -> (f32[n, 8], f32[n, 8]) {\n  %a = weight {name = \"a\"} : f32[8, 8]\n  \
                %b = weight {name = \"b\"} : f32[8, 8]\n\n  %q = matmul %x, %a {transpose_b = true}\n  \
                %k = matmul %x, %b {transpose_b = true}\n  return %q, %k\n}\n";
    fs::write(folder.path().join("two.gir"), text).unwrap();
    let ledger = gabion(folder.path(), ["lower", "two.gir", "--ledger"]).ok();
    let line = |start: &str| ledger.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(
        line("stack_weights: -: matmul %q").ends_with(" [%q two.gir:6]"),
        "{ledger}"
    );
    assert!(
        line("stack_siblings: ").ends_with(" [%q two.gir:6, %k two.gir:7]"),
        "{ledger}"
    );
    let said = gabion(folder.path(), ["lower", "two.gir", "--ledger", "--json"]).json();
    let entries = said["ledger"].as_array().unwrap();
    let stack = entries
        .iter()
        .find(|entry| entry["pass"] == "stack_siblings")
        .unwrap();
    let sources = serde_json::json!([
        {"value": "%q", "location": "two.gir:6"},
        {"value": "%k", "location": "two.gir:7"},
    ]);
    assert_eq!(stack["sources"], sources);
    // The same lines lie in a dump.
    gabion(folder.path(), ["lower", "two.gir", "--dump-dir", "dump"]).ok();
    assert_eq!(
        fs::read_to_string(folder.path().join("dump/ledger.txt")).unwrap(),
        ledger
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
    let count = PASSES.len();
    assert_eq!(after(&count.to_string()), stage(&["lower"]).ok());
    for more in [count + 1, usize::MAX] {
        let said = format!("--stop-after {more}: there are {count} passes, so at most {count}");
        stage(&["lower", "--stop-after", &more.to_string()]).refused(&[&said]);
    }
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
