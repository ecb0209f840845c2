//! The inside of open groups, from the innermost outwards: where children, ranks and lanes lie, from the group's own corner.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::columns::{LANE, columns};
use super::{Direction, GroupOrder, HEADER, Item, Measure, Open, Placed, Rect, Scene};
use crate::document::GroupId;
use crate::order::{Cell, ChildEdge};

/// Space between ranks, and inside groups.
const RANK_GAP: f64 = 40.0;
const PADDING: f64 = 16.0;

/// A rectangle in the numbers that layout counts with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Area {
    fn rect(self) -> Rect {
        Rect {
            x: self.x as f32,
            y: self.y as f32,
            w: self.w as f32,
            h: self.h as f32,
        }
    }
}

/// Where a lane passes a rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) x: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A group that is laid out.
pub(super) struct Inside {
    pub(super) order: Arc<GroupOrder>,
    pub(super) size: (f64, f64),
    /// The children.
    areas: Vec<Area>,
    /// From where to where each rank reaches.
    ranks: Vec<(f64, f64)>,
    /// For each edge, and at last for the shared lane, its lanes' middles in the ranks that it passes.
    lanes: Vec<Vec<f64>>,
    /// The first rank of the shared lane.
    shared_from: usize,
    nested: Vec<Option<Inside>>,
}

impl Inside {
    /// From where to where the rank of a child reaches.
    pub(super) fn rank_of(&self, child: u32) -> (f64, f64) {
        self.ranks[self.order.order.rank[child as usize] as usize]
    }

    /// The ranks that an edge passes, as it passes them from the first to the last.
    pub(super) fn passes(&self, edge: ChildEdge) -> Vec<Pass> {
        let Ok(number) = self.order.edges.binary_search(&edge) else {
            return Vec::new();
        };
        let passed = self.order.order.passes(edge);
        let (own, shared) = (&self.lanes[number], &self.lanes[self.lanes.len() - 1]);
        let x = |rank: usize| match own.is_empty() {
            true => shared[rank - self.shared_from],
            false => own[rank - passed.start],
        };
        let pass = |rank: usize| {
            let (top, bottom) = self.ranks[rank];
            Pass {
                x: x(rank),
                top,
                bottom,
            }
        };
        passed.clone().map(pass).collect()
    }
}

/// An open group where it lies in all.
pub(super) struct Frame<'i> {
    pub(super) inside: &'i Inside,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// The open groups.
pub(super) type Frames<'i> = FxHashMap<GroupId, Frame<'i>>;

/// Lays out one open group, and what is open in it first. Depth is bounded by the tree's.
pub(super) fn inside(
    scene: &mut Scene<'_>,
    group: GroupId,
    open: &Open,
    direction: Direction,
    measure: Measure<'_>,
) -> Inside {
    let order = scene.group_order(group);
    let mut nested = Vec::with_capacity(order.children.len());
    let mut sizes = Vec::with_capacity(order.children.len());
    for child in &order.children {
        let inner = match child {
            Item::Group(id) if open.contains(id) => {
                Some(inside(scene, *id, open, direction, measure))
            }
            _ => None,
        };
        sizes.push(match &inner {
            Some(inner) => inner.size,
            None => {
                let (w, h) = measure(scene.document(), *child);
                let (w, h) = (f64::from(w), f64::from(h));
                match direction {
                    Direction::Down => (w, h),
                    Direction::Right => (h, w),
                }
            }
        });
        nested.push(inner);
    }
    let header = f64::from(HEADER) + PADDING / 2.0;
    let corner = match (group, direction) {
        (GroupId::ROOT, _) => (PADDING, PADDING),
        (_, Direction::Down) => (PADDING, header),
        (_, Direction::Right) => (header, PADDING),
    };
    Inside {
        nested,
        ..arrange(order, &sizes, corner)
    }
}

/// Puts children of these sizes to where their order says; the first of them begin at `corner`.
fn arrange(order: Arc<GroupOrder>, sizes: &[(f64, f64)], corner: (f64, f64)) -> Inside {
    let columns = columns(&order, sizes);
    let mut areas = vec![Area::default(); sizes.len()];
    let mut ranks = Vec::with_capacity(columns.len());
    let mut lanes = vec![Vec::new(); order.edges.len() + 1];
    let mut shared_from = columns.len();
    let (left, mut y) = corner;
    let mut right = left;
    for (rank, cells) in order.order.ranks.iter().enumerate() {
        let height = |cell: &Cell| match cell {
            Cell::Child(child) => sizes[*child as usize].1,
            Cell::Lane(_) => 0.0,
        };
        let tallest = cells.iter().map(height).fold(0.0, f64::max);
        for (cell, column) in cells.iter().zip(&columns[rank]) {
            let x = left + column;
            match cell {
                Cell::Child(child) => {
                    let (w, h) = sizes[*child as usize];
                    right = right.max(x + w / 2.0);
                    areas[*child as usize] = Area {
                        x: x - w / 2.0,
                        y: y + (tallest - h) / 2.0,
                        w,
                        h,
                    };
                }
                Cell::Lane(edge) => {
                    right = right.max(x + LANE / 2.0);
                    lanes[*edge as usize].push(x);
                    if *edge as usize == order.edges.len() {
                        shared_from = shared_from.min(rank);
                    }
                }
            }
        }
        ranks.push((y, y + tallest));
        y += tallest + RANK_GAP;
    }
    let bottom = match ranks.is_empty() {
        true => y,
        false => y - RANK_GAP,
    };
    Inside {
        order,
        size: (right + PADDING, bottom + PADDING),
        areas,
        ranks,
        lanes,
        shared_from,
        nested: Vec::new(),
    }
}

/// Everything where it lies in all.
#[derive(Default)]
pub(super) struct Spread<'i> {
    pub(super) items: Vec<Placed>,
    /// Where the items lie, in full precision.
    pub(super) areas: Vec<Area>,
    pub(super) frames: Frames<'i>,
}

impl<'i> Spread<'i> {
    /// Moves an open group and what is inside to a corner.
    pub(super) fn add(
        &mut self,
        inside: &'i Inside,
        group: GroupId,
        (x, y): (f64, f64),
        depth: u32,
    ) {
        self.frames.insert(group, Frame { inside, x, y });
        let children = inside.order.children.iter().zip(&inside.areas);
        for ((item, area), nested) in children.zip(&inside.nested) {
            let area = Area {
                x: area.x + x,
                y: area.y + y,
                ..*area
            };
            self.items.push(Placed {
                item: *item,
                rect: area.rect(),
                open: nested.is_some(),
                depth,
            });
            self.areas.push(area);
            if let (Some(nested), Item::Group(group)) = (nested, item) {
                self.add(nested, *group, (area.x, area.y), depth + 1);
            }
        }
    }
}
