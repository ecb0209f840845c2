//! A pane with a drawing: what is shown of it, and what the pointer does there.
//!
//! egui_graphs asks for another frame whenever it draws, so it is only called when something may have changed; otherwise
//! the shapes of the last frame are painted again and nothing is asked for. It finds what is under the pointer, and draws;
//! zoom and place are ours ([`crate::look::Camera`]), so that two panes can share them.

use std::sync::Arc;

use egui::epaint::ClippedShape;
use egui::{CursorIcon, Galley, Pos2, Rect, Response, Sense, Shape, Stroke, StrokeKind, Ui, vec2};
use egui_graphs::{
    Graph, GraphChange, GraphView, Layout, LayoutState, MetadataFrame, SettingsInteraction,
    SettingsNavigation,
};
use petgraph::Directed;
use petgraph::stable_graph::{DefaultIx, NodeIndex};

use super::edge::{EdgeShape, is_near, line};
use super::face::{Faces, NodeFace, WireFace};
use super::node::NodeShape;
use super::paint::{color, faint};
use crate::look::{Camera, Look, Pane, Wanted};
use crate::place::Item;

type Drawn = Graph<Arc<NodeFace>, Arc<WireFace>, Directed, DefaultIx, NodeShape, EdgeShape>;

/// Places are ours; egui_graphs computes none.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Placed;

impl LayoutState for Placed {}

impl Layout<Placed> for Placed {
    fn from_state(state: Placed) -> impl Layout<Placed> {
        state
    }

    fn next<N, E, Ty, Ix, Dn, De>(&mut self, _: &mut Graph<N, E, Ty, Ix, Dn, De>, _: &Ui)
    where
        N: Clone,
        E: Clone,
        Ty: petgraph::EdgeType,
        Ix: petgraph::graph::IndexType,
        Dn: egui_graphs::DisplayNode<N, E, Ty, Ix>,
        De: egui_graphs::DisplayEdge<N, E, Ty, Ix, Dn>,
    {
    }

    fn state(&self) -> Placed {
        Placed
    }
}

/// All that the shapes of a frame depend on.
#[derive(Clone, PartialEq)]
struct Frame {
    revision: u64,
    rect: Rect,
    camera: Camera,
    hover: Option<Item>,
    wire: Option<u32>,
    selection: Option<Item>,
    pixels_per_point: f32,
}

struct Kept {
    frame: Frame,
    shapes: Vec<ClippedShape>,
    /// Words that were laid out with the atlas of letters that the shapes use. egui keeps them as long as the atlas.
    letters: Arc<Galley>,
}

/// A pane.
pub(super) struct Canvas {
    pane: Pane,
    id: &'static str,
    graph: Drawn,
    faces: Option<Faces>,
    built: Option<u64>,
    kept: Option<Kept>,
    wire: Option<u32>,
    shown: u64,
    pointer: bool,
    rect: Rect,
}

impl Canvas {
    pub(super) fn new(pane: Pane) -> Self {
        Self {
            pane,
            id: match pane {
                Pane::Before => "before",
                Pane::Now => "now",
            },
            graph: Graph::new(),
            faces: None,
            built: None,
            kept: None,
            wire: None,
            shown: 0,
            pointer: false,
            rect: Rect::NOTHING,
        }
    }

    /// How often egui_graphs drew; what tests of idling count.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// Where it was drawn.
    pub(super) fn rect(&self) -> Rect {
        self.rect
    }

    /// Whether the pointer is over it.
    pub(super) fn has_pointer(&self) -> bool {
        self.pointer
    }

    /// Draws the pane into all of the room that there is.
    pub(super) fn ui(&mut self, ui: &mut Ui, look: &mut Look<'_>) {
        ui.push_id(self.id, |ui| {
            let rect = ui.available_rect_before_wrap();
            self.rect = rect;
            self.build(look);
            self.move_camera(look, rect);
            self.scroll(ui, look, rect);
            let frame = self.frame(ui, look, rect);
            let stirred = ui.input(|input| !input.events.is_empty());
            let letters = letters(ui);
            match &self.kept {
                Some(kept)
                    if kept.frame == frame && !stirred && Arc::ptr_eq(&letters, &kept.letters) =>
                {
                    // The same widget at the same place as when it draws, so that hovering goes on.
                    let (response, _) =
                        ui.allocate_painter(ui.available_size(), Sense::click_and_drag());
                    self.paint_kept(ui);
                    self.tooltip(look, &response);
                }
                _ => self.draw(ui, look, rect),
            }
        });
    }

    fn build(&mut self, look: &mut Look<'_>) {
        if self.built == Some(look.revision()) {
            return;
        }
        self.built = Some(look.revision());
        look.align();
        self.faces = Faces::new(look, self.pane);
        self.graph = Graph::new();
        let Some(faces) = &self.faces else {
            return;
        };
        // The first that is met under the pointer counts, so what lies inside comes before what is around it.
        for face in faces.nodes.iter().rev() {
            let center = face.rect.center();
            self.graph
                .add_node_custom(face.clone(), |node| node.set_location(center));
        }
        let last = faces.nodes.len().saturating_sub(1);
        let index = |at: u32| NodeIndex::new(last - at as usize);
        for (wire, face) in faces.placement.wires.iter().zip(&faces.wires) {
            let (from, to) = (index(wire.from), index(wire.to));
            let at = self.graph.add_edge_custom(from, to, face.clone(), |_| {});
            debug_assert_eq!(at.index(), face.at as usize);
        }
    }

    fn item(&self, node: NodeIndex) -> Option<Item> {
        let faces = self.faces.as_ref()?;
        let at = self.graph.node(node)?.payload().at as usize;
        Some(faces.placement.items.get(at)?.item)
    }

    /// What was asked of the camera, now that the room is known.
    fn move_camera(&mut self, look: &mut Look<'_>, rect: Rect) {
        if self.pane != Pane::Now {
            return;
        }
        let (Some(wanted), Some(faces)) = (look.wanted, &self.faces) else {
            return;
        };
        let room = (rect.width(), rect.height());
        if room.0 < 8.0 || room.1 < 8.0 {
            return;
        }
        look.wanted = None;
        let place = |item| {
            faces
                .placement
                .find(item)
                .map(|at| faces.placement.items[at].rect)
        };
        let middle = (room.0 / 2.0, room.1 / 2.0);
        match wanted {
            Wanted::Fit => {
                if let Some(all) = look.everything() {
                    look.camera.fit(all, room);
                }
            }
            Wanted::Show(item) => {
                if let Some(rect) = place(item) {
                    look.camera.show(rect, room);
                }
            }
            Wanted::Reveal(item) => {
                if let Some(rect) = place(item) {
                    look.camera.reveal(rect, room);
                }
            }
            Wanted::Larger => look.camera.zoom_at(middle, 1.25),
            Wanted::Smaller => look.camera.zoom_at(middle, 0.8),
        }
    }

    /// The wheel zooms where the pointer is; sideways it moves the drawing.
    fn scroll(&self, ui: &Ui, look: &mut Look<'_>, rect: Rect) {
        let pointer = ui.input(|input| input.pointer.hover_pos());
        let Some(at) = pointer.filter(|at| rect.contains(*at)) else {
            return;
        };
        let over = ui.ctx().layer_id_at(at) == Some(ui.layer_id());
        if !over {
            return;
        }
        let (wheel, pinch) = ui.input(|input| (input.smooth_scroll_delta(), input.zoom_delta()));
        let factor = pinch * (wheel.y * 0.004).exp();
        if factor != 1.0 {
            let at = at - rect.min;
            look.camera.zoom_at((at.x, at.y), factor);
        }
        if wheel.x != 0.0 {
            look.camera.drag((wheel.x, 0.0));
        }
    }

    fn frame(&self, ui: &Ui, look: &Look<'_>, rect: Rect) -> Frame {
        Frame {
            revision: look.revision(),
            rect,
            camera: look.camera_of(self.pane),
            hover: look.hover(),
            wire: self.wire,
            selection: look.selection(),
            pixels_per_point: ui.ctx().pixels_per_point(),
        }
    }

    fn paint_kept(&self, ui: &Ui) {
        let Some(kept) = &self.kept else {
            return;
        };
        ui.ctx().graphics_mut(|graphics| {
            let list = graphics.entry(ui.layer_id());
            for ClippedShape { clip_rect, shape } in &kept.shapes {
                list.add(*clip_rect, shape.clone());
            }
        });
    }

    fn draw(&mut self, ui: &mut Ui, look: &mut Look<'_>, rect: Rect) {
        self.shown += 1;
        let layer = ui.layer_id();
        let start = ui
            .ctx()
            .graphics_mut(|graphics| graphics.entry(layer).next_idx());
        self.grounds(ui, look, rect);
        let camera = look.camera_of(self.pane);
        let mut meta = MetadataFrame::new(Some(self.id.to_owned())).load(ui);
        (meta.zoom, meta.pan) = (camera.zoom, vec2(camera.pan.0, camera.pan.1));
        meta.save(ui);
        let interactions = SettingsInteraction::default()
            .with_dragging_enabled(false)
            .with_hover_enabled(true)
            .with_node_clicking_enabled(true)
            .with_edge_clicking_enabled(true);
        let navigation = SettingsNavigation::default()
            .with_fit_to_screen_enabled(false)
            .with_zoom_and_pan_enabled(false);
        let shown = GraphView::<Placed, Placed>::new()
            .with_id(Some(self.id.to_owned()))
            .with_interactions(&interactions)
            .with_navigations(&navigation)
            .show(ui, &mut self.graph);
        let meta = MetadataFrame::new(Some(self.id.to_owned())).load(ui);
        self.answer(ui, look, &shown.response, &shown.changes);
        self.overlay(ui, look, rect);
        self.tooltip(look, &shown.response);
        // It fits its first frame by itself, and moves what it shows with the pane.
        let moved = meta.zoom != camera.zoom || meta.pan != vec2(camera.pan.0, camera.pan.1);
        if moved {
            self.kept = None;
            ui.ctx().request_discard("the drawing was moved");
            return;
        }
        let frame = Frame {
            camera,
            ..self.frame(ui, look, rect)
        };
        let shapes = ui.ctx().graphics_mut(|graphics| {
            let list = graphics.entry(layer);
            list.all_entries().skip(start.0).cloned().collect()
        });
        let letters = letters(ui);
        self.kept = Some(Kept {
            frame,
            shapes,
            letters,
        });
    }

    /// What the pointer did.
    fn answer(
        &mut self,
        ui: &Ui,
        look: &mut Look<'_>,
        response: &Response,
        changes: &[GraphChange<DefaultIx>],
    ) {
        let mut hit = false;
        for change in changes {
            match change {
                GraphChange::NodeClicked { node } => {
                    hit = true;
                    look.select(self.item(*node));
                }
                GraphChange::NodeDoubleClicked { node } => {
                    hit = true;
                    if let Some(Item::Group(group)) = self.item(*node) {
                        look.select(Some(Item::Group(group)));
                        look.toggle(group);
                    }
                }
                GraphChange::EdgeClicked { edge } => {
                    hit = true;
                    let from = self.graph.edge_endpoints(*edge).map(|(from, _)| from);
                    look.select(from.and_then(|from| self.item(from)));
                }
                _ => {}
            }
        }
        if response.clicked() && !hit {
            look.select(None);
        }
        if response.dragged() {
            let by = response.drag_delta();
            look.camera.drag((by.x, by.y));
            ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
        }
        self.pointer = response.contains_pointer();
        if self.pointer {
            let hovered = self.graph.hovered_node().and_then(|node| self.item(node));
            look.set_hover(hovered);
            let pointer = response.hover_pos();
            self.wire = pointer
                .filter(|_| hovered.is_none())
                .and_then(|at| self.wire_at(look.camera_of(self.pane), at - response.rect.min));
        } else {
            self.wire = None;
        }
    }

    fn wire_at(&self, camera: Camera, at: egui::Vec2) -> Option<u32> {
        let (x, y) = camera.to_drawing((at.x, at.y));
        let within = 4.0 / camera.zoom;
        let wires = &self.faces.as_ref()?.wires;
        let found = wires
            .iter()
            .find(|face| is_near(face, Pos2::new(x, y), within + face.dress.width / 2.0))?;
        Some(found.at)
    }

    fn on_screen(camera: Camera, origin: Pos2, rect: Rect) -> Rect {
        let at = |p: Pos2| {
            let (x, y) = camera.to_screen((p.x, p.y));
            origin + vec2(x, y)
        };
        Rect::from_min_max(at(rect.min), at(rect.max))
    }

    /// What lies under everything: the grounds of open groups.
    fn grounds(&self, ui: &Ui, look: &Look<'_>, rect: Rect) {
        let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        painter.rect_filled(rect, 0.0, color(look.theme.ground()));
        let Some(faces) = &self.faces else {
            return;
        };
        for ground in &faces.grounds {
            let at = Self::on_screen(look.camera_of(self.pane), rect.min, ground.rect);
            if at.intersects(rect) {
                let radius = (9.0 * look.camera.zoom).clamp(1.0, 12.0);
                painter.rect(
                    at,
                    radius,
                    color(ground.fill),
                    Stroke::new(ground.width, color(ground.stroke)),
                    StrokeKind::Middle,
                );
            }
        }
    }

    /// What lies over everything: the selection, what the pointer is over.
    fn overlay(&self, ui: &Ui, look: &Look<'_>, rect: Rect) {
        let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
        let (Some(faces), Some(stage)) = (&self.faces, look.pane_stage(self.pane)) else {
            return;
        };
        let theme = look.theme;
        let outline = |item: Item, stroke: Stroke| {
            if let Some(at) = faces.placement.find(item) {
                let at = Self::on_screen(look.camera_of(self.pane), rect.min, faces.nodes[at].rect);
                painter.rect_stroke(at.expand(1.5), 6.0, stroke, StrokeKind::Outside);
            }
        };
        if let Some(item) = look.hover() {
            outline(item, Stroke::new(1.5, faint(theme.accent(), 0.6)));
        }
        if let Some(item) = look.selection_at(stage) {
            outline(item, Stroke::new(2.5, color(theme.accent())));
        }
        if let Some(wire) = self.wire.and_then(|at| faces.wires.get(at as usize)) {
            let points = line(wire).into_iter().map(|p| {
                let (x, y) = look.camera_of(self.pane).to_screen((p.x, p.y));
                rect.min + vec2(x, y)
            });
            let width = (wire.dress.width * look.camera.zoom).max(1.0) + 1.5;
            painter.add(Shape::line(
                points.collect(),
                Stroke::new(width, faint(theme.accent(), 0.8)),
            ));
        }
    }

    /// The whole name and the type of what the pointer is over.
    fn tooltip(&self, look: &Look<'_>, response: &Response) {
        let document = look.document();
        let Some(faces) = &self.faces else {
            return;
        };
        if !response.contains_pointer() || response.dragged() {
            return;
        }
        let words = match (look.hover(), self.wire) {
            (Some(Item::Box(id)), _) => {
                let it = document.get(id);
                let types: Vec<&str> = it.results.iter().map(|port| &*port.ty).collect();
                let head = crate::look::item_name(document, Item::Box(id));
                format!("{head}\n{}", types.join(", "))
            }
            (Some(item @ Item::Group(id)), _) => {
                let action = if look.open().contains(&id) {
                    "close"
                } else {
                    "open"
                };
                format!(
                    "{}\ndouble click to {action}",
                    crate::look::item_name(document, item)
                )
            }
            (None, Some(wire)) => {
                let Some(wire) = faces.placement.wires.get(wire as usize) else {
                    return;
                };
                let values = if wire.values > 1 {
                    format!("\n{} values", wire.values)
                } else {
                    String::new()
                };
                format!(
                    "{}\n{}{values}",
                    wire.ty,
                    crate::look::colour::bytes(wire.bytes as f64)
                )
            }
            (None, None) => return,
        };
        response.clone().on_hover_text_at_pointer(words);
    }
}

/// The same words as long as there is the same atlas.
fn letters(ui: &Ui) -> Arc<Galley> {
    let font = egui::FontId::proportional(13.0);
    ui.fonts_mut(|fonts| fonts.layout_no_wrap("…".to_owned(), font, egui::Color32::GRAY))
}
