//! The ledger's lines, and what each of them speaks of.

use gabion_lower::Outcome;
use serde::Serialize;

use super::data::Words;
use super::orders::item;
use crate::document::{BoxId, Document};
use crate::look::ledger::sources;
use crate::place::Item;

/// The lines, field by field.
#[derive(Default, Serialize)]
pub(super) struct LedgerData {
    /// The stage that the pass made; 0 if it is not in the document.
    stage: Vec<u32>,
    pass: Vec<u32>,
    scope: Vec<u32>,
    candidate: Vec<u32>,
    fired: Vec<u8>,
    why: Vec<u32>,
    /// The stage in which the candidate stands, if it is known.
    seen: Vec<u32>,
    /// What it is: an item as a number, and one; 0 if it is not known.
    target: Vec<u32>,
    /// The boxes of the first stage that the candidate was made from, and what they are called.
    from: Vec<Vec<BoxId>>,
    /// The rows of stored tensors that the line is about: tensor, first, end.
    rows: Vec<Vec<(u32, usize, usize)>>,
}

impl LedgerData {
    pub(super) fn new<'d>(document: &'d Document, words: &mut Words<'d>) -> Self {
        let mut data = Self::default();
        for entry in document.ledger.entries() {
            let stage = document.stage_of(entry).unwrap_or(0);
            let seen = document.box_of(entry);
            let seen = seen.map(|(at, id)| (at, Item::Box(id)));
            let seen = seen.or_else(|| {
                let group = document.tree.by_path(&entry.scope);
                let group = group.filter(|_| !entry.scope.is_empty())?;
                Some((stage, Item::Group(group)))
            });
            let (fired, why) = match &entry.outcome {
                Outcome::Fired(what) => (1, what),
                Outcome::Refused(why) => (0, why),
            };
            data.stage.push(stage as u32);
            data.pass.push(words.get(entry.pass));
            data.scope.push(words.get(&entry.scope));
            data.candidate.push(words.get(&entry.candidate));
            data.fired.push(fired);
            data.why.push(words.get(why));
            data.seen.push(seen.map_or(0, |(at, _)| at as u32));
            data.target.push(seen.map_or(0, |(_, of)| item(of) + 1));
            data.from.push(sources(document, entry));
            let rows = entry.rows.iter();
            let rows = rows.map(|it| (words.get(&it.tensor), it.rows.start, it.rows.end));
            data.rows.push(rows.collect());
        }
        data
    }
}
