//! What is visible, and where.

use gabion_view::Document;
use gabion_view::document::{Change, GroupId, Kind, StageKind};
use gabion_view::place::{Direction, Item, Open, Placement, Scene, default_size, labels, place};

use crate::samples::{layered, recorded, three_linears};

fn all_open(document: &Document) -> Open {
    (0..document.tree.groups.len() as u32)
        .map(GroupId)
        .collect()
}

/// What is visible, one line each, with coordinates rounded.
fn text(document: &Document, placement: &Placement) -> String {
    let mut lines = Vec::new();
    for placed in &placement.items {
        let (first, second) = labels(document, placed.item);
        let r = placed.rect;
        let indent = "  ".repeat(placed.depth as usize);
        let open = if placed.open { " open" } else { "" };
        lines.push(format!(
            "{indent}{first} {second}{open} at {:.0},{:.0} size {:.0}x{:.0}",
            r.x, r.y, r.w, r.h
        ));
    }
    for wire in &placement.wires {
        lines.push(format!(
            "{} -> {}: {} x {} B {} in {} points",
            wire.from,
            wire.to,
            wire.values,
            wire.bytes,
            wire.ty,
            wire.points.len()
        ));
    }
    lines.join("\n")
}

#[test]
fn three_linears_closed_and_open() {
    let document = recorded(&three_linears());
    for (name, open) in [("closed", Open::default()), ("open", all_open(&document))] {
        let mut scene = Scene::with_leaves(&document, 0, true);
        let placement = place(&mut scene, &open, Direction::Down, &default_size);
        insta::assert_snapshot!(format!("three_linears_{name}"), text(&document, &placement));
    }
}

#[test]
fn stages_say_what_each_pass_did() {
    let document = recorded(&three_linears());
    let mut lines = Vec::new();
    for (at, stage) in document.stages.iter().enumerate() {
        let mut words: Vec<String> = Vec::new();
        for id in &stage.boxes {
            match document.change(at, *id) {
                Change::Added => words.push(format!("+{}", document.get(*id).op)),
                Change::Changed => words.push(format!("~{}", document.get(*id).op)),
                Change::Same | Change::Removed => {}
            }
        }
        for id in &stage.boxes {
            if document.next_change(at, *id) == Change::Removed {
                words.push(format!("-{}", document.get(*id).op));
            }
        }
        lines.push(format!(
            "{} ({} boxes): {}",
            stage.name,
            stage.boxes.len(),
            words.join(" ")
        ));
    }
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(
        document.stages.last().map(|s| s.kind),
        Some(StageKind::Plan)
    );
}

#[test]
fn every_line_of_a_text_shows_its_box() {
    let document = recorded(&three_linears());
    for (at, stage) in document.stages.iter().enumerate() {
        let text = document.text(at);
        assert_eq!(text.text.lines().count(), text.boxes.len());
        for id in &stage.boxes {
            let it = document.get(*id);
            let in_header = stage.kind != StageKind::Plan && it.kind == Kind::Input;
            if !in_header && it.kind != Kind::Output {
                let line = text
                    .line_of(*id)
                    .unwrap_or_else(|| panic!("{}: {}", stage.name, it.op));
                let line = text.text.lines().nth(line).expect("a line");
                assert!(line.contains(&*it.op), "{line}: {}", it.op);
            }
        }
    }
}

#[test]
fn identical_layers_are_one_group() {
    let document = recorded(&layered(30, 4));
    let layers = document.tree.by_path("layers").expect("a group");
    assert_eq!(document.tree.get(layers).repeats, Some(30));
    let mut scene = Scene::with_leaves(&document, 0, true);
    let placement = place(&mut scene, &Open::default(), Direction::Down, &default_size);
    let items: Vec<String> = placement
        .items
        .iter()
        .map(|p| labels(&document, p.item).0)
        .collect();
    assert_eq!(items, ["input", "layers ×30", "output"]);
}

#[test]
fn siblings_never_overlap_and_children_lie_inside() {
    let document = recorded(&layered(3, 20));
    for stage in 0..document.stages.len() {
        for direction in [Direction::Down, Direction::Right] {
            let mut scene = Scene::with_leaves(&document, stage, true);
            let placement = place(&mut scene, &all_open(&document), direction, &default_size);
            check(&placement);
            for wire in &placement.wires {
                assert!(wire.points.len() >= 2);
            }
        }
    }
}

fn check(placement: &Placement) {
    let items = &placement.items;
    let inside = |a: usize, b: usize| {
        let (a, b) = (items[a].rect, items[b].rect);
        a.x >= b.x && a.y >= b.y && a.x + a.w <= b.x + b.w && a.y + a.h <= b.y + b.h
    };
    for a in 0..items.len() {
        for b in 0..a {
            let (x, y) = (items[a].rect, items[b].rect);
            let apart =
                x.x >= y.x + y.w || y.x >= x.x + x.w || x.y >= y.y + y.h || y.y >= x.y + x.h;
            let nested = items[b].open && inside(a, b);
            assert!(apart || nested, "{:?} and {:?}", items[a], items[b]);
        }
    }
    assert!(
        matches!(items.first(), Some(placed) if matches!(placed.item, Item::Box(_) | Item::Group(_)))
    );
}
