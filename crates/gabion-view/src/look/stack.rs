//! What is said of a weight of the plan: its parts, its segments with what follows their products, and the ledger's reasons.

use std::ops::Range;
use std::sync::Arc;

use gabion_lower::{Entry, Outcome};
use gabion_plan::{Part, PartSource, PlanWeight, words};

use super::Look;
use crate::document::{Document, FIRST_PLAN_WEIGHT, Key, Kind};
use crate::place::Item;

/// A part of a stacked weight, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Rows of the stack.
    pub rows: Range<usize>,
    /// The tensor that they come from, or `constant`.
    pub source: String,
    /// How they are stored: the format's name.
    pub stored: String,
    /// The rows of that tensor.
    pub taken: Range<usize>,
    /// What is done to them while loading.
    pub recipe: String,
}

/// Rows of a stacked weight that are used alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// Rows of the stack.
    pub rows: Range<usize>,
    /// Which of them are computed together.
    pub arrangement: String,
    /// What follows the product with them.
    pub after: String,
}

/// A weight of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Its number in the plan.
    pub number: usize,
    /// Its parts, in the order of rows.
    pub parts: Vec<PartRow>,
    /// Its segments, in the order of rows.
    pub segments: Vec<SegmentRow>,
    /// The numbers of the ledger's lines about it and its products.
    pub reasons: Vec<usize>,
}

impl Stack {
    fn new(document: &Document, number: usize) -> Option<Self> {
        let plan = document.plan()?;
        let weight = plan.weights.get(number)?;
        let after = words::after_products(plan);
        let segments = weight.segments.iter().zip(&after[number]);
        let segments = segments.map(|(segment, after)| SegmentRow {
            rows: segment.rows.clone(),
            arrangement: words::arrangement(segment.arrangement),
            after: match after.as_str() {
                "" => words::AS_IT_IS.to_owned(),
                after => after.to_owned(),
            },
        });
        let last = document.stages.len().checked_sub(1)?;
        let own = document.find(last, Key(FIRST_PLAN_WEIGHT + number as u32));
        Some(Self {
            number,
            parts: parts(weight),
            segments: segments.collect(),
            reasons: own.map_or_else(Vec::new, |id| document.entries_of(id)),
        })
    }
}

/// The parts of a weight, with the rows that each fills.
fn parts(weight: &PlanWeight) -> Vec<PartRow> {
    let mut at = 0;
    let row = |part: &Part| {
        let rows = at..at + part.rows.len();
        at = rows.end;
        PartRow {
            rows,
            source: match &part.source {
                PartSource::Checkpoint(name) => name.clone(),
                PartSource::Constant(_) => "constant".to_owned(),
            },
            stored: part.stored.to_string(),
            taken: part.rows.clone(),
            recipe: words::recipe(&part.recipe),
        }
    };
    weight.parts.iter().map(row).collect()
}

/// What became of a line's candidate, and why: `refused: it has an epilogue already`.
pub fn outcome_text(entry: &Entry) -> String {
    match &entry.outcome {
        Outcome::Fired(what) => format!("fired: {what}"),
        Outcome::Refused(why) => format!("refused: {why}"),
    }
}

impl Look<'_> {
    /// The number of the plan's weight that the selection is, is loaded into, or reads.
    fn plan_weight_number(&self) -> Option<usize> {
        let document = self.document();
        let plan = document.plan()?;
        let Item::Box(id) = self.selection()? else {
            return None;
        };
        let it = document.get(id);
        let of_key = |key: Key| {
            let number = key.0.checked_sub(FIRST_PLAN_WEIGHT)? as usize;
            (number < plan.weights.len()).then_some(number)
        };
        let read = it.operands.iter().find_map(|operand| of_key(operand.key));
        let holds = |weight: &PlanWeight| {
            let from = |part: &Part| matches!(&part.source, PartSource::Checkpoint(name) if **name == *it.name);
            *weight.name == *it.name || weight.parts.iter().any(from)
        };
        let by_name = || {
            let is_weight = it.kind == Kind::Weight;
            is_weight
                .then(|| plan.weights.iter().position(holds))
                .flatten()
        };
        of_key(it.key).or(read).or_else(by_name)
    }

    /// What is said of the plan's weight that the selection is, is loaded into, or reads; made when something changed.
    pub fn stack(&mut self) -> Option<Arc<Stack>> {
        let revision = self.revision();
        if let Some((known, stack)) = &self.known_stack
            && *known == revision
        {
            return stack.clone();
        }
        let number = self.plan_weight_number();
        let stack = number.and_then(|number| Stack::new(self.document(), number));
        let stack = stack.map(Arc::new);
        self.known_stack = Some((revision, stack.clone()));
        stack
    }
}
