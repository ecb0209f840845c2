//! What a selection depends on and what depends on it.

use rustc_hash::FxHashSet;

use crate::document::{BoxId, Document};
use crate::place::Item;

/// Which way to follow the edges from the selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cone {
    /// To all that it depends on.
    pub up: bool,
    /// To all that depends on it.
    pub down: bool,
}

impl Cone {
    /// Whether it leads anywhere.
    pub fn any(self) -> bool {
        self.up || self.down
    }
}

/// Who reads what at a stage, as one list cut into pieces.
#[derive(Clone, Debug, Default)]
pub struct Users {
    first: Vec<u32>,
    users: Vec<BoxId>,
}

impl Users {
    pub(crate) fn new(document: &Document, stage: usize) -> Self {
        let boxes = &document.stages[stage].boxes;
        let mut first = vec![0u32; document.boxes.len() + 1];
        for id in boxes {
            for (operand, _) in document.operands(stage, *id) {
                first[operand as usize + 1] += 1;
            }
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        let mut users = vec![0; first[first.len() - 1] as usize];
        let mut free = first.clone();
        for id in boxes {
            for (operand, _) in document.operands(stage, *id) {
                let place = &mut free[operand as usize];
                users[*place as usize] = *id;
                *place += 1;
            }
        }
        Self { first, users }
    }

    /// The boxes that read a box; one that reads it twice stands twice.
    pub fn of(&self, id: BoxId) -> &[BoxId] {
        let range = self.first[id as usize] as usize..self.first[id as usize + 1] as usize;
        &self.users[range]
    }
}

/// The boxes of an item at a stage.
pub(crate) fn boxes_of(document: &Document, stage: usize, item: Item) -> Vec<BoxId> {
    match item {
        Item::Box(id) => vec![id],
        Item::Group(group) => {
            let inside = |id: &BoxId| {
                let own = document.get(*id).group;
                own == group || document.tree.ancestors(own).any(|it| it == group)
            };
            let boxes = document.stages[stage].boxes.iter().copied();
            boxes.filter(inside).collect()
        }
    }
}

/// All boxes in the cone of some, with themselves.
pub(crate) fn cone(
    document: &Document,
    stage: usize,
    users: &Users,
    from: &[BoxId],
    cone: Cone,
) -> FxHashSet<BoxId> {
    let mut all: FxHashSet<BoxId> = from.iter().copied().collect();
    if cone.up {
        follow(from, &mut all, |id, next| {
            next.extend(document.operands(stage, id).map(|(operand, _)| operand));
        });
    }
    if cone.down {
        follow(from, &mut all, |id, next| {
            next.extend_from_slice(users.of(id));
        });
    }
    all
}

fn follow(
    from: &[BoxId],
    all: &mut FxHashSet<BoxId>,
    mut neighbours: impl FnMut(BoxId, &mut Vec<BoxId>),
) {
    // Its own set: what the other way found is still to be followed this way only from the beginning.
    let mut met: FxHashSet<BoxId> = from.iter().copied().collect();
    let mut stack = from.to_vec();
    let mut next = Vec::new();
    while let Some(id) = stack.pop() {
        neighbours(id, &mut next);
        for id in next.drain(..) {
            if met.insert(id) {
                stack.push(id);
            }
        }
    }
    all.extend(met);
}
