//! Two stages beside each other: one camera looks at both, and what is selected, or what it was made from or became, is seen
//! at the same point of both panes. It stays where it is seen from stage to stage.

use super::{Camera, Look, Pane};
use crate::document::GroupId;
use crate::place::{Direction, Item, Placement, Rect};

impl Look<'_> {
    /// The camera of a pane.
    pub fn camera_of(&self, pane: Pane) -> Camera {
        let mut camera = self.camera;
        if pane == Pane::Before {
            camera.drag((self.shift.0 * camera.zoom, self.shift.1 * camera.zoom));
        }
        camera
    }

    /// How far the drawing of the other pane is shifted, in units of the drawing, so that both can be compared.
    pub fn shift(&self) -> (f32, f32) {
        self.shift
    }

    /// Shifts the other pane's drawing: the selection lies where it lies in this one. If there is none, or one of the stages
    /// has nothing of it, the middles of both do.
    pub fn align(&mut self) {
        self.shift = self.shift_between().unwrap_or_default();
    }

    fn shift_between(&mut self) -> Option<(f32, f32)> {
        let (now, before) = (self.placement(Pane::Now)?, self.placement(Pane::Before)?);
        let anchors = (self.anchor(Pane::Now), self.anchor(Pane::Before));
        if let (Some(now), Some(before)) = anchors {
            return Some((now.0 - before.0, now.1 - before.1));
        }
        Some(match self.direction {
            Direction::Down => ((now.size.0 - before.size.0) / 2.0, 0.0),
            Direction::Right => (0.0, (now.size.1 - before.size.1) / 2.0),
        })
    }

    /// All of this pane's drawing and of the other's, as it is shifted.
    pub fn everything(&mut self) -> Option<Rect> {
        let size = |placement: &Placement| placement.size;
        let (w, h) = size(&*self.placement(Pane::Now)?);
        let before = self.placement(Pane::Before).map(|it| it.size);
        let ((x, y), (before_w, before_h)) = (self.shift, before.unwrap_or_default());
        let (left, top) = (x.min(0.0), y.min(0.0));
        Some(Rect {
            x: left,
            y: top,
            w: w.max(x + before_w) - left,
            h: h.max(y + before_h) - top,
        })
    }

    /// The middle of what is selected in a pane, or of what is made of the same there; of the closed groups that hold it.
    fn anchor(&mut self, pane: Pane) -> Option<(f32, f32)> {
        self.selection?;
        let stage = self.pane_stage(pane)?;
        let placement = self.placement(pane)?;
        let items: Vec<Item> = match self.selection_at(stage) {
            Some(item) => vec![item],
            None => self
                .relatives_at(stage)
                .into_iter()
                .map(Item::Box)
                .collect(),
        };
        let middles = items.iter().filter_map(|item| self.seen(&placement, *item));
        let (sum, n) = middles.fold(((0.0, 0.0), 0.0), |((x, y), n), middle| {
            ((x + middle.0, y + middle.1), n + 1.0)
        });
        (n > 0.0).then_some((sum.0 / n, sum.1 / n))
    }

    fn seen(&self, placement: &Placement, item: Item) -> Option<(f32, f32)> {
        let mut item = item;
        loop {
            if let Some(at) = placement.find(item) {
                return Some(placement.items[at].rect.center());
            }
            match self.group_around(item) {
                GroupId::ROOT => return None,
                group => item = Item::Group(group),
            }
        }
    }

    /// Looks at another stage with `change`; what is selected stays where it is seen.
    pub(super) fn hold(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.anchor(Pane::Now);
        change(self);
        if let (Some(before), Some(now)) = (before, self.anchor(Pane::Now)) {
            let zoom = self.camera.zoom;
            let by = ((before.0 - now.0) * zoom, (before.1 - now.1) * zoom);
            self.camera.drag(by);
        }
    }
}
