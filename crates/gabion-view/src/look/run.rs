//! What commands do.

use super::panel::Link;
use super::{ColourBy, Command, Cone, Hidden, Look, Pane, Spot, Wanted};
use crate::document::{Document, GroupId};
use crate::place::{Direction, Item};

impl Look<'_> {
    /// Does what a command says.
    pub fn run(&mut self, command: Command) {
        match command {
            Command::Help => self.help = !self.help,
            Command::Search => self.wants_search = true,
            Command::NextMatch => self.next_match(false),
            Command::PreviousMatch => self.next_match(true),
            Command::NextStage => self.set_stage(self.stage + 1),
            Command::PreviousStage => self.set_stage(self.stage.saturating_sub(1)),
            Command::Compare => self.toggle_compare(),
            Command::OpenOrClose => self.toggle_selected(),
            Command::OpenAllInside => self.open_all_inside(),
            Command::CloseAll => self.close_all(),
            Command::SelectAround => self.select_around(),
            Command::SelectNext => self.select_beside(false),
            Command::SelectPrevious => self.select_beside(true),
            Command::SelectOperand => self.select_along(true),
            Command::SelectUser => self.select_along(false),
            Command::Deselect => self.leave(),
            Command::ConeUp => self.set_cone(Cone {
                up: !self.cone.up,
                ..self.cone
            }),
            Command::ConeDown => self.set_cone(Cone {
                down: !self.cone.down,
                ..self.cone
            }),
            Command::Isolate => self.isolate(!self.isolated),
            Command::Back => self.go_back(),
            Command::Forward => self.go_forward(),
            Command::Bookmark => self.toggle_bookmark(),
            Command::NextBookmark => self.next_bookmark(),
            Command::HideWeights => self.hide(Hidden {
                weights: !self.hidden.weights,
                ..self.hidden
            }),
            Command::HideMovement => self.hide(Hidden {
                movement: !self.hidden.movement,
                ..self.hidden
            }),
            Command::Turn => self.set_direction(match self.direction {
                Direction::Down => Direction::Right,
                Direction::Right => Direction::Down,
            }),
            Command::NextColours => self.next_colours(),
            Command::Theme => self.theme = self.theme.other(),
            Command::Fit => self.wanted = Some(Wanted::Fit),
            Command::ShowSelection => self.wanted = self.selection.map(Wanted::Show),
            Command::ZoomIn => self.wanted = Some(Wanted::Larger),
            Command::ZoomOut => self.wanted = Some(Wanted::Smaller),
            Command::Panels => self.panels = !self.panels,
        }
        self.changed();
    }

    fn toggle_compare(&mut self) {
        let other = match self.stage {
            0 => (self.document.stages.len() > 1).then_some(1),
            stage => Some(stage - 1),
        };
        self.set_against(match self.against {
            Some(_) => None,
            None => other,
        });
    }

    fn toggle_selected(&mut self) {
        if let Some(Item::Group(id)) = self.selection {
            self.toggle(id);
        }
    }

    /// Opens a closed group and closes an open one; the group stays in sight.
    pub fn toggle(&mut self, group: GroupId) {
        let open = !self.open.contains(&group);
        self.set_open(group, open);
        self.wanted = Some(Wanted::Reveal(Item::Group(group)));
    }

    /// Opens the selected group, or everything, and all inside, as long as that stays drawable.
    fn open_all_inside(&mut self) {
        const MOST: usize = 20_000;
        let from = match self.selection {
            Some(Item::Group(id)) => id,
            Some(item @ Item::Box(_)) => self.group_around(item),
            None => GroupId::ROOT,
        };
        let mut visible = 0;
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(id) = queue.pop_front() {
            let group = self.document.tree.get(id);
            visible += group.groups.len() + group.boxes.len();
            if visible > MOST {
                break;
            }
            if id != GroupId::ROOT {
                self.open.insert(id);
            }
            queue.extend(group.groups.iter().copied());
        }
        self.wanted = Some(match from {
            GroupId::ROOT => Wanted::Fit,
            id => Wanted::Show(Item::Group(id)),
        });
    }

    fn close_all(&mut self) {
        self.open.clear();
        if let Some(item) = self.selection {
            let outermost = self
                .document
                .tree
                .child_towards(GroupId::ROOT, self.group_around(item));
            self.selection = Some(outermost.map_or(item, Item::Group));
        }
        self.wanted = Some(Wanted::Fit);
    }

    fn select_around(&mut self) {
        if let Some(item) = self.selection {
            match self.group_around(item) {
                GroupId::ROOT => {}
                group => self.go_to(Item::Group(group)),
            }
        }
    }

    /// Selects what is visible and moves the camera no more than is needed.
    fn go_to(&mut self, item: Item) {
        self.select(Some(item));
        self.wanted = Some(Wanted::Reveal(item));
    }

    fn select_beside(&mut self, back: bool) {
        let Some(placement) = self.placement(Pane::Now) else {
            return;
        };
        let beside = match self.selection.and_then(|item| placement.find(item)) {
            None => placement.items.first(),
            Some(at) => {
                let own = self.group_around(placement.items[at].item);
                let here = placement.items[at].rect;
                let along = |rect: crate::place::Rect| match self.direction {
                    Direction::Down => (rect.y, rect.x),
                    Direction::Right => (rect.x, rect.y),
                };
                let same = placement
                    .items
                    .iter()
                    .filter(|it| self.group_around(it.item) == own);
                let order = |a: &crate::place::Rect, b: &crate::place::Rect| {
                    let (a, b) = (along(*a), along(*b));
                    a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
                };
                match back {
                    true => same
                        .filter(|it| order(&it.rect, &here).is_lt())
                        .max_by(|a, b| order(&a.rect, &b.rect)),
                    false => same
                        .filter(|it| order(&it.rect, &here).is_gt())
                        .min_by(|a, b| order(&a.rect, &b.rect)),
                }
            }
        };
        if let Some(item) = beside.map(|it| it.item) {
            self.go_to(item);
        }
    }

    /// Along the widest wire that begins or ends at the selection.
    fn select_along(&mut self, up: bool) {
        let Some(placement) = self.placement(Pane::Now) else {
            return;
        };
        let Some(at) = self.selection.and_then(|item| placement.find(item)) else {
            return self.select_beside(false);
        };
        let ends = |wire: &&crate::place::PlacedWire| {
            (if up { wire.to } else { wire.from }) as usize == at
        };
        let wires = placement.wires.iter().filter(ends);
        // Of equal ones the first: weights stand beside what flows.
        let leaf = |wire: &crate::place::PlacedWire| match placement.items[wire.from as usize].item
        {
            Item::Box(id) => self.document.get(id).floating,
            Item::Group(_) => false,
        };
        let best = wires
            .enumerate()
            .max_by_key(|(at, wire)| (!leaf(wire), wire.bytes, std::cmp::Reverse(*at)));
        if let Some((_, wire)) = best {
            let next = if up { wire.from } else { wire.to };
            self.go_to(placement.items[next as usize].item);
        }
    }

    /// One thing less: the list of keys, what is hidden, what is lit up, the search, the selection.
    fn leave(&mut self) {
        if self.help {
            self.help = false;
        } else if self.isolated {
            self.isolate(false);
        } else if self.cone.any() {
            self.set_cone(Cone::default());
        } else if self.selection.is_some() {
            self.select(None);
        } else {
            self.set_search("");
        }
    }

    fn go_back(&mut self) {
        if let Some(spot) = self.trail.back(self.selection.is_none()) {
            self.return_to(spot);
        }
    }

    fn go_forward(&mut self) {
        if let Some(spot) = self.trail.forward() {
            self.return_to(spot);
        }
    }

    fn return_to(&mut self, spot: Spot) {
        self.set_stage(spot.stage);
        self.uncover(spot.item);
        self.selection = Some(spot.item);
        self.wanted = Some(Wanted::Show(spot.item));
    }

    fn toggle_bookmark(&mut self) {
        let Some(item) = self.selection else {
            return;
        };
        let spot = Spot {
            stage: self.stage,
            item,
        };
        match self.bookmarks.iter().position(|it| *it == spot) {
            Some(at) => {
                self.bookmarks.remove(at);
            }
            None => self.bookmarks.push(spot),
        }
    }

    fn next_bookmark(&mut self) {
        let here = self.selection.map(|item| Spot {
            stage: self.stage,
            item,
        });
        let at = self.bookmarks.iter().position(|it| Some(*it) == here);
        let next = at.map_or(0, |at| (at + 1) % self.bookmarks.len());
        if let Some(spot) = self.bookmarks.get(next).copied() {
            self.visit(spot);
        }
    }

    fn next_colours(&mut self) {
        let all: Vec<ColourBy> = ColourBy::ALL
            .into_iter()
            .filter(|by| *by != ColourBy::Time || !self.timings.is_empty())
            .collect();
        let at = all.iter().position(|by| *by == self.colours).unwrap_or(0);
        self.set_colours(all[(at + 1) % all.len()]);
    }
}

/// The group of a module path (or of the end of one: `layers.3`), or the box that has a name, at a stage.
pub fn named(document: &Document, stage: usize, name: &str) -> Option<Item> {
    if name.is_empty() {
        return None;
    }
    let group = |fits: &dyn Fn(&str) -> bool| {
        let groups = document.tree.groups.iter();
        // Parts of a divided group have its path and names of their own.
        let mut own = groups.map(|group| group.path.ends_with(&*group.name) && fits(&group.path));
        own.position(|it| it)
            .map(|at| Item::Group(GroupId(at as u32)))
    };
    let has_name = |id: &&u32| {
        let names = &document.get(**id).name;
        names
            .split(", ")
            .any(|it| it == name || it.strip_prefix('%') == Some(name))
    };
    let boxes = &document.stages.get(stage)?.boxes;
    let ends = |path: &str| {
        path.strip_suffix(name)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    group(&|path| path == name)
        .or_else(|| boxes.iter().find(has_name).map(|id| Item::Box(*id)))
        .or_else(|| group(&ends))
}

impl Look<'_> {
    /// [`named`] at the stage that is looked at.
    pub fn named(&self, name: &str) -> Option<Item> {
        named(self.document, self.stage, name)
    }

    /// A name at the stage that is looked at, or at the nearest one that has it.
    pub fn named_anywhere(&self, name: &str) -> Option<Link> {
        if let Some(item) = self.named(name) {
            return Some(Link::Item(item));
        }
        let has_name = |id: &&u32| *self.document.get(**id).name == *name;
        let stages = self.document.stages.iter().enumerate();
        let mut found = stages
            .filter_map(|(at, stage)| Some((at, *stage.boxes.iter().find(has_name)?)))
            .collect::<Vec<_>>();
        found.sort_by_key(|(at, _)| at.abs_diff(self.stage));
        found.first().map(|(at, id)| Link::Stage(*at, *id))
    }

    /// Says that everything has to be drawn anew.
    pub fn redraw(&mut self) {
        self.changed();
    }
}
