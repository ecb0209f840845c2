//! Everything that a viewer decides, with no window in it: which stage is looked at and what it is compared with, what is
//! open, selected, found, lit up, hidden, and where somebody has been. A window draws what [`Look`] says and tells it what
//! was clicked.

mod align;
pub mod camera;
pub mod colour;
pub mod command;
pub mod cone;
pub mod dress;
mod labels;
pub mod ledger;
pub mod palette;
pub mod panel;
pub mod search;
pub mod stack;
pub mod trail;

mod difference;
mod faults;
mod focus;
mod run;
mod scenes;

use std::sync::Arc;

use rustc_hash::FxHashSet;

pub use camera::Camera;
pub use colour::{ColourBy, Costs, Scale};
pub use command::{BINDINGS, Command};
pub use cone::Cone;
pub use difference::{Counts, Difference};
pub use palette::Theme;
pub use run::named;
pub use search::Query;
pub use trail::{Spot, item_name};

use crate::Timings;
use crate::document::{BoxId, Document, GroupId, StageText};
use crate::place::{Direction, Item, Open, Placement};
use scenes::Scenes;

/// One of the two panes. The second is there only while stages are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pane {
    /// The stage that is compared with.
    Before,
    /// The stage that is looked at.
    Now,
}

/// Kinds of boxes that are hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hidden {
    /// Weights and constants.
    pub weights: bool,
    /// What only moves elements.
    pub movement: bool,
}

/// What the camera should do as soon as the size of the pane is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Show everything.
    Fit,
    /// Show an item in the middle.
    Show(Item),
    /// Move as little as shows an item.
    Reveal(Item),
    /// Larger, about the middle of the pane.
    Larger,
    /// Smaller.
    Smaller,
}

/// A search and what it found.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// As it was typed.
    pub text: String,
    query: Query,
    /// What matches at the stage that is looked at, in its order.
    pub found: Vec<BoxId>,
    /// Which of them was jumped to last.
    pub at: Option<usize>,
    marks: FxHashSet<BoxId>,
}

impl Search {
    /// Why what was typed cannot be read.
    pub fn fault(&self) -> Option<&str> {
        self.query.fault()
    }

    /// Whether a box was found.
    pub fn marks(&self, id: BoxId) -> bool {
        self.marks.contains(&id)
    }
}

/// The state of a viewer.
pub struct Look<'d> {
    document: &'d Document,
    stage: usize,
    against: Option<usize>,
    open: Open,
    selection: Option<Item>,
    hover: Option<Item>,
    hover_held: bool,
    hidden: Hidden,
    direction: Direction,
    colours: ColourBy,
    cone: Cone,
    isolated: bool,
    /// A search and what it found.
    search: Search,
    trail: trail::Trail,
    bookmarks: Vec<Spot>,
    timings: Vec<Timings>,
    /// Which of them is shown.
    timed: usize,
    /// Light or dark.
    pub theme: Theme,
    /// What part is seen.
    pub camera: Camera,
    shift: (f32, f32),
    labels: labels::KnownLabels,
    /// What the camera should do next.
    pub wanted: Option<Wanted>,
    /// Whether the list of keys is shown.
    pub help: bool,
    /// Whether the panels beside and below the drawing are shown.
    pub panels: bool,
    /// Whether the search field should be given the keyboard.
    pub wants_search: bool,
    revision: u64,
    scenes: Scenes<'d>,
    counts: Vec<Counts>,
    texts: Vec<Option<Arc<StageText>>>,
    /// What the panels say, and at which revision they said it.
    known_details: Option<(u64, Arc<[panel::Section]>)>,
    known_stack: Option<(u64, Option<Arc<stack::Stack>>)>,
}

impl<'d> Look<'d> {
    /// Looks at a document: at its first stage, with everything closed but what has nothing beside it.
    pub fn new(document: &'d Document) -> Self {
        let mut look = Self {
            document,
            stage: 0,
            against: None,
            open: Open::default(),
            selection: None,
            hover: None,
            hover_held: false,
            hidden: Hidden::default(),
            direction: Direction::default(),
            colours: ColourBy::default(),
            cone: Cone::default(),
            isolated: false,
            search: Search::default(),
            trail: trail::Trail::default(),
            bookmarks: Vec::new(),
            timings: Vec::new(),
            timed: 0,
            theme: Theme::default(),
            camera: Camera::default(),
            shift: (0.0, 0.0),
            labels: labels::KnownLabels::default(),
            wanted: Some(Wanted::Fit),
            help: false,
            panels: true,
            wants_search: false,
            revision: 0,
            scenes: Scenes::new(document),
            counts: difference::counts(document),
            texts: vec![None; document.stages.len()],
            known_details: None,
            known_stack: None,
        };
        look.open_first();
        look
    }

    /// Groups that are opened to begin with: from the root down as long as few things are visible.
    fn open_first(&mut self) {
        const FEW: usize = 16;
        let tree = &self.document.tree;
        let mut visible = tree.get(GroupId::ROOT).groups.len();
        let mut level = vec![GroupId::ROOT];
        while visible <= FEW {
            let inner: Vec<GroupId> = level
                .iter()
                .flat_map(|id| tree.get(*id).groups.iter().copied())
                .filter(|id| tree.get(*id).repeats.is_none())
                .collect();
            let children = |id: &GroupId| tree.get(*id).groups.len() + tree.get(*id).boxes.len();
            visible += inner.iter().map(children).sum::<usize>();
            if inner.is_empty() || visible > 2 * FEW {
                break;
            }
            self.open.extend(inner.iter().copied());
            level = inner;
        }
    }

    /// Goes on as another left it that looks at a document with the same first stage, and no stage that this one has not: with
    /// the same groups open, the same things selected, hidden and searched for.
    pub fn go_on_from(&mut self, other: &Look<'_>) {
        let of_group = self.document.tree.alike(&other.document.tree);
        let here = |item: Item| match item {
            Item::Group(id) => of_group
                .get(id.0 as usize)
                .copied()
                .flatten()
                .map(Item::Group),
            Item::Box(id) => {
                let key = other.document.get(id).key;
                self.document.find(0, key).map(Item::Box)
            }
        };
        let open = other
            .open
            .iter()
            .filter_map(|id| match here(Item::Group(*id)) {
                Some(Item::Group(id)) => Some(id),
                _ => None,
            });
        let open = open.collect();
        let selection = other.selection.and_then(here);
        self.open = open;
        self.theme = other.theme;
        self.direction = other.direction;
        self.colours = other.colours;
        self.panels = other.panels;
        self.help = other.help;
        self.hide(other.hidden);
        self.set_search(&other.search.text);
        self.select(selection);
        self.wanted = Some(selection.map_or(Wanted::Fit, Wanted::Show));
        self.changed();
    }

    /// The document.
    pub fn document(&self) -> &'d Document {
        self.document
    }

    /// Grows whenever anything that is drawn may have changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn changed(&mut self) {
        self.revision += 1;
    }

    /// The stage that is looked at.
    pub fn stage(&self) -> usize {
        self.stage
    }

    /// The stage that it is compared with, if it is.
    pub fn against(&self) -> Option<usize> {
        self.against
    }

    /// The stage of a pane.
    pub fn pane_stage(&self, pane: Pane) -> Option<usize> {
        match pane {
            Pane::Now => Some(self.stage),
            Pane::Before => self.against,
        }
    }

    /// The stage that changes of a pane are told against, and whether it comes later.
    fn other_stage(&self, pane: Pane) -> Option<(usize, bool)> {
        match (pane, self.against) {
            (Pane::Now, Some(against)) => Some((against, against > self.stage)),
            (Pane::Now, None) => self.stage.checked_sub(1).map(|it| (it, false)),
            (Pane::Before, Some(against)) => Some((self.stage, self.stage > against)),
            (Pane::Before, None) => None,
        }
    }

    /// Looks at another stage. What is selected stays selected where the stage has it, and stays where it is seen.
    pub fn set_stage(&mut self, stage: usize) {
        let stage = stage.min(self.document.stages.len().saturating_sub(1));
        if stage == self.stage {
            return;
        }
        self.hold(|look| {
            let beside = look.against == look.stage.checked_sub(1) && look.against.is_some();
            look.stage = stage;
            if beside || look.against == Some(stage) {
                look.against = stage.checked_sub(1);
            }
            look.search_again();
            look.scenes.forget_isolation();
            look.changed();
        });
    }

    /// Compares with another stage, or not.
    pub fn set_against(&mut self, against: Option<usize>) {
        let against = against.filter(|it| *it < self.document.stages.len() && *it != self.stage);
        if against != self.against {
            self.against = against;
            self.wanted = Some(self.selection.map_or(Wanted::Fit, Wanted::Reveal));
            self.changed();
        }
    }

    /// What passes did, stage by stage.
    pub fn counts(&self) -> &[Counts] {
        &self.counts
    }

    /// The text of a stage, printed when it is first asked for.
    pub fn text(&mut self, stage: usize) -> Option<Arc<StageText>> {
        let slot = self.texts.get_mut(stage)?;
        let text = slot.get_or_insert_with(|| Arc::new(self.document.text(stage)));
        Some(text.clone())
    }

    /// The groups that are open.
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// Opens or closes a group.
    pub fn set_open(&mut self, group: GroupId, open: bool) {
        let did = match open {
            true => self.open.insert(group),
            false => self.open.remove(&group),
        };
        if did {
            if let Some(selected) = self.selection
                && !open
                && self.is_inside(selected, group)
            {
                self.selection = Some(Item::Group(group));
            }
            self.changed();
        }
    }

    fn is_inside(&self, item: Item, group: GroupId) -> bool {
        let own = self.group_around(item);
        self.document.tree.ancestors(own).any(|it| it == group)
    }

    /// The group that something lies in.
    pub fn group_around(&self, item: Item) -> GroupId {
        match item {
            Item::Box(id) => self.document.get(id).group,
            Item::Group(id) => self.document.tree.get(id).parent,
        }
    }

    /// What is selected.
    pub fn selection(&self) -> Option<Item> {
        self.selection
    }

    /// What is selected, as it is at a stage: a box may be another one there.
    pub fn selection_at(&self, stage: usize) -> Option<Item> {
        match self.selection? {
            Item::Box(id) => {
                let key = self.document.get(id).key;
                self.document.find(stage, key).map(Item::Box)
            }
            group @ Item::Group(_) => Some(group),
        }
    }

    /// Where the selection went at a stage that does not have it: what is made of the same.
    pub fn relatives_at(&self, stage: usize) -> Vec<BoxId> {
        match (self.selection, self.selection_at(stage)) {
            (Some(Item::Box(id)), None) => self.document.counterparts(id, stage),
            _ => Vec::new(),
        }
    }

    /// Selects something, or nothing.
    pub fn select(&mut self, item: Option<Item>) {
        if item == self.selection {
            return;
        }
        self.selection = item;
        match item {
            Some(item) => self.trail.visit(Spot {
                stage: self.stage,
                item,
            }),
            None => {
                self.cone = Cone::default();
                self.isolated = false;
            }
        }
        self.scenes.forget_isolation();
        self.changed();
    }

    /// What the pointer is over.
    pub fn hover(&self) -> Option<Item> {
        self.hover
    }

    /// The pointer is over something, or over nothing. This is drawn over all else, so it is no change of [`Look::revision`].
    pub fn set_hover(&mut self, item: Option<Item>) {
        self.hover = item;
    }

    /// The line of text under the pointer is what is hovered, though the pointer is over no pane.
    pub fn hold_hover(&mut self) {
        self.hover_held = true;
    }

    /// The pointer is over no pane.
    pub fn release_hover(&mut self) {
        if !std::mem::take(&mut self.hover_held) {
            self.hover = None;
        }
    }

    /// Selects something, opens all that is closed around it and moves the camera there.
    pub fn jump(&mut self, item: Item) {
        self.uncover(item);
        self.select(Some(item));
        self.wanted = Some(Wanted::Show(item));
        self.changed();
    }

    /// Opens what is closed around an item, and shows its kind.
    fn uncover(&mut self, item: Item) {
        let around = self.group_around(item);
        let tree = &self.document.tree;
        self.open
            .extend(tree.ancestors(around).filter(|it| *it != GroupId::ROOT));
        if let Item::Box(id) = item
            && self.scenes.hides(self.hidden, self.document.get(id))
        {
            self.hidden = Hidden::default();
        }
        self.isolated = false;
        self.scenes.forget_isolation();
    }

    /// Jumps to a box at the nearest stage that has it.
    pub fn jump_to_box(&mut self, id: BoxId) {
        let stages = self.document.get(id).stages.clone();
        let last = (stages.end as usize).saturating_sub(1);
        self.set_stage(self.stage.clamp(stages.start as usize, last));
        self.jump(Item::Box(id));
    }

    /// The kinds that are hidden.
    pub fn hidden(&self) -> Hidden {
        self.hidden
    }

    /// Hides kinds.
    pub fn hide(&mut self, hidden: Hidden) {
        if hidden != self.hidden {
            self.hidden = hidden;
            self.changed();
        }
    }

    /// Which way edges lead.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Turns the drawing.
    pub fn set_direction(&mut self, direction: Direction) {
        if direction != self.direction {
            self.direction = direction;
            self.wanted = Some(self.selection.map_or(Wanted::Fit, Wanted::Show));
            self.changed();
        }
    }

    /// What colours say.
    pub fn colours(&self) -> ColourBy {
        self.colours
    }

    /// Sets what colours say.
    pub fn set_colours(&mut self, colours: ColourBy) {
        if colours != self.colours {
            self.colours = colours;
            self.changed();
        }
    }

    /// Times that steps of the plan took, of one or several things that were run. The first are shown.
    pub fn set_timings(&mut self, timings: Vec<Timings>) {
        self.timings = timings;
        self.timed = 0;
        self.scenes.forget_costs();
        self.changed();
    }

    /// The times that are shown, if any are known.
    pub fn timings(&self) -> Option<&Timings> {
        self.timings.get(self.timed)
    }

    /// All times that are known.
    pub fn all_timings(&self) -> &[Timings] {
        &self.timings
    }

    /// Which of [`Look::all_timings`] are shown.
    pub fn timed(&self) -> usize {
        self.timed
    }

    /// Shows others of the times.
    pub fn set_timed(&mut self, timed: usize) {
        if timed != self.timed && timed < self.timings.len() {
            self.timed = timed;
            self.scenes.forget_costs();
            self.changed();
        }
    }

    /// The search.
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// Searches. Nothing is jumped to yet.
    pub fn set_search(&mut self, text: &str) {
        if text != self.search.text {
            text.clone_into(&mut self.search.text);
            self.search.query = Query::new(text);
            self.search_again();
            self.changed();
        }
    }

    fn search_again(&mut self) {
        let search = &mut self.search;
        search.found = search.query.find(self.document, self.stage);
        search.marks = search.found.iter().copied().collect();
        search.at = None;
    }

    /// Jumps to the next match, or the one before; nothing if nothing was found.
    pub fn next_match(&mut self, back: bool) {
        let n = self.search.found.len();
        if n == 0 {
            return;
        }
        let next = match (self.search.at, back) {
            (None, false) => 0,
            (None, true) => n - 1,
            (Some(at), false) => (at + 1) % n,
            (Some(at), true) => (at + n - 1) % n,
        };
        self.search.at = Some(next);
        self.jump(Item::Box(self.search.found[next]));
    }

    /// Bookmarks, in the order in which they were set.
    pub fn bookmarks(&self) -> &[Spot] {
        &self.bookmarks
    }

    /// Goes to a spot.
    pub fn visit(&mut self, spot: Spot) {
        self.set_stage(spot.stage);
        self.jump(spot.item);
    }

    /// Whether there is something to go back to and forward to.
    pub fn ways(&self) -> (bool, bool) {
        self.trail.ways()
    }

    /// Where everything lies in a pane. It is computed again only if something changed that it depends on.
    pub fn placement(&mut self, pane: Pane) -> Option<Arc<Placement>> {
        let stage = self.pane_stage(pane)?;
        let shown = self.isolation(stage);
        let view = scenes::View {
            stage,
            open: &self.open,
            hidden: self.hidden,
            direction: self.direction,
            shown,
        };
        Some(self.scenes.placement(view))
    }

    /// How often a placement was computed; what tests of the cache count.
    pub fn placements_computed(&self) -> u64 {
        self.scenes.computed()
    }
}
