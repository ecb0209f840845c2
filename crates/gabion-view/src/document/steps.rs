//! The boxes of a plan: inputs, weights, steps, outputs. A step's operands are the steps that last wrote what it reads.

use std::sync::Arc;

use gabion_lower::PlanOrigins;
use gabion_plan::profile::step_cost;
use gabion_plan::{BufferId, Kernel, Place, Plan, Source as ViewSource, View, WeightId};
use gabion_tensor::TensorType;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::collect::{Collector, keys};
use super::tree::GroupId;
use super::{
    BoxId, FIRST_OUTPUT, FIRST_PLAN_INPUT, FIRST_PLAN_WEIGHT, FIRST_STEP, Key, Kind, Operand, Port,
    Source, Stage, StageKind, StageText, ViewBox,
};

/// Where the value of a buffer comes from, as steps go by.
struct Writers {
    of: FxHashMap<BufferId, Operand>,
}

impl Writers {
    fn operand(&self, view: &View) -> Option<Operand> {
        match view.source {
            ViewSource::Weight(id) => Some(weight_operand(id)),
            ViewSource::Buffer(id) => self.of.get(&id).copied(),
        }
    }
}

fn weight_operand(id: WeightId) -> Operand {
    Operand {
        key: Key(FIRST_PLAN_WEIGHT + id.0),
        result: 0,
    }
}

impl Collector {
    /// Adds the plan as the last stage.
    pub(super) fn plan_stage(&mut self, plan: &Arc<Plan>, origins: &PlanOrigins) {
        self.sizes.bind_plan(plan);
        let mut writers = Writers {
            of: FxHashMap::default(),
        };
        let mut boxes = Vec::new();
        for (at, input) in plan.inputs.iter().enumerate() {
            let key = Key(FIRST_PLAN_INPUT + at as u32);
            boxes.push(self.blank(key, Kind::Input, "input", &input.name, &input.ty));
            writers.of.insert(input.buffer, Operand { key, result: 0 });
        }
        let mut waiting = self.plan_weights(plan, origins);
        for number in 0..plan.steps.len() {
            let mut new = self.step(plan, number, &mut writers);
            let mut from = origins.step(number).clone();
            for id in weights_of(plan, &plan.steps[number]) {
                from.unite(origins.weight(id));
                boxes.extend(waiting.get_mut(id.0 as usize).and_then(Option::take));
            }
            new.origins = keys(&from);
            boxes.push(new);
        }
        boxes.extend(waiting.into_iter().flatten());
        for (at, output) in plan.outputs.iter().enumerate() {
            let key = Key(FIRST_OUTPUT + at as u32);
            let mut new = self.blank(key, Kind::Output, "output", &output.name, &output.ty);
            new.operands = writers.operand(&output.view).into_iter().collect();
            new.origins = vec![key];
            boxes.push(new);
        }
        let stage = Stage {
            name: self.words.get("plan"),
            kind: StageKind::Plan,
            rewrites: 0,
            time_us: 0,
            boxes: Vec::new(),
            by_key: FxHashMap::default(),
            source: Source::Plan(plan.clone()),
        };
        self.push_stage(stage, boxes);
    }

    /// The weights, each in the module of the first step that reads it. They come right before that step, as in graphs: groups
    /// are met in the order of the steps.
    fn plan_weights(&mut self, plan: &Plan, origins: &PlanOrigins) -> Vec<Option<ViewBox>> {
        let mut used: FxHashMap<WeightId, &str> = FxHashMap::default();
        for step in &plan.steps {
            for id in weights_of(plan, step) {
                used.entry(id).or_insert(&step.scope);
            }
        }
        let mut weights = Vec::with_capacity(plan.weights.len());
        for (at, weight) in plan.weights.iter().enumerate() {
            let id = WeightId(at as u32);
            let key = Key(FIRST_PLAN_WEIGHT + id.0);
            let mut new = self.blank(key, Kind::Weight, "weight", &weight.name, &weight.ty);
            if let Some(scope) = used.get(&id) {
                new.group = self.tree.group(scope);
            }
            let stored = weight
                .parts
                .iter()
                .map(|part| self.sizes.bytes(&part.stored));
            new.bytes = super::cost::sum(stored);
            new.floating = true;
            new.origins = keys(origins.weight(id));
            let layout = match weight.layout {
                gabion_plan::Layout::Tiles => "tiles",
                gabion_plan::Layout::Dense => "dense",
            };
            let parts = weight.parts.len().to_string();
            let attrs = [("parts", parts.as_str()), ("layout", layout)];
            new.attrs = attrs
                .map(|(name, value)| (self.words.get(name), self.words.get(value)))
                .to_vec();
            weights.push(Some(new));
        }
        weights
    }

    /// A box of one result at the top, which reads nothing and costs nothing.
    pub(super) fn blank(
        &mut self,
        key: Key,
        kind: Kind,
        op: &str,
        name: &str,
        ty: &TensorType,
    ) -> ViewBox {
        ViewBox {
            key,
            stages: 0..0,
            kind,
            op: self.words.get(op),
            name: self.words.get(name),
            group: GroupId::ROOT,
            operands: Vec::new(),
            results: vec![Port {
                ty: self.words.get(&ty.to_string()),
                bytes: self.sizes.bytes(ty),
            }],
            attrs: Vec::new(),
            flops: 0,
            bytes: 0,
            origins: Vec::new(),
            loc: None,
            floating: false,
        }
    }

    fn step(&mut self, plan: &Plan, number: usize, writers: &mut Writers) -> ViewBox {
        let step = &plan.steps[number];
        let key = Key(FIRST_STEP + number as u32);
        let mut operands: Vec<Operand> = match &step.kernel {
            Kernel::Matmul(matmul) => vec![weight_operand(matmul.weight)],
            _ => Vec::new(),
        };
        operands.extend(step.reads.iter().filter_map(|view| writers.operand(view)));
        let written: Vec<BufferId> = step
            .writes
            .iter()
            .filter_map(|view| match view.source {
                ViewSource::Buffer(id) => Some(id),
                ViewSource::Weight(_) => None,
            })
            .collect();
        for (result, buffer) in written.iter().enumerate() {
            let result = result as u32;
            // What is written in place continues what was there.
            let in_place = matches!(plan.buffer(*buffer).place, Place::Input(_));
            if let Some(before) = writers.of.insert(*buffer, Operand { key, result })
                && in_place
                && !operands.contains(&before)
            {
                operands.push(before);
            }
        }
        let results = step.writes.iter().map(|view| {
            let ty = TensorType::new(plan.dtype(view), view.shape.clone());
            Port {
                ty: self.words.get(&ty.to_string()),
                bytes: self.sizes.bytes(&ty),
            }
        });
        let results = results.collect();
        let names: Vec<String> = written
            .iter()
            .map(|id| format!("%{}", plan.buffer(*id).name))
            .collect();
        let cost = step_cost(plan, step, self.sizes.bindings());
        let mut attrs = vec![(self.words.get("step"), self.words.get(&number.to_string()))];
        if let Ok(Value::Object(object)) = serde_json::to_value(&step.kernel)
            && let Some(Value::Object(fields)) = object.values().next()
        {
            for (name, value) in fields {
                attrs.push((self.words.get(name), self.words.get(&value.to_string())));
            }
        }
        ViewBox {
            key,
            stages: 0..0,
            kind: Kind::Step,
            op: self.words.get(step.kernel.name()),
            name: self.words.get(&names.join(", ")),
            group: self.tree.group(&step.scope),
            operands,
            results,
            attrs,
            flops: cost.flops,
            bytes: cost.bytes(),
            origins: Vec::new(),
            loc: None,
            floating: false,
        }
    }
}

/// The weights that a step reads.
fn weights_of(plan: &Plan, step: &gabion_plan::Step) -> Vec<WeightId> {
    let mut weights: Vec<WeightId> = match &step.kernel {
        Kernel::Matmul(matmul) => vec![matmul.weight],
        _ => Vec::new(),
    };
    weights.extend(step.reads.iter().filter_map(|view| match view.source {
        ViewSource::Weight(id) => Some(id),
        ViewSource::Buffer(_) => None,
    }));
    debug_assert!(
        weights
            .iter()
            .all(|id| (id.0 as usize) < plan.weights.len())
    );
    weights
}

/// The text of a plan, and the box of each of its statements' lines.
pub(super) fn plan_text(plan: &Plan, by_key: &FxHashMap<Key, BoxId>) -> StageText {
    let text = plan.to_string();
    let mut inputs = 0;
    let mut weights = 0;
    let mut current = None;
    let boxes = text
        .lines()
        .map(|line| {
            // Statements are indented by two; what is indented further belongs to the last of them.
            let statement = line
                .strip_prefix("  ")
                .filter(|it| !it.starts_with(' ') && *it != "}");
            let Some(statement) = statement else {
                return if line.starts_with("  ") {
                    current
                } else {
                    None
                };
            };
            let (word, rest) = statement.split_once(' ').unwrap_or((statement, ""));
            let key = match word {
                "input" => {
                    inputs += 1;
                    Some(FIRST_PLAN_INPUT + inputs - 1)
                }
                "weight" => {
                    weights += 1;
                    Some(FIRST_PLAN_WEIGHT + weights - 1)
                }
                "step" => {
                    let number = rest.split(' ').next().and_then(|it| it.parse::<u32>().ok());
                    number.map(|number| FIRST_STEP + number)
                }
                _ => None,
            };
            current = key.and_then(|key| by_key.get(&Key(key)).copied());
            current
        })
        .collect();
    StageText { text, boxes }
}
