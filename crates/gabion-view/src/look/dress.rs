//! How each visible thing looks: words and colours, by what it is, what it costs, what changed, what was found and what is
//! lit up. Windows and exported pictures draw from the same.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::palette::{Paint, Rgb, mix};
use super::{Look, Pane, Scale, colour};
use crate::document::{BoxId, Change, Document, GroupId, Kind};
use crate::place::{Direction, HEADER, Item, Placement, Rect, labels};

/// A box or group.
#[derive(Clone, Debug, PartialEq)]
pub struct Dress {
    /// The first line.
    pub first: Arc<str>,
    /// The second line.
    pub second: Arc<str>,
    /// What happened inside a group.
    pub note: Arc<str>,
    /// Its colours.
    pub paint: Paint,
    /// The colour of the second line.
    pub weak: Rgb,
    /// How thick the line around it is.
    pub stroke: f32,
    /// Around something that a search found.
    pub ring: Option<Rgb>,
    /// How much of it is seen.
    pub strength: f32,
    /// Whether its ends are round: leaves of the graph.
    pub round: bool,
}

/// A wire.
#[derive(Clone, Debug, PartialEq)]
pub struct WireDress {
    /// How thick.
    pub width: f32,
    /// Its colour.
    pub color: Rgb,
    /// How much of it is seen.
    pub strength: f32,
    /// The type of what flows.
    pub label: Arc<str>,
    /// Where that is written, if there is room.
    pub place: Option<Rect>,
}

/// Everything of a pane, by the numbers of its placement.
#[derive(Clone, Debug, PartialEq)]
pub struct Dresses {
    /// Where everything lies.
    pub placement: Arc<Placement>,
    /// Boxes and groups.
    pub items: Vec<Dress>,
    /// Wires.
    pub wires: Vec<WireDress>,
}

/// How much of what is not lit up is seen.
const DIM: f32 = 0.22;

/// All that decides, gathered once.
struct Marks {
    lit: Option<(Arc<FxHashSet<BoxId>>, FxHashSet<GroupId>)>,
    found: FxHashMap<GroupId, usize>,
    relatives: FxHashSet<BoxId>,
    boxes: Vec<u32>,
    faults: FxHashSet<BoxId>,
    faulty: FxHashSet<GroupId>,
}

impl Marks {
    fn new(look: &mut Look<'_>, stage: usize) -> Self {
        let document = look.document();
        let tree = &document.tree;
        let around = |id: &BoxId| tree.ancestors(document.get(*id).group);
        let lit = look.lit(stage).map(|lit| {
            let groups = lit.iter().flat_map(around).collect();
            (lit, groups)
        });
        let mut found = FxHashMap::default();
        for group in look.search().found.iter().flat_map(around) {
            *found.entry(group).or_insert(0) += 1;
        }
        let faults: FxHashSet<BoxId> = document.faults.iter().filter_map(|(id, _)| *id).collect();
        Self {
            lit,
            found,
            relatives: look.relatives_at(stage).into_iter().collect(),
            boxes: boxes_inside(document, stage),
            faulty: faults.iter().flat_map(around).collect(),
            faults,
        }
    }

    fn strength(&self, item: Item) -> f32 {
        let lit = self.lit.as_ref().is_none_or(|(boxes, groups)| match item {
            Item::Box(id) => boxes.contains(&id),
            Item::Group(id) => groups.contains(&id),
        });
        if lit { 1.0 } else { DIM }
    }
}

/// How many boxes each group holds at a stage.
fn boxes_inside(document: &Document, stage: usize) -> Vec<u32> {
    let tree = &document.tree;
    let mut boxes = vec![0; tree.groups.len()];
    for id in &document.stages[stage].boxes {
        boxes[document.get(*id).group.0 as usize] += 1;
    }
    for at in (1..boxes.len()).rev() {
        boxes[tree.groups[at].parent.0 as usize] += boxes[at];
    }
    boxes
}

/// The same words many times are kept once.
#[derive(Default)]
struct Words(FxHashMap<String, Arc<str>>);

impl Words {
    fn get(&mut self, text: String) -> Arc<str> {
        let kept = self.0.entry(text);
        kept.or_insert_with_key(|text| text.as_str().into()).clone()
    }
}

impl Look<'_> {
    /// How everything in a pane looks.
    pub fn dresses(&mut self, pane: Pane) -> Option<Dresses> {
        let stage = self.pane_stage(pane)?;
        let placement = self.placement(pane)?;
        let marks = Marks::new(self, stage);
        let items = self.dress_items(pane, stage, &placement, &marks);
        let wires = self.dress_wires(stage, &placement, &marks);
        Some(Dresses {
            placement,
            items,
            wires,
        })
    }

    fn dress_items(
        &mut self,
        pane: Pane,
        stage: usize,
        placement: &Placement,
        marks: &Marks,
    ) -> Vec<Dress> {
        let (document, theme) = (self.document(), self.theme);
        let difference = self.difference(pane);
        let scale = self.scale(pane);
        let costs = self.costs(stage);
        let mut words = Words::default();
        let mut items = Vec::with_capacity(placement.items.len());
        for placed in &placement.items {
            let item = placed.item;
            let (first, second) = labels(document, item);
            let mut dress = match item {
                Item::Box(id) => {
                    let kind = document.get(id).kind;
                    let mut dress = plain(
                        words.get(first),
                        words.get(second),
                        theme.kind(kind),
                        theme.weak_text(),
                    );
                    dress.round = matches!(
                        kind,
                        Kind::Input | Kind::Output | Kind::Weight | Kind::Constant
                    );
                    dress.ring = self.search().marks(id).then(|| theme.found());
                    dress
                }
                Item::Group(id) => {
                    let second = match (marks.found.get(&id), marks.boxes[id.0 as usize]) {
                        (Some(n), _) => format!("{n} found"),
                        (None, 1) => "1 box".to_owned(),
                        (None, n) => format!("{n} boxes"),
                    };
                    let mut dress = plain(
                        words.get(first),
                        words.get(second),
                        theme.group(),
                        theme.weak_text(),
                    );
                    dress.note = words.get(difference.inside(id).text());
                    dress.ring =
                        (marks.found.contains_key(&id) && !placed.open).then(|| theme.found());
                    dress
                }
            };
            if let (Some(scale), false) = (&scale, placed.open) {
                let value = costs.item(document, item, self.timings()).value(scale.by);
                warm(&mut dress, theme, scale, value, &mut words);
            }
            let change = match item {
                Item::Box(id) => difference.of(id),
                Item::Group(id) if difference.inside(id).is_empty() => Change::Same,
                Item::Group(_) => Change::Changed,
            };
            if let Some(changed) = theme.change(change) {
                let whole = matches!(item, Item::Box(_));
                dress.paint.stroke = changed;
                dress.stroke = if whole { 2.5 } else { 1.6 };
                if scale.is_none() && whole {
                    dress.paint.fill = mix(dress.paint.fill, changed, 0.18);
                }
            }
            let (fault, related) = match item {
                Item::Box(id) => (marks.faults.contains(&id), marks.relatives.contains(&id)),
                Item::Group(id) => (marks.faulty.contains(&id), false),
            };
            if fault {
                (dress.paint.stroke, dress.stroke) = (theme.fault(), 3.0);
            }
            if related {
                dress.ring = Some(theme.accent());
            }
            dress.strength = marks.strength(item);
            items.push(dress);
        }
        items
    }

    fn dress_wires(&self, stage: usize, placement: &Placement, marks: &Marks) -> Vec<WireDress> {
        let theme = self.theme;
        let selected = self
            .selection_at(stage)
            .and_then(|item| placement.find(item));
        let dress = |wire: &crate::place::PlacedWire| {
            let ends = [wire.from as usize, wire.to as usize];
            let touches = selected.is_some_and(|selected| ends.contains(&selected));
            let strengths = ends
                .iter()
                .map(|end| marks.strength(placement.items[*end].item));
            let strength = strengths.fold(1.0, f32::min);
            WireDress {
                width: wire_width(wire.bytes),
                color: if touches {
                    theme.accent()
                } else {
                    theme.wire()
                },
                strength: if touches {
                    strength.max(0.9)
                } else {
                    strength * 0.85
                },
                label: match wire.values {
                    0 | 1 => wire.ty.clone(),
                    n => format!("{} +{}", wire.ty, n - 1).into(),
                },
                place: None,
            }
        };
        let mut wires: Vec<WireDress> = placement.wires.iter().map(dress).collect();
        place_labels(placement, self.direction, &mut wires);
        wires
    }
}

fn plain(first: Arc<str>, second: Arc<str>, paint: Paint, weak: Rgb) -> Dress {
    Dress {
        first,
        second,
        note: "".into(),
        paint,
        weak,
        stroke: 1.0,
        ring: None,
        strength: 1.0,
        round: false,
    }
}

/// The colours of a cost, and the cost in place of the second line.
fn warm(dress: &mut Dress, theme: super::Theme, scale: &Scale, value: f64, words: &mut Words) {
    dress.paint = theme.heat(scale.share(value));
    dress.weak = dress.paint.text;
    if value > 0.0 {
        dress.second = words.get(colour::short_text(scale.by, value));
    }
}

/// From 1 for what is small to 6 for a gigabyte, by orders of magnitude.
pub fn wire_width(bytes: u64) -> f32 {
    let magnitude = (bytes.max(1) as f32).log10();
    (1.0 + (magnitude - 3.0) * 0.75).clamp(1.0, 6.0)
}

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

/// Writes types beside wires where nothing else stands: no box, no header or border of a group, no lane, no other type.
/// Wires of one value need it once.
fn place_labels(placement: &Placement, direction: Direction, wires: &mut [WireDress]) {
    let mut taken = obstacles(placement);
    let mut said: FxHashSet<(u32, Arc<str>)> = FxHashSet::default();
    for (wire, dress) in placement.wires.iter().zip(wires) {
        if dress.label.is_empty() || !said.insert((wire.from, dress.label.clone())) {
            continue;
        }
        let size = (dress.label.chars().count() as f32 * LETTER.0, LETTER.1);
        let pairs = || wire.points.windows(2).map(|pair| (pair[0], pair[1]));
        let is_straight = |(a, b): &((f32, f32), (f32, f32))| a.0 == b.0 || a.1 == b.1;
        let straight = pairs().filter(is_straight);
        let bent = pairs().filter(|pair| !is_straight(pair));
        let mut places = straight
            .flat_map(|pair| beside_line(pair, size))
            .chain(bent.flat_map(|pair| beside_curve(pair, size, direction)));
        dress.place = places.find(|rect| taken.is_free(*rect));
        if let Some(rect) = dress.place {
            taken.add(rect);
        }
    }
}

/// What labels keep off.
fn obstacles(placement: &Placement) -> Taken {
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
    for pair in placement.wires.iter().flat_map(|it| it.points.windows(2)) {
        if pair[0].0 == pair[1].0 || pair[0].1 == pair[1].1 {
            taken.add(line(pair[0], pair[1]));
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
