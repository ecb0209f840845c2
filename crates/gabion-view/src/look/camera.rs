//! Which part of a drawing is seen, and how large: a zoom and a shift between the drawing's coordinates and the screen's.

use crate::place::Rect;

/// The smallest and the largest zoom.
pub const ZOOMS: (f32, f32) = (0.005, 4.0);

/// Space that is left around what is fitted, in points.
const MARGIN: f32 = 24.0;

/// Nothing is magnified to fill the screen beyond this.
const FIT_AT_MOST: f32 = 1.25;

/// A point `p` of the drawing is seen at `p * zoom + pan`, counted from the pane's upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// Points of the screen for each unit of the drawing.
    pub zoom: f32,
    /// Where the drawing's origin is seen.
    pub pan: (f32, f32),
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            zoom: 1.0,
            pan: (0.0, 0.0),
        }
    }
}

impl Camera {
    /// Where a point of the drawing is seen.
    pub fn to_screen(self, (x, y): (f32, f32)) -> (f32, f32) {
        (x * self.zoom + self.pan.0, y * self.zoom + self.pan.1)
    }

    /// The point of the drawing that is seen at a point of the screen.
    pub fn to_drawing(self, (x, y): (f32, f32)) -> (f32, f32) {
        ((x - self.pan.0) / self.zoom, (y - self.pan.1) / self.zoom)
    }

    /// Moves the drawing on the screen.
    pub fn drag(&mut self, by: (f32, f32)) {
        self.pan = (self.pan.0 + by.0, self.pan.1 + by.1);
    }

    /// Zooms; what is seen at `at` stays there.
    pub fn zoom_at(&mut self, at: (f32, f32), factor: f32) {
        let fixed = self.to_drawing(at);
        self.zoom = (self.zoom * factor).clamp(ZOOMS.0, ZOOMS.1);
        self.pan = (at.0 - fixed.0 * self.zoom, at.1 - fixed.1 * self.zoom);
    }

    /// Shows all of a rectangle in a pane of this size, in its middle.
    pub fn fit(&mut self, rect: Rect, pane: (f32, f32)) {
        let scale = |room: f32, need: f32| (room - 2.0 * MARGIN).max(1.0) / need.max(1.0);
        let zoom = scale(pane.0, rect.w).min(scale(pane.1, rect.h));
        self.zoom = zoom.min(FIT_AT_MOST).clamp(ZOOMS.0, ZOOMS.1);
        self.center(rect, pane);
    }

    /// Shows a rectangle in the middle of the pane, at a zoom at which it can be read and, where that can be, seen whole.
    pub fn show(&mut self, rect: Rect, pane: (f32, f32)) {
        let whole = (pane.0 / rect.w.max(1.0)).min(pane.1 / rect.h.max(1.0)) * 0.8;
        if self.zoom < 0.6 || self.zoom > whole {
            self.zoom = whole.min(1.0).clamp(ZOOMS.0, ZOOMS.1);
        }
        self.center(rect, pane);
    }

    /// Moves the pane as little as shows the rectangle; nothing if it is seen already.
    pub fn reveal(&mut self, rect: Rect, pane: (f32, f32)) {
        let (left, top) = self.to_screen((rect.x, rect.y));
        let (right, bottom) = self.to_screen((rect.x + rect.w, rect.y + rect.h));
        let by = |low: f32, high: f32, room: f32| {
            if low < MARGIN {
                MARGIN - low
            } else if high > room - MARGIN {
                (room - MARGIN - high).max(MARGIN - low)
            } else {
                0.0
            }
        };
        self.drag((by(left, right, pane.0), by(top, bottom, pane.1)));
    }

    fn center(&mut self, rect: Rect, pane: (f32, f32)) {
        let (x, y) = rect.center();
        self.pan = (pane.0 / 2.0 - x * self.zoom, pane.1 / 2.0 - y * self.zoom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECT: Rect = Rect {
        x: 100.0,
        y: 50.0,
        w: 2_000.0,
        h: 500.0,
    };

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let mut camera = Camera::default();
        camera.drag((13.0, -4.0));
        let before = camera.to_drawing((200.0, 120.0));
        camera.zoom_at((200.0, 120.0), 1.7);
        let after = camera.to_drawing((200.0, 120.0));
        assert!((before.0 - after.0).abs() < 1e-3 && (before.1 - after.1).abs() < 1e-3);
        assert!((camera.zoom - 1.7).abs() < 1e-6);
        camera.zoom_at((0.0, 0.0), 1e9);
        assert_eq!(camera.zoom, ZOOMS.1);
    }

    #[test]
    fn what_is_fitted_is_seen_whole_and_in_the_middle() {
        let mut camera = Camera::default();
        camera.fit(RECT, (800.0, 600.0));
        let (left, top) = camera.to_screen((RECT.x, RECT.y));
        let (right, bottom) = camera.to_screen((RECT.x + RECT.w, RECT.y + RECT.h));
        assert!(left >= 0.0 && top >= 0.0 && right <= 800.0 && bottom <= 600.0);
        assert!((left + right - 800.0).abs() < 0.1 && (top + bottom - 600.0).abs() < 0.1);
    }

    #[test]
    fn small_drawings_are_not_blown_up() {
        let mut camera = Camera::default();
        camera.fit(
            Rect {
                w: 10.0,
                h: 10.0,
                ..RECT
            },
            (800.0, 600.0),
        );
        assert_eq!(camera.zoom, FIT_AT_MOST);
    }

    #[test]
    fn revealing_moves_no_more_than_is_needed() {
        let mut camera = Camera::default();
        let rect = Rect {
            x: 10.0,
            y: 700.0,
            w: 50.0,
            h: 50.0,
        };
        camera.reveal(rect, (800.0, 600.0));
        assert_eq!(camera.to_screen((60.0, 750.0)), (74.0, 576.0));
        let seen = camera;
        camera.reveal(rect, (800.0, 600.0));
        assert_eq!(camera, seen);
    }
}
