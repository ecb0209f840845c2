//! How long the viewer needs: to open a large graph, for a frame in which everything moved, and for one in which nothing
//! happened. Processor time of this program's side; what a graphics card does afterwards is not in it.
//!
//! `cargo run --release -p gabion-view --example viewer_figures --features window`

#![allow(clippy::print_stdout, reason = "it prints its table")]

use std::time::Instant;

use egui::{Context, Pos2, RawInput, Rect, vec2};
use gabion_cpu::cpu_target;
use gabion_ir::{Builder, Graph};
use gabion_lower::{LowerOptions, lower};
use gabion_tensor::TensorType;
use gabion_view::document::Kind;
use gabion_view::look::{Command, Pane};
use gabion_view::place::Item;
use gabion_view::window::{Options, Tab, Viewer};
use gabion_view::{Document, Sizes};

type Failed = Box<dyn std::error::Error>;

/// Layers with residuals, each of several products and activations, in modules.
fn layered(layers: usize, width: usize) -> Result<Graph, Failed> {
    let b = Builder::new("layered");
    let ty: TensorType = "f32[tokens, 64]".parse()?;
    let mut x = b.input("x", ty);
    for layer in 0..layers {
        let _layer = b.scope(&format!("layers.{layer}"));
        let mut y = x;
        for at in 0..width {
            let _part = b.scope(&format!("part{}", at / 8));
            let weight = b.weight(&format!("layers.{layer}.w{at}"), "f32[64, 64]".parse()?);
            y = y.matmul_t(weight).relu();
        }
        x = x + y;
    }
    b.output("y", x);
    Ok(b.finish()?)
}

struct Window {
    ctx: Context,
    time: f64,
}

impl Window {
    fn new() -> Self {
        Self {
            ctx: Context::default(),
            time: 0.0,
        }
    }

    /// One frame with these events: milliseconds of running and of tessellation.
    fn frame(&mut self, viewer: &mut Viewer<'_>, events: Vec<egui::Event>) -> (f64, f64) {
        self.time += 1.0 / 60.0;
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, vec2(1920.0, 1080.0))),
            time: Some(self.time),
            events,
            ..RawInput::default()
        };
        let start = Instant::now();
        let output = self.ctx.run_ui(input, |ui| viewer.ui(ui));
        let run = start.elapsed();
        let start = Instant::now();
        let mut textures = output.textures_delta;
        let primitives = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let tessellate = start.elapsed();
        textures.clear();
        assert!(!primitives.is_empty());
        (run.as_secs_f64() * 1e3, tessellate.as_secs_f64() * 1e3)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians over frames, each of which `each` prepares.
fn frames(
    name: &str,
    window: &mut Window,
    viewer: &mut Viewer<'_>,
    mut each: impl FnMut(&mut Viewer<'_>, usize),
) {
    const FRAMES: usize = 60;
    let (mut run, mut tessellate) = (Vec::new(), Vec::new());
    for at in 0..FRAMES {
        each(viewer, at);
        let (a, b) = window.frame(viewer, Vec::new());
        run.push(a);
        tessellate.push(b);
    }
    let (run, tessellate) = (median(run), median(tessellate));
    println!(
        "| {name} | {run:.2} | {tessellate:.2} | {:.2} |",
        run + tessellate
    );
}

/// Frames in which nothing happened, with a large group and with a box selected, at every stage that matters and with every
/// tab: what the panels say must not be worked out again.
fn panels(graph: &Graph) -> Result<(), Failed> {
    let options = LowerOptions {
        record: true,
        ..LowerOptions::default()
    };
    let lowered = lower(graph, &cpu_target(), &options)?;
    let document = Document::of_lowered(graph, &lowered, &Sizes::default());
    let entries = document.ledger.entries();
    println!(
        "{} boxes at all stages, {} lines of the ledger",
        document.boxes.len(),
        entries.len()
    );
    let start = Instant::now();
    let found = entries.iter().filter_map(|it| document.box_of(it)).count();
    let all = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let boxes = document.boxes.len() as u32;
    let lines: usize = (0..boxes).map(|id| document.entries_of(id).len()).sum();
    let back = start.elapsed().as_secs_f64() * 1e3;
    println!("{found} lines lead to a box: {all:.0} ms; boxes to {lines} lines: {back:.0} ms\n");
    let mut viewer = Viewer::new(&document, Options::default())?;
    let mut window = Window::new();
    let group = document.tree.by_path("layers").ok_or("no layers")?;
    let plan = document.stages.len() - 1;
    let boxes = &document.stages[plan].boxes;
    let step = boxes
        .iter()
        .rev()
        .find(|id| document.get(**id).kind == Kind::Step);
    let step = *step.ok_or("no step")?;
    println!("| frame | run ms | tessellate ms | both ms |\n|---|---|---|---|");
    viewer.look.set_stage(plan);
    for (what, item) in [("group", Item::Group(group)), ("step", Item::Box(step))] {
        viewer.look.jump(item);
        for tab in Tab::ALL {
            viewer.show_tab(tab);
            for _ in 0..4 {
                window.frame(&mut viewer, Vec::new());
            }
            let name = format!("a {what} selected, tab {}", tab.word());
            frames(&name, &mut window, &mut viewer, |_, _| {});
        }
    }
    viewer.show_tab(Tab::Steps);
    for (what, step) in [("groups", 1), ("steps", 2)] {
        let name = format!("{what} selected in turn");
        frames(&name, &mut window, &mut viewer, |viewer, at| {
            let item = match (step, at % 2) {
                (1, 0) => Item::Group(group),
                (1, _) => Item::Group(document.tree.get(group).groups[0]),
                _ => Item::Box(boxes[boxes.len() - 3 - at]),
            };
            viewer.look.select(Some(item));
        });
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Failed> {
    let graph = layered(300, 111)?;
    let start = Instant::now();
    let document = Document::of_graph(&graph, &Sizes::default());
    let read = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let mut viewer = Viewer::new(&document, Options::default())?;
    let mut window = Window::new();
    window.frame(&mut viewer, Vec::new());
    let shown = start.elapsed().as_secs_f64() * 1e3;
    println!(
        "{} nodes, collapsed: document {read:.0} ms, first frame {shown:.0} ms\n",
        graph.len()
    );

    drop(viewer);
    panels(&graph)?;

    let graph = layered(25, 64)?;
    let document = Document::of_graph(&graph, &Sizes::default());
    let mut viewer = Viewer::new(&document, Options::default())?;
    viewer.look.run(Command::OpenAllInside);
    let mut window = Window::new();
    for _ in 0..4 {
        window.frame(&mut viewer, Vec::new());
    }
    let placement = viewer.look.placement(Pane::Now).ok_or("no placement")?;
    println!(
        "{} visible nodes, {} wires",
        placement.items.len(),
        placement.wires.len()
    );
    println!("| frame | run ms | tessellate ms | both ms |\n|---|---|---|---|");
    frames(
        "all in sight, moved",
        &mut window,
        &mut viewer,
        |viewer, at| {
            viewer
                .look
                .camera
                .drag((if at % 2 == 0 { 1.0 } else { -1.0 }, 0.0));
        },
    );
    frames(
        "all in sight, selection changed",
        &mut window,
        &mut viewer,
        |viewer, _| {
            viewer.look.run(Command::SelectNext);
            viewer.look.wanted = None;
        },
    );
    viewer.look.select(None);
    viewer
        .look
        .camera
        .zoom_at((800.0, 300.0), 0.45 / viewer.look.camera.zoom);
    let size = placement.size;
    viewer.look.camera.pan = (400.0 - size.0 / 2.0 * 0.45, 300.0 - size.1 / 2.0 * 0.45);
    frames(
        "with words, moved",
        &mut window,
        &mut viewer,
        |viewer, at| {
            viewer
                .look
                .camera
                .drag((if at % 2 == 0 { 1.0 } else { -1.0 }, 0.0));
        },
    );
    frames("nothing happened", &mut window, &mut viewer, |_, _| {});
    Ok(())
}
