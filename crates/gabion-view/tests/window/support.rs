//! A viewer in egui's test harness.

use egui_kittest::{Harness, TestRenderer};
use gabion_cpu::cpu_target;
use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower};
use gabion_tensor::TensorType;
use gabion_view::look::{Pane, Theme};
use gabion_view::place::Item;
use gabion_view::window::raster::Raster;
use gabion_view::window::{Options, Viewer};
use gabion_view::{Document, Sizes};

/// Frames after which everything that follows from an event has happened.
pub(crate) const SETTLED: usize = 6;

pub(crate) fn ty(text: &str) -> TensorType {
    text.parse().expect("a type")
}

/// q, k, v as three products of one module, and what attention begins with.
pub(crate) fn three_linears() -> Graph {
    let b = Builder::new("three_linears");
    let x = b.input("x", ty("f32[tokens, 64]"));
    let mut parts = Vec::new();
    for (name, rows) in [("q", 64), ("k", 32), ("v", 32)] {
        let _scope = b.scope("self_attn");
        let weight = b.weight(
            &format!("self_attn.{name}_proj.weight"),
            ty(&format!("f32[{rows}, 64]")),
        );
        parts.push(x.matmul_t(weight).named(name));
    }
    for (name, part) in ["q", "k", "v"].into_iter().zip(parts) {
        b.output(name, part);
    }
    b.finish().expect("a graph")
}

/// Layers with residuals.
pub(crate) fn layered(layers: usize, width: usize) -> Graph {
    let b = Builder::new("layered");
    let mut x = b.input("x", ty("f32[tokens, 8]"));
    for layer in 0..layers {
        let _layer = b.scope(&format!("layers.{layer}"));
        let mut y = x;
        for at in 0..width {
            let _part = b.scope(if at % 2 == 0 { "gate" } else { "up" });
            let weight = b.weight(&format!("layers.{layer}.w{at}"), ty("f32[8, 8]"));
            y = y.matmul_t(weight).relu();
        }
        x = x + y;
    }
    b.output("y", x);
    b.finish().expect("a graph")
}

pub(crate) fn recorded(graph: &Graph) -> Document {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let lowered = lower(graph, &cpu_target(), &options).expect("it lowers");
    Document::of_lowered(graph, &lowered, &Sizes::default())
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
