//! The ledger: every candidate that a pass looked at, whether it fired, and if not, why.

use std::fmt;
use std::hash::BuildHasher;

use gabion_ir::Origins;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::Serialize;
use smallvec::SmallVec;

use crate::sources::Sources;

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
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
    /// The nodes of the source graph that the candidate was made from.
    #[serde(skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

impl Entry {
    /// What the line says, of whatever nodes.
    fn words(&self) -> (&str, &str, &str, &Outcome) {
        (self.pass, &self.scope, &self.candidate, &self.outcome)
    }
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
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// The lines of the last pass, by the hash of their words: large graphs have tens of thousands.
    #[serde(skip)]
    of_last_pass: FxHashMap<u64, SmallVec<[usize; 1]>>,
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Ledger {}

impl Ledger {
    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds an entry unless the very same line is there (a pass may meet a candidate again): then
    /// that line gets the origins too.
    pub fn record(&mut self, entry: Entry) {
        if self.entries.last().is_none_or(|e| e.pass != entry.pass) {
            self.of_last_pass.clear();
        }
        let hash = FxBuildHasher.hash_one(entry.words());
        let alike = self.of_last_pass.entry(hash).or_default();
        let known = alike
            .iter()
            .find(|at| self.entries[**at].words() == entry.words());
        match known {
            Some(at) => self.entries[*at].origins.unite(&entry.origins),
            None => {
                alike.push(self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// The lines about nodes of the source graph: those whose candidate was made from one of them.
    pub fn about<'a>(&'a self, origins: &'a Origins) -> impl Iterator<Item = &'a Entry> {
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.origins.intersects(origins))
    }

    /// The lines, each with the values of the source graph that it speaks of and where they were made.
    pub fn with_sources(&self, sources: &Sources) -> String {
        let lines = self.entries.iter();
        let lines = lines.map(|entry| format!("{entry}{}\n", sources.words(&entry.origins)));
        lines.collect()
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
