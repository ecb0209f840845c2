//! The wires between what is visible: one for each pair, through the lanes that its order keeps free.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::inside::{Area, Spread};
use super::path::{Course, Path};
use super::{Item, Open, PlacedWire, Scene};
use crate::document::GroupId;

/// The wires of what is visible.
pub(super) fn wires(scene: &Scene<'_>, open: &Open, spread: &Spread<'_>) -> Vec<PlacedWire> {
    let visible = visible_groups(scene, open);
    let number: FxHashMap<Item, u32> = spread
        .items
        .iter()
        .enumerate()
        .map(|(at, placed)| (placed.item, at as u32))
        .collect();
    let mut merged: FxHashMap<(u32, u32), u32> = FxHashMap::default();
    let mut counted: FxHashSet<(u32, u32, u32)> = FxHashSet::default();
    let mut wires: Vec<PlacedWire> = Vec::new();
    let mut paths: Vec<Path> = Vec::new();
    for wire in scene.wires() {
        let end = |id: u32| {
            let group = scene.document().get(id).group;
            let item = visible[group.0 as usize].map_or(Item::Box(id), Item::Group);
            number.get(&item).copied()
        };
        let (Some(from), Some(to)) = (end(wire.from), end(wire.to)) else {
            continue;
        };
        if from == to {
            continue;
        }
        let at = *merged.entry((from, to)).or_insert_with(|| {
            wires.push(PlacedWire {
                from,
                to,
                points: Vec::new(),
                values: 0,
                bytes: 0,
                ty: "".into(),
            });
            let course = Course {
                from: spread.items[from as usize].item,
                to: spread.items[to as usize].item,
                ends: wire.ends,
            };
            paths.push(Path::new(scene.document(), &spread.frames, course));
            (wires.len() - 1) as u32
        });
        // A value that several boxes inside use is carried once.
        if counted.insert((at, wire.from, wire.result)) {
            add_value(scene, wire.from, wire.result, &mut wires[at as usize]);
        }
    }
    // Whatever order they were met in, they stand in one.
    let mut both: Vec<(PlacedWire, Path)> = wires.into_iter().zip(paths).collect();
    both.sort_by_key(|(wire, _)| (wire.from, wire.to));
    let (mut wires, paths): (Vec<PlacedWire>, Vec<Path>) = both.into_iter().unzip();
    attach(&spread.areas, &mut wires, &paths);
    wires
}

/// For each group, the outermost closed group around it, or itself if it is closed.
fn visible_groups(scene: &Scene<'_>, open: &Open) -> Vec<Option<GroupId>> {
    let groups = &scene.document().tree.groups;
    let mut visible: Vec<Option<GroupId>> = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        let id = GroupId(at as u32);
        let around = match id {
            GroupId::ROOT => None,
            _ => visible[group.parent.0 as usize],
        };
        let own = (id != GroupId::ROOT && !open.contains(&id)).then_some(id);
        visible.push(around.or(own));
    }
    visible
}

fn add_value(scene: &Scene<'_>, from: u32, result: u32, wire: &mut PlacedWire) {
    let Some(port) = scene.document().get(from).results.get(result as usize) else {
        return;
    };
    let largest = wire.values == 0 || port.bytes > wire.bytes;
    wire.values += 1;
    wire.bytes = wire.bytes.saturating_add(port.bytes);
    if largest {
        wire.ty = Arc::clone(&port.ty);
    }
}

/// Begins and ends the wires at their items, spread along the sides in the order of where they come from and go to.
fn attach(areas: &[Area], wires: &mut [PlacedWire], paths: &[Path]) {
    let n = areas.len();
    let (mut out, mut into) = (vec![Vec::new(); n], vec![Vec::new(); n]);
    let middle = |item: u32| areas[item as usize].x + areas[item as usize].w / 2.0;
    for (at, (wire, path)) in wires.iter().zip(paths).enumerate() {
        let first = path.lanes.first().map_or_else(|| middle(wire.to), |p| p.x);
        let last = path.lanes.last().map_or_else(|| middle(wire.from), |p| p.x);
        out[wire.from as usize].push((first, at));
        into[wire.to as usize].push((last, at));
    }
    let mut ends = vec![((0.0, 0.0), (0.0, 0.0)); wires.len()];
    for (item, (out, into)) in out.iter_mut().zip(&mut into).enumerate() {
        let Area { x, y, w, h } = areas[item];
        for (list, y, is_out) in [(out, y + h, true), (into, y, false)] {
            list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let n = list.len() as f64;
            for (place, (_, wire)) in list.iter().enumerate() {
                let x = x + w * (place as f64 + 1.0) / (n + 1.0);
                match is_out {
                    true => ends[*wire].0 = (x, y),
                    false => ends[*wire].1 = (x, y),
                }
            }
        }
    }
    for ((wire, path), (begin, end)) in wires.iter_mut().zip(paths).zip(ends) {
        wire.points = path.points(begin, end);
    }
}
