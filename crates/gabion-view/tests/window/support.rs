//! A viewer in egui's test harness.

use egui_kittest::{Harness, TestRenderer};
use gabion_ir::Graph;
use gabion_view::Document;
use gabion_view::look::{Pane, Theme};
use gabion_view::place::Item;
use gabion_view::window::raster::Raster;
use gabion_view::window::{Options, Viewer};

pub(crate) use crate::graphs::recorded;
use crate::graphs::{layers_of, linears};

/// Frames after which everything that follows from an event has happened.
pub(crate) const SETTLED: usize = 6;

/// q, k, v as three products.
pub(crate) fn three_linears() -> Graph {
    linears("three_linears")
}

/// Layers in two parts that take turns.
pub(crate) fn layered(layers: usize, width: usize) -> Graph {
    layers_of(layers, width, |at| {
        if at.is_multiple_of(2) { "gate" } else { "up" }.to_owned()
    })
}

/// The crate's rasteriser behind the harness.
#[derive(Default)]
struct Painter(Raster);

impl TestRenderer for Painter {
    fn handle_delta(&mut self, delta: &mut egui::TexturesDelta) {
        self.0.textures(delta);
        delta.clear();
    }

    fn render(
        &mut self,
        ctx: &egui::Context,
        output: &egui::FullOutput,
    ) -> Result<image::RgbaImage, String> {
        let scale = output.pixels_per_point;
        let size = ctx.content_rect().size() * scale;
        let size = [size.x.round() as usize, size.y.round() as usize];
        let primitives = ctx.tessellate(output.shapes.clone(), scale);
        let picture = self.0.paint(&primitives, scale, size, egui::Color32::BLACK);
        let bytes = picture
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_array())
            .collect();
        image::RgbaImage::from_raw(size[0] as u32, size[1] as u32, bytes)
            .ok_or_else(|| "too few pixels".to_owned())
    }
}

/// A viewer in a window of 1200 by 800 points, settled.
pub(crate) fn harness<'d>(document: &'d Document, theme: Theme) -> Harness<'d, Viewer<'d>> {
    let options = Options {
        theme: Some(theme),
        ..Options::default()
    };
    let viewer = Viewer::new(document, options).expect("a viewer");
    let mut harness = Harness::builder()
        .with_size([1200.0, 800.0])
        .with_step_dt(1.0 / 60.0)
        .renderer(Painter::default())
        .build_ui_state(|ui, viewer: &mut Viewer<'d>| viewer.ui(ui), viewer);
    harness.run_steps(SETTLED);
    harness
}

/// Where an item of the drawing is seen: the middle of its header if it is open, else its own middle.
pub(crate) fn place_of(harness: &mut Harness<'_, Viewer<'_>>, item: Item) -> egui::Pos2 {
    let viewer = harness.state_mut();
    let placement = viewer.look.placement(Pane::Now).expect("a placement");
    let placed = &placement.items[placement.find(item).expect("it is visible")];
    let (x, mut y) = placed.rect.center();
    if placed.open {
        y = placed.rect.y + 10.0;
    }
    let (x, y) = viewer.look.camera.to_screen((x, y));
    viewer.drawing().min + egui::vec2(x, y)
}

/// What an item of the drawing covers in the window, with its border.
pub(crate) fn rect_of(harness: &mut Harness<'_, Viewer<'_>>, item: Item) -> egui::Rect {
    let viewer = harness.state_mut();
    let placement = viewer.look.placement(Pane::Now).expect("a placement");
    let rect = placement.items[placement.find(item).expect("it is visible")].rect;
    let corner = |x: f32, y: f32| {
        let (x, y) = viewer.look.camera.to_screen((x, y));
        viewer.drawing().min + egui::vec2(x, y)
    };
    let (min, max) = (
        corner(rect.x, rect.y),
        corner(rect.x + rect.w, rect.y + rect.h),
    );
    egui::Rect::from_min_max(min, max).expand(4.0)
}

/// Clicks once, or twice in quick succession.
pub(crate) fn click(harness: &mut Harness<'_, Viewer<'_>>, at: egui::Pos2, times: usize) {
    harness.hover_at(at);
    harness.step();
    for _ in 0..times {
        for pressed in [true, false] {
            harness.event(egui::Event::PointerButton {
                pos: at,
                button: egui::PointerButton::Primary,
                pressed,
                modifiers: egui::Modifiers::NONE,
            });
        }
        harness.step();
    }
    harness.run_steps(SETTLED);
}
