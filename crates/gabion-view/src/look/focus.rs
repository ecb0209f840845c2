//! What is lit up, what it costs, and what changed: all that decides how a visible thing is drawn.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::{ColourBy, Cone, Costs, Difference, Look, Pane, Scale, cone};
use crate::document::BoxId;
use crate::place::Item;

impl Look<'_> {
    /// Which way the edges are followed from the selection.
    pub fn cone(&self) -> Cone {
        self.cone
    }

    /// Follows the edges from the selection.
    pub fn set_cone(&mut self, cone: Cone) {
        if cone != self.cone {
            self.cone = cone;
            self.isolated &= cone.any();
            self.scenes.forget_isolation();
            self.changed();
        }
    }

    /// Whether all that is not lit up is hidden.
    pub fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// Hides all that is not lit up; without a cone, both ways are lit up.
    pub fn isolate(&mut self, isolated: bool) {
        if self.selection.is_none() || isolated == self.isolated {
            return;
        }
        if isolated && !self.cone.any() {
            self.set_cone(Cone {
                up: true,
                down: true,
            });
        }
        self.isolated = isolated;
        self.changed();
    }

    /// The boxes that are lit up at a stage, if some are: the cone of the selection, or of what became of it.
    pub fn lit(&mut self, stage: usize) -> Option<Arc<FxHashSet<BoxId>>> {
        if !self.cone.any() {
            return None;
        }
        let from = match self.selection_at(stage) {
            Some(item) => cone::boxes_of(self.document, stage, item),
            None => self.relatives_at(stage),
        };
        if from.is_empty() {
            return None;
        }
        let (document, way) = (self.document, self.cone);
        let lit = self.scenes.isolation(stage, |scenes| {
            let users = scenes.users(stage);
            cone::cone(document, stage, &users, &from, way)
        });
        Some(lit)
    }

    /// The only boxes that are shown, if something is isolated.
    pub(super) fn isolation(&mut self, stage: usize) -> Option<Arc<FxHashSet<BoxId>>> {
        match self.isolated {
            true => self.lit(stage),
            false => None,
        }
    }

    /// The boxes that read a box.
    pub fn users(&mut self, stage: usize) -> Arc<cone::Users> {
        self.scenes.users(stage)
    }

    /// What everything at a stage costs.
    pub fn costs(&mut self, stage: usize) -> Arc<Costs> {
        let timings = self.timings.get(self.timed);
        self.scenes.costs(stage, timings)
    }

    /// The scale of the colours in a pane: the dearest of what is visible has the strongest.
    pub fn scale(&mut self, pane: Pane) -> Option<Scale> {
        let by = self.colours;
        if by == ColourBy::Kind {
            return None;
        }
        let (stage, placement) = (self.pane_stage(pane)?, self.placement(pane)?);
        let costs = self.costs(stage);
        let visible = placement.items.iter().filter(|placed| !placed.open);
        let values = visible.map(|placed| {
            let cost = costs.item(self.document, placed.item, self.timings());
            cost.value(by)
        });
        let most = values.fold(0.0, f64::max);
        Some(Scale { by, most })
    }

    /// What changed in a pane.
    pub fn difference(&mut self, pane: Pane) -> Arc<Difference> {
        match (self.pane_stage(pane), self.other_stage(pane)) {
            (Some(stage), Some((other, later))) => self.scenes.difference(stage, other, later),
            _ => Arc::default(),
        }
    }

    /// Whether any of what an item holds is lit up.
    pub fn holds_lit(&self, lit: &FxHashSet<BoxId>, item: Item) -> bool {
        match item {
            Item::Box(id) => lit.contains(&id),
            Item::Group(group) => {
                let tree = &self.document.tree;
                let around = |id: &BoxId| {
                    tree.ancestors(self.document.get(*id).group)
                        .any(|it| it == group)
                };
                lit.iter().any(around)
            }
        }
    }
}
