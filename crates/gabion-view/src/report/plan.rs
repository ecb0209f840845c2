//! The plan's weights and buffers, for the panels beside the graph.

use std::collections::BTreeMap;

use gabion_plan::{Buffer, Layout, Part, PartSource, Place, Plan, PlanWeight, words as plan_words};
use serde::Serialize;

use super::data::Words;
use crate::document::{Document, FIRST_PLAN_WEIGHT, FIRST_STEP, Key};
use crate::{Histogram, Taken};

/// What the plan's panels show. Words are numbers of [`Words`].
#[derive(Serialize)]
pub(super) struct PlanData {
    target: String,
    /// The plan's stage.
    stage: u32,
    /// The box of each step.
    steps: Vec<u32>,
    weights: Vec<WeightData>,
    buffers: Buffers,
    arena: u64,
    histograms: Vec<HistogramData>,
}

/// How the values that a part takes of a stored tensor are spread.
#[derive(Serialize)]
struct HistogramData {
    /// The smallest value, the largest, the mean, the standard deviation.
    values: [f32; 4],
    not_finite: u32,
    /// One block in so many is counted.
    step: usize,
    bins: Vec<u32>,
}

impl HistogramData {
    fn new(it: &Histogram) -> Self {
        Self {
            values: [it.range.0, it.range.1, it.mean.0, it.mean.1],
            not_finite: it.not_finite,
            step: it.step,
            bins: it.bins.clone(),
        }
    }
}

/// Source, stored type, recipe, first row, end row, bytes of those rows, the number of their histogram and one or 0.
type PartData = (u32, u32, u32, usize, usize, u64, usize);

#[derive(Serialize)]
struct WeightData {
    name: u32,
    ty: u32,
    layout: &'static str,
    /// Its box.
    id: u32,
    bytes: u64,
    parts: Vec<PartData>,
    /// First row, end row, arrangement, what is done with the products.
    segments: Vec<(usize, usize, u32, u32)>,
}

/// Buffers, field by field.
#[derive(Default, Serialize)]
struct Buffers {
    name: Vec<u32>,
    /// dtype and elements.
    ty: Vec<u32>,
    bytes: Vec<u64>,
    /// 0 input, 1 arena, 2 constant.
    place: Vec<u8>,
    offset: Vec<u64>,
    first: Vec<u32>,
    last: Vec<u32>,
}

impl PlanData {
    pub(super) fn new<'d>(
        document: &'d Document,
        plan: &'d Plan,
        histograms: &'d BTreeMap<Taken, Histogram>,
        words: &mut Words<'d>,
    ) -> Option<Self> {
        let stage = document.stages.len().checked_sub(1)?;
        let find = |key: usize| document.find(stage, Key(key as u32));
        let steps = (0..plan.steps.len()).filter_map(|at| find(FIRST_STEP as usize + at));
        let steps = steps.collect();
        let done = plan_words::after_products(plan);
        let numbers: BTreeMap<&Taken, usize> = histograms.keys().zip(1..).collect();
        let weights = plan.weights.iter().enumerate().filter_map(|(at, weight)| {
            let id = find(FIRST_PLAN_WEIGHT as usize + at)?;
            let histogram = |part: &Part| numbers.get(&Taken::of(part)?).copied();
            let parts = parts_data(document, weight, histogram, words);
            Some(weight_data(weight, id, parts, &done[at], words))
        });
        let weights = weights.collect();
        let mut buffers = Buffers::default();
        for buffer in &plan.buffers {
            buffers.push(document, buffer, words);
        }
        Some(Self {
            histograms: histograms.values().map(HistogramData::new).collect(),
            target: plan.target.clone(),
            stage: stage as u32,
            steps,
            weights,
            buffers,
            arena: document.sizes.dim(&plan.arena_bytes()),
        })
    }
}

fn parts_data<'d>(
    document: &Document,
    weight: &'d PlanWeight,
    histogram: impl Fn(&Part) -> Option<usize>,
    words: &mut Words<'d>,
) -> Vec<PartData> {
    let sizes = &document.sizes;
    let part = |part: &'d Part| {
        let source = match &part.source {
            PartSource::Checkpoint(name) => words.get(name),
            PartSource::Constant(_) => words.get("a constant of the graph"),
        };
        let stored = sizes.bytes(&part.stored);
        let rows = part.stored.shape.first().map_or(1, |d| sizes.dim(d)).max(1);
        (
            source,
            words.own(part.stored.to_string()),
            words.own(plan_words::recipe(&part.recipe)),
            part.rows.start,
            part.rows.end,
            stored / rows * (part.rows.len() as u64).min(rows),
            histogram(part).unwrap_or(0),
        )
    };
    weight.parts.iter().map(part).collect()
}

fn weight_data<'d>(
    weight: &'d PlanWeight,
    id: u32,
    parts: Vec<PartData>,
    done: &[String],
    words: &mut Words<'d>,
) -> WeightData {
    let segments = weight.segments.iter().enumerate().map(|(at, segment)| {
        let arrangement = plan_words::arrangement(segment.arrangement);
        let done = done.get(at).cloned().unwrap_or_default();
        (
            segment.rows.start,
            segment.rows.end,
            words.own(arrangement),
            words.own(done),
        )
    });
    let segments = segments.collect();
    WeightData {
        name: words.get(&weight.name),
        ty: words.own(weight.ty.to_string()),
        layout: match weight.layout {
            Layout::Tiles => "tiles",
            Layout::Dense => "dense",
        },
        id,
        bytes: parts.iter().fold(0, |sum, it| sum.saturating_add(it.5)),
        parts,
        segments,
    }
}

impl Buffers {
    fn push<'d>(&mut self, document: &Document, buffer: &'d Buffer, words: &mut Words<'d>) {
        let sizes = &document.sizes;
        let elements = sizes.dim(&buffer.elements);
        let blocks = elements.div_ceil(buffer.dtype.block_elems().max(1) as u64);
        let (place, offset, first, last) = match &buffer.place {
            Place::Input(_) => (0, 0, 0, 0),
            Place::Arena { offset, live } => (1, sizes.dim(offset), live.first, live.last),
            Place::Constant(_) => (2, 0, 0, 0),
        };
        self.name.push(words.get(&buffer.name));
        self.ty
            .push(words.own(format!("{}[{}]", buffer.dtype, buffer.elements)));
        self.bytes
            .push(blocks.saturating_mul(buffer.dtype.block_bytes() as u64));
        self.place.push(place);
        self.offset.push(offset);
        self.first.push(first as u32);
        self.last.push(last as u32);
    }
}
