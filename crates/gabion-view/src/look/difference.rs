//! What passes did: counts for each stage, and marks for what is visible.

use rustc_hash::FxHashMap;

use crate::document::{BoxId, Change, Document, StageKind};

/// How many boxes a stage added, changed and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Were not there before.
    pub added: usize,
    /// Were there, with other operands, attributes or types.
    pub changed: usize,
    /// Are there no longer.
    pub removed: usize,
}

impl Counts {
    /// Whether nothing happened.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn count(&mut self, change: Change) {
        match change {
            Change::Same => {}
            Change::Added => self.added += 1,
            Change::Changed => self.changed += 1,
            Change::Removed => self.removed += 1,
        }
    }

    /// `+3 ~1 −4`, or "".
    pub fn text(self) -> String {
        let parts = [('+', self.added), ('~', self.changed), ('−', self.removed)];
        let parts = parts.iter().filter(|(_, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(sign, n)| format!("{sign}{n}")).collect();
        parts.join(" ")
    }
}

/// What every stage did to the one before. The plan has boxes of its own, so it is compared with nothing.
pub(crate) fn counts(document: &Document) -> Vec<Counts> {
    let mut all = vec![Counts::default(); document.stages.len()];
    for (at, stage) in document.stages.iter().enumerate() {
        if stage.kind != StageKind::Pass {
            continue;
        }
        for id in &stage.boxes {
            all[at].count(document.change(at, *id));
        }
        if let Some(before) = at.checked_sub(1) {
            for id in &document.stages[before].boxes {
                if document.next_change(before, *id) == Change::Removed {
                    all[at].count(Change::Removed);
                }
            }
        }
    }
    all
}

/// What is different between a stage and another one, for its boxes and its groups.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    boxes: FxHashMap<BoxId, Change>,
    groups: FxHashMap<u32, Counts>,
}

impl Difference {
    /// `later` says that the other stage comes after, so that what it has not was removed.
    pub(crate) fn new(document: &Document, stage: usize, other: usize, later: bool) -> Self {
        let mut difference = Self::default();
        let is_plan = |at: usize| document.stages[at].kind == StageKind::Plan;
        if is_plan(stage) != is_plan(other) {
            return difference;
        }
        for id in &document.stages[stage].boxes {
            let it = document.get(*id);
            let change = match document.find(other, it.key) {
                Some(same) if same == *id => continue,
                Some(_) => Change::Changed,
                None if later => Change::Removed,
                None => Change::Added,
            };
            difference.boxes.insert(*id, change);
            for group in document.tree.ancestors(it.group) {
                difference.groups.entry(group.0).or_default().count(change);
            }
        }
        difference
    }

    /// What happened to a box.
    pub fn of(&self, id: BoxId) -> Change {
        self.boxes.get(&id).copied().unwrap_or(Change::Same)
    }

    /// What happened inside a group.
    pub fn inside(&self, group: crate::document::GroupId) -> Counts {
        self.groups.get(&group.0).copied().unwrap_or_default()
    }
}
