//! Standard output and standard error: who writes where, and what happens when nobody reads.

use std::io::Read;
use std::process::Stdio;

use super::{Ran, command, gabion, tiny_llama};
use crate::words;

#[test]
fn words_that_are_wrong_end_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let misused = |words: &[&str], parts: &[&str]| gabion(folder.path(), words).misused(parts);
    misused(&["frobnicate"], &["frobnicate"]);
    misused(&["generate"], &["--prompt-ids"]);
    misused(
        &["generate", "--prompt-ids", "1,x"],
        &["`x` is no token id"],
    );
    misused(
        &["generate", "--prompt-ids", "-1"],
        &["`-1` is no token id"],
    );
    misused(
        &["generate", "--prompt-ids", "1,,2"],
        &["`` is no token id: expected numbers such as"],
    );
    misused(
        &["generate", "--prompt-ids", "4294967296"],
        &["`4294967296` is no token id"],
    );
    misused(&["embed", "--token-ids", "-1"], &["`-1` is no token id"]);
    misused(&["generate", "hi", "--threads", "two"], &["--threads"]);
    misused(
        &["generate", "hi", "--target", "tpu"],
        &["`tpu` is no device", "cpu, cuda or cuda:N"],
    );
    misused(&["generate", "hi", "--numerics", "loose"], &["exact, fast"]);
    misused(&["bench", "linear"], &["--in-dim"]);
    let bare = gabion(folder.path(), [""; 0]);
    assert_eq!((bare.code, bare.stdout.as_str()), (2, ""));
    assert!(bare.stderr.contains("Usage: gabion"), "{}", bare.stderr);
}

#[test]
fn help_and_version_end_with_zero() {
    let folder = tempfile::tempdir().unwrap();
    let help = gabion(folder.path(), ["--help"]).ok();
    let commands = [
        "fetch", "generate", "embed", "run", "stack", "lower", "check", "fmt", "diff", "verify",
        "convert", "bench",
    ];
    for command in commands {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} in\n{help}"
        );
        assert!(
            gabion(folder.path(), [command, "--help"])
                .ok()
                .contains("--json")
        );
    }
    assert!(
        gabion(folder.path(), ["--version"])
            .ok()
            .starts_with("gabion ")
    );
}

/// The reader goes away after the first bytes, as `head` does.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path());
    // More than a pipe holds.
    command.args(words![
        "lower",
        tiny_llama(),
        "--stage",
        "graph",
        "--json",
        "--ledger"
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.as_str()),
        (Some(0), "")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command(folder.path())
        .args(words!["lower", tiny_llama()])
        .stdout(full)
        .output()
        .unwrap();
    Ran::of(output).refused(&["standard output cannot be written", "No space left"]);
}
