//! Where everything lies: the boxes and groups that are visible while some groups are open, and the wires between them.
//!
//! A group's children are ordered once ([`crate::order`]), whatever is open inside them; opening and closing changes sizes
//! alone, so what was seen stays beside what it stood beside. Coordinates minimise the squared distances to the neighbours
//! in the ranks above and below (isotonic regression by pooling adjacent violators: Barlow et al., 1972).
//!
//! Beside a rank, wires run straight along their lanes; they go from lane to lane between ranks alone, where nothing else
//! stands. In every open group that a wire comes into or out of it has a lane of that group, and it crosses the border in it.
//!
//! The report's page computes the same (`report/js/place.js`), and a test compares both: sums are in f64 here as there, in
//! the same order.

mod columns;
mod curve;
mod inside;
mod path;
mod routes;
mod scene;

use std::sync::Arc;

use rustc_hash::FxHashSet;

pub use curve::{SWING, curve, on_curve};
pub use scene::{GroupOrder, Scene};

use crate::document::{BoxId, Document, GroupId};

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

/// The line of an open group's name.
pub const HEADER: f32 = 26.0;

/// Lays out what is visible.
pub fn place(
    scene: &mut Scene<'_>,
    open: &Open,
    direction: Direction,
    measure: Measure<'_>,
) -> Placement {
    let root = inside::inside(scene, GroupId::ROOT, open, direction, measure);
    let mut spread = inside::Spread::default();
    spread.add(&root, GroupId::ROOT, (0.0, 0.0), 0);
    let mut placement = Placement {
        wires: routes::wires(scene, open, &spread),
        items: spread.items,
        size: (root.size.0 as f32, root.size.1 as f32),
    };
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
