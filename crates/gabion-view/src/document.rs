//! What is looked at: a graph at every stage of its lowering, as one list of boxes that says in which stages each is there.
//! Nothing of windows, pages or coordinates is here.

mod built;
mod collect;
mod cost;
mod reasons;
mod sizes;
mod steps;
mod tree;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use gabion_ir::Graph;
use gabion_lower::{Ledger, Lowered, PlanOrigins};
use gabion_plan::Plan;
use rustc_hash::FxHashMap;

pub use sizes::Sizes;
pub use tree::{Group, GroupId, Tree};

/// Names a box through all stages: a node keeps its key for as long as passes leave it in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u32);

/// Outputs have keys of their own, from here on.
pub(crate) const FIRST_OUTPUT: u32 = 0x8000_0000;
/// So have the parts of the plan.
pub(crate) const FIRST_STEP: u32 = 0xa000_0000;
pub(crate) const FIRST_PLAN_WEIGHT: u32 = 0xc000_0000;
pub(crate) const FIRST_PLAN_INPUT: u32 = 0xe000_0000;

/// The number of a box in [`Document::boxes`].
pub type BoxId = u32;

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A graph's or plan's input.
    Input,
    /// An output.
    Output,
    /// A weight.
    Weight,
    /// A constant.
    Constant,
    /// An operator that moves elements and computes nothing.
    Movement,
    /// An operator that computes.
    Op,
    /// A step of the plan.
    Step,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [
        Kind::Input,
        Kind::Output,
        Kind::Weight,
        Kind::Constant,
        Kind::Op,
        Kind::Movement,
        Kind::Step,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::Output => "output",
            Kind::Weight => "weight",
            Kind::Constant => "constant",
            Kind::Movement => "movement",
            Kind::Op => "op",
            Kind::Step => "step",
        }
    }
}

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The box that makes it.
    pub key: Key,
    /// Which of its results.
    pub result: u32,
}

/// One result of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// dtype and shape as printed: `f32[tokens, 576]`.
    pub ty: Arc<str>,
    /// How many bytes that is with the document's sizes.
    pub bytes: u64,
}

/// A node, an output, or a step, as it is in some consecutive stages. A node that a pass changes becomes another box with
/// the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewBox {
    /// The same from stage to stage.
    pub key: Key,
    /// The stages in which it is there.
    pub stages: Range<u32>,
    /// What it stands for.
    pub kind: Kind,
    /// The operator's or kernel's word.
    pub op: Arc<str>,
    /// The name that somebody gave it, or "".
    pub name: Arc<str>,
    /// The group it lies in.
    pub group: GroupId,
    /// In order.
    pub operands: Vec<Operand>,
    /// In order.
    pub results: Vec<Port>,
    /// Attributes: names and values as printed.
    pub attrs: Vec<(Arc<str>, Arc<str>)>,
    /// Floating-point operations with the document's sizes.
    pub flops: u64,
    /// Bytes read and written, with the document's sizes.
    pub bytes: u64,
    /// What of the first stage it was made from, ascending; a plan's step has those of the weights that
    /// it reads too. Empty in a plan that no graph was given with.
    pub origins: Vec<Key>,
    /// The line of code that built it.
    pub loc: Option<Arc<str>>,
    /// It depends on no input.
    pub floating: bool,
}

/// What the stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// The graph as it was built.
    Graph,
    /// The graph after a pass.
    Pass,
    /// The plan.
    Plan,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// `graph`, the pass's name, or `plan`.
    pub name: Arc<str>,
    /// What it is.
    pub kind: StageKind,
    /// How many rewrites the pass made.
    pub rewrites: usize,
    /// How long the pass took, in microseconds.
    pub time_us: u64,
    /// Its boxes, operands before users.
    pub boxes: Vec<BoxId>,
    by_key: FxHashMap<Key, BoxId>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Graph(Arc<Graph>),
    Plan(Arc<Plan>),
}

/// What a stage did to a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It is as it was.
    Same,
    /// It was not there.
    Added,
    /// It was there with other operands, attributes or types.
    Changed,
    /// The next stage does not have it.
    Removed,
}

/// The text form of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageText {
    /// The text.
    pub text: String,
    /// Which box each line shows, by line from 0.
    pub boxes: Vec<Option<BoxId>>,
}

impl StageText {
    /// The line, from 0, on which a box stands.
    pub fn line_of(&self, id: BoxId) -> Option<usize> {
        self.boxes.iter().position(|it| *it == Some(id))
    }
}

/// A graph at every stage.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is called.
    pub title: String,
    /// Every box of every stage.
    pub boxes: Vec<ViewBox>,
    /// The groups that they lie in.
    pub tree: Tree,
    /// The stages: the graph, then one for each pass, then the plan.
    pub stages: Vec<Stage>,
    /// What the passes noted.
    pub ledger: Ledger,
    /// The values that symbols have where bytes and operations are counted.
    pub sizes: Sizes,
    /// Faults of the graph: nodes and what is wrong. They are shown where they are.
    pub faults: Vec<(Option<BoxId>, String)>,
    /// What leads from lines of the ledger to boxes and back, made when it is first asked for.
    reasons: OnceLock<reasons::Reasons>,
}

impl Document {
    /// A graph alone.
    pub fn of_graph(graph: &Graph, sizes: &Sizes) -> Self {
        let mut collector = collect::Collector::new(graph, sizes.clone());
        let graph = Arc::new(graph.compacted());
        collector.graph_stage("graph", StageKind::Graph, &graph, 0, 0);
        collector.finish(Ledger::default(), None)
    }

    /// A graph at every stage of its lowering. `graph` is what was lowered; `lowered` should have been recorded
    /// ([`gabion_lower::LowerOptions::record`]), or only the last stages are there.
    pub fn of_lowered(graph: &Graph, lowered: &Lowered, sizes: &Sizes) -> Self {
        let mut collector = collect::Collector::new(graph, sizes.clone());
        let mut last = Arc::new(graph.compacted());
        collector.graph_stage("graph", StageKind::Graph, &last, 0, 0);
        for pass in &lowered.passes {
            if let Some(snapshot) = &pass.snapshot {
                last = snapshot.after.clone();
                let time = u64::try_from(pass.time.as_micros()).unwrap_or(u64::MAX);
                collector.graph_stage(pass.name, StageKind::Pass, &last, pass.rewrites, time);
            }
        }
        let plan = lowered.plan.as_ref().map(|plan| (plan, &lowered.origins));
        collector.finish(lowered.ledger.clone(), plan)
    }

    /// A plan alone.
    pub fn of_plan(plan: &Plan, sizes: &Sizes) -> Self {
        let graph = Graph::new(plan.name.as_str());
        let plan = Some((plan, &PlanOrigins::default()));
        collect::Collector::new(&graph, sizes.clone()).finish(Ledger::default(), plan)
    }

    /// The box.
    pub fn get(&self, id: BoxId) -> &ViewBox {
        &self.boxes[id as usize]
    }

    /// The box that has this key at this stage.
    pub fn find(&self, stage: usize, key: Key) -> Option<BoxId> {
        self.stages.get(stage)?.by_key.get(&key).copied()
    }

    /// The boxes that a box reads, at a stage in which it is there. An operand that the graph has not is left out.
    pub fn operands(&self, stage: usize, id: BoxId) -> impl Iterator<Item = (BoxId, u32)> {
        let operands = self.get(id).operands.iter();
        operands.filter_map(move |it| Some((self.find(stage, it.key)?, it.result)))
    }

    /// What a stage did to one of its boxes, compared with the stage before it. The first stage and the plan begin anew.
    pub fn change(&self, stage: usize, id: BoxId) -> Change {
        let begins = self.get(id).stages.start as usize == stage;
        if !begins || stage == 0 || self.stages[stage].kind != StageKind::Pass {
            return Change::Same;
        }
        match self.find(stage - 1, self.get(id).key) {
            Some(_) => Change::Changed,
            None => Change::Added,
        }
    }

    /// What the next stage does to a box of this one.
    pub fn next_change(&self, stage: usize, id: BoxId) -> Change {
        let next = stage + 1;
        let is_pass = |it: &Stage| it.kind == StageKind::Pass;
        if self.get(id).stages.end as usize != next || !self.stages.get(next).is_some_and(is_pass) {
            return Change::Same;
        }
        match self.find(next, self.get(id).key) {
            Some(_) => Change::Changed,
            None => Change::Removed,
        }
    }

    /// The text form of a stage, and which line shows which box. It is printed when it is asked for.
    pub fn text(&self, stage: usize) -> StageText {
        let at = &self.stages[stage];
        match &at.source {
            Source::Graph(graph) => collect::graph_text(graph, &at.by_key),
            Source::Plan(plan) => steps::plan_text(plan, &at.by_key),
        }
    }

    /// The plan, if lowering came that far.
    pub fn plan(&self) -> Option<&Plan> {
        self.stages.iter().find_map(|stage| match &stage.source {
            Source::Plan(plan) => Some(plan.as_ref()),
            Source::Graph(_) => None,
        })
    }

    /// Operations and bytes of a stage.
    pub fn totals(&self, stage: usize) -> (u64, u64) {
        let boxes = self.stages[stage].boxes.iter().map(|id| self.get(*id));
        boxes.fold((0, 0), |(flops, bytes), it| {
            (
                u64::saturating_add(flops, it.flops),
                u64::saturating_add(bytes, it.bytes),
            )
        })
    }
}
