//! What can be done with the mouse and the keyboard.

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use gabion_view::Document;
use gabion_view::look::{ColourBy, Pane, Theme};
use gabion_view::place::{Direction, Item};
use gabion_view::window::Viewer;

use crate::support::{
    SETTLED, click, harness, layered, place_of, recorded, rect_of, three_linears,
};

#[test]
fn a_click_selects_and_a_click_beside_it_does_not() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let q = harness.state().look.named("q").expect("a product");
    let at = place_of(&mut harness, q);
    click(&mut harness, at, 1);
    assert_eq!(harness.state().look.selection(), Some(q));
    assert!(
        harness.query_all_by_label("matmul %q").count() > 0,
        "the details name it"
    );
    let corner = harness.state().drawing().left_bottom() + egui::vec2(4.0, -4.0);
    click(&mut harness, corner, 1);
    assert_eq!(harness.state().look.selection(), None);
}

#[test]
fn a_double_click_opens_and_closes_a_group() {
    let document = recorded(&layered(6, 4));
    let mut harness = harness(&document, Theme::Light);
    let layers = harness.state().look.named("layers").expect("a group");
    let Item::Group(group) = layers else {
        panic!("{layers:?} is no group");
    };
    let was_open = harness.state().look.open().contains(&group);
    let at = place_of(&mut harness, layers);
    click(&mut harness, at, 2);
    assert_eq!(harness.state().look.open().contains(&group), !was_open);
    assert_eq!(harness.state().look.selection(), Some(layers));
    // egui takes a third click soon after for a triple one.
    harness.run_steps(60);
    let at = place_of(&mut harness, layers);
    click(&mut harness, at, 2);
    assert_eq!(harness.state().look.open().contains(&group), was_open);
}

#[test]
fn typing_searches_and_enter_jumps() {
    let document = recorded(&layered(6, 4));
    let mut harness = harness(&document, Theme::Light);
    harness.event(egui::Event::Text("/".to_owned()));
    harness.run_steps(2);
    harness.event(egui::Event::Text("op:weight in:layers.3".to_owned()));
    harness.run_steps(2);
    assert_eq!(harness.state().look.search().found.len(), 4);
    harness.key_press(Key::Enter);
    harness.run_steps(SETTLED);
    let first = harness.state().look.named("layers.3.w0");
    assert_eq!(harness.state().look.selection(), first);
    harness.get_by_label("1/4");
    assert!(
        harness.query_all_by_label("weight layers.3.w0").count() > 0,
        "the details name it"
    );
    // Letters are typed while the field has the keyboard, and commands when it has not.
    harness.event(egui::Event::Text(" n".to_owned()));
    harness.run_steps(2);
    assert_eq!(harness.state().look.selection(), first);
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    harness.state_mut().look.set_search("op:weight in:layers.3");
    harness.key_press(Key::N);
    harness.key_press(Key::N);
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.search().at, Some(1));
}

#[test]
fn the_slider_and_its_buttons_choose_the_stage() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    harness.event(egui::Event::Text("]".to_owned()));
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.stage(), 1);
    let slider = harness.get_by_role_and_label(Role::Slider, "Stage").rect();
    let last = document.stages.len() - 1;
    click(
        &mut harness,
        slider.right_center() - egui::vec2(2.0, 0.0),
        1,
    );
    assert_eq!(harness.state().look.stage(), last);
    harness.get_by_label(&format!("{last}/{last}"));
    click(&mut harness, slider.left_center() + egui::vec2(2.0, 0.0), 1);
    assert_eq!(harness.state().look.stage(), 0);
}

#[test]
fn links_of_the_details_jump() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let q = harness.state().look.named("q").expect("a product");
    harness.state_mut().look.jump(q);
    harness.run_steps(SETTLED);
    harness
        .get_by_label_contains("weight self_attn.q_proj.weight")
        .click();
    harness.run_steps(SETTLED);
    let weight = harness.state().look.named("self_attn.q_proj.weight");
    assert_eq!(harness.state().look.selection(), weight);
    harness.get_by_label("Back").click();
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.selection(), Some(q));
}

#[test]
fn comparing_shows_two_panes() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let whole = harness.state().drawing().width();
    harness.state_mut().look.set_stage(3);
    harness.get_by_label("Compare").click();
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.against(), Some(2));
    assert!(harness.state().drawing().width() < whole * 0.55);
    harness.key_press(Key::C);
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.against(), None);
}

#[test]
fn every_switch_does_what_its_key_does() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    harness.get_by_label("Left-right").click();
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.direction(), Direction::Right);
    harness.key_press(Key::R);
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.direction(), Direction::Down);
    harness.get_by_label("Weights").click();
    harness.run_steps(SETTLED);
    assert!(harness.state().look.hidden().weights);
    harness.key_press(Key::W);
    harness.run_steps(SETTLED);
    assert!(!harness.state().look.hidden().weights);
    harness.key_press(Key::K);
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.colours(), ColourBy::Flops);
    harness.get_by_label("Dark").click();
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.theme, Theme::Dark);
    harness.event(egui::Event::Text("?".to_owned()));
    harness.run_steps(SETTLED);
    assert!(harness.state().look.help);
    harness.get_by_label("light up all that the selection depends on");
}

#[test]
fn the_wheel_zooms_where_the_pointer_is_and_dragging_moves() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let q = harness.state().look.named("q").expect("a product");
    let at = place_of(&mut harness, q);
    let zoom = harness.state().look.camera.zoom;
    harness.hover_at(at);
    harness.step();
    harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Point,
        delta: egui::vec2(0.0, 60.0),
        phase: egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
    });
    harness.run_steps(30);
    assert!(harness.state().look.camera.zoom > zoom * 1.05);
    let still = place_of(&mut harness, q);
    assert!((still - at).length() < 1.0, "{at:?} {still:?}");
    let ground = harness.state().drawing().left_bottom() + egui::vec2(20.0, -20.0);
    harness.drag_at(ground);
    harness.step();
    harness.hover_at(ground + egui::vec2(30.0, -40.0));
    harness.step();
    harness.drop_at(ground + egui::vec2(30.0, -40.0));
    harness.run_steps(SETTLED);
    let moved = place_of(&mut harness, q) - still;
    assert!(
        (moved - egui::vec2(30.0, -40.0)).length() < 2.0,
        "{moved:?}"
    );
}

/// egui_graphs would draw sixty times a second; the viewer draws when something happened.
#[test]
fn it_rests_while_nothing_happens() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    harness.run_steps(10);
    let drawn = harness.state().times_drawn();
    harness.run_steps(50);
    assert_eq!(harness.state().times_drawn(), drawn);
    assert!(harness.try_run().is_ok(), "no frame asks for the next one");
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    assert!(harness.state().times_drawn() > drawn);
}

/// The product %q, and the label of its line of the text.
fn product_and_line(harness: &Harness<'_, Viewer<'_>>, document: &Document) -> (Item, String) {
    let q = harness.state().look.named("q").expect("a product");
    let Item::Box(id) = q else {
        panic!("{q:?} is no box");
    };
    let line = document.text(0).line_of(id).expect("a line");
    (q, format!("line {}", line + 1))
}

#[test]
fn a_line_of_the_text_and_its_box_light_up_together() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let (q, label) = product_and_line(&harness, &document);
    harness.get_by_label(&label).click();
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.selection(), Some(q));
}

/// Pixels of a rectangle of the window.
fn pixels(harness: &mut Harness<'_, Viewer<'_>>, of: egui::Rect) -> Vec<image::Rgba<u8>> {
    let picture = harness.render().expect("a picture");
    let (left, right) = (of.left().max(0.0) as u32, of.right() as u32);
    let xs = left..right.min(picture.width());
    let ys = of.top() as u32..(of.bottom() as u32).min(picture.height());
    let all = ys.flat_map(|y| xs.clone().map(move |x| (x, y)));
    all.map(|(x, y)| *picture.get_pixel(x, y)).collect()
}

#[test]
fn hovering_a_line_lights_its_box_and_hovering_a_box_its_line() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let (q, label) = product_and_line(&harness, &document);
    let line = harness.get_by_label(&label).rect();
    let at = place_of(&mut harness, q);
    let around = rect_of(&mut harness, q);
    harness.hover_at(egui::pos2(2.0, 2.0));
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.hover(), None);
    let dark = (pixels(&mut harness, line), pixels(&mut harness, around));
    harness.hover_at(line.left_center() + egui::vec2(60.0, 0.0));
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.hover(), Some(q));
    assert!(pixels(&mut harness, around) != dark.1, "the box is lit");
    harness.hover_at(at);
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.hover(), Some(q));
    assert!(pixels(&mut harness, line) != dark.0, "the line is lit");
    harness.hover_at(egui::pos2(2.0, 2.0));
    harness.run_steps(SETTLED);
    assert_eq!(harness.state().look.hover(), None);
    assert!(pixels(&mut harness, line) == dark.0, "the light is out");
}

#[test]
fn the_stack_says_why_it_is_one_and_a_reason_leads_to_its_box() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    let weight = harness.state().look.named("self_attn.k_proj.weight");
    harness.state_mut().look.select(weight);
    harness.get_by_label("Stack").click();
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("0..64  plain, after the product: written as they are");
    let why = "3 products of one activation become one stack of 128 rows";
    // In the tab alone it stands by itself; the details say it after the candidate.
    harness.get_by_label(why).scroll_to_me();
    // Scrolling takes its time.
    harness.run_steps(60);
    let entries = document.ledger.entries();
    let is_ks = |it: &&gabion_lower::Entry| {
        it.to_string()
            .starts_with("stack_weights: self_attn: matmul %k:")
    };
    let entry = entries.iter().find(is_ks).expect("the line");
    harness.get_by_label("self_attn matmul %k").click();
    harness.run_steps(SETTLED);
    let (stage, id) = document.box_of(entry).expect("a box");
    assert_eq!(harness.state().look.stage(), stage);
    assert_eq!(harness.state().look.selection(), Some(Item::Box(id)));
}

#[test]
fn the_tabs_show_what_they_say() {
    let document = recorded(&three_linears());
    let mut harness = harness(&document, Theme::Light);
    harness.get_by_label("Ledger").click();
    harness.run_steps(SETTLED);
    harness.get_by_label("Steps").click();
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("matmul").click();
    harness.run_steps(SETTLED);
    let plan = document.stages.len() - 1;
    assert_eq!(harness.state().look.stage(), plan);
    assert!(matches!(
        harness.state().look.selection(),
        Some(Item::Box(_))
    ));
    harness.get_by_label("Stack").click();
    harness.run_steps(SETTLED);
    harness.get_by_label("self_attn.k_proj.weight").click();
    harness.run_steps(SETTLED);
    assert_eq!(
        harness.state().look.selection(),
        harness.state().look.named("self_attn.k_proj.weight")
    );
    harness.get_by_label("Memory").click();
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("buffers; at most");
    assert!(harness.state_mut().look.placement(Pane::Now).is_some());
}
