//! The state of a viewer: what commands, searches and clicks make of it.

use gabion_view::document::{Change, GroupId, Kind};
use gabion_view::look::{ColourBy, Command, Cone, Hidden, Look, Pane, Theme, Wanted, item_name};
use gabion_view::place::{Direction, Item};
use gabion_view::{Document, Sizes, Timings};

use crate::samples::{layered, recorded, three_linears};

/// What is visible, by names, with what is said of it.
fn visible(look: &mut Look<'_>) -> String {
    let Some(dresses) = look.dresses(Pane::Now) else {
        return String::new();
    };
    let selected = look.selection();
    let mut lines = Vec::new();
    for (placed, dress) in dresses.placement.items.iter().zip(&dresses.items) {
        let mut line = "  ".repeat(placed.depth as usize);
        line.push_str(&item_name(look.document(), placed.item));
        if placed.open {
            line.push_str(" (open)");
        }
        line.push_str(&format!(" | {}", dress.second));
        if !dress.note.is_empty() {
            line.push_str(&format!(" | {}", dress.note));
        }
        for (says, mark) in [
            (selected == Some(placed.item), "selected"),
            (dress.ring.is_some(), "ringed"),
            (dress.strength < 1.0, "dim"),
        ] {
            if says {
                line.push_str(&format!(" | {mark}"));
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn box_named(look: &Look<'_>, name: &str) -> Item {
    look.named(name).expect("something of this name")
}

fn group_named(look: &Look<'_>, path: &str) -> GroupId {
    match look.named(path) {
        Some(Item::Group(id)) => id,
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn a_small_graph_begins_open() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    insta::assert_snapshot!(visible(&mut look));
}

#[test]
fn alike_layers_begin_closed() {
    let document = Document::of_graph(&layered(30, 4), &Sizes::default());
    let mut look = Look::new(&document);
    insta::assert_snapshot!(visible(&mut look));
}

#[test]
fn a_search_finds_by_every_field() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let cases = [
        ("op:matmul", 3),
        ("OP:MATMUL", 3),
        ("op:mat", 3),
        ("op:mat*", 3),
        ("op:*ul?", 0),
        ("q_proj", 1),
        ("name:*_proj.weight", 3),
        ("shape:[32,64]", 2),
        ("shape:[32, 64]", 2),
        ("shape:32,64", 2),
        ("dtype:f32", 10),
        ("dtype:f16", 0),
        ("in:self_attn", 6),
        ("in:self", 0),
        ("in:self_attn op:weight", 3),
        ("in:self_attn -op:weight", 3),
        ("tokens", 7),
        ("nothing_like_it", 0),
        ("", 0),
    ];
    for (query, expected) in cases {
        look.set_search(query);
        assert_eq!(look.search().found.len(), expected, "{query}");
    }
}

#[test]
fn matches_are_walked_through_and_uncovered() {
    let document = Document::of_graph(&layered(30, 4), &Sizes::default());
    let mut look = Look::new(&document);
    look.set_search("op:weight");
    let n = look.search().found.len();
    assert_eq!(n, 120);
    look.run(Command::NextMatch);
    assert_eq!(look.selection(), Some(box_named(&look, "layers.0.w0")));
    let placement = look.placement(Pane::Now).expect("a placement");
    let selected = look.selection().expect("a selection");
    assert!(
        placement.find(selected).is_some(),
        "what is jumped to is visible"
    );
    look.run(Command::PreviousMatch);
    assert_eq!(look.search().at, Some(n - 1));
    assert_eq!(look.selection(), Some(box_named(&look, "layers.29.w3")));
    look.run(Command::NextMatch);
    assert_eq!(look.search().at, Some(0));
}

#[test]
fn a_jump_to_what_is_hidden_shows_it() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.hide(Hidden {
        weights: true,
        movement: false,
    });
    let weight = box_named(&look, "self_attn.q_proj.weight");
    assert!(
        look.placement(Pane::Now)
            .expect("a placement")
            .find(weight)
            .is_none()
    );
    look.jump(weight);
    assert_eq!(look.hidden(), Hidden::default());
    assert!(
        look.placement(Pane::Now)
            .expect("a placement")
            .find(weight)
            .is_some()
    );
    assert_eq!(look.wanted, Some(Wanted::Show(weight)));
}

#[test]
fn closing_a_group_selects_it_if_the_selection_was_inside() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let group = group_named(&look, "self_attn");
    look.select(Some(box_named(&look, "q")));
    look.set_open(group, false);
    assert_eq!(look.selection(), Some(Item::Group(group)));
    look.run(Command::OpenOrClose);
    assert!(look.open().contains(&group));
}

#[test]
fn a_placement_is_computed_once_for_each_view() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let first = look.placement(Pane::Now).expect("a placement");
    let computed = look.placements_computed();
    look.select(Some(box_named(&look, "q")));
    look.set_search("op:matmul");
    look.set_colours(ColourBy::Bytes);
    look.theme = Theme::Dark;
    look.set_cone(Cone {
        up: true,
        down: false,
    });
    assert!(std::sync::Arc::ptr_eq(
        &first,
        &look.placement(Pane::Now).expect("a placement")
    ));
    assert_eq!(look.placements_computed(), computed);
    look.run(Command::Turn);
    let turned = look.placement(Pane::Now).expect("a placement");
    assert_eq!(look.placements_computed(), computed + 1);
    assert!(turned.size.0 > turned.size.1 && look.direction() == Direction::Right);
}

#[test]
fn cones_follow_the_edges() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.select(Some(box_named(&look, "k")));
    look.set_cone(Cone {
        up: true,
        down: false,
    });
    let names = |look: &mut Look<'_>| {
        let lit = look.lit(0).expect("something is lit");
        let mut names: Vec<String> = lit
            .iter()
            .map(|id| item_name(look.document(), Item::Box(*id)))
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&mut look),
        ["input x", "matmul %k", "weight self_attn.k_proj.weight"]
    );
    look.set_cone(Cone {
        up: false,
        down: true,
    });
    assert_eq!(names(&mut look), ["matmul %k", "output k"]);
    look.run(Command::Isolate);
    let placement = look.placement(Pane::Now).expect("a placement");
    assert_eq!(
        placement.items.len(),
        3,
        "the group, the product and its output"
    );
    look.run(Command::Deselect);
    assert!(!look.is_isolated());
    look.run(Command::Deselect);
    assert!(!look.cone().any() && look.selection().is_some());
    look.run(Command::Deselect);
    assert_eq!(look.selection(), None);
}

#[test]
fn stages_keep_the_selection_or_show_what_became_of_it() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let product = box_named(&look, "q");
    look.select(Some(product));
    let stacked = document
        .stages
        .iter()
        .position(|stage| &*stage.name == "stack_siblings")
        .expect("the pass");
    look.set_stage(stacked);
    assert_eq!(look.selection(), Some(product));
    let counts = look.counts()[stacked];
    assert!(counts.added > 0, "{counts:?}");
    if look.selection_at(stacked).is_none() {
        assert!(
            !look.relatives_at(stacked).is_empty(),
            "a stack made of the three products"
        );
    }
    look.set_stage(usize::MAX);
    assert_eq!(look.stage(), document.stages.len() - 1);
}

#[test]
fn comparing_follows_the_stage() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.run(Command::NextStage);
    look.run(Command::Compare);
    assert_eq!((look.stage(), look.against()), (1, Some(0)));
    look.run(Command::NextStage);
    assert_eq!((look.stage(), look.against()), (2, Some(1)));
    look.set_against(Some(0));
    look.run(Command::NextStage);
    assert_eq!(
        (look.stage(), look.against()),
        (3, Some(0)),
        "a stage that was chosen stays"
    );
    look.set_against(Some(3));
    assert_eq!(look.against(), None, "a stage is not compared with itself");
    look.run(Command::Compare);
    look.run(Command::Compare);
    assert_eq!(look.against(), None);
}

#[test]
fn both_panes_say_what_is_different() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let stacked = document
        .stages
        .iter()
        .position(|stage| &*stage.name == "stack_siblings")
        .expect("the pass");
    look.set_stage(stacked);
    look.set_against(Some(stacked - 1));
    let changes = |look: &mut Look<'_>, pane: Pane| {
        let stage = look.pane_stage(pane).expect("a stage");
        let difference = look.difference(pane);
        let boxes = document.stages[stage].boxes.iter();
        let mut all: Vec<(Change, String)> = boxes
            .map(|id| (difference.of(*id), document.get(*id).op.to_string()))
            .collect();
        all.retain(|(change, _)| *change != Change::Same);
        all.sort();
        all
    };
    let before = changes(&mut look, Pane::Before);
    let now = changes(&mut look, Pane::Now);
    assert_eq!(
        before
            .iter()
            .filter(|(change, op)| *change == Change::Removed && op.ends_with("matmul"))
            .count(),
        3,
        "{before:?}"
    );
    assert!(
        now.iter().any(|(change, _)| *change == Change::Added),
        "{now:?}"
    );
    assert!(
        now.iter().all(|(change, _)| *change != Change::Removed),
        "{now:?}"
    );
}

#[test]
fn back_forward_and_bookmarks() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    let (q, k) = (box_named(&look, "q"), box_named(&look, "k"));
    look.jump(q);
    look.run(Command::Bookmark);
    look.run(Command::NextStage);
    look.jump(k);
    look.run(Command::Bookmark);
    look.run(Command::Back);
    assert_eq!((look.selection(), look.stage()), (Some(q), 0));
    look.run(Command::Forward);
    assert_eq!((look.selection(), look.stage()), (Some(k), 1));
    look.run(Command::NextBookmark);
    assert_eq!((look.selection(), look.stage()), (Some(q), 0));
    look.run(Command::Bookmark);
    assert_eq!(look.bookmarks().len(), 1, "setting it again removes it");
}

#[test]
fn arrows_walk_along_wires_and_ranks() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.jump(box_named(&look, "q"));
    look.run(Command::SelectOperand);
    assert_eq!(
        look.selection(),
        Some(box_named(&look, "x")),
        "what flows, not the weight"
    );
    look.jump(box_named(&look, "q"));
    look.run(Command::SelectUser);
    let selected = look.selection().expect("the output");
    assert_eq!(item_name(&document, selected), "output q");
    look.jump(box_named(&look, "q"));
    look.run(Command::SelectAround);
    assert_eq!(
        look.selection(),
        Some(Item::Group(group_named(&look, "self_attn")))
    );
    look.jump(box_named(&look, "q"));
    look.run(Command::SelectNext);
    let beside = look.selection();
    assert!(beside.is_some() && beside != Some(box_named(&look, "q")));
    look.run(Command::SelectPrevious);
    assert_eq!(look.selection(), Some(box_named(&look, "q")));
}

#[test]
fn costs_are_coloured_by_their_share() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    assert_eq!(look.scale(Pane::Now), None);
    look.set_colours(ColourBy::Flops);
    let scale = look.scale(Pane::Now).expect("a scale");
    // 128 tokens, 64 inputs, 64 outputs, two operations each.
    assert_eq!(scale.most, 2.0 * 128.0 * 64.0 * 64.0);
    let total = look.costs(0).total();
    assert_eq!(total.flops, 2 * 128 * 64 * 128);
    look.run(Command::NextColours);
    assert_eq!(look.colours(), ColourBy::Bytes);
    look.run(Command::NextColours);
    look.run(Command::NextColours);
    assert_eq!(
        look.colours(),
        ColourBy::Kind,
        "times are left out where none are known"
    );
}

#[test]
fn times_are_of_steps() {
    let document = recorded(&three_linears());
    let steps = document.plan().expect("a plan").steps.len();
    let mut look = Look::new(&document);
    let times = |name: &str, ns: u64| Timings {
        name: name.to_owned(),
        steps_ns: (1..=steps as u64).map(|n| Some(n * ns)).collect(),
        ..Timings::default()
    };
    look.set_timings(vec![times("token", 1_000), times("prompt", 7_000)]);
    look.set_stage(usize::MAX);
    look.set_colours(ColourBy::Time);
    let expected: f64 = (1..=steps).map(|n| n as f64).sum();
    let stage = look.stage();
    assert_eq!(look.costs(stage).total().time, expected);
    assert_eq!(look.scale(Pane::Now).expect("a scale").most, steps as f64);
    // The other times of the same steps.
    look.set_timed(1);
    assert_eq!(look.costs(stage).total().time, 7.0 * expected);
    look.set_timed(2);
    assert_eq!(look.timed(), 1, "there are two");
    let boxes = &document.stages[stage].boxes;
    let step = boxes
        .iter()
        .find(|id| document.get(**id).kind == Kind::Step);
    look.select(step.map(|id| Item::Box(*id)));
    let costs: Vec<(String, String)> = look
        .details()
        .iter()
        .flat_map(|section| &section.rows)
        .filter(|row| row.label.starts_with("measured"))
        .map(|row| (row.label.clone(), row.value.clone()))
        .collect();
    assert_eq!(costs.len(), 2, "{costs:?}");
    assert_eq!(
        (costs[0].0.as_str(), costs[1].0.as_str()),
        ("measured, token", "measured, prompt")
    );
}

#[test]
fn details_lead_to_operands_users_and_other_stages() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.jump(box_named(&look, "q"));
    let text: Vec<String> = look
        .details()
        .iter()
        .map(|section| {
            let rows: Vec<String> = section
                .rows
                .iter()
                .map(|row| {
                    format!(
                        "  {}: {}{}",
                        row.label,
                        row.value,
                        if row.link.is_some() { " ->" } else { "" }
                    )
                })
                .collect();
            format!("{}\n{}", section.title, rows.join("\n"))
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"));
    let details = look.details();
    let reads = details.iter().find(|section| section.title == "Reads");
    let reads = reads.expect("operands");
    look.follow(reads.rows[1].link.expect("a link"));
    assert_eq!(
        look.selection(),
        Some(box_named(&look, "self_attn.q_proj.weight"))
    );
}

#[test]
fn a_weight_leads_to_its_stack() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.jump(box_named(&look, "self_attn.k_proj.weight"));
    let stack = look.stack().expect("the plan's weight");
    let rows: Vec<(usize, usize, &str)> = stack
        .parts
        .iter()
        .map(|part| (part.rows.start, part.rows.end, part.source.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            (0, 64, "self_attn.q_proj.weight"),
            (64, 96, "self_attn.k_proj.weight"),
            (96, 128, "self_attn.v_proj.weight"),
        ]
    );
}

#[test]
fn memory_bars_do_not_share_bytes_at_the_same_time() {
    let document = recorded(&layered(3, 4));
    let plan = document.plan().expect("a plan");
    let memory = gabion_view::look::panel::Memory::of(plan, &document.sizes);
    assert!(!memory.bars.is_empty());
    for (at, a) in memory.bars.iter().enumerate() {
        assert!(a.offset + a.bytes <= memory.size);
        for b in &memory.bars[at + 1..] {
            let apart = a.steps.end <= b.steps.start || b.steps.end <= a.steps.start;
            let elsewhere = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
            assert!(apart || elsewhere, "{a:?} {b:?}");
        }
    }
    assert!(memory.peak() <= memory.size);
}

#[test]
fn ledger_lines_lead_to_their_boxes() {
    let document = recorded(&three_linears());
    let all = gabion_view::look::ledger::filtered(&document, "", None);
    assert_eq!(all.len(), document.ledger.entries().len());
    let fired = gabion_view::look::ledger::filtered(&document, "STACK_siblings", Some(true));
    assert!(!fired.is_empty());
    for at in fired {
        let entry = &document.ledger.entries()[at];
        assert_eq!(entry.pass, "stack_siblings");
        let (stage, id) = document.box_of(entry).expect("its box");
        assert!(document.stages[stage].boxes.contains(&id));
    }
}

#[test]
fn hiding_weights_leaves_the_rest() {
    let document = recorded(&three_linears());
    let mut look = Look::new(&document);
    look.run(Command::HideWeights);
    let placement = look.placement(Pane::Now).expect("a placement");
    for placed in &placement.items {
        if let Item::Box(id) = placed.item {
            assert!(!matches!(
                document.get(id).kind,
                Kind::Weight | Kind::Constant
            ));
        }
    }
    assert!(!placement.wires.is_empty());
}

/// What only moves elements can be left out, and its wires lead on.
#[test]
fn wires_go_on_through_hidden_movements() {
    let b = gabion_ir::Builder::new("moved");
    let x = b.input("x", crate::samples::ty("f32[4, 6]"));
    b.output("y", x.relu().reshape([24]).reshape([6, 4]).exp());
    let document = Document::of_graph(&b.finish().expect("a graph"), &Sizes::default());
    let mut look = Look::new(&document);
    assert_eq!(
        look.placement(Pane::Now).expect("a placement").items.len(),
        6
    );
    look.run(Command::HideMovement);
    let placement = look.placement(Pane::Now).expect("a placement");
    assert_eq!(placement.items.len(), 4);
    let wires: Vec<(u32, u32)> = placement
        .wires
        .iter()
        .map(|wire| (wire.from, wire.to))
        .collect();
    assert_eq!(wires, [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn everything_opens_and_closes() {
    let document = Document::of_graph(&layered(4, 4), &Sizes::default());
    let mut look = Look::new(&document);
    look.run(Command::OpenAllInside);
    let open = look.placement(Pane::Now).expect("a placement").items.len();
    assert_eq!(open, document.boxes.len() + document.tree.groups.len() - 1);
    look.jump(box_named(&look, "layers.2.w1"));
    look.run(Command::CloseAll);
    let closed = look.placement(Pane::Now).expect("a placement");
    assert!(closed.items.iter().all(|placed| !placed.open));
    let selected = look.selection().expect("the group around it");
    assert!(closed.find(selected).is_some());
}

/// The page about the viewer has the keys that there are.
#[test]
fn the_page_has_every_key() {
    let page = include_str!("../../../../docs/viewer.md");
    for binding in &gabion_view::look::BINDINGS {
        let row = format!("| `{}` | {} |", binding.key, binding.what);
        assert!(page.contains(&row), "docs/viewer.md lacks {row}");
    }
}

/// Where the middle of a box is seen in a pane.
fn seen(look: &mut Look<'_>, pane: Pane, id: u32) -> (f32, f32) {
    let placement = look.placement(pane).expect("a placement");
    let at = placement.find(Item::Box(id)).expect("it is visible");
    look.camera_of(pane)
        .to_screen(placement.items[at].rect.center())
}

fn near(a: (f32, f32), b: (f32, f32)) -> bool {
    (a.0 - b.0).abs() < 0.1 && (a.1 - b.1).abs() < 0.1
}

#[test]
fn what_is_selected_is_seen_at_one_place_in_both_panes_and_at_every_stage() {
    let document = recorded(&three_linears());
    let stage = |name: &str| {
        let at = document.stages.iter().position(|it| &*it.name == name);
        at.expect("a stage")
    };
    let mut look = Look::new(&document);
    look.camera.zoom = 0.7;
    look.set_stage(stage("stack_weights"));
    let Some(Item::Box(k)) = look.named("k") else {
        panic!("no box is named k");
    };
    look.select(Some(Item::Box(k)));
    let before = seen(&mut look, Pane::Now, k);
    look.set_stage(stage("stack_siblings"));
    let [became] = look.relatives_at(look.stage())[..] else {
        panic!("three products became one");
    };
    assert!(near(seen(&mut look, Pane::Now, became), before));
    look.set_against(Some(stage("stack_weights")));
    look.align();
    assert_ne!(look.shift(), (0.0, 0.0));
    assert!(near(seen(&mut look, Pane::Before, k), before));
    // Moving and zooming keep it so.
    look.camera.zoom_at((20.0, 30.0), 1.5);
    let now = seen(&mut look, Pane::Now, became);
    assert!(near(seen(&mut look, Pane::Before, k), now));
    // All of both is seen when everything is shown.
    let all = look.everything().expect("two drawings");
    for (pane, shift) in [(Pane::Now, (0.0, 0.0)), (Pane::Before, look.shift())] {
        let (w, h) = look.placement(pane).expect("a placement").size;
        assert!(all.x <= shift.0 && shift.0 + w <= all.x + all.w + 0.1);
        assert!(all.y <= shift.1 && shift.1 + h <= all.y + all.h + 0.1);
    }
    look.select(None);
    look.align();
    let middle = |look: &mut Look<'_>, pane| {
        let (w, _) = look.placement(pane).expect("a placement").size;
        look.camera_of(pane).to_screen((w / 2.0, 0.0))
    };
    assert!(near(
        middle(&mut look, Pane::Now),
        middle(&mut look, Pane::Before)
    ));
}
