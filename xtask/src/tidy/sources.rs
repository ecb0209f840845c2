//! Checks of single files: heads, lengths, names, and words that must not stand in them.

use super::Report;

const MAX_LINES: usize = 800;
const MAX_OP_LINES: usize = 200;
const MAX_PASS_LINES: usize = 250;

/// Where `unsafe` is allowed: the executor's kernels, and the two calls that map files.
const UNSAFE_ALLOWED: [&str; 2] = ["crates/gabion-cpu/", "crates/gabion-tensor/src/mapping.rs"];
/// Where the environment is read.
const ENVIRONMENT_ALLOWED: [&str; 6] = [
    "crates/gabion/",
    "crates/gabion-cpu/src/isa.rs",
    "crates/gabion-testing/tests/",
    "tests/",
    "xtask/",
    "fuzz/",
];
/// File names that say nothing.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "common", "helper", "helpers", "manager", "misc", "stuff",
];

/// Marks of unfinished work. Split, so that this file does not hold them.
const UNFINISHED: [(&str, &str); 7] = [
    (concat!("to", "do!("), "finish it"),
    (concat!("unimple", "mented!("), "finish it"),
    (concat!("db", "g!("), "remove it"),
    (
        concat!("#[ig", "nore"),
        "a test that does not run checks nothing; assert what is",
    ),
    (
        concat!("should", "_panic"),
        "return an error and assert its message",
    ),
    (concat!("allow(dead", "_code"), "remove what is not used"),
    (concat!("allow(unus", "ed"), "remove what is not used"),
];

/// Words that tie the project to a registry, a machine or the way it was written.
const FOREIGN: [&str; 17] = [
    concat!("crates", ".io"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("hugging", "face.co"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Use", "rs/"),
    concat!("chat", "gpt"),
    concat!("cla", "ude"),
    concat!("anthro", "pic"),
    concat!("co", "pilot"),
    concat!("sub", "agent"),
    concat!("previous", " session"),
    concat!("earlier", " session"),
    concat!("working", " brief"),
    concat!("as an ", "ai"),
];

pub(super) fn check(path: &str, text: &str, report: &mut Report) {
    // Lock files name their registry; the licence is as it is.
    if !path.ends_with("Cargo.lock") && !path.starts_with("LICENSE") {
        foreign_words(path, text, report);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    if EMPTY_NAMES.contains(&stem) {
        report.file(
            path,
            format!("`{stem}` says nothing; name what the file is for"),
        );
    }
    if path.ends_with(".rs") {
        rust_file(path, text, report);
    }
}

fn foreign_words(path: &str, text: &str, report: &mut Report) {
    for (number, line) in (1..).zip(text.lines()) {
        let lower = line.to_lowercase();
        for word in FOREIGN {
            if contains_word(&lower, &word.to_lowercase()) {
                report.line(
                    path,
                    number,
                    format!("`{word}`: the project speaks of itself alone"),
                );
            }
        }
    }
}

/// True if the word is there and does not continue another.
fn contains_word(line: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '}' | '*');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(inside);
        let letters = word.ends_with(char::is_alphabetic);
        let after = letters && line[at + word.len()..].starts_with(|c: char| c.is_alphanumeric());
        !before && !after
    })
}

fn rust_file(path: &str, text: &str, report: &mut Report) {
    if !text.starts_with("//!") {
        report.line(
            path,
            1,
            "a file opens with `//!`: what lives here, and what does not",
        );
    }
    let lines = text.lines().count();
    let own = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    let is_op = path.starts_with("crates/gabion-ir/src/ops/") && text.contains("impl OpDef for ");
    let is_pass = path.starts_with("crates/gabion-lower/src/passes/");
    for (applies, found, limit, what) in [
        (true, lines, MAX_LINES, "a file"),
        (is_op, own, MAX_OP_LINES, "an operator"),
        (is_pass, own, MAX_PASS_LINES, "a pass"),
    ] {
        if applies && found > limit {
            report.file(
                path,
                format!("{found} lines, {what} has at most {limit}; divide it"),
            );
        }
    }
    let unsafe_word = concat!("uns", "afe");
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or(line);
        for (mark, way_out) in UNFINISHED {
            if code.contains(mark) {
                report.line(path, number, format!("`{mark}`: {way_out}"));
            }
        }
        let blocks =
            ["{", "fn", "impl", "trait", "extern"].map(|next| format!("{unsafe_word} {next}"));
        let is_unsafe = blocks.iter().any(|b| code.contains(b))
            || code.contains(&format!("allow({unsafe_word}"));
        if is_unsafe
            && !UNSAFE_ALLOWED
                .iter()
                .any(|allowed| path.starts_with(allowed))
        {
            report.line(
                path,
                number,
                format!(
                    "`{unsafe_word}` stands in {} only",
                    UNSAFE_ALLOWED.join(" and ")
                ),
            );
        }
        // What a test starts as a process of its own may be told so by a variable.
        let is_test = path.starts_with("tests/") || path.contains("/tests/");
        if code.contains("env::var")
            && !is_test
            && !ENVIRONMENT_ALLOWED
                .iter()
                .any(|allowed| path.starts_with(allowed))
        {
            report.line(
                path,
                number,
                "libraries do not read the environment; take a parameter",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        of(|report| check(path, text, report))
    }

    #[test]
    fn heads_lengths_and_names() {
        assert_eq!(found("a.rs", "//! A.\nfn a() {}\n"), [""; 0]);
        assert_eq!(
            found("a.rs", "fn a() {}\n"),
            ["a.rs:1: a file opens with `//!`: what lives here, and what does not"]
        );
        let long = |n: usize| format!("//! A.\n{}", "//\n".repeat(n - 1));
        assert_eq!(found("a.rs", &long(800)), [""; 0]);
        assert_eq!(
            found("a.rs", &long(801)),
            ["a.rs: 801 lines, a file has at most 800; divide it"]
        );
        assert_eq!(
            found("crates/gabion-lower/src/passes/a.rs", &long(251)).len(),
            1
        );
        assert_eq!(
            found(
                "crates/gabion-lower/src/passes/a.rs",
                &format!("{}#[cfg(test)]\n{}", long(250), long(90))
            ),
            [""; 0]
        );
        let op = format!(
            "//! An operator.\nimpl OpDef for A {{}}\n{}",
            "\n".repeat(199)
        );
        assert_eq!(
            found("crates/gabion-ir/src/ops/a.rs", &op),
            ["crates/gabion-ir/src/ops/a.rs: 201 lines, an operator has at most 200; divide it"]
        );
        assert_eq!(
            found("src/utils.rs", "//! A.\n"),
            ["src/utils.rs: `utils` says nothing; name what the file is for"]
        );
        assert_eq!(found("src/common/a.rs", "//! A.\n"), [""; 0]);
    }

    #[test]
    fn words_that_must_not_stand() {
        for (mark, _) in UNFINISHED {
            let found = found("a.rs", &format!("//! A.\n{mark}\n// {mark}\n"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("a.rs:2: "), "{found:?}");
        }
        for word in FOREIGN {
            let texts = [
                format!("see {word}"),
                format!("({} ", word.to_uppercase()),
                format!("x{word}"),
            ];
            let counts = texts.map(|text| found("docs/a.md", &text).len());
            assert_eq!(counts, [1, 1, 0], "{word}");
        }
        assert_eq!(found("Cargo.lock", FOREIGN[0]), [""; 0]);
    }

    #[test]
    fn unsafe_and_the_environment() {
        let block = concat!("//! A.\nfn a() { uns", "afe { b() } }\n");
        assert_eq!(found("crates/gabion-cpu/src/a.rs", block), [""; 0]);
        assert_eq!(found("crates/gabion-ir/src/a.rs", block).len(), 1);
        assert_eq!(found("crates/gabion-tensor/src/mapping.rs", block), [""; 0]);
        let reads = "//! A.\nfn a() { std::env::var_os(\"A\"); env!(\"A\"); }\n";
        assert_eq!(found("crates/gabion/src/a.rs", reads), [""; 0]);
        assert_eq!(
            found("crates/gabion-cpu/src/a.rs", reads),
            [
                "crates/gabion-cpu/src/a.rs:2: libraries do not read the environment; take a parameter"
            ]
        );
    }
}
