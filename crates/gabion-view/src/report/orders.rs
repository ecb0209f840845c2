//! The order of every group's children at every stage. Stages that leave a group as it was share its order.

use serde::Serialize;

use crate::document::{Document, GroupId};
use crate::order::Cell;
use crate::place::{GroupOrder, Item, Scene};

/// One order: `children` as [`item`], edges as pairs of children, ranks as a length and so many cells each (twice the
/// child, or twice the edge and one for a lane).
#[derive(Serialize)]
pub(super) struct OrderData(Vec<u32>, Vec<u32>, Vec<u32>);

/// The orders of all stages.
#[derive(Default, Serialize)]
pub(super) struct Orders {
    /// Every order that a group has at some stage.
    all: Vec<OrderData>,
    /// For each stage, the groups whose order is another than in the stage before: the group, and the order's number and
    /// one, or 0 if nothing is in it; flat.
    stages: Vec<Vec<u32>>,
}

/// A box or group as one number.
pub(super) fn item(item: Item) -> u32 {
    match item {
        Item::Box(id) => id * 2,
        Item::Group(id) => id.0 * 2 + 1,
    }
}

impl Orders {
    pub(super) fn new(document: &Document) -> Self {
        let mut orders = Self::default();
        let n_groups = document.tree.groups.len();
        let mut last: Vec<Option<std::sync::Arc<GroupOrder>>> = vec![None; n_groups];
        for (stage, it) in document.stages.iter().enumerate() {
            let mut changed = Vec::new();
            let same = stage > 0 && document.stages[stage - 1].boxes == it.boxes;
            if !same {
                let mut scene = Scene::new(document, stage, &|_| false);
                for (group, last) in last.iter_mut().enumerate() {
                    let id = GroupId(group as u32);
                    let order = (!scene.children(id).is_empty()).then(|| scene.group_order(id));
                    if order == *last {
                        continue;
                    }
                    let number = order.as_ref().map_or(0, |order| {
                        orders.all.push(OrderData::new(order));
                        orders.all.len() as u32
                    });
                    changed.extend([group as u32, number]);
                    *last = order;
                }
            }
            orders.stages.push(changed);
        }
        orders
    }
}

impl OrderData {
    fn new(order: &GroupOrder) -> Self {
        let edges = order.edges.iter().flat_map(|edge| [edge.from, edge.to]);
        let mut ranks = Vec::new();
        for rank in &order.order.ranks {
            ranks.push(rank.len() as u32);
            ranks.extend(rank.iter().map(|cell| match cell {
                Cell::Child(child) => child * 2,
                Cell::Lane(edge) => edge * 2 + 1,
            }));
        }
        Self(
            order.children.iter().copied().map(item).collect(),
            edges.collect(),
            ranks,
        )
    }
}
