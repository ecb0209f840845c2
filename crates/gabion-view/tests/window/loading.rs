//! The window before there is anything to look at.

use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use gabion_view::document::GroupId;
use gabion_view::loading::{Teller, line};
use gabion_view::look::{ColourBy, Command, Theme};
use gabion_view::place::{Direction, Item};
use gabion_view::window::{Ended, Options, Prepared, Screen, Slot};
use gabion_view::{Document, Sizes, Timings};

use crate::support::{SETTLED, recorded, three_linears};

fn prepared(options: Options<'static>) -> Prepared {
    Prepared {
        document: recorded(&three_linears()),
        options,
    }
}

/// A window that waits for what is told to it.
fn waiting(slot: &Slot) -> (Harness<'_, Screen<'_>>, Teller<Prepared>) {
    let (teller, listener) = line(|| {});
    let screen = Screen::new(slot, "three.gir", Some(Theme::Light), listener);
    let mut harness = Harness::builder()
        .with_size([1200.0, 800.0])
        .with_step_dt(1.0 / 60.0)
        .build_ui_state(|ui, screen: &mut Screen<'_>| screen.ui(ui), screen);
    harness.run_steps(2);
    (harness, teller)
}

/// Whether the window is asked to close within a few frames.
fn closes(harness: &mut Harness<'_, Screen<'_>>) -> bool {
    (0..SETTLED).any(|_| {
        harness.step();
        let viewports = harness.output().viewport_output.values();
        let mut commands = viewports.flat_map(|it| &it.commands);
        commands.any(|it| matches!(it, egui::ViewportCommand::Close))
    })
}

#[test]
fn what_is_done_is_shown_and_then_the_viewer() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    harness.get_by_label("three.gir");
    teller.begins("opening");
    harness.run_steps(30);
    harness.get_by_label("opening");
    teller.begins("lowering");
    teller.part("stack_weights", 2, 15);
    harness.run_steps(2);
    harness.get_by_label("lowering: stack_weights, 3 of 15");
    assert!(
        harness.query_all_by_label_contains("ms").count() > 0,
        "how long opening took"
    );
    assert_eq!(slot.ended(), Ended::Stopped);
    teller.ends(Ok(prepared(Options {
        stage: Some("plan".to_owned()),
        ..Options::default()
    })));
    harness.run_steps(SETTLED);
    let viewer = harness.state_mut().viewer().expect("the viewer");
    assert_eq!(viewer.look.stage(), viewer.look.document().stages.len() - 1);
    assert_eq!(slot.ended(), Ended::Shown { faults: 0 });
    harness.get_by_label("Ledger");
    assert!(harness.query_by_label("Cancel").is_none());
}

#[test]
fn it_rests_once_there_is_something_to_look_at() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    teller.ends(Ok(prepared(Options::default())));
    harness.run_steps(20);
    let drawn = harness.state_mut().viewer().map(|it| it.times_drawn());
    harness.run_steps(50);
    assert!(harness.try_run().is_ok(), "no frame asks for the next one");
    assert_eq!(
        harness.state_mut().viewer().map(|it| it.times_drawn()),
        drawn
    );
}

#[test]
fn cancel_closes_the_window_and_tells_the_work() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    teller.begins("lowering");
    assert!(!closes(&mut harness));
    harness.get_by_label("Cancel").click();
    assert!(closes(&mut harness));
    assert!(!teller.goes_on());
    assert_eq!(slot.ended(), Ended::Stopped);
    // It is too late for a result.
    teller.ends(Ok(prepared(Options::default())));
    harness.run_steps(2);
    assert!(harness.state_mut().viewer().is_none());
    assert_eq!(slot.ended(), Ended::Stopped);
}

#[test]
fn escape_cancels_too() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    harness.key_press(egui::Key::Escape);
    harness.run_steps(2);
    assert!(!teller.goes_on());
}

#[test]
fn an_error_is_shown_until_the_window_is_closed() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    teller.begins("opening");
    teller.ends(Err("three.gir: line 2: there is no value %y".to_owned()));
    harness.run_steps(3);
    harness.get_by_label("opening");
    harness.get_by_label("three.gir: line 2: there is no value %y");
    assert_eq!(slot.ended(), Ended::Failed);
    assert!(harness.try_run().is_ok(), "nothing moves any more");
    harness.get_by_label("Close").click();
    assert!(closes(&mut harness));
    assert_eq!(slot.ended(), Ended::Failed);
}

#[test]
fn options_that_name_what_is_not_there_are_an_error_in_the_window() {
    for (options, words) in [
        (
            Options {
                focus: Some("nothing".to_owned()),
                ..Options::default()
            },
            "nothing is called nothing",
        ),
        (
            Options {
                stage: Some("never".to_owned()),
                ..Options::default()
            },
            "there is no stage never",
        ),
        (
            Options {
                timings: vec![Timings {
                    steps_ns: vec![Some(1); 99],
                    ..Timings::default()
                }],
                ..Options::default()
            },
            "they were taken with another plan",
        ),
    ] {
        let slot = Slot::default();
        let (mut harness, teller) = waiting(&slot);
        teller.ends(Ok(prepared(options)));
        harness.run_steps(3);
        harness.get_by_label_contains(words);
        assert_eq!(slot.ended(), Ended::Failed);
    }
}

#[test]
fn a_thread_that_breaks_off_is_an_error_in_the_window() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    drop(teller);
    harness.run_steps(3);
    harness.get_by_label_contains("ended without a word");
    assert_eq!(slot.ended(), Ended::Failed);
}

/// Times of a token and of the prompt: both can be seen, with whence they are.
#[test]
fn times_can_be_chosen_in_the_steps_tab() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    let made = prepared(Options::default());
    let steps = made.document.plan().expect("a plan").steps.len();
    let of = |name: &str, ns: u64| Timings {
        name: name.to_owned(),
        whence: format!("{name}s in trace.json"),
        steps_ns: vec![Some(ns); steps],
    };
    let options = Options {
        timings: vec![of("token", 3_000), of("prompt", 8_000)],
        stage: Some("plan".to_owned()),
        ..made.options
    };
    teller.ends(Ok(Prepared { options, ..made }));
    harness.run_steps(SETTLED);
    harness.get_by_label("Steps").click();
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("tokens in trace.json");
    let seen = |harness: &Harness<'_, Screen<'_>>, words| harness.query_all_by_label(words).count();
    assert!(seen(&harness, "3.00 µs") >= steps && seen(&harness, "8.00 µs") == 0);
    harness.get_by_label("of the prompt").click();
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("prompts in trace.json");
    assert!(seen(&harness, "8.00 µs") >= steps && seen(&harness, "3.00 µs") == 0);
    let look = &mut harness.state_mut().viewer().expect("the viewer").look;
    look.set_colours(ColourBy::Time);
    let stage = look.stage();
    assert_eq!(look.costs(stage).total().time, 8.0 * steps as f64);
}

/// Tells the graph alone, while the rest is done.
fn shows_the_graph(teller: &Teller<Prepared>) -> bool {
    teller.shows(Prepared {
        document: Document::of_graph(&three_linears(), &Sizes::default()),
        options: Options::default(),
    })
}

#[test]
fn the_graph_can_be_looked_at_while_it_is_lowered() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    teller.begins("lowering");
    assert!(shows_the_graph(&teller));
    teller.part("stack_weights", 2, 15);
    harness.run_steps(SETTLED);
    harness.get_by_label_contains("lowering: stack_weights, 3 of 15");
    harness.get_by_label("Ledger");
    let viewer = harness.state_mut().viewer().expect("the graph alone");
    assert_eq!(viewer.look.document().stages.len(), 1);
    // What is done with it meanwhile stays.
    let group = GroupId(1);
    let name = viewer.look.document().tree.get(group).path.clone();
    let was_open = viewer.look.open().contains(&group);
    viewer.look.set_open(group, !was_open);
    viewer.look.set_search("op:matmul");
    let selected = viewer.look.search().found[1];
    let key = viewer.look.document().get(selected).key;
    viewer.look.select(Some(Item::Box(selected)));
    viewer.look.run(Command::Turn);
    harness.run_steps(SETTLED);

    teller.ends(Ok(prepared(Options::default())));
    harness.run_steps(SETTLED);
    assert!(harness.query_by_label_contains("3 of 15").is_none());
    let viewer = harness.state_mut().viewer().expect("everything");
    let document = viewer.look.document();
    assert!(document.stages.len() > 10);
    let group = document.tree.by_path(&name).expect("the same module");
    assert_eq!(viewer.look.open().contains(&group), !was_open);
    assert_eq!(viewer.look.search().found.len(), 3);
    let Some(Item::Box(selected)) = viewer.look.selection() else {
        panic!("nothing is selected");
    };
    assert_eq!(document.get(selected).key, key);
    assert_eq!(viewer.look.direction(), Direction::Right);
    assert_eq!(slot.ended(), Ended::Shown { faults: 0 });
    harness.run_steps(20);
    assert!(harness.try_run().is_ok(), "no frame asks for the next one");
}

#[test]
fn words_that_say_where_to_begin_are_followed_at_the_end() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    assert!(shows_the_graph(&teller));
    harness.run_steps(SETTLED);
    teller.ends(Ok(prepared(Options {
        stage: Some("plan".to_owned()),
        ..Options::default()
    })));
    harness.run_steps(SETTLED);
    let viewer = harness.state_mut().viewer().expect("everything");
    assert_eq!(viewer.look.stage(), viewer.look.document().stages.len() - 1);
}

#[test]
fn a_failure_after_an_early_look_is_shown() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    assert!(shows_the_graph(&teller));
    harness.run_steps(SETTLED);
    teller.ends(Err("no stage of that name".to_owned()));
    harness.run_steps(SETTLED);
    harness.get_by_label("no stage of that name");
    assert_eq!(slot.ended(), Ended::Failed);
}

#[test]
fn stop_leaves_the_graph_as_it_was_built() {
    let slot = Slot::default();
    let (mut harness, teller) = waiting(&slot);
    teller.begins("lowering");
    assert!(shows_the_graph(&teller));
    harness.run_steps(SETTLED);
    harness.get_by_label("Stop").click();
    harness.run_steps(SETTLED);
    assert!(!teller.goes_on(), "the work is told");
    assert!(harness.query_by_label("Stop").is_none());
    teller.ends(Ok(prepared(Options::default())));
    harness.run_steps(SETTLED);
    let viewer = harness.state_mut().viewer().expect("the graph alone");
    assert_eq!(viewer.look.document().stages.len(), 1);
    assert_eq!(slot.ended(), Ended::Shown { faults: 0 });
}
