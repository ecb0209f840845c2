//! Collects the boxes of graphs, stage by stage.

use std::sync::{Arc, OnceLock};

use gabion_ir::text::Names;
use gabion_ir::{Graph, NodeId, Op, Origins};
use gabion_lower::{Ledger, PlanOrigins};
use gabion_plan::Plan;
use rustc_hash::FxHashMap;

use super::cost::op_cost;
use super::tree::TreeBuilder;
use super::{
    BoxId, Document, FIRST_OUTPUT, Key, Kind, Operand, Port, Sizes, Source, Stage, StageKind,
    StageText, ViewBox,
};

/// Interned strings: graphs say the same words again and again.
#[derive(Default)]
pub(super) struct Words(FxHashMap<String, Arc<str>>);

impl Words {
    pub(super) fn get(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let new: Arc<str> = word.into();
        self.0.insert(word.to_owned(), new.clone());
        new
    }
}

/// A document that grows by stages.
pub(super) struct Collector {
    pub(super) title: String,
    pub(super) sizes: Sizes,
    pub(super) words: Words,
    pub(super) tree: TreeBuilder,
    boxes: Vec<ViewBox>,
    stages: Vec<Stage>,
}

impl Collector {
    pub(super) fn new(graph: &Graph, mut sizes: Sizes) -> Self {
        sizes.bind_graph(graph);
        Self {
            title: graph.name.to_string(),
            sizes,
            words: Words::default(),
            tree: TreeBuilder::new(),
            boxes: Vec::new(),
            stages: Vec::new(),
        }
    }

    /// Adds the boxes of a stage; those that are as they were in the stage before are there for longer.
    pub(super) fn push_stage(&mut self, mut stage: Stage, boxes: Vec<ViewBox>) {
        let number = self.stages.len() as u32;
        let last = self.stages.last();
        for mut new in boxes {
            let old = last.and_then(|it| it.by_key.get(&new.key).copied());
            let id = match old {
                Some(old) if same(&self.boxes[old as usize], &new) => {
                    self.boxes[old as usize].stages.end = number + 1;
                    old
                }
                _ => {
                    new.stages = number..number + 1;
                    self.boxes.push(new);
                    (self.boxes.len() - 1) as u32
                }
            };
            stage.by_key.insert(self.boxes[id as usize].key, id);
            stage.boxes.push(id);
        }
        self.stages.push(stage);
    }

    pub(super) fn graph_stage(
        &mut self,
        name: &str,
        kind: StageKind,
        graph: &Arc<Graph>,
        rewrites: usize,
        time_us: u64,
    ) {
        let mut boxes = Vec::with_capacity(graph.len());
        let mut floating: FxHashMap<NodeId, bool> = FxHashMap::default();
        let inputs = graph.inputs().iter();
        let inputs: FxHashMap<NodeId, &str> =
            inputs.map(|input| (input.node, &*input.name)).collect();
        for id in graph.canonical_order() {
            let operands = graph.operands(id);
            let is_input = matches!(graph.op(id), Op::Input(_));
            let free = !is_input
                && operands
                    .iter()
                    .all(|v| floating.get(&v.node) == Some(&true));
            floating.insert(id, free);
            let operands = operands.iter().map(|v| Operand {
                key: Key(v.node.index() as u32),
                result: v.result,
            });
            boxes.push(self.node(graph, &inputs, id, operands.collect(), free));
        }
        for (at, output) in graph.outputs().iter().enumerate() {
            boxes.push(self.output(graph, at, &output.name.clone()));
        }
        let stage = Stage {
            name: self.words.get(name),
            kind,
            rewrites,
            time_us,
            boxes: Vec::new(),
            by_key: FxHashMap::default(),
            source: Source::Graph(graph.clone()),
        };
        self.push_stage(stage, boxes);
    }

    fn node(
        &mut self,
        graph: &Graph,
        inputs: &FxHashMap<NodeId, &str>,
        id: NodeId,
        operands: Vec<Operand>,
        floating: bool,
    ) -> ViewBox {
        let node = graph.node(id);
        let group = self.tree.group(node.scope.as_deref().unwrap_or_default());
        let results: Vec<Port> = node
            .results
            .iter()
            .map(|ty| Port {
                ty: self.words.get(&ty.to_string()),
                bytes: self.sizes.bytes(ty),
            })
            .collect();
        let kind = kind_of(&node.op);
        let name = match &node.op {
            Op::Weight(weight) => self.words.get(&weight.name),
            Op::Input(_) => self.words.get(inputs.get(&id).copied().unwrap_or_default()),
            _ => {
                let names = node.names.iter().flatten();
                let names: Vec<String> = names.map(|name| format!("%{name}")).collect();
                self.words.get(&names.join(", "))
            }
        };
        let attrs = node.op.attrs();
        let attrs = attrs.iter().map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (self.words.get(name), self.words.get(&shortened(&text)))
        });
        let attrs = attrs.collect();
        let cost = op_cost(graph, id, &self.sizes);
        ViewBox {
            key: Key(id.index() as u32),
            stages: 0..0,
            kind,
            op: self.words.get(node.op.name()),
            name,
            group,
            operands,
            results,
            attrs,
            flops: cost.flops,
            bytes: cost.bytes,
            origins: match &node.origins {
                own if own.is_empty() => vec![Key(id.index() as u32)],
                origins => keys(origins),
            },
            loc: node
                .loc
                .as_ref()
                .map(|loc| self.words.get(&loc.to_string())),
            floating,
        }
    }

    fn output(&mut self, graph: &Graph, at: usize, name: &str) -> ViewBox {
        let value = graph.outputs()[at].value;
        let key = Key(FIRST_OUTPUT + at as u32);
        ViewBox {
            operands: vec![Operand {
                key: Key(value.node.index() as u32),
                result: value.result,
            }],
            origins: vec![key],
            ..self.blank(key, Kind::Output, "output", name, graph.value_type(value))
        }
    }

    pub(super) fn finish(
        mut self,
        ledger: Ledger,
        plan: Option<(&Plan, &PlanOrigins)>,
    ) -> Document {
        if let Some((plan, origins)) = plan {
            self.plan_stage(&Arc::new(plan.clone()), origins);
        }
        let tree = self.tree.finish(&mut self.boxes, &self.stages);
        Document {
            title: self.title,
            boxes: self.boxes,
            tree,
            stages: self.stages,
            ledger,
            sizes: self.sizes,
            faults: Vec::new(),
            reasons: OnceLock::new(),
        }
    }
}

/// Nodes of the source graph are the boxes of the first stage.
pub(super) fn keys(origins: &Origins) -> Vec<Key> {
    origins.ids().iter().copied().map(Key).collect()
}

/// The same box in two stages, but for the stages.
fn same(old: &ViewBox, new: &ViewBox) -> bool {
    let stages = old.stages.clone();
    *old == ViewBox {
        stages,
        ..new.clone()
    }
}

/// Attributes such as constants may be very long.
const LONGEST_ATTRIBUTE: usize = 400;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_ATTRIBUTE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Whether an operator moves elements and computes nothing.
pub(super) fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Broadcast(_)
            | Op::Slice(_)
            | Op::Split(_)
            | Op::Concat(_)
    )
}

/// For colours and filters; an operator that is not named computes.
fn kind_of(op: &Op) -> Kind {
    match op {
        Op::Input(_) => Kind::Input,
        Op::Weight(_) => Kind::Weight,
        Op::Constant(_) => Kind::Constant,
        op if moves(op) => Kind::Movement,
        _ => Kind::Op,
    }
}

/// The text of a graph, and the box of each line that begins with a value's name.
pub(super) fn graph_text(graph: &Graph, by_key: &FxHashMap<Key, BoxId>) -> StageText {
    let text = graph.to_text();
    let names = Names::new(graph);
    let by_name: FxHashMap<String, BoxId> = names
        .order()
        .iter()
        .filter_map(|id| {
            let key = Key(id.index() as u32);
            Some((names.node(*id), *by_key.get(&key)?))
        })
        .collect();
    let boxes = text
        .lines()
        .map(|line| {
            let (values, _) = line.trim_start().split_once(" = ")?;
            by_name.get(values).copied()
        })
        .collect();
    StageText { text, boxes }
}
