//! Five pictures. `UPDATE_SNAPSHOTS=force cargo test -p gabion-view --features window --test window` makes them anew.

use egui_kittest::SnapshotOptions;
use gabion_view::look::{ColourBy, Command, Theme, Wanted};
use gabion_view::place::Item;

use crate::support::{SETTLED, harness, layered, recorded, three_linears};

/// The same pixels come out everywhere but for the last bits of floating-point operations.
fn options() -> SnapshotOptions {
    SnapshotOptions::new()
        .threshold(1.0)
        .max_failed_pixels(40)
        .output_path("tests/window/pictures")
}

#[test]
fn a_small_graph() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    harness.snapshot_options("small_light", &options());
}

#[test]
fn the_same_in_the_dark_with_a_selection() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Dark);
    let q = harness.state().look.named("q").expect("a product");
    harness.state_mut().look.jump(q);
    harness.state_mut().look.run(Command::ConeUp);
    harness.run_steps(SETTLED);
    harness.snapshot_options("selection_dark", &options());
}

#[test]
fn a_pass_before_and_after() {
    let mut document = recorded(&three_linears());
    let stage = document
        .stages
        .iter()
        .position(|stage| &*stage.name == "stack_siblings")
        .expect("the pass");
    // What it took this time is written beside the drawing.
    document.stages[stage].time_us = 28;
    let mut harness = harness(&document, Theme::Light);
    harness.state_mut().look.set_stage(stage);
    harness.state_mut().look.run(Command::Compare);
    harness.run_steps(SETTLED);
    harness.state_mut().look.run(Command::Fit);
    harness.run_steps(SETTLED);
    harness.snapshot_options("compare_light", &options());
}

#[test]
fn costs_in_colours() {
    let document = recorded(&layered(4, 6));
    let mut harness = harness(&document, Theme::Light);
    let layer = document.tree.by_path("layers.1").expect("a layer");
    let look = &mut harness.state_mut().look;
    look.jump(Item::Group(layer));
    look.run(Command::OpenAllInside);
    look.set_colours(ColourBy::Bytes);
    look.wanted = Some(Wanted::Show(Item::Group(layer)));
    harness.run_steps(SETTLED);
    harness.snapshot_options("bytes_light", &options());
}

#[test]
fn left_to_right_in_the_dark_with_a_search() {
    let document = recorded(&layered(2, 4));
    let mut harness = harness(&document, Theme::Dark);
    harness.state_mut().look.run(Command::OpenAllInside);
    harness.state_mut().look.run(Command::Turn);
    harness.state_mut().look.set_search("op:weight in:layers.1");
    harness.state_mut().look.run(Command::Fit);
    harness.run_steps(SETTLED);
    harness.snapshot_options("search_dark", &options());
}
