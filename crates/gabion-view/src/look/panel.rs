//! What the panels say of a box, a group and the plan's memory: rows of words, some of which lead
//! somewhere.

use std::sync::Arc;

use gabion_plan::{Place, Plan};
use gabion_tensor::Dim;
use rustc_hash::FxHashSet;

use super::Look;
use super::colour::{Cost, bytes, count, time};
use super::stack::outcome_text;
use super::trail::item_name;
use crate::document::{BoxId, Document, GroupId, Kind, StageKind};
use crate::place::Item;

/// Where a row leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An item at the stage that is looked at.
    Item(Item),
    /// A box of another stage.
    Stage(usize, BoxId),
    /// A line of the ledger, by its number.
    Ledger(usize),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub label: String,
    /// What it says.
    pub value: String,
    /// Where it leads.
    pub link: Option<Link>,
}

/// Rows under a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
    /// How many more there are than rows.
    pub more: usize,
}

/// Rows of a section that are shown.
const MOST_ROWS: usize = 40;

impl Section {
    fn new(title: &'static str, rows: Vec<Row>) -> Self {
        let more = rows.len().saturating_sub(MOST_ROWS);
        let rows = rows.into_iter().take(MOST_ROWS).collect();
        Self { title, rows, more }
    }
}

fn row(label: &str, value: impl Into<String>) -> Row {
    Row {
        label: label.to_owned(),
        value: value.into(),
        link: None,
    }
}

fn link(label: impl Into<String>, value: impl Into<String>, to: Link) -> Row {
    Row {
        label: label.into(),
        value: value.into(),
        link: Some(to),
    }
}

/// Operations and bytes, `more`, and the time if it was measured.
fn cost_rows(cost: Cost, more: Option<Row>) -> Vec<Row> {
    let mut rows = vec![
        row("operations", count(cost.flops as f64)),
        row("bytes", bytes(cost.bytes as f64)),
    ];
    rows.extend(more);
    if cost.time > 0.0 {
        rows.push(row("measured", time(cost.time)));
    }
    rows
}

/// What a box is, wherever it is looked at from.
fn about(document: &Document, id: BoxId) -> Vec<Row> {
    let it = document.get(id);
    let mut rows = vec![row(it.kind.word(), &*it.op)];
    if !it.name.is_empty() {
        rows.push(row("name", &*it.name));
    }
    if it.group != GroupId::ROOT {
        let group = Item::Group(it.group);
        rows.push(link("in", item_name(document, group), Link::Item(group)));
    }
    for (at, port) in it.results.iter().enumerate() {
        let label = match it.results.len() {
            1 => "type".to_owned(),
            _ => format!("result {at}"),
        };
        let text = format!("{}  {}", port.ty, bytes(port.bytes as f64));
        rows.push(row(&label, text));
    }
    if let Some(loc) = &it.loc {
        rows.push(row("built at", &**loc));
    }
    rows
}

fn read_rows(document: &Document, stage: usize, here: BoxId) -> Vec<Row> {
    let operands = document.operands(stage, here).enumerate();
    let read = operands.map(|(at, (operand, result))| {
        let port = document.get(operand).results.get(result as usize);
        let ty = port.map_or("", |port| &*port.ty);
        let item = Item::Box(operand);
        let text = format!("{}  {ty}", item_name(document, item));
        link(at.to_string(), text, Link::Item(item))
    });
    read.collect()
}

impl Look<'_> {
    /// What the details say of the selection; of the whole stage if nothing is selected. Made when something changed.
    pub fn details(&mut self) -> Arc<[Section]> {
        let revision = self.revision();
        if let Some((known, details)) = &self.known_details
            && *known == revision
        {
            return details.clone();
        }
        let sections = match self.selection() {
            None => self.stage_details(),
            Some(Item::Group(_)) => self.group_details(),
            Some(Item::Box(id)) => self.box_details(id),
        };
        let said = |section: &Section| !section.rows.is_empty();
        let details: Arc<[Section]> = sections.into_iter().filter(said).collect();
        self.known_details = Some((revision, details.clone()));
        details
    }

    fn stage_details(&mut self) -> Vec<Section> {
        let (stage, document) = (self.stage(), self.document());
        let at = &document.stages[stage];
        let total = self.costs(stage).total();
        let of_kind = |kind: Kind| {
            at.boxes
                .iter()
                .filter(|id| document.get(**id).kind == kind)
                .count()
        };
        let mut rows = vec![
            row("graph", document.title.as_str()),
            row("stage", &*at.name),
        ];
        if at.kind == StageKind::Pass {
            let counts = self.counts()[stage].text();
            rows.push(row(
                "changes",
                if counts.is_empty() { "none" } else { &counts },
            ));
            rows.push(row("rewrites", at.rewrites.to_string()));
            rows.push(row("took", time(at.time_us as f64)));
        }
        let contents = Kind::ALL
            .iter()
            .map(|kind| (kind, of_kind(*kind)))
            .filter(|(_, n)| *n > 0);
        let contents = contents
            .map(|(kind, n)| row(kind.word(), n.to_string()))
            .collect();
        let sizes = document.sizes.bindings().iter();
        let sizes = sizes
            .map(|(name, value)| row(&name.to_string(), value.to_string()))
            .collect();
        let faults = document.faults.iter().map(|(id, what)| match id {
            Some(id) => link("fault", what.as_str(), Link::Stage(0, *id)),
            None => row("fault", what.as_str()),
        });
        vec![
            Section::new("Faults", faults.collect()),
            Section::new("Stage", rows),
            Section::new("Contents", contents),
            Section::new("Costs", cost_rows(total, None)),
            Section::new("Counted with", sizes),
        ]
    }

    fn group_details(&mut self) -> Vec<Section> {
        let (stage, document) = (self.stage(), self.document());
        let Some(Item::Group(id)) = self.selection() else {
            return Vec::new();
        };
        let group = document.tree.get(id);
        let boxes = super::cone::boxes_of(document, stage, Item::Group(id));
        let cost = self.costs(stage).group(id);
        let mut rows = vec![row("group", item_name(document, Item::Group(id)))];
        rows.push(row("boxes", boxes.len().to_string()));
        if let Some(repeats) = group.repeats {
            rows.push(row(
                "alike",
                format!("{repeats} groups of the same structure"),
            ));
        }
        let changes = self.difference(super::Pane::Now).inside(id).text();
        if !changes.is_empty() {
            rows.push(row("changes", changes));
        }
        let weights = boxes
            .iter()
            .filter(|id| document.get(**id).kind == Kind::Weight);
        let weight_bytes = weights
            .flat_map(|id| &document.get(*id).results)
            .map(|port| port.bytes)
            .fold(0, u64::saturating_add);
        let weights = row("weights", bytes(weight_bytes as f64));
        let around = match id {
            GroupId::ROOT => Vec::new(),
            _ => vec![link(
                "in",
                item_name(document, Item::Group(group.parent)),
                Link::Item(Item::Group(group.parent)),
            )],
        };
        let own = boxes.iter().map(|it| document.get(*it).group);
        let own: FxHashSet<GroupId> = own.collect();
        let ancestors = own.iter().flat_map(|id| document.tree.ancestors(*id));
        let around_boxes: FxHashSet<GroupId> = ancestors.collect();
        let present = |id: &&GroupId| around_boxes.contains(*id);
        let inner = group.groups.iter().filter(present).map(|id| {
            let item = Item::Group(*id);
            link("group", &*document.tree.get(*id).name, Link::Item(item))
        });
        vec![
            Section::new("Group", rows),
            Section::new("Costs", cost_rows(cost, Some(weights))),
            Section::new("Around", around),
            Section::new("Inside", inner.collect()),
        ]
    }

    fn box_details(&mut self, id: BoxId) -> Vec<Section> {
        let (stage, document) = (self.stage(), self.document());
        let it = document.get(id);
        let faults = document.faults.iter().filter(|(at, _)| *at == Some(id));
        let faults = faults
            .map(|(_, what)| row("fault", what.as_str()))
            .collect();
        let attrs = it.attrs.iter().map(|(name, value)| row(name, &**value));
        let attrs = attrs.collect();
        let what = about(document, id);
        let here = match self.selection_at(stage) {
            Some(Item::Box(here)) => here,
            _ => {
                return vec![
                    Section::new("Faults", faults),
                    Section::new("Not at this stage", what),
                    Section::new("Attributes", attrs),
                    Section::new("At other stages", self.elsewhere(id)),
                ];
            }
        };
        let notes = document.entries_of(id);
        let notes = notes.into_iter().map(|at| {
            let entry = &document.ledger.entries()[at];
            let said = format!("{}: {}", entry.candidate, outcome_text(entry));
            link(entry.pass, said, Link::Ledger(at))
        });
        vec![
            Section::new("Faults", faults),
            Section::new("Box", what),
            Section::new("Attributes", attrs),
            Section::new("Costs", self.box_costs(id)),
            Section::new("Reads", read_rows(document, stage, here)),
            Section::new("Is read by", self.user_rows(stage, here)),
            Section::new("At other stages", self.elsewhere(id)),
            Section::new("Ledger", notes.collect()),
        ]
    }

    fn box_costs(&self, id: BoxId) -> Vec<Row> {
        let it = self.document().get(id);
        let mut rows = Vec::new();
        if it.flops > 0 || it.bytes > 0 {
            let cost = Cost {
                flops: it.flops,
                bytes: it.bytes,
                ..Cost::default()
            };
            let intensity = it.flops as f64 / it.bytes.max(1) as f64;
            let intensity = row("intensity", format!("{intensity:.2} operations/byte"));
            rows = cost_rows(cost, Some(intensity));
        }
        let all = self.all_timings();
        for timings in all {
            let Some(us) = timings.of(it.key) else {
                continue;
            };
            let label = match all.len() {
                1 => "measured".to_owned(),
                _ => format!("measured, {}", timings.name),
            };
            rows.push(row(&label, time(us)));
        }
        rows
    }

    fn user_rows(&mut self, stage: usize, here: BoxId) -> Vec<Row> {
        let document = self.document();
        let users = self.users(stage);
        let mut users: Vec<BoxId> = users.of(here).to_vec();
        users.dedup();
        let user = |(at, user): (usize, BoxId)| {
            let item = Item::Box(user);
            link(at.to_string(), item_name(document, item), Link::Item(item))
        };
        users.into_iter().enumerate().map(user).collect()
    }

    /// Where a box came from and what became of it: the nearest stages at which others were made from the same.
    fn elsewhere(&self, id: BoxId) -> Vec<Row> {
        let document = self.document();
        let stages = document.get(id).stages.clone();
        let mut rows = Vec::new();
        let around = [
            stages.start.checked_sub(1).map(|it| it as usize),
            Some(stages.end as usize),
            Some(0),
            document.stages.len().checked_sub(1),
        ];
        let mut said = Vec::new();
        for stage in around.into_iter().flatten() {
            if stages.contains(&(stage as u32))
                || stage >= document.stages.len()
                || said.contains(&stage)
            {
                continue;
            }
            said.push(stage);
            let key = document.get(id).key;
            let same = document.find(stage, key);
            let others = same.map_or_else(|| document.counterparts(id, stage), |it| vec![it]);
            rows.extend(others.into_iter().map(|other| {
                let name = item_name(document, Item::Box(other));
                link(
                    &*document.stages[stage].name,
                    name,
                    Link::Stage(stage, other),
                )
            }));
        }
        rows
    }

    /// Follows a row.
    pub fn follow(&mut self, link: Link) {
        match link {
            Link::Item(item) => self.jump(item),
            Link::Stage(stage, id) => {
                self.set_stage(stage);
                self.jump(Item::Box(id));
            }
            Link::Ledger(at) => {
                let document = self.document();
                let entry = document.ledger.entries().get(at);
                if let Some((stage, id)) = entry.and_then(|entry| document.box_of(entry)) {
                    self.follow(Link::Stage(stage, id));
                }
            }
        }
    }
}

/// A buffer of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its first byte.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// From the step that writes it to the last that reads it.
    pub steps: std::ops::Range<usize>,
}

/// The arena over the steps of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The buffers.
    pub bars: Vec<Bar>,
    /// The size of the arena in bytes.
    pub size: u64,
    /// How many steps there are.
    pub steps: usize,
    /// Bytes that hold a value at each step.
    pub live: Vec<u64>,
}

impl Memory {
    /// The memory of a plan, with the document's sizes.
    pub fn of(plan: &Plan, sizes: &crate::Sizes) -> Self {
        let steps = plan.steps.len();
        let mut memory = Self {
            size: sizes.dim(&plan.arena_bytes()),
            steps,
            live: vec![0; steps],
            ..Self::default()
        };
        for buffer in &plan.buffers {
            let Place::Arena { offset, live } = &buffer.place else {
                continue;
            };
            let elements = sizes
                .dim(&buffer.elements)
                .div_ceil(buffer.dtype.block_elems().max(1) as u64);
            let bar = Bar {
                name: buffer.name.clone(),
                offset: sizes.dim(&Dim::clone(offset)),
                bytes: elements.saturating_mul(buffer.dtype.block_bytes() as u64),
                steps: live.first..(live.last + 1).min(steps.max(live.first + 1)),
            };
            for step in bar.steps.clone() {
                if let Some(live) = memory.live.get_mut(step) {
                    *live = live.saturating_add(bar.bytes);
                }
            }
            memory.bars.push(bar);
        }
        memory
    }

    /// The most bytes that hold values at once.
    pub fn peak(&self) -> u64 {
        self.live.iter().copied().max().unwrap_or(0)
    }
}
