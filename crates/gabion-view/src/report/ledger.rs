//! The ledger's lines, and what each of them speaks of.

use gabion_lower::{Entry, Outcome};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::data::Words;
use super::orders::item;
use crate::document::{BoxId, Document, StageKind};
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
}

/// The boxes of a stage by what the ledger calls them.
struct Candidates<'d>(FxHashMap<(&'d str, String), BoxId>);

impl<'d> Candidates<'d> {
    fn new(document: &'d Document, stage: usize) -> Self {
        let mut of = FxHashMap::default();
        for id in &document.stages[stage].boxes {
            let it = document.get(*id);
            let scope = &*document.tree.get(it.group).path;
            let named = it.name.split(", ").next().filter(|it| it.starts_with('%'));
            let ty = it.results.first().map(|port| &*port.ty);
            for word in named.into_iter().chain(ty) {
                of.entry((scope, format!("{} {word}", it.op)))
                    .or_insert(*id);
            }
        }
        Self(of)
    }

    fn find(&self, entry: &Entry) -> Option<BoxId> {
        let key = (entry.scope.as_str(), entry.candidate.clone());
        self.0.get(&key).copied()
    }
}

impl LedgerData {
    pub(super) fn new<'d>(document: &'d Document, words: &mut Words<'d>) -> Self {
        let mut data = Self::default();
        let stages = document.stages.iter().enumerate();
        let passes = stages.filter(|(_, stage)| stage.kind == StageKind::Pass);
        let by_pass: FxHashMap<&str, usize> = passes.map(|(at, it)| (&*it.name, at)).collect();
        let mut candidates: FxHashMap<usize, Candidates<'d>> = FxHashMap::default();
        for entry in document.ledger.entries() {
            let stage = by_pass.get(entry.pass).copied().unwrap_or(0);
            // What fired is gone afterwards; what a pass made itself was not there before.
            let seen = [stage.saturating_sub(1), stage].into_iter().find_map(|at| {
                let known = candidates
                    .entry(at)
                    .or_insert_with(|| Candidates::new(document, at));
                Some((at, Item::Box(known.find(entry)?)))
            });
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
        }
        data
    }
}
