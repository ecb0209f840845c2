//! The wires between what is visible: one for each pair, through the lanes that its order keeps free.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Item, Open, PlacedWire, Placement, Scene};
use crate::document::GroupId;
use crate::order::ChildEdge;

/// The points of the lanes of an edge of a group.
pub(super) type Lanes = FxHashMap<(GroupId, u32), Vec<(f32, f32)>>;

/// Adds the wires to a placement.
pub(super) fn wires(scene: &mut Scene<'_>, open: &Open, lanes: &Lanes, placement: &mut Placement) {
    let visible = visible_groups(scene, open);
    let number: FxHashMap<Item, u32> = placement
        .items
        .iter()
        .enumerate()
        .map(|(at, placed)| (placed.item, at as u32))
        .collect();
    let mut merged: FxHashMap<(u32, u32), u32> = FxHashMap::default();
    let mut counted: FxHashSet<(u32, u32, u32)> = FxHashSet::default();
    let mut wires: Vec<PlacedWire> = Vec::new();
    let mut inner: Vec<(GroupId, Item, Item)> = Vec::new();
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
            inner.push((wire.around, wire.ends.0, wire.ends.1));
            (wires.len() - 1) as u32
        });
        // A value that several boxes inside use is carried once.
        if counted.insert((at, wire.from, wire.result)) {
            add_value(scene, wire.from, wire.result, &mut wires[at as usize]);
        }
    }
    for (wire, (around, a, b)) in wires.iter_mut().zip(inner) {
        wire.points = match edge_of(scene, around, a, b) {
            Some(edge) => lanes.get(&(around, edge)).cloned().unwrap_or_default(),
            None => Vec::new(),
        };
    }
    attach(placement, &mut wires);
    placement.wires = wires;
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

fn edge_of(scene: &mut Scene<'_>, around: GroupId, a: Item, b: Item) -> Option<u32> {
    let order = scene.group_order(around);
    let number = |item: Item| order.number(item);
    let edge = ChildEdge {
        from: number(a)?,
        to: number(b)?,
    };
    order.edges.binary_search(&edge).ok().map(|at| at as u32)
}

/// Begins and ends the wires at their items, spread along the sides in the order of where they come from and go to.
fn attach(placement: &Placement, wires: &mut [PlacedWire]) {
    let n = placement.items.len();
    let (mut out, mut into) = (vec![Vec::new(); n], vec![Vec::new(); n]);
    for (at, wire) in wires.iter().enumerate() {
        let middle = |item: u32| placement.items[item as usize].rect.center().0;
        let first = wire.points.first().map_or_else(|| middle(wire.to), |p| p.0);
        let last = wire
            .points
            .last()
            .map_or_else(|| middle(wire.from), |p| p.0);
        out[wire.from as usize].push((first, at));
        into[wire.to as usize].push((last, at));
    }
    let mut ends = vec![((0.0, 0.0), (0.0, 0.0)); wires.len()];
    for (item, (out, into)) in out.iter_mut().zip(&mut into).enumerate() {
        let rect = placement.items[item].rect;
        for (list, y, is_out) in [(out, rect.y + rect.h, true), (into, rect.y, false)] {
            list.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let n = list.len() as f32;
            for (place, (_, wire)) in list.iter().enumerate() {
                let x = rect.x + rect.w * (place as f32 + 1.0) / (n + 1.0);
                match is_out {
                    true => ends[*wire].0 = (x, y),
                    false => ends[*wire].1 = (x, y),
                }
            }
        }
    }
    for (wire, (from, to)) in wires.iter_mut().zip(ends) {
        wire.points.insert(0, from);
        wire.points.push(to);
    }
}
