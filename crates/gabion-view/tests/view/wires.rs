//! Wires keep clear of what they do not lead to, whatever is open.

use std::fmt::Write;

use gabion_view::document::GroupId;
use gabion_view::place::{
    Direction, Item, Open, Placement, Rect, SWING, Scene, curve, default_size, place,
};
use gabion_view::{Document, Sizes};
use proptest::prelude::*;

use crate::random::{Drawn, graph};
use crate::samples::{layered, recorded, three_linears};

/// What may be missing or overlap by rounding.
const ROUNDING: f32 = 0.1;

/// Lanes within half a unit of a line are drawn on it.
const SNAPPED: f32 = 0.55;

/// Where a wire is drawn between two of its points. A curve lies inside of what its ends and control points span, so this
/// holds it whole; where it turns back, three quarters of the way to the control points.
fn reach(points: &[(f32, f32)], at: usize, direction: Direction) -> Rect {
    let (a, b) = (points[at], points[at + 1]);
    let before = (at > 0).then(|| points[at - 1]);
    let mut all = vec![a, b];
    for control in curve(before, a, b, direction, SWING * 0.75)
        .into_iter()
        .flatten()
    {
        all.push(control);
    }
    let least = |of: fn(&(f32, f32)) -> f32| all.iter().map(of).fold(f32::INFINITY, f32::min);
    let most = |of: fn(&(f32, f32)) -> f32| all.iter().map(of).fold(f32::NEG_INFINITY, f32::max);
    let (x, y) = (least(|p| p.0), least(|p| p.1));
    Rect {
        x,
        y,
        w: most(|p| p.0) - x,
        h: most(|p| p.1) - y,
    }
}

fn overlap(a: Rect, b: Rect, by: f32) -> bool {
    let along = |a: f32, n: f32, b: f32, m: f32| a + n > b + by && b + m > a + by;
    along(a.x, a.w, b.x, b.w) && along(a.y, a.h, b.y, b.h)
}

/// The open groups around an item.
fn around(document: &Document, item: Item) -> Vec<GroupId> {
    let group = match item {
        Item::Box(id) => document.get(id).group,
        Item::Group(id) => document.tree.get(id).parent,
    };
    document.tree.ancestors(group).collect()
}

/// Every place where a wire meets a box or closed group (its own ends too, but for where it begins and ends), an open group
/// that none of its ends lies in, or the side of one that it comes into, or is drawn outside of everything.
fn faults(document: &Document, placement: &Placement, direction: Direction) -> Vec<String> {
    let mut faults = Vec::new();
    let (w, h) = placement.size;
    for wire in &placement.wires {
        let ends = [wire.from, wire.to].map(|end| placement.items[end as usize].item);
        let inside: Vec<GroupId> = ends.iter().flat_map(|end| around(document, *end)).collect();
        for at in 0..wire.points.len() - 1 {
            let piece = reach(&wire.points, at, direction);
            if piece.x < 0.0 || piece.y < 0.0 || piece.x + piece.w > w || piece.y + piece.h > h {
                faults.push(format!("{ends:?} is drawn outside: {piece:?}"));
            }
            for placed in &placement.items {
                let is_around =
                    matches!(placed.item, Item::Group(group) if inside.contains(&group));
                let meets = match (is_around, direction) {
                    (false, _) => overlap(piece, placed.rect, ROUNDING + SNAPPED),
                    // Its sides are never crossed, and its other borders along the edges alone.
                    (true, Direction::Down) => crosses(piece, placed.rect),
                    (true, Direction::Right) => crosses(turned(piece), turned(placed.rect)),
                };
                if meets {
                    let mut fault = format!("{ends:?} meets {:?}", placed.item);
                    let _ = write!(fault, ": {piece:?} and {:?}", placed.rect);
                    faults.push(fault);
                }
            }
        }
    }
    faults
}

/// Whether a piece of a wire meets a side of a group, or crosses its top or bottom aslant. It may end at a border.
fn crosses(piece: Rect, group: Rect) -> bool {
    let within = |at: f32, from: f32, n: f32| from + ROUNDING < at && at < from + n - ROUNDING;
    let beside = piece.y + piece.h > group.y + ROUNDING && piece.y < group.y + group.h - ROUNDING;
    let side = [group.x, group.x + group.w].map(|x| beside && within(x, piece.x, piece.w));
    let over = piece.x + piece.w > group.x && piece.x < group.x + group.w;
    let aslant = over && piece.w > SNAPPED;
    let end = [group.y, group.y + group.h].map(|y| aslant && within(y, piece.y, piece.h));
    side.into_iter().chain(end).any(|it| it)
}

fn turned(rect: Rect) -> Rect {
    Rect {
        x: rect.y,
        y: rect.x,
        w: rect.h,
        h: rect.w,
    }
}

fn check(document: &Document, open: &Open) {
    for stage in 0..document.stages.len() {
        let mut scene = Scene::with_leaves(document, stage, true);
        for direction in [Direction::Down, Direction::Right] {
            let placement = place(&mut scene, open, direction, &default_size);
            let faults = faults(document, &placement, direction);
            assert!(
                faults.is_empty(),
                "{} of {}, {direction:?}: {} faults\n{}",
                document.stages[stage].name,
                document.title,
                faults.len(),
                faults[..faults.len().min(8)].join("\n")
            );
        }
    }
}

/// The groups whose bits are set.
fn open(document: &Document, bits: u64) -> Open {
    let groups = document.tree.groups.len() as u32;
    let is_open = |group: &GroupId| bits >> (group.0 % 64) & 1 == 1;
    (0..groups).map(GroupId).filter(is_open).collect()
}

#[test]
fn wires_of_the_samples_keep_clear_of_what_they_pass() {
    for document in [
        recorded(&three_linears()),
        recorded(&layered(3, 12)),
        recorded(&layered(30, 4)),
    ] {
        for bits in [0, u64::MAX, 0x5555_5555_5555_5555, 0x1111_2222_4444_8888, 7] {
            check(&document, &open(&document, bits));
        }
    }
}

#[test]
fn where_not_every_wire_has_a_lane_of_its_own_they_keep_clear_too() {
    // Each reads the one before and the first of all: more ranks to pass than lanes that are given.
    for modules in [vec![], vec![0], vec![1, 2]] {
        let nodes: Vec<Drawn> = (0..80).map(|at| (0, at, modules.clone())).collect();
        let document = Document::of_graph(&graph(&nodes), &Sizes::default());
        check(&document, &open(&document, u64::MAX));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn wires_keep_clear_of_what_they_pass(
        nodes in prop::collection::vec(
            (0usize..30, 0usize..12, prop::collection::vec(0u8..3, 0..4)),
            4..70,
        ),
        bits in prop_oneof![any::<u64>(), Just(u64::MAX)],
    ) {
        let document = Document::of_graph(&graph(&nodes), &Sizes::default());
        check(&document, &open(&document, bits));
    }
}

#[test]
fn the_order_inside_a_group_stays_while_others_open() {
    let document = recorded(&layered(3, 12));
    let all = open(&document, u64::MAX);
    let mut scene = Scene::with_leaves(&document, 0, true);
    let everything = place(&mut scene, &all, Direction::Down, &default_size);
    for group in (1..document.tree.groups.len() as u32).map(GroupId) {
        let only: Open = document.tree.ancestors(group).collect();
        let placement = place(&mut scene, &only, Direction::Down, &default_size);
        let children = |placement: &Placement| {
            let inside = |item: &Item| around(&document, *item).first() == Some(&group);
            let mut children: Vec<(f32, Item)> = placement
                .items
                .iter()
                .filter(|placed| inside(&placed.item))
                .map(|placed| (placed.rect.center().1, placed.item))
                .collect();
            children.sort_by(|a, b| a.0.total_cmp(&b.0));
            children
                .into_iter()
                .map(|(_, item)| item)
                .collect::<Vec<_>>()
        };
        assert!(!children(&placement).is_empty());
        assert_eq!(children(&placement), children(&everything), "{group:?}");
    }
}
