//! Scenes, placements and what else is computed once for each stage and kept while nothing that it depends on changes.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::cone::Users;
use super::difference::Difference;
use super::{Costs, Hidden};
use crate::Timings;
use crate::document::{BoxId, Document, Kind, ViewBox};
use crate::place::{Direction, Open, Placement, Scene, default_size, place};

/// All that a placement depends on.
pub(super) struct View<'v> {
    pub(super) stage: usize,
    pub(super) open: &'v Open,
    pub(super) hidden: Hidden,
    pub(super) direction: Direction,
    /// The only boxes that are shown, if not all are.
    pub(super) shown: Option<Arc<FxHashSet<BoxId>>>,
}

struct Kept {
    open: Open,
    direction: Direction,
    placement: Arc<Placement>,
}

struct StageScene<'d> {
    hidden: Hidden,
    shown: Option<Arc<FxHashSet<BoxId>>>,
    scene: Scene<'d>,
    kept: Option<Kept>,
}

/// Scenes of this many stages are kept.
const STAGES: usize = 4;

pub(super) struct Scenes<'d> {
    document: &'d Document,
    scenes: FxHashMap<usize, StageScene<'d>>,
    recent: Vec<usize>,
    users: FxHashMap<usize, Arc<Users>>,
    costs: FxHashMap<usize, Arc<Costs>>,
    differences: FxHashMap<(usize, usize), Arc<Difference>>,
    isolation: FxHashMap<usize, Arc<FxHashSet<BoxId>>>,
    computed: u64,
}

impl<'d> Scenes<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            scenes: FxHashMap::default(),
            recent: Vec::new(),
            users: FxHashMap::default(),
            costs: FxHashMap::default(),
            differences: FxHashMap::default(),
            isolation: FxHashMap::default(),
            computed: 0,
        }
    }

    pub(super) fn computed(&self) -> u64 {
        self.computed
    }

    pub(super) fn hides(&self, hidden: Hidden, it: &ViewBox) -> bool {
        hides(hidden, it)
    }

    pub(super) fn placement(&mut self, view: View<'_>) -> Arc<Placement> {
        self.keep(view.stage);
        let document = self.document;
        let same = |known: &StageScene<'_>| {
            known.hidden == view.hidden && same_set(&known.shown, &view.shown)
        };
        if !self.scenes.get(&view.stage).is_some_and(same) {
            let (hidden, shown) = (view.hidden, view.shown.clone());
            let is_hidden = |it: &ViewBox| {
                let kept_out = shown.as_ref().is_some_and(|shown| {
                    let id = document.find(view.stage, it.key);
                    !id.is_some_and(|id| shown.contains(&id))
                });
                kept_out || hides(hidden, it)
            };
            let scene = Scene::new(document, view.stage, &is_hidden);
            let new = StageScene {
                hidden,
                shown: view.shown.clone(),
                scene,
                kept: None,
            };
            self.scenes.insert(view.stage, new);
        }
        // It was put there above, so a new one is never made here; the entry says so without a panic.
        let Some(at) = self.scenes.get_mut(&view.stage) else {
            return Arc::default();
        };
        if let Some(kept) = &at.kept
            && kept.direction == view.direction
            && kept.open == *view.open
        {
            return kept.placement.clone();
        }
        self.computed += 1;
        let placement = Arc::new(place(
            &mut at.scene,
            view.open,
            view.direction,
            &default_size,
        ));
        at.kept = Some(Kept {
            open: view.open.clone(),
            direction: view.direction,
            placement: placement.clone(),
        });
        placement
    }

    /// Marks a stage as used; the one that was not for the longest time is forgotten.
    fn keep(&mut self, stage: usize) {
        self.recent.retain(|it| *it != stage);
        self.recent.push(stage);
        if self.recent.len() > STAGES {
            let old = self.recent.remove(0);
            self.scenes.remove(&old);
            self.users.remove(&old);
        }
    }

    pub(super) fn users(&mut self, stage: usize) -> Arc<Users> {
        let document = self.document;
        let users = self.users.entry(stage);
        users
            .or_insert_with(|| Arc::new(Users::new(document, stage)))
            .clone()
    }

    pub(super) fn costs(&mut self, stage: usize, timings: Option<&Timings>) -> Arc<Costs> {
        let document = self.document;
        let costs = self.costs.entry(stage);
        costs
            .or_insert_with(|| Arc::new(Costs::new(document, stage, timings)))
            .clone()
    }

    pub(super) fn forget_costs(&mut self) {
        self.costs.clear();
    }

    pub(super) fn difference(
        &mut self,
        stage: usize,
        other: usize,
        later: bool,
    ) -> Arc<Difference> {
        let document = self.document;
        let known = self.differences.entry((stage, other));
        let new = || Arc::new(Difference::new(document, stage, other, later));
        known.or_insert_with(new).clone()
    }

    pub(super) fn forget_isolation(&mut self) {
        self.isolation.clear();
    }

    pub(super) fn isolation(
        &mut self,
        stage: usize,
        new: impl FnOnce(&mut Self) -> FxHashSet<BoxId>,
    ) -> Arc<FxHashSet<BoxId>> {
        if let Some(known) = self.isolation.get(&stage) {
            return known.clone();
        }
        let new = Arc::new(new(self));
        self.isolation.insert(stage, new.clone());
        new
    }
}

fn hides(hidden: Hidden, it: &ViewBox) -> bool {
    match it.kind {
        Kind::Weight | Kind::Constant => hidden.weights,
        Kind::Movement => hidden.movement,
        Kind::Input | Kind::Output | Kind::Op | Kind::Step => false,
    }
}

fn same_set(a: &Option<Arc<FxHashSet<BoxId>>>, b: &Option<Arc<FxHashSet<BoxId>>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}
