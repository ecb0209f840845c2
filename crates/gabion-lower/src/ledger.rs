//! The ledger: every candidate that a pass looked at, whether it fired, and if not, why.

use std::fmt;

use serde::Serialize;

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// The rewrite was done; the text says what it made.
    Fired(String),
    /// The rewrite was not done; the text says why.
    Refused(String),
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The pass.
    pub pass: &'static str,
    /// The module path of the candidate (`model.layers.3.self_attn`), or "" where none is known.
    pub scope: String,
    /// The candidate as printed: operator and value name.
    pub candidate: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.scope.is_empty() {
            "-"
        } else {
            &self.scope
        };
        match &self.outcome {
            Outcome::Fired(what) => write!(f, "{}: {scope}: {}: {what}", self.pass, self.candidate),
            Outcome::Refused(why) => write!(
                f,
                "{}: {scope}: {}: refused: {why}",
                self.pass, self.candidate
            ),
        }
    }
}

/// All entries, in the order in which candidates were met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry unless the very same one is there (a pass may meet a candidate again).
    pub fn record(&mut self, entry: Entry) {
        if !self
            .entries
            .iter()
            .rev()
            .take_while(|e| e.pass == entry.pass)
            .any(|e| *e == entry)
        {
            self.entries.push(entry);
        }
    }

    /// How many candidates of a pass fired.
    pub fn fired(&self, pass: &str) -> usize {
        self.entries
            .iter()
            .filter(|e| e.pass == pass && matches!(e.outcome, Outcome::Fired(_)))
            .count()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}
