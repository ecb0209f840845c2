//! `check`, `fmt`, `diff`, `verify` on graphs in text form.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{Ran, command, gabion, names, tiny_llama};
use crate::words;

const GOOD: &str = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {\n  %w = weight {name = \"w\"} : f32[4, 4]\n  %y = matmul %x, %w {transpose_b = true} : f32[n, 4]\n  return %y\n}\n";
const BROKEN: &str = "graph @g(%x: f32[n, 4]) -> (f32[n, 4]) {\n  %y = ad %x, %x : f32[n, 4]\n  %z = add %y, %q : f32[n, 4]\n  return %z\n}\n";

#[test]
fn check_shows_every_line_that_is_wrong_and_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("good.gir"), GOOD).unwrap();
    fs::write(at.join("broken.gir"), BROKEN).unwrap();
    assert_eq!(gabion(at, ["check", "good.gir"]).ok(), "good.gir: ok\n");
    let ran = gabion(at, ["check", "broken.gir", "good.gir", "absent.gir"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "good.gir: ok\n"));
    let shown = [
        "broken.gir:2:8",
        "%y = ad %x, %x : f32[n, 4]",
        "^^ expected an operator",
        "broken.gir:3:16",
        "`%q` is not defined",
    ];
    ran.says(&shown);
    ran.says(&["absent.gir: cannot read"]);
    let ran = gabion(at, ["check", "broken.gir", "--json"]);
    assert_eq!(ran.code, 1);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["files"][0]["errors"][1]["line"], 3);
}

#[test]
fn a_text_that_is_no_text_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), b"graph \xff").unwrap();
    gabion(folder.path(), ["check", "g.gir"]).refused(&["g.gir is not UTF-8: byte 0xff at 6"]);
    gabion(folder.path(), ["fmt", "g.gir"]).refused(&["g.gir is not UTF-8"]);
    // Some editors write a mark of the byte order.
    let marked = "\u{feff}graph @g(%x: f32[2]) -> (f32[2]) {\n  return %x\n}\n";
    fs::write(folder.path().join("g.gir"), marked).unwrap();
    assert_eq!(gabion(folder.path(), ["check", "g.gir"]).code, 0);
}

#[test]
fn every_command_that_reads_a_graph_shows_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("broken.gir"), BROKEN).unwrap();
    let commands: [&[&str]; 5] = [
        &["run", "broken.gir", "--outputs", "y.safetensors"],
        &["fmt", "broken.gir"],
        &["lower", "broken.gir"],
        &["verify", "broken.gir"],
        &["diff", "broken.gir", "broken.gir"],
    ];
    for words in commands {
        gabion(at, words).refused(&[
            "broken.gir:2:8",
            "expected an operator",
            "the nearest operator is `add`",
        ]);
    }
    assert_eq!(names(at), ["broken.gir"]);
    assert_eq!(fs::read_to_string(at.join("broken.gir")).unwrap(), BROKEN);
}

#[test]
fn fmt_rewrites_what_is_not_canonical() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let messy = GOOD
        .replace(
            "%x, %w", "%x,
%w",
        )
        .replace(" = ", "=");
    fs::write(at.join("messy.gir"), &messy).unwrap();
    fs::write(at.join("good.gir"), GOOD).unwrap();
    let ran = gabion(at, ["fmt", "--check", "messy.gir", "good.gir"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (1, "messy.gir: is not in canonical form\n", "")
    );
    assert_eq!(fs::read_to_string(at.join("messy.gir")).unwrap(), messy);
    assert_eq!(
        gabion(at, ["fmt", "messy.gir", "good.gir"]).ok(),
        "messy.gir: rewritten\n"
    );
    assert_eq!(fs::read_to_string(at.join("messy.gir")).unwrap(), GOOD);
    assert_eq!(
        gabion(at, ["fmt", "--check", "messy.gir", "good.gir"]).ok(),
        ""
    );
    assert_eq!(names(at), ["good.gir", "messy.gir"]);
}

#[test]
fn fmt_loses_no_comment_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let commented = GOOD.replace("  return", "  // the end\n  return");
    fs::write(at.join("g.gir"), &commented).unwrap();
    gabion(at, ["fmt", "g.gir"]).refused(&["g.gir: line 4 has a comment", "--drop-comments"]);
    assert_eq!(fs::read_to_string(at.join("g.gir")).unwrap(), commented);
    gabion(at, ["fmt", "--drop-comments", "g.gir"]).ok();
    assert_eq!(fs::read_to_string(at.join("g.gir")).unwrap(), GOOD);
}

#[test]
fn fmt_and_check_read_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str], text: &str| {
        let mut command = command(folder.path());
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        Ran::of(child.wait_with_output().unwrap())
    };
    assert_eq!(run(&["fmt", "-"], &GOOD.replace(", ", ",")).ok(), GOOD);
    assert_eq!(run(&["check", "-"], GOOD).ok(), "-: ok\n");
    assert!(
        run(&["lower", "-", "--stage", "graph"], GOOD)
            .ok()
            .starts_with("graph @g")
    );
}

#[test]
fn diff_tells_equal_from_different() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("a.gir"), GOOD).unwrap();
    fs::write(
        at.join("b.gir"),
        GOOD.replace("%w", "%other")
            .replace("%y", "%z")
            .replace("return %z", "return y = %z"),
    )
    .unwrap();
    fs::write(
        at.join("c.gir"),
        GOOD.replace("  return %y", "  %z = exp %y : f32[n, 4]\n  return %z"),
    )
    .unwrap();
    assert_eq!(
        gabion(at, ["diff", "a.gir", "b.gir", "--json"]).json()["equal"],
        true
    );
    let ran = gabion(at, ["diff", "a.gir", "c.gir"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(
        ran.stdout.contains("+ ") && ran.stdout.contains("exp"),
        "{}",
        ran.stdout
    );
}

#[test]
fn verify_compares_each_pass_and_the_executor() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), GOOD).unwrap();
    let text = gabion(folder.path(), ["verify", "g.gir"]).ok();
    for stage in gabion::lower::PASSES
        .iter()
        .map(|p| p.name)
        .chain(["executor cpu"])
    {
        assert!(
            text.lines()
                .any(|line| line.starts_with(stage) && line.ends_with("ok")),
            "{stage} in\n{text}"
        );
    }
    let report = gabion(folder.path(), words!["verify", tiny_llama(), "--json"]).json();
    assert_eq!(report["ok"], true);
    let report = gabion(
        folder.path(),
        words!["verify", super::fixture("tiny_bert"), "--json"],
    )
    .json();
    assert_eq!(report["ok"], true);
}

/// Which rows are read depends on numbers that no use of `%i` shows.
#[test]
fn verify_takes_the_ranges_of_integer_inputs() {
    const LOOKUP: &str = "graph @lookup(%i: i64[n], %x: f32[2]) -> (f32[n, 2]) {
  %t = weight {name = \"t\"} : f32[3, 2]
  %c = constant {dtype = \"i64\", shape = [], value = 1000} : i64[]
  %row = sub %c, %i : i64[n]
  %g = gather %t, %row {axis = 0} : f32[n, 2]
  %y = add %g, %x : f32[n, 2]
  return y = %y
}
";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.gir"), LOOKUP).unwrap();
    let verify = |more: &[&str]| {
        let words = ["verify", "g.gir"].iter().chain(more);
        gabion(folder.path(), words)
    };
    verify(&["--range", "i=0..1"]).refused(&[
        "error: graph @lookup on random inputs: ",
        "index 1000 is outside",
        "the integer inputs were `i` 0 to 0; --range NAME=LO..HI gives others",
    ]);
    for seed in ["0", "1", "2"] {
        let report = verify(&["--range", "i=998..1001", "--seed", seed, "--json"]).json();
        assert_eq!(report["ok"], true);
    }
    verify(&["--range", "j=0..3"]).refused(&["--range j=0..3: the graph's integer inputs are `i`"]);
    verify(&["--range", "x=0..3"])
        .refused(&["--range x=0..3: `x` is f32; ranges are of integer inputs"]);
    verify(&["--range", "i=0..3", "--range", "i=0..4"])
        .refused(&["--range i=0..4: `i` has a range already"]);
    verify(&["--range", "i=3..3"]).misused(&["3..3 has no value: 3 itself is outside"]);
    verify(&["--range", "i"]).misused(&["expected NAME=LO..HI, such as ids=0..320"]);
    let small = LOOKUP.replace("i64", "i8").replace("1000", "100");
    fs::write(folder.path().join("g.gir"), small).unwrap();
    verify(&["--range", "i=98..129"])
        .refused(&["--range i=98..129: `i` is i8, whose values are -128 to 127"]);
    let report = verify(&["--range", "i=98..101", "--json"]).json();
    assert_eq!(report["ok"], true);
    // The ids of a model.
    let words = words!["verify", tiny_llama(), "--range", "tokens=318..320"];
    gabion(folder.path(), words).refused(&["the graph's integer inputs are "]);
}

/// No executor rounds as the evaluator does, so with no tolerance at all something parts.
#[test]
fn verify_names_the_value_where_they_part() {
    let folder = tempfile::tempdir().unwrap();
    let ran = gabion(
        folder.path(),
        words!["verify", tiny_llama(), "--tolerance", "0"],
    );
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .contains("error: executor cpu parts from the reference at "),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("(error "), "{ran:?}");
}

/// A text without an end, as a device may be.
#[cfg(target_os = "linux")]
#[test]
fn a_text_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("g.gir")).unwrap();
    gabion(folder.path(), ["check", "g.gir"]).refused(&["g.gir: a text of more than 268435456"]);
}
