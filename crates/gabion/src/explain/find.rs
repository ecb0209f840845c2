//! What a name names, and the plan's weights that have a row of it.

mod names;
mod products;
mod projection;

use std::collections::BTreeSet;

use gabion_checkpoint::TensorInfo;
use gabion_ir::{NodeId, Op, Origins, Value};
use gabion_lower::weight_only::is_weight_only;
use gabion_plan::{Kernel, Layout, Part, PartSource, Source, WeightId};

use super::{ExplainError, Explainer, places};
use names::ends_like;
use products::is_product;

pub use names::names_like;
pub(super) use names::nearest;

/// A row of a plan's weight, and the column of it that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) weight: WeightId,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// An element of a stored tensor, counted in the graph's order of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) tensor: String,
    pub(super) flat: usize,
    /// It is the first of a stored row, all of which was asked for.
    pub(super) whole_row: bool,
}

/// What was found.
pub(super) struct Found {
    pub(super) matched: String,
    pub(super) others: Vec<String>,
    pub(super) hits: Vec<Hit>,
    /// What is shown of the checkpoint; none for a constant of the graph.
    pub(super) stored: Option<Element>,
    /// The product that was asked about, or none: of a stored element every use is told.
    pub(super) product: Option<NodeId>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) row: usize,
    pub(super) col: Option<usize>,
}

impl Explainer<'_> {
    pub(super) fn find(&self, name: &str, asked: Asked) -> Result<Found, ExplainError> {
        let bare = name.strip_prefix('%');
        if let Some(value) = self.value_of(bare.unwrap_or(name)) {
            return self.find_value(value, asked);
        }
        if bare.is_none() {
            if let Some(at) = self.plan.weights.iter().position(|w| w.name == name) {
                return self.find_plan_weight(WeightId(at as u32), asked);
            }
            if let Some(info) = self.named(name) {
                return self.find_stored(tensor_words(info), &info.name, asked);
            }
            if let Some(found) = self.find_module(name, asked)? {
                return Ok(found);
            }
        }
        Err(ExplainError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, self.known_names().iter().map(String::as_str)),
        })
    }

    /// A value by its printed name, without `%`.
    fn value_of(&self, name: &str) -> Option<Value> {
        let values = self.names.order().iter().flat_map(|&id| {
            let results = self.source.node(id).results.len() as u32;
            (0..results).map(move |result| Value::new(id, result))
        });
        let mut values = values.filter(|value| self.names.get(*value) == name);
        values.next()
    }

    fn known_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = names::scopes(&self.source);
        names.extend(self.plan.weights.iter().map(|w| w.name.clone()));
        let tensors = self.checkpoint.tensors().values();
        names.extend(tensors.flat_map(|it| [it.name.clone(), it.stored_name.clone()]));
        names.extend(names::value_names(&self.source).map(|name| format!("%{name}")));
        names
    }

    pub(super) fn find_node(&self, id: &str) -> Result<NodeId, ExplainError> {
        let found = match id.strip_prefix('%') {
            Some(name) => self.value_of(name).map(|value| value.node),
            None => id.parse().ok().and_then(|id| self.source.node_at(id)),
        };
        found.ok_or_else(|| {
            let names = self.known_names();
            let values = names.iter().filter(|name| name.starts_with('%'));
            ExplainError::NoNode {
                name: id.to_owned(),
                nodes: self.source.len(),
                nearest: nearest(id, values.map(String::as_str)),
            }
        })
    }

    fn find_plan_weight(&self, id: WeightId, asked: Asked) -> Result<Found, ExplainError> {
        let weight = self.plan.weight(id);
        let mut matched = format!("plan weight `{}`: {}", weight.name, weight.ty);
        check("row", &matched, asked.row, weight.rows())?;
        let column = asked.col.unwrap_or(0);
        let columns = weight.row_elements();
        check("column", &matched, column, columns)?;
        let (part, part_row) = self.part_of(id, asked.row);
        let part = &weight.parts[part];
        let row = part.rows.start + part_row;
        let stored = self.element(&mut matched, part, row, asked, columns)?;
        // A plan's weight may have a tensor's name and other rows than it.
        let same = |info: &&TensorInfo| {
            let at = asked.row * places::columns(info) + column;
            let ours = stored
                .as_ref()
                .is_some_and(|it| it.tensor == info.name && it.flat == at);
            ours && places::columns(info) == columns
        };
        let named = self.checkpoint.info(&weight.name);
        let others = named.filter(|info| !same(info)).map(tensor_words);
        Ok(Found {
            matched,
            others: others.into_iter().collect(),
            hits: vec![Hit {
                weight: id,
                row: asked.row,
                column,
            }],
            stored,
            product: None,
        })
    }

    /// The stored element that is shown of row `row` after a part's recipe. Says so in `matched` if
    /// the row is no row of the file.
    fn element(
        &self,
        matched: &mut String,
        part: &Part,
        row: usize,
        asked: Asked,
        columns: usize,
    ) -> Result<Option<Element>, ExplainError> {
        let PartSource::Checkpoint(tensor) = &part.source else {
            return Ok(None);
        };
        let info = self.part_info(part, tensor)?;
        let place = |column| places::before_recipe(part, row, column);
        let Some(flat) = place(asked.col.unwrap_or(0)) else {
            return Err(not_followed(
                matched,
                row,
                "its recipe is none that is followed",
            ));
        };
        let stored_columns = places::columns(info);
        let is_row = columns == stored_columns
            && flat.is_multiple_of(columns)
            && (0..columns).all(|column| place(column) == Some(flat + column));
        if asked.col.is_none() && !is_row {
            matched.push_str(
                "; its elements are no row of the file: its first one is shown, --col has others",
            );
        }
        Ok(Some(Element {
            tensor: tensor.clone(),
            flat,
            whole_row: asked.col.is_none() && is_row,
        }))
    }

    /// Every plan weight's row that a stored row, or one element of it, is loaded into.
    fn find_stored(
        &self,
        matched: String,
        tensor: &str,
        asked: Asked,
    ) -> Result<Found, ExplainError> {
        let info = self.info(tensor)?;
        let columns = places::columns(info);
        check(
            "row",
            &matched,
            asked.row,
            info.shape.first().copied().unwrap_or(1),
        )?;
        check("column", &matched, asked.col.unwrap_or(0), columns)?;
        let first = asked.row * columns;
        let flats = match asked.col {
            Some(col) => first + col..first + col + 1,
            None => first..first + columns,
        };
        let mut hits = Vec::new();
        for (id, first_row, part) in self.parts_with(tensor) {
            self.part_info(part, tensor)?;
            let mut rows = Vec::new();
            for flat in flats.clone() {
                let after = places::after_recipe(part, flat);
                let (row, column) = after.ok_or_else(|| {
                    not_followed(&matched, asked.row, "its recipe is none that is followed")
                })?;
                rows.push((part.rows.contains(&row).then_some(row), column));
            }
            let Some(&(row, column)) = rows.first() else {
                continue;
            };
            if rows.iter().any(|(other, _)| *other != row) {
                let name = &self.plan.weight(id).name;
                let why = format!(
                    "its elements are in several rows of plan weight `{name}`: ask for one of them with --col"
                );
                return Err(not_followed(&matched, asked.row, &why));
            }
            if let Some(row) = row {
                let row = first_row + row - part.rows.start;
                let weight = id;
                hits.push(Hit {
                    weight,
                    row,
                    column,
                });
            }
        }
        hits.sort_by_key(|hit| self.plan.weight(hit.weight).layout == Layout::Dense);
        Ok(Found {
            matched,
            others: Vec::new(),
            hits,
            stored: Some(Element {
                tensor: tensor.to_owned(),
                flat: flats.start,
                whole_row: asked.col.is_none(),
            }),
            product: None,
        })
    }

    /// The parts of plan weights that a tensor is loaded into, with the plan weight and the part's
    /// first row in it.
    pub(super) fn parts_with<'s>(
        &'s self,
        tensor: &'s str,
    ) -> impl Iterator<Item = (WeightId, usize, &'s Part)> + 's {
        let weights = self.plan.weights.iter().enumerate();
        weights.flat_map(move |(at, weight)| {
            let mut first = 0;
            weight.parts.iter().filter_map(move |part| {
                let place = (WeightId(at as u32), first, part);
                first += part.rows.len();
                let ours = matches!(&part.source, PartSource::Checkpoint(it) if it == tensor);
                ours.then_some(place)
            })
        })
    }

    pub(super) fn is_of(&self, step: usize, node: NodeId) -> bool {
        self.lowered
            .origins
            .step(step)
            .contains(node.index() as u32)
    }

    pub(super) fn step_reads(&self, step: usize, weight: WeightId) -> bool {
        let step = &self.plan.steps[step];
        let read = |view: &gabion_plan::View| view.source == Source::Weight(weight);
        matches!(&step.kernel, Kernel::Matmul(matmul) if matmul.weight == weight)
            || step.reads.iter().any(read)
    }

    fn shown(&self, value: Value) -> String {
        let node = self.source.node(value.node);
        let ty = &node.results[value.result as usize];
        let scope = node.scope.as_deref().unwrap_or_default();
        let inside = if scope.is_empty() {
            String::new()
        } else {
            format!(" in `{scope}`")
        };
        let name = self.names.get(value);
        format!("%{name} = {}: {ty}{inside}", node.op.name())
    }

    fn find_value(&self, value: Value, asked: Asked) -> Result<Found, ExplainError> {
        let matched = format!("value {}", self.shown(value));
        if let Op::Weight(weight) = self.source.op(value.node) {
            let shape = &self.source.value_type(value).shape;
            let shape = shape.as_fixed();
            self.check_shape(self.info(&weight.name)?, shape.as_deref())?;
            return self.find_stored(matched, &weight.name, asked);
        }
        let last = self.source.value_type(value).shape.last();
        let Some(size) = last.and_then(|d| d.as_fixed()) else {
            return Err(self.no_product(value, &matched));
        };
        check("row", &matched, asked.row, size as usize)?;
        match self.product_row(value, asked.row) {
            Some(Some(row)) => self.find_product(matched, &row, asked),
            Some(None) => Err(not_followed(
                &matched,
                asked.row,
                "what is done to the product's weight is none that is followed",
            )),
            None => Err(self.no_product(value, &matched)),
        }
    }

    /// A module by its path, or by the end of it with gaps: `layers.3.qkv`.
    fn find_module(&self, name: &str, asked: Asked) -> Result<Option<Found>, ExplainError> {
        let scopes = names::scopes(&self.source);
        let scope = if scopes.contains(name) {
            name.to_owned()
        } else {
            let mut matching = scopes.iter().filter(|scope| ends_like(scope, name));
            let Some(first) = matching.next() else {
                return Ok(None);
            };
            let others: Vec<&String> = matching.collect();
            if !others.is_empty() {
                let examples = [first].into_iter().chain(others.iter().copied());
                return Err(ExplainError::Ambiguous {
                    name: name.to_owned(),
                    count: 1 + others.len(),
                    examples: examples.take(3).cloned().collect(),
                });
            }
            first.clone()
        };
        let order = self.names.order();
        let inside = order
            .iter()
            .copied()
            .filter(|id| self.is_inside(*id, &scope));
        let inside: Vec<NodeId> = inside.collect();
        let products = inside.iter().copied();
        let products = products.filter(|id| is_product(&self.source, *id));
        let products: Vec<NodeId> = products.collect();
        let Some(&first) = products.first() else {
            if let Some(found) = self.find_projection(&scope, &inside, asked)? {
                return Ok(Some(found));
            }
            let last = inside.last().copied().unwrap_or(order[0]);
            return Err(self.no_product(Value::new(last, 0), &format!("module `{scope}`")));
        };
        let mut found = self.find_value(Value::new(first, 0), asked)?;
        found.matched = format!("module `{scope}`, its product {}", found.matched);
        let others = products[1..].iter();
        found.others = others.map(|id| self.shown(Value::new(*id, 0))).collect();
        Ok(Some(found))
    }

    fn is_inside(&self, id: NodeId, scope: &str) -> bool {
        let own = self.source.node(id).scope.as_deref().unwrap_or_default();
        let rest = own.strip_prefix(scope);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// What the passes' notes about a node are noted at: the node, and of one that only loading computes (a weight, its
    /// cast, a concat of weights) who reads it.
    pub(super) fn touching(&self, node: NodeId) -> Origins {
        match is_weight_only(&self.source, Value::new(node, 0)) {
            true => self.readers(node),
            false => Origins::from(node),
        }
    }

    /// A weight, what is computed from it alone, and who reads that.
    fn readers(&self, weight: NodeId) -> Origins {
        let mut ids = BTreeSet::from([weight]);
        let mut stack = vec![weight];
        while let Some(id) = stack.pop() {
            for result in 0..self.source.node(id).results.len() as u32 {
                for (user, _) in self.source.users(Value::new(id, result)) {
                    if ids.insert(user) && is_weight_only(&self.source, Value::new(user, 0)) {
                        stack.push(user);
                    }
                }
            }
        }
        ids.into_iter().map(|id| id.index() as u32).collect()
    }
}

fn check(axis: &'static str, what: &str, asked: usize, size: usize) -> Result<(), ExplainError> {
    if asked < size {
        return Ok(());
    }
    Err(ExplainError::Range {
        what: what.to_owned(),
        axis,
        asked,
        size,
    })
}

fn tensor_words(info: &TensorInfo) -> String {
    let order = match info.row_map {
        Some(_) => ", rows counted in the graph's order",
        None => "",
    };
    let (name, stored, shape) = (&info.name, &info.stored, &info.shape);
    format!("tensor `{name}`: {stored}{shape:?}{order}")
}

fn not_followed(what: &str, row: usize, why: &str) -> ExplainError {
    ExplainError::NotFollowed {
        what: what.to_owned(),
        row,
        why: why.to_owned(),
    }
}
