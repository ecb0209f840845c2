//! The ledger: every candidate that a pass looked at, whether it fired, and if not, why.

use std::fmt;
use std::hash::BuildHasher;
use std::ops::Range;

use gabion_ir::{Graph, Op, Origins, Value};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::Serialize;
use smallvec::SmallVec;

use crate::recipe::parts_of;
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
    /// The rows of stored tensors that the line is about; empty where it is about the whole candidate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<TensorRows>,
}

/// Rows of a stored tensor, after what is done to it while loading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorRows {
    /// The tensor.
    pub tensor: String,
    /// The rows.
    pub rows: Range<usize>,
}

impl TensorRows {
    /// What rows of the parts `values`, one under the other, are; none if one of them is no stored tensor.
    pub fn of(graph: &Graph, values: &[Value], rows: Range<usize>) -> Option<Vec<Self>> {
        let mut found = Vec::new();
        let mut first = 0;
        for value in values {
            for part in parts_of(graph, *value)? {
                let (start, end) = (rows.start.max(first), rows.end.min(first + part.n_rows));
                if start < end {
                    let Op::Weight(weight) = graph.op(part.source.node) else {
                        return None;
                    };
                    let base = part.rows.map_or(0, |cut| cut.0);
                    found.push(Self {
                        tensor: weight.name.to_string(),
                        rows: base + start - first..base + end - first,
                    });
                }
                first += part.n_rows;
            }
        }
        Some(found)
    }
}

impl Entry {
    /// Whether the line is about a row of a stored tensor, counted after what is done to it while loading.
    pub fn concerns(&self, tensor: &str, row: usize) -> bool {
        let has = |it: &TensorRows| it.tensor == tensor && it.rows.contains(&row);
        self.rows.is_empty() || self.rows.iter().any(has)
    }

    /// The same line was met elsewhere.
    fn takes(&mut self, other: Self) {
        self.origins.unite(&other.origins);
        if self.rows.is_empty() || other.rows.is_empty() {
            self.rows.clear();
            return;
        }
        for rows in other.rows {
            if !self.rows.contains(&rows) {
                self.rows.push(rows);
            }
        }
    }

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
    /// that line gets the origins and rows too.
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
            Some(at) => self.entries[*at].takes(entry),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rows: &[(&str, Range<usize>)]) -> Entry {
        let rows = rows.iter().map(|(tensor, rows)| TensorRows {
            tensor: (*tensor).to_owned(),
            rows: rows.clone(),
        });
        Entry {
            pass: "fuse_epilogue",
            scope: String::new(),
            candidate: "stacked_matmul f32[n, 4]".to_owned(),
            outcome: Outcome::Fired("bias of rows [0, 4]".to_owned()),
            origins: Origins::NONE,
            rows: rows.collect(),
        }
    }

    #[test]
    fn one_line_about_two_stacks_is_about_the_rows_of_both() {
        let mut ledger = Ledger::default();
        ledger.record(entry(&[("a", 0..4)]));
        ledger.record(entry(&[("b", 2..6)]));
        ledger.record(entry(&[("a", 0..4)]));
        let [line] = ledger.entries() else {
            panic!("{ledger}");
        };
        assert_eq!(line.rows.len(), 2, "{line:?}");
        assert!(line.concerns("a", 3) && line.concerns("b", 5));
        assert!(!line.concerns("a", 4) && !line.concerns("b", 1) && !line.concerns("c", 0));
        // Of a whole candidate, so of every row.
        ledger.record(entry(&[]));
        assert!(ledger.entries()[0].concerns("c", 0));
    }

    #[test]
    fn rows_of_parts_are_rows_of_their_tensors() {
        let text = "graph @g() -> (f32[6, 2]) {\n  %a = weight {name = \"a\"} : f32[4, 2]\n  \
                    %b = weight {name = \"b\"} : f32[2, 3]\n  %t = transpose %b {perm = [1, 0]}\n  \
                    %s = slice %a {axes = [{axis = 0, start = 1, stop = 4}]}\n  %c = concat %s, %t {axis = 0}\n  return %c\n}\n";
        let graph = Graph::parse(text).unwrap_or_else(|e| panic!("{e}"));
        let value = graph.outputs()[0].value;
        let of = |rows| {
            let found = TensorRows::of(&graph, &[value], rows).expect("stored tensors alone");
            let found = found.into_iter().map(|it| (it.tensor, it.rows));
            found.collect::<Vec<_>>()
        };
        assert_eq!(of(1..3), [("a".to_owned(), 2..4)]);
        assert_eq!(of(2..5), [("a".to_owned(), 3..4), ("b".to_owned(), 0..2)]);
    }
}
