//! The lines of the ledger and the boxes: which box a line speaks of, and which lines speak of a box. Both are told by the
//! nodes of the source graph that they were made from, so twins without names are not taken for each other.

use gabion_lower::{Entry, Outcome};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{BoxId, Document, Key, Kind, StageKind};

/// Pairs of a key and a number, in order: the numbers of a key lie side by side.
#[derive(Clone, Debug, Default)]
struct ByKey(Vec<(Key, u32)>);

impl ByKey {
    fn new(mut pairs: Vec<(Key, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        Self(pairs)
    }

    fn of(&self, key: Key) -> impl Iterator<Item = u32> {
        let start = self.0.partition_point(|it| it.0 < key);
        let pairs = self.0[start..].iter();
        pairs.take_while(move |it| it.0 == key).map(|it| it.1)
    }

    /// The numbers of any of these keys, ascending.
    fn of_all(&self, keys: impl Iterator<Item = Key>) -> Vec<u32> {
        let mut found: Vec<u32> = keys.flat_map(|key| self.of(key)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What the ledger and the boxes share: looked up, not searched for.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons {
    boxes: ByKey,
    entries: ByKey,
    /// Who reads a box of the first stage.
    readers: ByKey,
    /// The stage that a pass made.
    stages: FxHashMap<String, usize>,
}

impl Reasons {
    pub(super) fn new(document: &Document) -> Self {
        let origins = document.boxes.iter().zip(0..).flat_map(|(it, id)| {
            let keys = it.origins.iter();
            keys.map(move |key| (*key, id))
        });
        let entries = document.ledger.entries().iter().zip(0..);
        let entries = entries.flat_map(|(entry, at)| {
            let ids = entry.origins.ids().iter();
            ids.map(move |id| (Key(*id), at))
        });
        let first = document.stages.first();
        let first = first.iter().flat_map(|stage| &stage.boxes);
        let readers = first.flat_map(|id| {
            let operands = document.get(*id).operands.iter();
            operands.map(|operand| (operand.key, *id))
        });
        let passes = document.stages.iter().enumerate();
        let passes = passes.filter(|(_, stage)| stage.kind == StageKind::Pass);
        Self {
            boxes: ByKey::new(origins.collect()),
            entries: ByKey::new(entries.collect()),
            readers: ByKey::new(readers.collect()),
            stages: passes.map(|(at, it)| (it.name.to_string(), at)).collect(),
        }
    }
}

/// How well a box fits a line; what is greater fits better.
type Fit = (bool, bool, bool, bool, usize);

impl Document {
    fn reasons(&self) -> &Reasons {
        self.reasons.get_or_init(|| Reasons::new(self))
    }

    /// The stage that the pass of a line made, if it is in the document.
    pub fn stage_of(&self, entry: &Entry) -> Option<usize> {
        self.reasons().stages.get(entry.pass).copied()
    }

    /// The box that a line of the ledger speaks of, and the stage in which it is shown: what fired is seen before the pass,
    /// since it is gone afterwards; what was refused after it, where it still is. A box shares a node of the source graph
    /// with its line. Where neither stage has one, an earlier stage shows what the candidate was made from.
    pub fn box_of(&self, entry: &Entry) -> Option<(usize, BoxId)> {
        let after = self.stage_of(entry).unwrap_or(0);
        let before = after.saturating_sub(1);
        let stages = match entry.outcome {
            Outcome::Fired(_) => [before, after],
            Outcome::Refused(_) => [after, before],
        };
        let ids = entry.origins.ids().iter();
        let related = self.reasons().boxes.of_all(ids.map(|id| Key(*id)));
        let found = stages.map(|stage| self.best(stage, entry, &related));
        // The first of both, unless the pass itself made the candidate, or took it away again.
        let best = found.into_iter().flatten().reduce(|best, next| {
            let fits = |it: Fit| (it.0, it.1, it.2);
            if fits(next.0) > fits(best.0) {
                next
            } else {
                best
            }
        });
        let earlier = || {
            (0..before)
                .rev()
                .find_map(|it| self.best(it, entry, &related))
        };
        let (_, stage, id) = best.or_else(earlier)?;
        Some((stage, id))
    }

    /// Of boxes that share a node with a line, the one of a stage that fits it best.
    fn best(&self, stage: usize, entry: &Entry, related: &[BoxId]) -> Option<(Fit, usize, BoxId)> {
        let here = related.iter().map(|id| (*id, self.get(*id)));
        let here = here.filter(|(_, it)| it.stages.contains(&(stage as u32)));
        let read: FxHashSet<Key> = here
            .clone()
            .flat_map(|(_, it)| it.operands.iter().map(|operand| operand.key))
            .collect();
        let shared = |id: BoxId| {
            let mut ids = entry.origins.ids().iter().map(|id| Key(*id));
            let own = &self.get(id).origins;
            let both = ids.by_ref().filter(|key| own.binary_search(key).is_ok());
            both.count()
        };
        let fit = |id: BoxId| -> Fit {
            let it = self.get(id);
            let in_scope = *self.tree.get(it.group).path == *entry.scope;
            let named = self.is_called(id, &entry.candidate);
            let op = entry.candidate.split(' ').next() == Some(&*it.op);
            // Of a candidate of several nodes the last stands for it.
            let last = !read.contains(&it.key);
            (
                named && in_scope,
                op && in_scope,
                in_scope,
                last,
                shared(id),
            )
        };
        let fits = here.map(|(id, _)| (fit(id), id));
        // The first of those that fit best.
        let best = fits.min_by_key(|(fit, id)| (std::cmp::Reverse(*fit), *id))?;
        Some((best.0, stage, best.1))
    }

    /// Whether the ledger calls a box so: by its operator, and its first name or its type.
    fn is_called(&self, id: BoxId, candidate: &str) -> bool {
        let it = self.get(id);
        let Some(word) = candidate.strip_prefix(&*it.op) else {
            return false;
        };
        let word = word.trim_start();
        let name = it.name.split(", ").next();
        let name = name.filter(|it| it.starts_with('%'));
        let by_type = it.results.first().is_some_and(|port| *port.ty == *word);
        // The first of several results may have no name though another has.
        name == Some(word) || by_type && (name.is_none() || it.results.len() > 1)
    }

    /// The numbers of the lines that speak of a box: those whose candidate was made from something that the box was made
    /// from. Of a weight, those of the products that read it, or read what is made of it alone.
    pub fn entries_of(&self, id: BoxId) -> Vec<usize> {
        let it = self.get(id);
        let mut keys: FxHashSet<Key> = it.origins.iter().copied().collect();
        if it.kind == Kind::Weight {
            self.add_readers(&mut keys);
        }
        let found = self.reasons().entries.of_all(keys.into_iter());
        found.into_iter().map(|at| at as usize).collect()
    }

    /// Adds who reads these nodes of the source graph, through all that depends on no input.
    fn add_readers(&self, keys: &mut FxHashSet<Key>) {
        let mut stack: Vec<Key> = keys.iter().copied().collect();
        while let Some(key) = stack.pop() {
            for user in self.reasons().readers.of(key) {
                let user = self.get(user);
                if keys.insert(user.key) && user.floating {
                    stack.push(user.key);
                }
            }
        }
    }

    /// Boxes of another stage that were made from what this one was made from: where it came from, or what became of it.
    pub fn counterparts(&self, id: BoxId, stage: usize) -> Vec<BoxId> {
        let origins = self.get(id).origins.iter().copied();
        let mut found = self.reasons().boxes.of_all(origins);
        found.retain(|other| self.get(*other).stages.contains(&(stage as u32)));
        found
    }
}
