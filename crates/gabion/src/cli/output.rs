//! Standard output, standard error and progress: who may write where. Files are in `write`.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::error::CliError;

/// Where a command's words go: results to standard output, everything else to standard error.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether standard output is one JSON object.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A part of the result for people; nothing with `--json`.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        write_out(text.as_bytes())
    }

    /// A line of the result for people; nothing with `--json`.
    pub(crate) fn line(&self, line: impl Display) -> Result<(), CliError> {
        self.text(&format!("{line}\n"))
    }

    /// The result for programs; nothing without `--json`. `make` is not called then.
    pub(crate) fn object(&self, make: impl FnOnce() -> Value) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        write_out(format!("{}\n", make()).as_bytes())
    }

    /// What is being done, on standard error.
    pub(crate) fn note(&self, note: impl Display) {
        to_stderr(format_args!("{note}"));
    }

    /// What was done otherwise than asked, on standard error.
    pub(crate) fn warn(&self, warning: impl Display) {
        to_stderr(format_args!("warning: {warning}"));
    }

    /// Why the command failed, on standard error: the error and what caused it.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let said = words_of(error);
        // Errors of texts are drawn with the word in front.
        let word = if said.starts_with("error: ") {
            ""
        } else {
            "error: "
        };
        to_stderr(format_args!("{word}{said}"));
    }

    /// A spinner while something long goes on; invisible unless standard error is a terminal.
    pub(crate) fn spinner(&self, what: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(None, target());
        if !bar.is_hidden() {
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Progress(bar)
    }

    /// A bar of `n` steps; invisible unless standard error is a terminal.
    pub(crate) fn bar(&self, what: &str, n: usize) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(n as u64), target());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Progress(bar)
    }
}

/// An error and what caused it.
pub(crate) fn words_of(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    let mut all = said.clone();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many errors quote their cause.
        if !said.contains(&cause) {
            all += &format!("\n  caused by: {cause}");
        }
        said = cause;
    }
    all
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// Progress that vanishes when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// One step is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn write_out(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::BrokenPipe,
            _ => CliError::Stdout(error),
        })
}

fn to_stderr(line: std::fmt::Arguments<'_>) {
    // Nobody is left to tell if standard error is closed.
    let _closed = writeln!(io::stderr(), "{line}");
}

/// Rows of words as columns: the first column to the left, the others to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (i, (cell, width)) in cells.zip(&widths).enumerate() {
            let width = *width;
            line += &if i == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["a".to_owned(), "1.25".to_owned()],
            vec!["long".to_owned(), "3".to_owned()],
        ];
        assert_eq!(
            table(&["name", "x"], &rows),
            "name     x\na     1.25\nlong     3\n"
        );
    }
}
