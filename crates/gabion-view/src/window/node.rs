//! How egui_graphs draws a box or group.

use std::sync::Arc;

use egui::{
    Color32, CornerRadius, FontId, Pos2, Rect, Shape, Stroke, StrokeKind, Vec2, epaint::TextShape,
};
use egui_graphs::{DisplayNode, DrawContext, NodeProps};
use petgraph::{Directed, stable_graph::DefaultIx};

use super::face::{NodeFace, WireFace};
use super::paint::faint;

/// A node as it is drawn.
#[derive(Clone)]
pub(super) struct NodeShape {
    face: Arc<NodeFace>,
}

impl From<NodeProps<Arc<NodeFace>>> for NodeShape {
    fn from(props: NodeProps<Arc<NodeFace>>) -> Self {
        Self {
            face: props.payload,
        }
    }
}

/// Letters below this many points are not drawn.
const SMALLEST: f32 = 4.5;

/// Letters of the first and the second line at zoom 1.
const LETTERS: (f32, f32) = (13.0, 11.0);

impl DisplayNode<Arc<NodeFace>, Arc<WireFace>, Directed, DefaultIx> for NodeShape {
    fn closest_boundary_point(&self, dir: Vec2) -> Pos2 {
        let rect = self.face.rect;
        let scale = |room: f32, along: f32| {
            if along == 0.0 {
                f32::INFINITY
            } else {
                room / along.abs()
            }
        };
        let reach = scale(rect.width() / 2.0, dir.x).min(scale(rect.height() / 2.0, dir.y));
        match reach.is_finite() {
            true => rect.center() + dir * reach,
            false => rect.center(),
        }
    }

    fn shapes(&mut self, ctx: &DrawContext<'_>) -> Vec<Shape> {
        let face = &*self.face;
        let rect = on_screen(ctx, face.rect);
        let clip = ctx.painter.clip_rect();
        if !clip.intersects(rect.expand(4.0)) {
            return Vec::new();
        }
        match face.open {
            true => header(ctx, face, rect),
            false => closed(ctx, face, rect),
        }
    }

    fn update(&mut self, props: &NodeProps<Arc<NodeFace>>) {
        if !Arc::ptr_eq(&self.face, &props.payload) {
            self.face = props.payload.clone();
        }
    }

    fn is_inside(&self, pos: Pos2) -> bool {
        self.face.clickable().contains(pos)
    }
}

/// A rectangle of the drawing on the screen.
pub(super) fn on_screen(ctx: &DrawContext<'_>, rect: Rect) -> Rect {
    Rect::from_min_max(
        ctx.meta.canvas_to_screen_pos(rect.min),
        ctx.meta.canvas_to_screen_pos(rect.max),
    )
}

/// The name of an open group, which stays in sight while the group is wider than the screen. Its ground is drawn before.
fn header(ctx: &DrawContext<'_>, face: &NodeFace, rect: Rect) -> Vec<Shape> {
    let zoom = ctx.meta.zoom;
    let Some(size) = letters(LETTERS.0, zoom.max(0.55)) else {
        return Vec::new();
    };
    let clip = ctx.painter.clip_rect();
    if rect.width() < 30.0 || rect.height() < 14.0 {
        return Vec::new();
    }
    let left = rect.left().max(clip.left() - 2.0) + 8.0 * zoom.max(0.5);
    let top = rect.top() + 5.0 * zoom.max(0.4);
    let room = rect.right().min(clip.right()) - left - 6.0;
    let mut shapes = Vec::new();
    let color = faint(face.dress.paint.text, face.dress.strength);
    let end = text(
        ctx,
        &mut shapes,
        Pos2::new(left, top),
        &face.dress.first,
        size,
        color,
        room,
    );
    if !face.dress.note.is_empty() {
        let color = faint(face.dress.paint.stroke, face.dress.strength);
        let at = Pos2::new(end + 10.0, top + 1.0);
        text(
            ctx,
            &mut shapes,
            at,
            &face.dress.note,
            size * 0.9,
            color,
            room - (end - left) - 10.0,
        );
    }
    shapes
}

fn closed(ctx: &DrawContext<'_>, face: &NodeFace, rect: Rect) -> Vec<Shape> {
    let zoom = ctx.meta.zoom;
    let mut shapes = Vec::with_capacity(5);
    let tiny = rect.height() < 3.0;
    let radius = match (tiny, face.dress.round) {
        (true, _) => 0.0,
        (false, true) => (rect.height() / 2.0).min(14.0 * zoom),
        (false, false) => 5.0 * zoom,
    };
    let radius = CornerRadius::same(radius.clamp(0.0, 40.0) as u8);
    let stroke = Stroke::new(
        (face.dress.stroke * zoom.clamp(0.4, 1.6)).max(0.6),
        faint(face.dress.paint.stroke, face.dress.strength),
    );
    if face.group && !tiny {
        // A second sheet behind it: there is more inside.
        let behind = rect.translate(Vec2::splat(3.0 * zoom));
        shapes.push(Shape::rect_filled(
            behind,
            radius,
            faint(face.dress.paint.stroke, face.dress.strength * 0.45),
        ));
    }
    let fill = faint(face.dress.paint.fill, face.dress.strength.sqrt());
    match tiny {
        true => shapes.push(Shape::rect_filled(
            rect,
            radius,
            faint(face.dress.paint.stroke, face.dress.strength),
        )),
        false => shapes.push(
            egui::epaint::RectShape::new(rect, radius, fill, stroke, StrokeKind::Middle).into(),
        ),
    }
    if let Some(ring) = face.dress.ring {
        let width = (2.5 * zoom).max(1.5);
        let stroke = Stroke::new(width, faint(ring, face.dress.strength.max(0.7)));
        shapes.push(Shape::rect_stroke(
            rect.expand(3.0 * zoom + 1.0),
            radius,
            stroke,
            StrokeKind::Outside,
        ));
    }
    labels(ctx, face, rect, &mut shapes);
    shapes
}

fn labels(ctx: &DrawContext<'_>, face: &NodeFace, rect: Rect, shapes: &mut Vec<Shape>) {
    let zoom = ctx.meta.zoom;
    let Some(size) = letters(LETTERS.0, zoom) else {
        return;
    };
    let color = faint(face.dress.paint.text, face.dress.strength.sqrt());
    let weak = faint(face.dress.weak, face.dress.strength.sqrt());
    let room = rect.width() - 6.0 * zoom;
    let small = letters(LETTERS.1, zoom).filter(|_| !face.dress.second.is_empty());
    let first_height = size * 1.18;
    let height = first_height + small.map_or(0.0, |small| small * 1.22);
    let top = rect.center().y - height / 2.0;
    centered(
        ctx,
        shapes,
        rect.center().x,
        top,
        &face.dress.first,
        size,
        color,
        room,
    );
    if let Some(small) = small {
        centered(
            ctx,
            shapes,
            rect.center().x,
            top + first_height,
            &face.dress.second,
            small,
            weak,
            room,
        );
    }
}

/// The size of letters at a zoom, in half points so that few sizes have to be drawn into the atlas; nothing if too small.
fn letters(size: f32, zoom: f32) -> Option<f32> {
    let size = (size * zoom * 2.0).floor() / 2.0;
    (size >= SMALLEST).then_some(size)
}

fn galley(
    ctx: &DrawContext<'_>,
    words: &str,
    size: f32,
    color: Color32,
    room: f32,
) -> Arc<egui::Galley> {
    let font = FontId::proportional(size);
    let galley = ctx
        .painter
        .layout_no_wrap(words.to_owned(), font.clone(), color);
    if galley.size().x <= room.max(size) {
        return galley;
    }
    let mut job = egui::text::LayoutJob::simple_singleline(words.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(room.max(size));
    ctx.painter.layout_job(job)
}

/// Draws words from the left and says where they end.
fn text(
    ctx: &DrawContext<'_>,
    shapes: &mut Vec<Shape>,
    at: Pos2,
    words: &str,
    size: f32,
    color: Color32,
    room: f32,
) -> f32 {
    let galley = galley(ctx, words, size, color, room);
    let end = at.x + galley.size().x;
    shapes.push(TextShape::new(at, galley, color).into());
    end
}

#[expect(
    clippy::too_many_arguments,
    reason = "a place, words and how they look; a struct would be built for each call"
)]
fn centered(
    ctx: &DrawContext<'_>,
    shapes: &mut Vec<Shape>,
    x: f32,
    top: f32,
    words: &str,
    size: f32,
    color: Color32,
    room: f32,
) {
    let galley = galley(ctx, words, size, color, room);
    let at = Pos2::new(x - galley.size().x / 2.0, top);
    shapes.push(TextShape::new(at, galley, color).into());
}
