//! Where a row of a result or a byte of a weight comes from and goes to: from the checkpoint's file over
//! the plan's weight and its packed bytes to the steps that read it, with what the passes noted.
//!
//! Nothing is loaded for an answer but the bytes that it shows. The program's `explain` prints these
//! answers; a viewer may ask for the same.

mod find;
mod nodes;
mod places;
mod story;

use std::sync::Arc;

use gabion_checkpoint::{Checkpoint, CheckpointError, TensorInfo};
use gabion_cpu::PackedLayout;
use gabion_ir::text::Names;
use gabion_ir::text::print::node_text;
use gabion_ir::{Graph, NodeId, Op, Origins};
use gabion_lower::{LowerError, LowerOptions, Lowered, Outcome, lower};
use gabion_plan::profile::step_name;
use gabion_plan::{Kernel, LoadError, Part, PartSource, Plan, Target, WeightId, words};

pub use find::names_like;
use find::{Asked, Hit, nearest};
use nodes::{made_from, same_nodes};
pub use story::{
    BlockStory, ByteRole, ByteStory, Explanation, LedgerLine, NodeAfter, NodeStory, PackedStory,
    StepStory, StoredStory, UseStory,
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Nothing is called that.
    #[error(
        "there is no value, module, plan weight or tensor `{name}`{}",
        nearest_text(nearest)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What resembles it.
        nearest: Vec<String>,
    },
    /// No such tensor.
    #[error("{files}: no tensor `{name}`{}", nearest_text(nearest))]
    NoTensor {
        /// Where it was looked for.
        files: String,
        /// What was asked for.
        name: String,
        /// What resembles it, among the graph's names and the file's.
        nearest: Vec<String>,
    },
    /// No such node.
    #[error(
        "there is no node `{name}`: expected an id 0..{nodes} or a value's printed name with %{}",
        nearest_text(nearest)
    )]
    NoNode {
        /// What was asked for.
        name: String,
        /// How many there are.
        nodes: usize,
        /// What resembles it.
        nearest: Vec<String>,
    },
    /// Several modules are called that.
    #[error(
        "`{name}` is the end of {count} modules: say which, for example {}",
        quoted(examples)
    )]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many.
        count: usize,
        /// The first of them.
        examples: Vec<String>,
    },
    /// A row or column beyond the end.
    #[error("{what}: {axis} {asked} is outside 0..{size}")]
    Range {
        /// What has so many.
        what: String,
        /// `row` or `column`.
        axis: &'static str,
        /// What was asked for.
        asked: usize,
        /// How many there are.
        size: usize,
    },
    /// A byte beyond the end of a tensor.
    #[error("{file}: tensor `{tensor}` has {size} bytes: byte {asked} is outside 0..{size}")]
    Byte {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What was asked for.
        asked: usize,
        /// How many there are.
        size: usize,
    },
    /// A module that has no product of its own, and weights that are no rows of exactly one.
    #[error(
        "module `{module}` has no product of its own: {why}; ask for {}",
        quoted(instead)
    )]
    NoOwnProduct {
        /// The module.
        module: String,
        /// Why its rows are not rows of another's product.
        why: String,
        /// What can be asked for, with `--value`.
        instead: Vec<String>,
    },
    /// A value whose rows are no rows of weights.
    #[error(
        "{what} is no product with a weight, so no row of it is a row of a weight: it is `{op}` of {}",
        from.join(", ")
    )]
    NoProduct {
        /// The value or module.
        what: String,
        /// The operator.
        op: String,
        /// The nearest products, weights and inputs that it is computed from.
        from: Vec<String>,
    },
    /// A row or element that cannot be followed for sure.
    #[error("{what}: row {row} is not followed: {why}")]
    NotFollowed {
        /// What has the row.
        what: String,
        /// The row.
        row: usize,
        /// Why not, and what can be asked.
        why: String,
    },
    /// The checkpoint's tensor is another than the graph's.
    #[error("{file}: tensor `{tensor}`: expected the shape {expected:?}, found {found:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape that the graph has.
        expected: Vec<usize>,
        /// The stored shape.
        found: Vec<usize>,
    },
    /// Rows that the plan leaves out.
    #[error(
        "{what}: row {row} is never loaded: no plan weight has it for this, as nothing that is returned needs it"
    )]
    NotLoaded {
        /// What has the row.
        what: String,
        /// The row.
        row: usize,
    },
    /// The plan's weight cannot be laid out.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The checkpoint has no such tensor, or it cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The graph cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

impl ExplainError {
    /// The message says which file it is about. Of all others, who asked knows which model or graph.
    pub fn names_its_file(&self) -> bool {
        match self {
            Self::NoTensor { .. }
            | Self::Byte { .. }
            | Self::Shape { .. }
            | Self::Load(_)
            | Self::Checkpoint(_) => true,
            Self::Unknown { .. }
            | Self::NoNode { .. }
            | Self::Ambiguous { .. }
            | Self::Range { .. }
            | Self::NoOwnProduct { .. }
            | Self::NoProduct { .. }
            | Self::NotFollowed { .. }
            | Self::NotLoaded { .. }
            | Self::Lower(_) => false,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn nearest_text(names: &[String]) -> String {
    if names.is_empty() {
        return "; `gabion lower MODEL --stage graph` shows all names".to_owned();
    }
    format!("; the nearest names are {}", quoted(names))
}

/// A lowered graph and the checkpoint that its weights are in.
pub struct Explainer<'a> {
    source: Graph,
    names: Names,
    lowered: Lowered,
    plan: Plan,
    checkpoint: &'a Checkpoint,
}

impl<'a> Explainer<'a> {
    /// Lowers the graph for a target.
    ///
    /// # Errors
    /// A graph that cannot be lowered.
    pub fn new(
        graph: &Graph,
        target: &Target,
        checkpoint: &'a Checkpoint,
    ) -> Result<Self, ExplainError> {
        let options = LowerOptions {
            record: true,
            ..LowerOptions::default()
        };
        let mut lowered = lower(graph, target, &options)?;
        // Without `stop_after` a plan is always selected.
        let plan = lowered.plan.take();
        let plan = plan.ok_or_else(|| LoadError::Setup("lowering gave no plan".to_owned()))?;
        let source = graph.compacted();
        Ok(Self {
            names: Names::new(&source),
            source,
            lowered,
            plan,
            checkpoint,
        })
    }

    /// The plan that the answers are of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Row `row` (and element `col` of it, if given) of what `name` names: a value's printed name, a
    /// module's path or its end (`layers.3.qkv`), a plan weight or a tensor of the checkpoint. A row
    /// of a product is the row of the weight that it is a product with: element `row` of the result's
    /// last axis.
    ///
    /// # Errors
    /// Nothing of that name, a row beyond the end, a value that is no product.
    pub fn value(
        &self,
        name: &str,
        row: usize,
        col: Option<usize>,
    ) -> Result<Explanation, ExplainError> {
        let found = self.find(name, Asked { row, col })?;
        let Some(first) = found.hits.first() else {
            return Err(ExplainError::NotLoaded {
                what: found.matched,
                row,
            });
        };
        let (part, _) = self.part_of(first.weight, first.row);
        let concerned = self.concerned(&found.hits);
        let mut origins = self.origins_of(&self.plan.weight(first.weight).parts[part]);
        if let Some(product) = found.product {
            origins.unite(&Origins::from(product));
        }
        let stored = match &found.stored {
            Some(it) => Some(self.stored(self.info(&it.tensor)?, it.flat, it.whole_row)?),
            None => None,
        };
        let mut uses = Vec::new();
        for hit in &found.hits {
            uses.push(self.used(hit, &[hit.column], found.product)?);
        }
        Ok(Explanation {
            asked: match col {
                Some(col) => format!("row {row}, column {col} of {name}"),
                None => format!("row {row} of {name}"),
            },
            matched: found.matched,
            others: found.others,
            stored,
            uses,
            ledger: self.ledger(&origins, &concerned),
        })
    }

    /// Byte `byte` of a tensor of the checkpoint, by its name there or in the file.
    ///
    /// # Errors
    /// No such tensor, or a byte beyond its end.
    pub fn weight_byte(&self, tensor: &str, byte: usize) -> Result<Explanation, ExplainError> {
        let info = self.info(tensor)?;
        if byte >= info.byte_len() {
            return Err(ExplainError::Byte {
                file: self.checkpoint.path_of(info).display().to_string(),
                tensor: tensor.to_owned(),
                asked: byte,
                size: info.byte_len(),
            });
        }
        let view = self.checkpoint.view(&info.name)?;
        let dtype = view.tensor.dtype();
        let block = byte / dtype.block_bytes();
        let role = places::role(dtype, byte % dtype.block_bytes());
        let first = block * dtype.block_elems();
        let flat_of = |k: usize| places::to_graph(info, first + k);
        let at = flat_of(role.elements.first().copied().unwrap_or(0));
        let mut stored = self.stored(info, at, false)?;
        let columns = places::columns(info);
        let column_of = |k: usize| (first + k) % columns;
        stored.byte = Some(ByteStory {
            in_tensor: byte,
            in_file: info.byte_range().start + byte,
            role: role.role,
            columns: role.elements.iter().map(|&k| column_of(k)).collect(),
        });
        let (mut uses, mut hits) = (Vec::new(), Vec::new());
        let mut origins = Origins::NONE;
        for (weight, first_row, part) in self.parts_with(&info.name) {
            self.part_info(part, &info.name)?;
            let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
            for &k in role.elements.iter().take(2) {
                let after = places::after_recipe(part, flat_of(k));
                let (row, column) = after.ok_or_else(|| ExplainError::NotFollowed {
                    what: format!("tensor `{}`", info.name),
                    row: at / columns,
                    why: "its recipe is none that is followed".to_owned(),
                })?;
                match places.iter_mut().find(|(it, _)| *it == row) {
                    Some((_, columns)) => columns.push(column),
                    None if part.rows.contains(&row) => places.push((row, vec![column])),
                    None => {}
                }
            }
            for (row, columns) in places {
                let hit = Hit {
                    weight,
                    row: first_row + row - part.rows.start,
                    column: columns[0],
                };
                uses.push(self.used(&hit, &columns, None)?);
                hits.push(hit);
                origins.unite(&self.origins_of(part));
            }
        }
        Ok(Explanation {
            asked: format!("byte {byte} of {tensor}"),
            matched: format!("tensor `{}`", info.name),
            others: Vec::new(),
            stored: Some(stored),
            uses,
            ledger: self.ledger(&origins, &self.concerned(&hits)),
        })
    }

    /// What became of a node of the graph as it was built: `id` is its number or a printed name with
    /// `%`.
    ///
    /// # Errors
    /// No such node.
    pub fn node(&self, id: &str) -> Result<NodeStory, ExplainError> {
        let node = self.find_node(id)?;
        let origins = Origins::from(node);
        let it = self.source.node(node);
        let after = self.lowered.passes.iter().filter_map(|pass| {
            let snapshot = pass.snapshot.as_ref()?;
            let (before, after) = (
                made_from(&snapshot.before, &origins),
                made_from(&snapshot.after, &origins),
            );
            if same_nodes((&snapshot.before, &before), (&snapshot.after, &after)) {
                return None;
            }
            let names = Names::new(&snapshot.after);
            let text = |id: &NodeId| {
                let text = node_text(&snapshot.after, *id, &names);
                text.trim().to_owned()
            };
            Some(NodeAfter {
                pass: pass.name.to_owned(),
                nodes: after.iter().map(text).collect(),
            })
        });
        let plan_origins = &self.lowered.origins;
        let steps = plan_origins.steps_of(&origins);
        let weights = plan_origins.weights_of(&origins);
        Ok(NodeStory {
            id: node.index(),
            text: node_text(&self.source, node, &self.names).trim().to_owned(),
            op: it.op.name().to_owned(),
            module: it.scope.as_deref().unwrap_or_default().to_owned(),
            built_at: it.loc.as_ref().map(ToString::to_string),
            after: after.collect(),
            steps: steps.map(|step| step_name(&self.plan, step)).collect(),
            weights: weights
                .map(|at| self.plan.weights[at].name.clone())
                .collect(),
            ledger: self.ledger(&self.touching(node), &[]),
        })
    }

    /// The tensor that the graph or the file calls so.
    fn named(&self, name: &str) -> Option<&TensorInfo> {
        let mut tensors = self.checkpoint.tensors().values();
        let own = self.checkpoint.info(name);
        own.or_else(|| tensors.find(|info| info.stored_name == name))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, ExplainError> {
        self.named(name).ok_or_else(|| {
            let tensors = self.checkpoint.tensors().values();
            let mut names: Vec<&str> = self.checkpoint.names().collect();
            names.extend(tensors.map(|info| info.stored_name.as_str()));
            names.sort_unstable();
            names.dedup();
            let files = self.checkpoint.files().iter();
            let files: Vec<String> = files.map(|it| it.path.display().to_string()).collect();
            ExplainError::NoTensor {
                files: files.join(", "),
                name: name.to_owned(),
                nearest: nearest(name, names.into_iter()),
            }
        })
    }

    /// The checkpoint's tensor of a part, if it has the shape that the part expects.
    fn part_info(&self, part: &Part, tensor: &str) -> Result<&TensorInfo, ExplainError> {
        let info = self.info(tensor)?;
        let shape = part.stored.shape.as_fixed();
        self.check_shape(info, shape.as_deref())?;
        Ok(info)
    }

    fn check_shape(
        &self,
        info: &TensorInfo,
        expected: Option<&[usize]>,
    ) -> Result<(), ExplainError> {
        match expected {
            Some(expected) if expected != info.shape.as_slice() => Err(ExplainError::Shape {
                file: self.checkpoint.path_of(info).display().to_string(),
                tensor: info.name.clone(),
                expected: expected.to_vec(),
                found: info.shape.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The part that has a row of a plan weight, and which of the part's loaded rows it is.
    fn part_of(&self, weight: WeightId, row: usize) -> (usize, usize) {
        let mut first = 0;
        for (at, part) in self.plan.weight(weight).parts.iter().enumerate() {
            if row < first + part.rows.len() {
                return (at, row - first);
            }
            first += part.rows.len();
        }
        (0, row)
    }

    fn row_order(&self, tensor: &str) -> Option<Arc<[u32]>> {
        let info = self.checkpoint.info(tensor)?;
        let map = info.row_map?;
        let rows = info.shape.first().copied().unwrap_or(1);
        Some(map.source_rows(rows).map(|row| row as u32).collect())
    }

    /// The element `flat` of a tensor in the graph's order of rows, as the file has it.
    fn stored(
        &self,
        info: &TensorInfo,
        flat: usize,
        whole_row: bool,
    ) -> Result<StoredStory, ExplainError> {
        let view = self.checkpoint.view(&info.name)?;
        let (dtype, columns) = (view.tensor.dtype(), places::columns(info));
        let (graph_row, column) = (flat / columns, flat % columns);
        let row = info
            .row_map
            .map_or(graph_row, |map| map.source_row(graph_row));
        let at = row * columns + column;
        let block = at / dtype.block_elems();
        let bytes = view.tensor.bytes();
        let block_bytes = block * dtype.block_bytes()..(block + 1) * dtype.block_bytes();
        let encoded = bytes.get(block_bytes.clone()).unwrap_or_default();
        let base = info.byte_range().start;
        let row_bytes = dtype.bytes_for(&[columns]).unwrap_or(0);
        let range = if whole_row {
            base + row * row_bytes..base + (row + 1) * row_bytes
        } else {
            base + block_bytes.start..base + block_bytes.end
        };
        Ok(StoredStory {
            file: self.checkpoint.path_of(info).display().to_string(),
            tensor: info.name.clone(),
            stored_name: info.stored_name.clone(),
            format: dtype.name().to_owned(),
            shape: info.shape.clone(),
            row,
            graph_row,
            reordered: info.row_map.is_some(),
            column,
            bytes: range,
            block: places::block(dtype, encoded, at, columns, base + block_bytes.start),
            value: places::decode(dtype, encoded, at % dtype.block_elems()),
            byte: None,
        })
    }

    /// What becomes of a plan weight's row: its packed bytes at some columns, and the steps.
    fn used(
        &self,
        hit: &Hit,
        columns: &[usize],
        product: Option<NodeId>,
    ) -> Result<UseStory, ExplainError> {
        let weight = self.plan.weight(hit.weight);
        let (part, _) = self.part_of(hit.weight, hit.row);
        let of = &weight.parts[part];
        let order = |tensor: &str| self.row_order(tensor);
        let layout = PackedLayout::of(weight, &order)?;
        let packed = columns.iter().filter_map(|&column| {
            let element = layout.locate(hit.row, column)?;
            Some(PackedStory::of(column, &element))
        });
        let segment = weight
            .segments
            .iter()
            .position(|s| s.rows.contains(&hit.row));
        let mut value = None;
        if let (PartSource::Checkpoint(tensor), Some(&column)) = (&of.source, columns.first()) {
            let (_, part_row) = self.part_of(hit.weight, hit.row);
            let flat = places::before_recipe(of, of.rows.start + part_row, column);
            if let (Some(flat), Some(info)) = (flat, self.checkpoint.info(tensor)) {
                let stored = self.stored(info, flat, false)?.value;
                value = stored.map(|value| places::apply(of, value));
            }
        }
        Ok(UseStory {
            weight: weight.name.clone(),
            weight_id: hit.weight.0 as usize,
            ty: weight.ty.to_string(),
            row: hit.row,
            part,
            part_rows: of.rows.clone(),
            recipe: of.recipe.iter().map(words::transform).collect(),
            value,
            layout: match weight.layout {
                gabion_plan::Layout::Tiles => "tiles",
                gabion_plan::Layout::Dense => "dense",
            },
            segment,
            segment_rows: segment.map(|at| weight.segments[at].rows.clone()),
            arrangement: segment.map(|at| words::arrangement(weight.segments[at].arrangement)),
            partner: segment.and_then(|at| places::partner(&weight.segments[at], hit.row)),
            packed_bytes: layout.bytes(),
            packed: packed.collect(),
            steps: self.steps_of(hit, segment, product),
        })
    }

    /// The steps that read a row; if a product was asked about, those that were made from it.
    fn steps_of(
        &self,
        hit: &Hit,
        segment: Option<usize>,
        product: Option<NodeId>,
    ) -> Vec<StepStory> {
        let mut stories = Vec::new();
        for (number, step) in self.plan.steps.iter().enumerate() {
            let matmul = match &step.kernel {
                Kernel::Matmul(matmul) if matmul.weight == hit.weight => Some(matmul),
                _ => None,
            };
            let asked = product.is_none_or(|product| self.is_of(number, product));
            if !asked || !self.step_reads(number, hit.weight) {
                continue;
            }
            let output = matmul.zip(segment).and_then(|(m, at)| m.outputs.get(at));
            let rows = segment.map(|at| self.plan.weight(hit.weight).segments[at].clone());
            let write = step.writes.get(output.map_or(0, |output| output.write));
            let buffer = write.and_then(gabion_plan::View::buffer);
            stories.push(StepStory {
                step: number,
                name: step_name(&self.plan, number),
                prologue: matmul.and_then(|m| m.prologue).map(words::norm),
                epilogue: output.map_or_else(Vec::new, |output| {
                    output.epilogue.iter().map(words::epilogue).collect()
                }),
                result: buffer.map(|id| format!("%{}", self.plan.buffer(id).name)),
                column: output
                    .zip(rows)
                    .map(|(output, rows)| places::result_column(output, &rows, hit.row)),
            });
        }
        stories
    }

    /// The source nodes of a part's tensor: the weight, what only loading computes from it, and who
    /// reads that.
    fn origins_of(&self, part: &Part) -> Origins {
        let PartSource::Checkpoint(name) = &part.source else {
            return Origins::NONE;
        };
        let is_it = |id: &NodeId| matches!(self.source.op(*id), Op::Weight(w) if *w.name == **name);
        let weight = self.source.node_ids().find(is_it);
        weight.map_or(Origins::NONE, |weight| self.touching(weight))
    }

    /// The rows of stored tensors that plan weights' rows are, after what is done to them while loading.
    fn concerned(&self, hits: &[Hit]) -> Vec<(&str, usize)> {
        let rows = hits.iter().filter_map(|hit| {
            let (part, row) = self.part_of(hit.weight, hit.row);
            let part = &self.plan.weight(hit.weight).parts[part];
            match &part.source {
                PartSource::Checkpoint(tensor) => Some((tensor.as_str(), part.rows.start + row)),
                PartSource::Constant(_) => None,
            }
        });
        rows.collect()
    }

    /// The lines about some nodes; those about rows of a stack, only if one of `rows` is among them or none are asked for.
    fn ledger(&self, origins: &Origins, rows: &[(&str, usize)]) -> Vec<LedgerLine> {
        let lines = self.lowered.ledger.about(origins);
        let lines = lines.filter(|entry| {
            let mut rows = rows.iter();
            rows.len() == 0 || rows.any(|(tensor, row)| entry.concerns(tensor, *row))
        });
        lines
            .map(|entry| {
                let (fired, said) = match &entry.outcome {
                    Outcome::Fired(what) => (true, what),
                    Outcome::Refused(why) => (false, why),
                };
                LedgerLine {
                    pass: entry.pass.to_owned(),
                    candidate: entry.candidate.clone(),
                    fired,
                    said: said.clone(),
                }
            })
            .collect()
    }
}
