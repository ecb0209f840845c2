//! Where somebody has been: back, forward, and bookmarks.

use crate::document::{Document, Key};
use crate::place::Item;

/// Something that was selected at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    /// The stage.
    pub stage: usize,
    /// What was selected.
    pub item: Item,
}

/// How many steps back are kept.
const LONGEST: usize = 200;

/// Spots in the order in which they were visited.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    spots: Vec<Spot>,
    /// How many of them lie behind, with the one where somebody is.
    at: usize,
}

impl Trail {
    /// Somebody goes somewhere; what was ahead is forgotten.
    pub fn visit(&mut self, spot: Spot) {
        if self.here() == Some(spot) {
            return;
        }
        self.spots.truncate(self.at);
        self.spots.push(spot);
        if self.spots.len() > LONGEST {
            self.spots.remove(0);
        }
        self.at = self.spots.len();
    }

    fn here(&self) -> Option<Spot> {
        self.at.checked_sub(1).map(|at| self.spots[at])
    }

    /// The spot before. `left` says that nothing is selected now, so that the last spot is itself the one to go back to.
    pub fn back(&mut self, left: bool) -> Option<Spot> {
        if !left {
            if self.at < 2 {
                return None;
            }
            self.at -= 1;
        }
        self.here()
    }

    /// The spot after.
    pub fn forward(&mut self) -> Option<Spot> {
        let spot = *self.spots.get(self.at)?;
        self.at += 1;
        Some(spot)
    }

    /// Whether there is one to go back to, and one to go forward to.
    pub fn ways(&self) -> (bool, bool) {
        (self.at > 1, self.at < self.spots.len())
    }
}

/// A name for a spot: its module path or its name.
pub fn spot_name(document: &Document, spot: Spot) -> String {
    let stage = document.stages.get(spot.stage).map_or("", |it| &*it.name);
    format!("{} · {stage}", item_name(document, spot.item))
}

/// A name that says where something is.
pub fn item_name(document: &Document, item: Item) -> String {
    match item {
        Item::Group(id) => {
            let group = document.tree.get(id);
            match group.path.ends_with(&*group.name) {
                true => group.path.to_string(),
                false if group.path.is_empty() => group.name.to_string(),
                false => format!("{} {}", group.path, group.name),
            }
        }
        Item::Box(id) => {
            let it = document.get(id);
            match it.name.is_empty() {
                true => format!("{} #{}", it.op, number(it.key)),
                false => format!("{} {}", it.op, it.name),
            }
        }
    }
}

/// A short number for a box without a name.
fn number(key: Key) -> u32 {
    key.0 & 0x0fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(id: u32) -> Spot {
        Spot {
            stage: 0,
            item: Item::Box(id),
        }
    }

    #[test]
    fn back_and_forward() {
        let mut trail = Trail::default();
        assert_eq!(trail.back(false), None);
        for id in [1, 2, 2, 3] {
            trail.visit(spot(id));
        }
        assert_eq!(trail.back(false), Some(spot(2)));
        assert_eq!(trail.back(false), Some(spot(1)));
        assert_eq!(trail.back(false), None);
        assert_eq!(trail.forward(), Some(spot(2)));
        assert_eq!(trail.ways(), (true, true));
        // Another way from here: 3 is forgotten.
        trail.visit(spot(4));
        assert_eq!(trail.forward(), None);
        assert_eq!(trail.back(true), Some(spot(4)));
        assert_eq!(trail.back(false), Some(spot(2)));
    }

    #[test]
    fn a_trail_does_not_grow_for_ever() {
        let mut trail = Trail::default();
        (0..1_000).for_each(|id| trail.visit(spot(id)));
        assert_eq!(trail.spots.len(), LONGEST);
        assert_eq!(trail.back(false), Some(spot(998)));
    }
}
