//! What the page is given of a document: fields of all boxes side by side, and every word once. Numbers that repeat lie
//! together that way, which makes the file small and its reading quick.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::ReportOptions;
use super::ledger::LedgerData;
use super::orders::Orders;
use super::plan::PlanData;
use crate::Timings;
use crate::document::{BoxId, Document, Kind, StageKind, StageText};

/// Every word of a report once; others are said by their numbers.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Words<'d> {
    all: Vec<Cow<'d, str>>,
    #[serde(skip)]
    numbers: FxHashMap<Cow<'d, str>, u32>,
}

impl<'d> Words<'d> {
    /// The number of a word.
    pub(super) fn get(&mut self, word: &'d str) -> u32 {
        self.number(Cow::Borrowed(word))
    }

    /// The number of a word that was made for the report.
    pub(super) fn own(&mut self, word: String) -> u32 {
        self.number(Cow::Owned(word))
    }

    fn number(&mut self, word: Cow<'d, str>) -> u32 {
        if let Some(known) = self.numbers.get(&word) {
            return *known;
        }
        let new = self.all.len() as u32;
        self.all.push(word.clone());
        self.numbers.insert(word, new);
        new
    }
}

/// All that the page needs at once.
#[derive(Serialize)]
pub(super) struct Data<'d> {
    title: &'d str,
    words: Words<'d>,
    sizes: Vec<(&'d str, i64)>,
    kinds: [&'static str; 7],
    boxes: Boxes,
    groups: Groups,
    stages: Vec<StageData>,
    orders: Orders,
    ledger: LedgerData,
    faults: Vec<(Option<BoxId>, &'d str)>,
    plan: Option<PlanData>,
    runs: Vec<Run<'d>>,
}

/// Times of the plan's steps.
#[derive(Serialize)]
struct Run<'d> {
    name: &'d str,
    what: &'d str,
    step_ns: &'d [Option<u64>],
}

impl<'d> Run<'d> {
    fn new(timings: &'d Timings) -> Self {
        Self {
            name: &timings.name,
            what: &timings.whence,
            step_ns: &timings.steps_ns,
        }
    }
}

/// Boxes, field by field. Lists are a count for each box, and all their members one after another.
#[derive(Default, Serialize)]
struct Boxes {
    /// The number of its key among the document's keys.
    key: Vec<u32>,
    /// The document's keys by their numbers, each less the one before.
    keys: Vec<i64>,
    start: Vec<u32>,
    end: Vec<u32>,
    kind: Vec<u8>,
    op: Vec<u32>,
    name: Vec<u32>,
    group: Vec<u32>,
    flops: Vec<u64>,
    bytes: Vec<u64>,
    /// A word and one; 0 for none.
    loc: Vec<u32>,
    /// The line in the file that `loc` names, less that of the box before: neighbours mostly stand in neighbouring lines.
    line: Vec<i64>,
    n_operands: Vec<u32>,
    /// Keys.
    operands: Vec<u32>,
    /// The result of the operand's box that is read.
    results_read: Vec<u32>,
    n_results: Vec<u32>,
    types: Vec<u32>,
    sizes: Vec<u64>,
    /// A number of `attr_sets`.
    attrs: Vec<u32>,
    /// Names and values, flat.
    attr_sets: Vec<Vec<u32>>,
    /// 0 for itself alone, or a number of `origin_sets` and one.
    origins: Vec<u32>,
    /// Keys.
    origin_sets: Vec<Vec<u32>>,
}

/// Groups, field by field. Parents come first.
#[derive(Default, Serialize)]
struct Groups {
    name: Vec<u32>,
    path: Vec<u32>,
    parent: Vec<u32>,
    /// 0 for none.
    repeats: Vec<u32>,
}

#[derive(Serialize)]
struct StageData {
    name: String,
    kind: &'static str,
    rewrites: usize,
    time_us: u64,
    boxes: usize,
    added: u32,
    changed: u32,
    removed: u32,
    flops: u64,
    bytes: u64,
    /// The stage whose text is this stage's too.
    text: usize,
}

impl<'d> Data<'d> {
    pub(super) fn new(document: &'d Document, options: &'d ReportOptions, texts: &[usize]) -> Self {
        let mut words = Words::default();
        let boxes = Boxes::new(document, &mut words);
        let mut groups = Groups::default();
        for group in &document.tree.groups {
            groups.name.push(words.get(&group.name));
            groups.path.push(words.get(&group.path));
            groups.parent.push(group.parent.0);
            groups.repeats.push(group.repeats.unwrap_or(0));
        }
        let ledger = LedgerData::new(document, &mut words);
        let plan = document
            .plan()
            .and_then(|plan| PlanData::new(document, plan, &options.histograms, &mut words));
        let faults = document.faults.iter();
        let bindings = document.sizes.bindings().iter();
        Self {
            title: &document.title,
            sizes: bindings
                .map(|(symbol, value)| (symbol.name(), value))
                .collect(),
            kinds: Kind::ALL.map(Kind::word),
            boxes,
            groups,
            stages: stages(document, texts),
            orders: Orders::new(document),
            ledger,
            faults: faults.map(|(id, what)| (*id, what.as_str())).collect(),
            plan,
            runs: options.timings.iter().map(Run::new).collect(),
            words,
        }
    }
}

impl Boxes {
    fn new<'d>(document: &'d Document, words: &mut Words<'d>) -> Self {
        let mut data = Self::default();
        let mut keys = FxHashMap::default();
        let mut last_key = 0;
        for it in &document.boxes {
            let next = keys.len() as u32;
            keys.entry(it.key).or_insert_with(|| {
                let key = i64::from(it.key.0);
                data.keys.push(key - std::mem::replace(&mut last_key, key));
                next
            });
        }
        let mut attr_sets: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut origin_sets: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut last_line = 0;
        for it in &document.boxes {
            data.key.push(keys[&it.key]);
            data.start.push(it.stages.start);
            data.end.push(it.stages.end);
            let kind = Kind::ALL.iter().position(|kind| *kind == it.kind);
            data.kind.push(kind.unwrap_or(0) as u8);
            data.op.push(words.get(&it.op));
            data.name.push(words.get(&it.name));
            data.group.push(it.group.0);
            data.flops.push(it.flops);
            data.bytes.push(it.bytes);
            let loc = it.loc.as_deref().and_then(|loc| loc.rsplit_once(':'));
            data.loc
                .push(loc.map_or(0, |(file, _)| words.get(file) + 1));
            let line = loc.and_then(|(_, line)| line.parse().ok());
            let line = line.unwrap_or(last_line);
            data.line
                .push(line - std::mem::replace(&mut last_line, line));
            // An operand that no stage has is a fault; it is told among the faults.
            let known = it
                .operands
                .iter()
                .filter_map(|of| Some((keys.get(&of.key)?, of.result)));
            let before = data.operands.len();
            for (key, result) in known {
                data.operands.push(*key);
                data.results_read.push(result);
            }
            data.n_operands.push((data.operands.len() - before) as u32);
            data.n_results.push(it.results.len() as u32);
            for port in &it.results {
                data.types.push(words.get(&port.ty));
                data.sizes.push(port.bytes);
            }
            let attrs = it.attrs.iter();
            let attrs = attrs.flat_map(|(name, value)| [words.get(name), words.get(value)]);
            let attrs = set_number(&mut attr_sets, &mut data.attr_sets, attrs.collect());
            data.attrs.push(attrs);
            data.origins.push(match it.origins[..] {
                [only] if only == it.key => 0,
                _ => {
                    let origins = it.origins.iter().filter_map(|key| keys.get(key).copied());
                    let origins = origins.collect();
                    set_number(&mut origin_sets, &mut data.origin_sets, origins) + 1
                }
            });
        }
        data
    }
}

fn set_number(
    numbers: &mut FxHashMap<Vec<u32>, u32>,
    sets: &mut Vec<Vec<u32>>,
    set: Vec<u32>,
) -> u32 {
    *numbers.entry(set).or_insert_with_key(|set| {
        sets.push(set.clone());
        (sets.len() - 1) as u32
    })
}

/// The stages, with how many boxes each added, changed, and took from the stage before.
fn stages(document: &Document, texts: &[usize]) -> Vec<StageData> {
    let mut stages: Vec<StageData> = Vec::new();
    for (at, stage) in document.stages.iter().enumerate() {
        let (flops, bytes) = document.totals(at);
        stages.push(StageData {
            name: stage.name.to_string(),
            kind: match stage.kind {
                StageKind::Graph => "graph",
                StageKind::Pass => "pass",
                StageKind::Plan => "plan",
            },
            rewrites: stage.rewrites,
            time_us: stage.time_us,
            boxes: stage.boxes.len(),
            added: 0,
            changed: 0,
            removed: 0,
            flops,
            bytes,
            text: texts[at],
        });
    }
    for it in &document.boxes {
        let (start, end) = (it.stages.start as usize, it.stages.end as usize);
        let is_pass = |at: usize| {
            document
                .stages
                .get(at)
                .is_some_and(|s| s.kind == StageKind::Pass)
        };
        if start > 0 && is_pass(start) {
            match document.find(start - 1, it.key) {
                Some(_) => stages[start].changed += 1,
                None => stages[start].added += 1,
            }
        }
        if is_pass(end) && document.find(end, it.key).is_none() {
            stages[end].removed += 1;
        }
    }
    stages
}

/// The text of a stage as the page reads it.
#[derive(Serialize)]
pub(super) struct Text<'t> {
    text: &'t str,
    /// The box of each line and one, as the difference to the line before that has one; a line without a box is "".
    boxes: Vec<Line>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Box(i64),
    None(&'static str),
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t StageText) -> Self {
        let mut last = 0;
        let line = |id: &Option<BoxId>| match id {
            Some(id) => {
                let difference = i64::from(*id) - last;
                last = i64::from(*id);
                Line::Box(difference)
            }
            None => Line::None(""),
        };
        Self {
            text: &text.text,
            boxes: text.boxes.iter().map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_number() {
        let mut words = Words::default();
        let numbers = [
            words.get("add"),
            words.own("mul".into()),
            words.own("add".into()),
        ];
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!(
            serde_json::to_string(&words).ok().as_deref(),
            Some(r#"["add","mul"]"#)
        );
    }

    #[test]
    fn lines_tell_their_boxes_by_differences() {
        let text = StageText {
            text: "a\nb\nc\nd".into(),
            boxes: vec![Some(7), None, Some(8), Some(2)],
        };
        let json = serde_json::to_value(Text::new(&text)).expect("JSON");
        assert_eq!(json["boxes"], serde_json::json!([7, "", 1, -6]));
    }
}
