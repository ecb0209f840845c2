//! Where everything lies: the boxes and groups that are visible while some groups are open, and the wires between them.
//!
//! A group's children are ordered once ([`crate::order`]), whatever is open inside them; opening and closing changes sizes
//! alone, so what was seen stays beside what it stood beside. Coordinates minimise the squared distances to the neighbours
//! in the ranks above and below (isotonic regression by pooling adjacent violators: Barlow et al., 1972).

mod columns;
mod routes;
mod scene;

use std::sync::Arc;

use rustc_hash::FxHashSet;

pub use scene::{GroupOrder, Scene};

use crate::document::{BoxId, Document, GroupId};
use crate::order::Cell;

/// What can be seen: a box, or a group, open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// A group.
    Group(GroupId),
    /// A box.
    Box(BoxId),
}

/// The groups that are open. The root always is.
pub type Open = FxHashSet<GroupId>;

/// Which way the edges lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// From above.
    #[default]
    Down,
    /// From the left.
    Right,
}

/// A rectangle: its upper left corner and its size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left.
    pub x: f32,
    /// Top.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// The middle.
    pub fn center(self) -> (f32, f32) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    /// Whether the point lies inside.
    pub fn contains(self, (x, y): (f32, f32)) -> bool {
        (self.x..self.x + self.w).contains(&x) && (self.y..self.y + self.h).contains(&y)
    }

    fn transposed(self) -> Self {
        Rect {
            x: self.y,
            y: self.x,
            w: self.h,
            h: self.w,
        }
    }
}

/// Something visible.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// What it is.
    pub item: Item,
    /// Where it lies.
    pub rect: Rect,
    /// Whether it is a group whose children are visible too.
    pub open: bool,
    /// The open groups around it.
    pub depth: u32,
}

/// Every wire from one visible thing to another.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedWire {
    /// Where it begins, by its number in [`Placement::items`].
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// The points that it goes through.
    pub points: Vec<(f32, f32)>,
    /// How many values it carries.
    pub values: u32,
    /// How many bytes they have.
    pub bytes: u64,
    /// The type of the largest.
    pub ty: Arc<str>,
}

/// All that is visible.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Groups before what is inside them.
    pub items: Vec<Placed>,
    /// The wires between them.
    pub wires: Vec<PlacedWire>,
    /// The size of all.
    pub size: (f32, f32),
}

impl Placement {
    /// The innermost item at a point.
    pub fn at(&self, point: (f32, f32)) -> Option<usize> {
        let inside = |placed: &Placed| placed.rect.contains(point);
        let mut found: Option<usize> = None;
        for (at, placed) in self.items.iter().enumerate() {
            if inside(placed) && found.is_none_or(|it| self.items[it].depth <= placed.depth) {
                found = Some(at);
            }
        }
        found
    }

    /// The number of an item.
    pub fn find(&self, item: Item) -> Option<usize> {
        self.items.iter().position(|placed| placed.item == item)
    }
}

/// The size of something that is not open.
pub type Measure<'a> = &'a dyn Fn(&Document, Item) -> (f32, f32);

/// What words need in a box of this many characters.
const CHARACTER: f32 = 7.2;

/// Two lines of text in a box that is as wide as they are.
pub fn default_size(document: &Document, item: Item) -> (f32, f32) {
    let (first, second) = labels(document, item);
    let longest = first
        .chars()
        .count()
        .max(second.chars().count())
        .clamp(4, 44);
    (
        longest as f32 * CHARACTER + 20.0,
        if second.is_empty() { 28.0 } else { 44.0 },
    )
}

/// The lines of text that stand in a box or closed group.
pub fn labels(document: &Document, item: Item) -> (String, String) {
    match item {
        Item::Box(id) => {
            let it = document.get(id);
            let name = it.name.rsplit_once('.').map_or(&*it.name, |(rest, last)| {
                // `self_attn.q_proj.weight` is better than `weight`.
                let last_two = rest.rfind('.').map_or(0, |at| at + 1);
                if last == "weight" || last == "bias" {
                    &it.name[last_two..]
                } else {
                    last
                }
            });
            (it.op.to_string(), name.to_owned())
        }
        Item::Group(id) => {
            let group = document.tree.get(id);
            let name = match group.repeats {
                Some(n) => format!("{} ×{n}", group.name),
                None => group.name.to_string(),
            };
            (name, format!("{} boxes", group.n_boxes))
        }
    }
}

/// Space between neighbours of a rank, between ranks, and inside groups.
pub(crate) const GAP: f32 = 22.0;
pub(crate) const RANK_GAP: f32 = 40.0;
pub(crate) const PADDING: f32 = 16.0;
/// The line of an open group's name.
pub const HEADER: f32 = 26.0;
pub(crate) const LANE: f32 = 8.0;

/// A group that is laid out: its children relative to its own corner.
struct Inside {
    size: (f32, f32),
    children: Vec<(Item, Rect)>,
    /// For each edge between children that has lanes, their middles.
    lanes: Vec<Vec<(f32, f32)>>,
    nested: Vec<Option<Inside>>,
}

/// Lays out what is visible.
pub fn place(
    scene: &mut Scene<'_>,
    open: &Open,
    direction: Direction,
    measure: Measure<'_>,
) -> Placement {
    let root = inside(scene, GroupId::ROOT, open, direction, measure);
    let mut placement = Placement {
        size: root.size,
        ..Placement::default()
    };
    let mut lanes = routes::Lanes::default();
    spread(
        &root,
        GroupId::ROOT,
        (0.0, 0.0),
        0,
        &mut placement,
        &mut lanes,
    );
    routes::wires(scene, open, &lanes, &mut placement);
    if direction == Direction::Right {
        placement.size = (placement.size.1, placement.size.0);
        for placed in &mut placement.items {
            placed.rect = placed.rect.transposed();
        }
        for wire in &mut placement.wires {
            wire.points
                .iter_mut()
                .for_each(|(x, y)| std::mem::swap(x, y));
        }
    }
    placement
}

/// Lays out one open group, and what is open in it first. Depth is bounded by the tree's.
fn inside(
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
        let (w, h) = match (&inner, direction) {
            (Some(inner), _) => inner.size,
            (None, Direction::Down) => measure(scene.document(), *child),
            (None, Direction::Right) => {
                let (w, h) = measure(scene.document(), *child);
                (h, w)
            }
        };
        sizes.push((w, h));
        nested.push(inner);
    }
    let corner = match (group, direction) {
        (GroupId::ROOT, _) => (PADDING, PADDING),
        (_, Direction::Down) => (PADDING, HEADER + PADDING / 2.0),
        (_, Direction::Right) => (HEADER + PADDING / 2.0, PADDING),
    };
    Inside {
        nested,
        ..arrange(&order, &sizes, corner)
    }
}

/// Puts children of these sizes to where their order says; the first of them begin at `corner`.
fn arrange(order: &GroupOrder, sizes: &[(f32, f32)], corner: (f32, f32)) -> Inside {
    let columns = columns::columns(order, sizes);
    let places = order.children.iter().map(|child| (*child, Rect::default()));
    let mut children: Vec<(Item, Rect)> = places.collect();
    let mut lanes = vec![Vec::new(); order.edges.len()];
    let (left, mut y) = corner;
    let mut right = left;
    for (rank, cells) in order.order.ranks.iter().enumerate() {
        let height = |cell: &Cell| match cell {
            Cell::Child(child) => sizes[*child as usize].1,
            Cell::Lane(_) => 0.0,
        };
        let tallest = cells.iter().map(height).fold(0.0, f32::max);
        for (slot, cell) in cells.iter().enumerate() {
            let x = left + columns[rank][slot];
            match cell {
                Cell::Child(child) => {
                    let (w, h) = sizes[*child as usize];
                    let rect = Rect {
                        x: x - w / 2.0,
                        y: y + (tallest - h) / 2.0,
                        w,
                        h,
                    };
                    right = right.max(rect.x + w);
                    children[*child as usize].1 = rect;
                }
                Cell::Lane(edge) => {
                    right = right.max(x + LANE / 2.0);
                    // Straight through the whole rank, however tall it is.
                    lanes[*edge as usize].push((x, y));
                    if tallest > 0.0 {
                        lanes[*edge as usize].push((x, y + tallest));
                    }
                }
            }
        }
        y += tallest + RANK_GAP;
    }
    let bottom = match order.order.ranks.is_empty() {
        true => y,
        false => y - RANK_GAP,
    };
    Inside {
        size: (right + PADDING, bottom + PADDING),
        children,
        lanes,
        nested: Vec::new(),
    }
}

/// Moves everything to where it lies in all.
fn spread(
    inside: &Inside,
    group: GroupId,
    (x, y): (f32, f32),
    depth: u32,
    placement: &mut Placement,
    lanes: &mut routes::Lanes,
) {
    for (edge, points) in inside.lanes.iter().enumerate() {
        if !points.is_empty() {
            let moved = points.iter().map(|(px, py)| (px + x, py + y)).collect();
            lanes.insert((group, edge as u32), moved);
        }
    }
    for ((item, rect), nested) in inside.children.iter().zip(&inside.nested) {
        let rect = Rect {
            x: rect.x + x,
            y: rect.y + y,
            ..*rect
        };
        placement.items.push(Placed {
            item: *item,
            rect,
            open: nested.is_some(),
            depth,
        });
        if let (Some(nested), Item::Group(group)) = (nested, item) {
            spread(
                nested,
                *group,
                (rect.x, rect.y),
                depth + 1,
                placement,
                lanes,
            );
        }
    }
}
