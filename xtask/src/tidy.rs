//! What no compiler checks. `cargo xtask tidy` prints the findings, and a test fails on any.
//!
//! - Every Rust file opens with `//!`, and has at most 800 lines; without its tests a file with an
//!   operator has at most 200, and a pass at most 250.
//! - `unsafe` stands in `gabion-cpu` and in the file that maps files, nowhere else; the environment
//!   is read by the program, by the choice of an instruction set and by the tests.
//! - No marks of unfinished work, no tests that are skipped or expect a panic.
//! - Names say what a file is for.
//! - The project speaks of itself alone: no host names of package registries, no paths of one
//!   machine, no talk of how it was written.
//! - Crates use each other as `docs/architecture.md` says in its block marked `arrows`; versions of
//!   dependencies stand in the workspace's table, crates only name them; all take the workspace's
//!   lints and package fields.
//! - Every pass in the list has its file and its folder of filetests, and the reverse.
//! - Links of `README.md` and `docs/` lead to files and headings that exist.

mod crates;
mod docs;
mod passes;
mod sources;

use std::fmt;

use crate::checkout::Checkout;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// All findings, by file and line.
pub fn findings(checkout: &Checkout) -> Vec<Finding> {
    let mut report = Report(Vec::new());
    for (path, text) in checkout.texts() {
        sources::check(path, text, &mut report);
    }
    crates::check(checkout, &mut report);
    passes::check(checkout, &mut report);
    docs::check(checkout, &mut report);
    report.0.sort();
    report.0
}

/// Collects findings.
struct Report(Vec<Finding>);

impl Report {
    fn file(&mut self, path: &str, message: impl Into<String>) {
        self.line(path, 0, message);
    }

    fn line(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.0.push(Finding {
            path: path.to_owned(),
            line,
            message: message.into(),
        });
    }
}

/// The findings of one check on made-up files, as lines.
#[cfg(test)]
fn of(check: impl FnOnce(&mut Report)) -> Vec<String> {
    let mut report = Report(Vec::new());
    check(&mut report);
    report.0.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let checkout = Checkout::open().unwrap();
        let findings: Vec<String> = findings(&checkout)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }
}
