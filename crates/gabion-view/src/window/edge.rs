//! How egui_graphs draws a wire: through the points of its route, with a curve wherever it changes its lane.

use std::sync::Arc;

use egui::{
    FontId, Pos2, Rect, Shape, Stroke, Vec2, epaint::PathShape, epaint::TextShape, pos2, vec2,
};
use egui_graphs::{DisplayEdge, DrawContext, EdgeProps, Node};
use petgraph::{Directed, stable_graph::DefaultIx};

use super::face::{NodeFace, WireFace};
use super::node::{NodeShape, on_screen};
use super::paint::faint;
use crate::place::{Direction, SWING, curve, on_curve};

/// An edge as it is drawn.
#[derive(Clone)]
pub(super) struct EdgeShape {
    face: Arc<WireFace>,
}

impl From<EdgeProps<Arc<WireFace>>> for EdgeShape {
    fn from(props: EdgeProps<Arc<WireFace>>) -> Self {
        Self {
            face: props.payload,
        }
    }
}

type End = Node<Arc<NodeFace>, Arc<WireFace>, Directed, DefaultIx, NodeShape>;

/// Labels are drawn from this zoom on.
const LABELS_FROM: f32 = 0.6;

/// Letters of labels at zoom 1.
const LABEL_LETTERS: f32 = 10.0;

/// Arrow heads are drawn from this zoom on.
const HEADS_FROM: f32 = 0.2;

impl DisplayEdge<Arc<NodeFace>, Arc<WireFace>, Directed, DefaultIx, NodeShape> for EdgeShape {
    fn shapes(&mut self, _: &End, _: &End, ctx: &DrawContext<'_>) -> Vec<Shape> {
        let face = &*self.face;
        let clip = ctx.painter.clip_rect();
        if !clip.intersects(on_screen(ctx, face.bounds)) {
            return Vec::new();
        }
        let zoom = ctx.meta.zoom;
        let points: Vec<Pos2> = face
            .points
            .iter()
            .map(|at| ctx.meta.canvas_to_screen_pos(*at))
            .collect();
        let color = faint(face.dress.color, face.dress.strength);
        let width = (face.dress.width * zoom.clamp(0.25, 1.5)).max(0.7);
        let head = if zoom >= HEADS_FROM {
            (4.0 + face.dress.width) * zoom
        } else {
            0.0
        };
        let mut shapes = Vec::with_capacity(3);
        let way = Way {
            down: face.down,
            zoom,
        };
        let route = route(&points, way, head * 0.8, clip);
        if let (Some(end), true) = (route.last(), head > 0.0) {
            let tip = points[points.len() - 1];
            shapes.push(arrow(*end, tip, head, face.down, color));
        }
        shapes.push(PathShape::line(route, Stroke::new(width, color)).into());
        if zoom >= LABELS_FROM {
            shapes.extend(label(ctx, face, clip));
        }
        shapes
    }

    fn update(&mut self, props: &EdgeProps<Arc<WireFace>>) {
        if !Arc::ptr_eq(&self.face, &props.payload) {
            self.face = props.payload.clone();
        }
    }

    fn is_inside(&self, _: &End, _: &End, pos: Pos2) -> bool {
        is_near(&self.face, pos, 4.0 + self.face.dress.width / 2.0)
    }
}

/// Whether a point of the drawing lies on a wire.
pub(super) fn is_near(face: &WireFace, pos: Pos2, within: f32) -> bool {
    if !face.bounds.contains(pos) {
        return false;
    }
    let route = line(face);
    let pairs = route.iter().zip(route.iter().skip(1));
    pairs
        .into_iter()
        .any(|(a, b)| distance(pos, *a, *b) <= within)
}

/// The line of a wire in the drawing.
pub(super) fn line(face: &WireFace) -> Vec<Pos2> {
    let way = Way {
        down: face.down,
        zoom: 1.0,
    };
    route(&face.points, way, 0.0, Rect::EVERYTHING)
}

fn distance(p: Pos2, a: Pos2, b: Pos2) -> f32 {
    let (along, to) = (b - a, p - a);
    let length = along.length_sq();
    let share = if length > 0.0 {
        (to.dot(along) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (to - along * share).length()
}

/// Which way wires lead, and how large they are drawn.
#[derive(Clone, Copy)]
struct Way {
    down: bool,
    zoom: f32,
}

/// The points of the line: straight along lanes, curved from lane to lane. What is not seen has few points.
fn route(points: &[Pos2], way: Way, shorten: f32, clip: Rect) -> Vec<Pos2> {
    let direction = match way.down {
        true => Direction::Down,
        false => Direction::Right,
    };
    let mut route = Vec::with_capacity(points.len() * 4);
    let last = points.len().saturating_sub(1);
    route.extend(points.first());
    for (at, pair) in points.windows(2).enumerate() {
        let (from, mut to) = (pair[0], pair[1]);
        let before = (at > 0).then(|| points[at - 1].into());
        let swing = SWING * way.zoom;
        let controls = curve(before, from.into(), to.into(), direction, swing);
        let back = match (at + 1 == last, way.down) {
            (false, _) => Vec2::ZERO,
            (true, true) => vec2(0.0, shorten),
            (true, false) => vec2(shorten, 0.0),
        };
        to -= back;
        if let Some([a, b]) = controls
            && clip.intersects(Rect::from_two_pos(from, to).expand(swing))
        {
            let ends = [from, a.into(), Pos2::from(b) - back, to].map(|p| (p.x, p.y));
            let pieces = ((to - from).length() / 7.0).clamp(1.0, 24.0) as usize;
            let share = |piece: usize| piece as f32 / pieces as f32;
            route.extend((1..pieces).map(|piece| Pos2::from(on_curve(ends, share(piece)))));
        }
        route.push(to);
    }
    route
}

fn arrow(base: Pos2, tip: Pos2, size: f32, down: bool, color: egui::Color32) -> Shape {
    let side = size * 0.5;
    let points = match down {
        true => vec![
            tip,
            pos2(base.x - side, tip.y - size),
            pos2(base.x + side, tip.y - size),
        ],
        false => vec![
            tip,
            pos2(tip.x - size, base.y - side),
            pos2(tip.x - size, base.y + side),
        ],
    };
    Shape::convex_polygon(points, color, Stroke::NONE)
}

/// The type of what flows, where the layout has found room for it.
fn label(ctx: &DrawContext<'_>, face: &WireFace, clip: Rect) -> Option<Shape> {
    let size = (LABEL_LETTERS * ctx.meta.zoom * 2.0).floor() / 2.0;
    let rect = on_screen(ctx, face.label?);
    if !clip.intersects(rect) {
        return None;
    }
    let color = faint(face.text, face.dress.strength);
    let galley =
        ctx.painter
            .layout_no_wrap(face.dress.label.to_string(), FontId::monospace(size), color);
    Some(TextShape::new(rect.min, galley, color).into())
}
