//! How each visible thing looks: words and colours, by what it is, what it costs, what changed, what was found and what is
//! lit up. Windows and exported pictures draw from the same.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::palette::{Paint, Rgb, mix};
use super::{Look, Pane, Scale, colour};
use crate::document::{BoxId, Change, Document, GroupId, Kind};
use crate::place::{Item, PlacedWire, Placement, Rect, labels};

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

    fn dress_wires(
        &mut self,
        stage: usize,
        placement: &Arc<Placement>,
        marks: &Marks,
    ) -> Vec<WireDress> {
        let labels = self.labels.of(placement, self.direction);
        let theme = self.theme;
        let selected = self
            .selection_at(stage)
            .and_then(|item| placement.find(item));
        let dress = |((wire, label), place): ((&PlacedWire, &Arc<str>), &Option<Rect>)| {
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
                label: label.clone(),
                place: *place,
            }
        };
        let wires = placement.wires.iter().zip(&labels.texts);
        wires.zip(&labels.places).map(dress).collect()
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
