//! Where the types of what flows are written: beside wires, where nothing else stands. It depends on the placement alone, so
//! it is decided once for each.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::place::{Direction, HEADER, PlacedWire, Placement, Rect, SWING, curve, on_curve};

/// The labels of a placement's wires, by their numbers.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) texts: Vec<Arc<str>>,
    /// Where each is written, if there is room.
    pub(super) places: Vec<Option<Rect>>,
}

/// The labels of the placements that were looked at last: two panes show two.
#[derive(Debug, Default)]
pub(super) struct KnownLabels(Vec<(Arc<Placement>, Arc<Labels>)>);

impl KnownLabels {
    pub(super) fn of(&mut self, placement: &Arc<Placement>, direction: Direction) -> Arc<Labels> {
        let same = |(known, _): &&(Arc<Placement>, Arc<Labels>)| Arc::ptr_eq(known, placement);
        if let Some((_, labels)) = self.0.iter().find(same) {
            return labels.clone();
        }
        let labels = Arc::new(Labels::new(placement, direction));
        self.0.truncate(1);
        self.0.insert(0, (placement.clone(), labels.clone()));
        labels
    }
}

impl Labels {
    /// Wires of one value need their type once.
    fn new(placement: &Placement, direction: Direction) -> Self {
        let texts: Vec<Arc<str>> = placement.wires.iter().map(text).collect();
        let mut taken = obstacles(placement, direction);
        let mut said: FxHashSet<(u32, Arc<str>)> = FxHashSet::default();
        let places = placement.wires.iter().zip(&texts).map(|(wire, text)| {
            if text.is_empty() || !said.insert((wire.from, text.clone())) {
                return None;
            }
            let size = (text.chars().count() as f32 * LETTER.0, LETTER.1);
            let place = candidates(wire, size, direction)
                .find(|rect| is_within(*rect, placement.size) && taken.is_free(*rect));
            if let Some(rect) = place {
                taken.add(rect);
            }
            place
        });
        Self {
            places: places.collect(),
            texts,
        }
    }
}

fn is_within(rect: Rect, (w, h): (f32, f32)) -> bool {
    rect.x >= 0.0 && rect.y >= 0.0 && rect.x + rect.w <= w && rect.y + rect.h <= h
}

fn text(wire: &PlacedWire) -> Arc<str> {
    match wire.values {
        0 | 1 => wire.ty.clone(),
        n => format!("{} +{}", wire.ty, n - 1).into(),
    }
}

/// Beside what is straight rather than beside curves.
fn candidates(
    wire: &PlacedWire,
    size: (f32, f32),
    direction: Direction,
) -> impl Iterator<Item = Rect> {
    let pairs = || wire.points.windows(2).map(|pair| (pair[0], pair[1]));
    let is_straight = |(a, b): &((f32, f32), (f32, f32))| a.0 == b.0 || a.1 == b.1;
    let straight = pairs().filter(is_straight);
    let bent = pairs().filter(move |pair| !is_straight(pair));
    straight
        .flat_map(move |pair| beside_line(pair, size))
        .chain(bent.flat_map(move |pair| beside_curve(pair, size, direction)))
}

/// Straight pieces that stand for a curve.
const PIECES: usize = 6;

/// A character and a line of a label.
const LETTER: (f32, f32) = (6.1, 13.0);

/// Rectangles that are taken, in cells of a grid.
#[derive(Default)]
struct Taken(FxHashMap<(i32, i32), Vec<Rect>>);

const CELL: f32 = 128.0;

impl Taken {
    fn cells(rect: Rect) -> impl Iterator<Item = (i32, i32)> {
        let cell = |v: f32| (v / CELL).floor() as i32;
        let (left, right) = (cell(rect.x), cell(rect.x + rect.w));
        let (top, bottom) = (cell(rect.y), cell(rect.y + rect.h));
        (top..=bottom).flat_map(move |y| (left..=right).map(move |x| (x, y)))
    }

    fn add(&mut self, rect: Rect) {
        for cell in Self::cells(rect) {
            self.0.entry(cell).or_default().push(rect);
        }
    }

    fn is_free(&self, rect: Rect) -> bool {
        let meets = |it: &Rect| {
            rect.x < it.x + it.w
                && it.x < rect.x + rect.w
                && rect.y < it.y + it.h
                && it.y < rect.y + rect.h
        };
        !Self::cells(rect).any(|cell| self.0.get(&cell).is_some_and(|all| all.iter().any(meets)))
    }
}

/// What labels keep off.
fn obstacles(placement: &Placement, direction: Direction) -> Taken {
    let mut taken = Taken::default();
    for placed in &placement.items {
        let rect = placed.rect;
        if !placed.open {
            taken.add(rect);
            continue;
        }
        taken.add(Rect {
            h: HEADER,
            w: rect.w.min(120.0),
            ..rect
        });
        let (right, bottom) = (rect.x + rect.w, rect.y + rect.h);
        let corners = [
            (rect.x, rect.y),
            (right, rect.y),
            (right, bottom),
            (rect.x, bottom),
        ];
        for at in 0..4 {
            taken.add(line(corners[at], corners[(at + 1) % 4]));
        }
    }
    for wire in &placement.wires {
        for at in 0..wire.points.len().saturating_sub(1) {
            let (from, to) = (wire.points[at], wire.points[at + 1]);
            let before = (at > 0).then(|| wire.points[at - 1]);
            let Some([a, b]) = curve(before, from, to, direction, SWING) else {
                taken.add(line(from, to));
                continue;
            };
            let mut last = from;
            for piece in 1..=PIECES {
                let next = on_curve([from, a, b, to], piece as f32 / PIECES as f32);
                taken.add(line(last, next));
                last = next;
            }
        }
    }
    taken
}

/// A straight line, as wide as it is drawn.
fn line(a: (f32, f32), b: (f32, f32)) -> Rect {
    Rect {
        x: a.0.min(b.0) - 1.0,
        y: a.1.min(b.1) - 1.0,
        w: (a.0 - b.0).abs() + 2.0,
        h: (a.1 - b.1).abs() + 2.0,
    }
}

/// Places for a label of this size beside a straight piece, and above it.
fn beside_line((a, b): ((f32, f32), (f32, f32)), (w, h): (f32, f32)) -> impl Iterator<Item = Rect> {
    [0.5, 0.7, 0.3].into_iter().flat_map(move |share| {
        let (x, y) = (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share);
        let places = match a.0 == b.0 {
            true => [(x + 5.0, y - h / 2.0), (x - w - 5.0, y - h / 2.0)],
            false => [(x - w / 2.0, y - h - 3.0), (x - w / 2.0, y + 3.0)],
        };
        places.map(|(x, y)| Rect { x, y, w, h })
    })
}

/// Places on that side of a curve's ends from which it turns away.
fn beside_curve(
    (a, b): ((f32, f32), (f32, f32)),
    (w, h): (f32, f32),
    direction: Direction,
) -> [Rect; 2] {
    let places = match (direction, a.0 < b.0, a.1 < b.1) {
        (Direction::Down, true, _) => [(b.0 + 5.0, b.1 - h - 9.0), (a.0 - w - 5.0, a.1 + 4.0)],
        (Direction::Down, false, _) => [(b.0 - w - 5.0, b.1 - h - 9.0), (a.0 + 5.0, a.1 + 4.0)],
        (Direction::Right, _, true) => [(b.0 - w - 9.0, b.1 + 3.0), (a.0 + 4.0, a.1 - h - 3.0)],
        (Direction::Right, _, false) => [(b.0 - w - 9.0, b.1 - h - 3.0), (a.0 + 4.0, a.1 + 3.0)],
    };
    places.map(|(x, y)| Rect { x, y, w, h })
}
