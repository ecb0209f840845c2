//! Runs the files under `filetests/`. A file is a graph with a header and expectations in comments:
//!
//! ```text
//! // test: text               the sub-test: text, parse_error, verify, plan, or `pass NAME`
//! graph @g(%x: f32[2]) -> (f32[2]) {
//!   %y = relux %x : f32[2]   // error: no operator        a substring of the error on this line
//!   return %y
//! }
//! // expect:                  the rest of the file is what must be printed
//! graph @g(..) ..
//! ```
//!
//! - `text`: the graph parses, and prints as the `expect` section, or as itself if there is none.
//! - `parse_error`: every error stands on its line, and every line's error comes. `error-next:` and
//!   `error-previous:` speak of the neighbouring line, for places where no comment can stand.
//! - `verify`: edits (`// set-operand: ..`, see `verify.rs`) break the graph; errors as above.
//! - `pass NAME`: in `passes/NAME/`; the pass's result and ledger print as the `expect` section, and
//!   the graph means what it meant. See `passes.rs`.
//!
//! - `plan`: the plan for the CPU prints as the `expect` section.
//!
//! `GABION_BLESS=1` rewrites `expect` sections.

mod errors;
mod passes;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use gabion_ir::Graph;

use crate::repository;

/// One file, cut into its parts.
pub(crate) struct Case {
    /// The path from the repository's root.
    pub(crate) name: String,
    path: PathBuf,
    /// What `// test:` says.
    kind: String,
    /// Header and graph.
    pub(crate) text: String,
    /// What stands after `// expect:`.
    expect: Option<String>,
}

const EXPECT: &str = "\n// expect:\n";

impl Case {
    fn read(path: &Path) -> Result<Self, String> {
        let name = path
            .strip_prefix(repository())
            .unwrap_or(path)
            .display()
            .to_string();
        let whole = fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
        let kind = whole
            .lines()
            .find_map(|line| line.strip_prefix("// test: "))
            .ok_or_else(|| format!("{name}: no `// test: ..` line"))?
            .trim()
            .to_owned();
        let (text, expect) = match whole.split_once(EXPECT) {
            Some((text, expect)) => (format!("{text}\n"), Some(expect.to_owned())),
            None => (whole, None),
        };
        Ok(Self {
            name,
            path: path.to_path_buf(),
            kind,
            text,
            expect,
        })
    }

    /// The graph.
    pub(crate) fn parse(&self) -> Result<Graph, String> {
        Graph::parse(&self.text).map_err(|e| e.with_file(self.name.as_str()).to_string())
    }

    /// The text without the comment lines before the graph.
    fn body(&self) -> &str {
        self.text.find("graph @").map_or("", |at| &self.text[at..])
    }

    /// Compares what was printed with the `expect` section (`or` where there is none).
    fn compare(&self, printed: &str, or: Option<&str>) -> Result<(), String> {
        let Some(expected) = self.expect.as_deref().or(or) else {
            return Err(format!("{}: no `// expect:` section", self.name));
        };
        if expected == printed {
            return Ok(());
        }
        if self.expect.is_some() && std::env::var_os("GABION_BLESS").is_some() {
            let whole = format!("{}{EXPECT}{printed}", self.text.trim_end_matches('\n'));
            return fs::write(&self.path, whole).map_err(|e| format!("{}: {e}", self.name));
        }
        Err(format!(
            "{}: expected\n{expected}\nprinted\n{printed}",
            self.name
        ))
    }

    fn run(&self) -> Result<(), String> {
        match self.kind.split_once(' ').unwrap_or((&self.kind, "")) {
            ("text", "") => self.compare(&self.parse()?.to_text(), Some(self.body())),
            ("parse_error", "") => errors::run(self),
            ("verify", "") => verify::run(self),
            ("pass", name) => {
                let printed = passes::run(name, self).map_err(|e| format!("{}: {e}", self.name))?;
                self.compare(&printed, None)
            }
            ("plan", "") => {
                let plan = crate::running::plan(&self.parse()?);
                let text = plan.map_err(|e| format!("{}: {e}", self.name))?.to_text();
                self.compare(&text, None)
            }
            _ => Err(format!("{}: unknown sub-test `{}`", self.name, self.kind)),
        }
    }
}

/// The graphs of every file of a folder, by their paths.
pub(crate) fn graphs_of(folder: &str) -> Vec<(String, Graph)> {
    let mut found = Vec::new();
    files(
        &repository().join("tests/filetests").join(folder),
        &mut found,
    );
    let graphs = found.iter().map(|path| {
        let case = Case::read(path).unwrap_or_else(|e| panic!("{e}"));
        let graph = case.parse().unwrap_or_else(|e| panic!("{e}"));
        (case.name, graph)
    });
    graphs.collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "gir") {
            found.push(path);
        }
    }
    found.sort();
}

/// Runs every file of a folder; all failures come out together.
#[track_caller]
fn run_folder(folder: &str, at_least: usize) {
    let mut found = Vec::new();
    files(
        &repository().join("tests/filetests").join(folder),
        &mut found,
    );
    assert!(
        found.len() >= at_least,
        "{folder}: expected at least {at_least} files, found {}",
        found.len()
    );
    let failures: Vec<String> = found
        .iter()
        .filter_map(|path| Case::read(path).and_then(|case| case.run()).err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} failed\n\n{}",
        failures.len(),
        found.len(),
        failures.join("\n\n")
    );
}

#[test]
fn text() {
    run_folder("text", 10);
}

#[test]
fn parse_error() {
    run_folder("parse_error", 10);
}

#[test]
fn verify_files() {
    run_folder("verify", 5);
}

#[test]
fn pass_files() {
    for pass in gabion_lower::PASSES {
        run_folder(&format!("passes/{}", pass.name), 2);
    }
    // A folder that no pass answers to fails too.
    run_folder("passes", 2 * gabion_lower::PASSES.len());
}

#[test]
fn plan_files() {
    run_folder("plan", 15);
}

/// The runner must fail where it should: an unexpected error, a missing error, a wrong text.
#[test]
fn a_wrong_expectation_fails() {
    let case = |kind: &str, text: &str, expect: Option<&str>| Case {
        name: "case.gir".to_owned(),
        path: PathBuf::new(),
        kind: kind.to_owned(),
        text: text.to_owned(),
        expect: expect.map(str::to_owned),
    };
    let good = "graph @g(%x: f32[2]) -> (f32[2]) {\n  return %x\n}\n";
    let bad = "graph @g(%x: f32[2]) -> (f32[2]) {\n  return %y // error: is not defined\n}\n";
    assert_eq!(case("text", good, None).run(), Ok(()));
    assert_eq!(case("parse_error", bad, None).run(), Ok(()));
    let other = bad.replace("is not defined", "is wrong");
    let none = bad.replace("// error: is not defined", "");
    for (kind, text, expect, said) in [
        (
            "text",
            good,
            Some("graph @h"),
            "case.gir: expected\ngraph @h\nprinted\ngraph @g",
        ),
        ("parse_error", good, None, "case.gir: expects no error"),
        (
            "parse_error",
            &other,
            None,
            "line 2: expected, not found: is wrong",
        ),
        ("parse_error", &none, None, "case.gir: expects no error"),
        (
            "parse_error",
            &other,
            None,
            "line 2: not expected: `%y` is not defined",
        ),
        ("verify", good, None, "case.gir: no edit"),
        (
            "pass no_such_pass",
            good,
            Some(good),
            "no pass `no_such_pass`; the passes are remove_dead, ",
        ),
        ("tekst", good, None, "case.gir: unknown sub-test `tekst`"),
    ] {
        let wrong = case(kind, text, expect).run().expect_err(kind);
        assert!(
            wrong.contains(said),
            "{kind}: expected {said:?} in\n{wrong}"
        );
    }
}
