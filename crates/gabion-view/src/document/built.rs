//! What was built in each group, but for names: groups in which the same was built may be shown as one.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use super::tree::{Child, Group};
use super::{Key, Kind, Stage, ViewBox};

/// A number for each group; nothing for groups that only passes filled. Groups with one number have the same operators with the
/// same attributes and types, wired in the same way, in groups of the same names; numbers as names are all the same, and so
/// are weights. What passes do differs from layer to layer, at the first and the last at least, so it does not count.
pub(super) fn signatures(
    groups: &[Group],
    children: &[Vec<Child>],
    boxes: &[ViewBox],
    built: &Stage,
) -> Vec<Option<u64>> {
    let of_box = of_boxes(groups, boxes, built);
    let mut signatures: Vec<Option<u64>> = vec![None; groups.len()];
    for at in (0..groups.len()).rev() {
        let mut empty = true;
        let mut hasher = FxHasher::default();
        for child in &children[at] {
            match child {
                Child::Group(group) => {
                    let Some(signature) = signatures[*group] else {
                        continue;
                    };
                    let name = &groups[*group].name;
                    (!is_number(name)).then_some(name).hash(&mut hasher);
                    signature.hash(&mut hasher);
                }
                Child::Box(id) => {
                    if boxes[*id as usize].stages.start > 0 {
                        continue;
                    }
                    of_box[*id as usize].hash(&mut hasher);
                }
            }
            empty = false;
        }
        signatures[at] = (!empty).then(|| hasher.finish());
    }
    signatures
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

/// A number for each box that was built: its operator, types and attributes, and which values it reads. Values of its own unit
/// (the innermost group with a number for a name) are told by how many boxes before they are; others by their types, and by
/// which of the values that the unit takes from elsewhere they are.
fn of_boxes(groups: &[Group], boxes: &[ViewBox], built: &Stage) -> Vec<u64> {
    let mut unit: Vec<u32> = vec![0; groups.len()];
    for (at, group) in groups.iter().enumerate().skip(1) {
        unit[at] = match is_number(&group.name) {
            true => at as u32,
            false => unit[group.parent.0 as usize],
        };
    }
    let unit = |id: u32| unit[boxes[id as usize].group.0 as usize];
    let mut numbers = vec![0; boxes.len()];
    let mut rank: Vec<u32> = vec![0; boxes.len()];
    let mut members: FxHashMap<u32, u32> = FxHashMap::default();
    let mut taken: FxHashMap<u32, FxHashMap<(Key, u32), usize>> = FxHashMap::default();
    for id in built.boxes.iter().copied() {
        let it = &boxes[id as usize];
        let here = unit(id);
        let place = members.entry(here).or_default();
        rank[id as usize] = *place;
        *place += 1;
        let mut hasher = FxHasher::default();
        of_itself(it, &mut hasher);
        for operand in &it.operands {
            let from = built.by_key.get(&operand.key).copied();
            match from.filter(|from| unit(*from) == here) {
                Some(from) => {
                    let before = rank[id as usize] - rank[from as usize];
                    (true, before, operand.result).hash(&mut hasher);
                }
                None => {
                    let taken = taken.entry(here).or_default();
                    let next = taken.len();
                    let which = *taken.entry((operand.key, operand.result)).or_insert(next);
                    let port = from.and_then(|from| {
                        let results = &boxes[from as usize].results;
                        results.get(operand.result as usize)
                    });
                    (false, which, port.map(|port| &port.ty)).hash(&mut hasher);
                }
            }
        }
        numbers[id as usize] = hasher.finish();
    }
    numbers
}

fn of_itself(it: &ViewBox, hasher: &mut FxHasher) {
    (&it.op, it.kind).hash(hasher);
    it.results.iter().for_each(|port| port.ty.hash(hasher));
    // The attributes of these are their names.
    if !matches!(it.kind, Kind::Input | Kind::Weight | Kind::Output) {
        it.attrs.hash(hasher);
    }
}
