//! What a name names, and the plan's weights that have a row of it.

use std::collections::BTreeSet;

use gabion_ir::{Graph, NodeId, Op, Origins, Value};
use gabion_lower::recipe::{PartRecipe, is_weight_only, parts_of, transposed_parts_of};
use gabion_plan::{Layout, PartSource, WeightId};
use gabion_tensor::BinaryFn;

use super::{ExplainError, Explainer};

/// A row of a plan's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) weight: WeightId,
    pub(super) row: usize,
}

/// What was found.
pub(super) struct Found {
    pub(super) matched: String,
    pub(super) others: Vec<String>,
    pub(super) hits: Vec<Hit>,
    /// The source nodes that the name stands for.
    pub(super) origins: Origins,
}

/// A row of a stored tensor after a recipe.
struct SourceRow {
    product: Option<NodeId>,
    tensor: String,
    row: usize,
}

impl Explainer<'_> {
    pub(super) fn find(&self, name: &str, row: usize) -> Result<Found, ExplainError> {
        let bare = name.strip_prefix('%');
        if let Some(value) = self.value_of(bare.unwrap_or(name)) {
            return self.find_value(value, row);
        }
        if bare.is_none() {
            if let Some(at) = self.plan.weights.iter().position(|w| w.name == name) {
                return self.find_plan_weight(WeightId(at as u32), row);
            }
            if self.checkpoint.info(name).is_some() {
                return self.find_tensor(name, row);
            }
            if let Some(found) = self.find_module(name, row)? {
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
        let mut names: BTreeSet<String> = self.scopes();
        names.extend(self.plan.weights.iter().map(|w| w.name.clone()));
        names.extend(self.checkpoint.names().map(str::to_owned));
        for id in self.source.node_ids() {
            let own = self.source.node(id).names.iter().flatten();
            names.extend(own.map(|name| format!("%{name}")));
        }
        names
    }

    /// Every module path, outer ones too.
    fn scopes(&self) -> BTreeSet<String> {
        let mut scopes = BTreeSet::new();
        for id in self.source.node_ids() {
            let scope = self.source.node(id).scope.as_deref().unwrap_or_default();
            let ends = scope.match_indices('.').map(|(at, _)| at);
            for end in ends.chain([scope.len()]).filter(|end| *end > 0) {
                scopes.insert(scope[..end].to_owned());
            }
        }
        scopes
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

    fn find_plan_weight(&self, id: WeightId, row: usize) -> Result<Found, ExplainError> {
        let weight = self.plan.weight(id);
        let matched = format!("plan weight `{}`: {}", weight.name, weight.ty);
        check_row(&matched, row, weight.rows())?;
        Ok(Found {
            matched,
            others: Vec::new(),
            hits: vec![Hit { weight: id, row }],
            origins: Origins::NONE,
        })
    }

    fn find_tensor(&self, name: &str, row: usize) -> Result<Found, ExplainError> {
        let info = self.info(name)?;
        let matched = format!("tensor `{name}`: {}{:?}", info.stored, info.shape);
        check_row(&matched, row, info.shape.first().copied().unwrap_or(1))?;
        let source = SourceRow {
            product: None,
            tensor: name.to_owned(),
            row,
        };
        Ok(self.found(matched, Vec::new(), &source))
    }

    fn found(&self, matched: String, others: Vec<String>, source: &SourceRow) -> Found {
        let mut hits = Vec::new();
        for (at, weight) in self.plan.weights.iter().enumerate() {
            let mut first = 0;
            for part in &weight.parts {
                let ours =
                    matches!(&part.source, PartSource::Checkpoint(it) if *it == source.tensor);
                if ours && part.rows.contains(&source.row) {
                    let id = WeightId(at as u32);
                    let row = first + source.row - part.rows.start;
                    hits.push((weight.layout == Layout::Dense, Hit { weight: id, row }));
                }
                first += part.rows.len();
            }
        }
        hits.sort_by_key(|(dense, _)| *dense);
        Found {
            matched,
            others,
            hits: hits.into_iter().map(|(_, hit)| hit).collect(),
            origins: source.product.map(Origins::from).unwrap_or_default(),
        }
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

    fn find_value(&self, value: Value, row: usize) -> Result<Found, ExplainError> {
        let matched = format!("value {}", self.shown(value));
        if let Op::Weight(weight) = self.source.op(value.node) {
            let rows = self.source.value_type(value).shape.first();
            let rows = rows.and_then(|d| d.as_fixed()).unwrap_or(1) as usize;
            check_row(&matched, row, rows)?;
            let source = SourceRow {
                product: None,
                tensor: weight.name.to_string(),
                row,
            };
            return Ok(self.found(matched, Vec::new(), &source));
        }
        let last = self.source.value_type(value).shape.last();
        let Some(size) = last.and_then(|d| d.as_fixed()) else {
            return Err(self.no_product(value, &matched));
        };
        check_row(&matched, row, size as usize)?;
        match self.product_row(value, row) {
            Some(source) => Ok(self.found(matched, Vec::new(), &source)),
            None => Err(self.no_product(value, &matched)),
        }
    }

    fn no_product(&self, value: Value, what: &str) -> ExplainError {
        let mut from = Vec::new();
        let mut seen = BTreeSet::from([value.node]);
        let mut queue: Vec<Value> = self.source.operands(value.node).to_vec();
        while let Some(next) = queue.pop() {
            if !seen.insert(next.node) {
                continue;
            }
            let leaf = self.source.op(next.node).is_leaf();
            if leaf || is_product(&self.source, next.node) {
                from.push(self.shown(next));
            } else {
                queue.extend(self.source.operands(next.node));
            }
        }
        from.sort();
        let more = from.len().saturating_sub(MOST_SHOWN);
        from.truncate(MOST_SHOWN);
        if more > 0 {
            from.push(format!("{more} more"));
        }
        if from.is_empty() {
            from.push("nothing: it is given".to_owned());
        }
        ExplainError::NoProduct {
            what: what.to_owned(),
            op: self.source.op(value.node).name().to_owned(),
            from,
        }
    }

    /// The weight's row that element `row` of a value's last axis is a product with, looked for
    /// through what keeps the last axis: a bias, an activation, a cast, cuts and splits of that axis.
    fn product_row(&self, value: Value, row: usize) -> Option<SourceRow> {
        let graph = &self.source;
        let operands = graph.operands(value.node);
        match graph.op(value.node) {
            Op::Matmul(matmul) => {
                let weight = *operands.get(1)?;
                if !is_weight_only(graph, weight) {
                    return None;
                }
                let parts = if matmul.transpose_b {
                    parts_of(graph, weight)
                } else {
                    transposed_parts_of(graph, weight)
                };
                self.row_of(value.node, &parts?, row)
            }
            Op::StackedMatmul(stack) => {
                let segment = stack.segments.get(value.result as usize)?;
                if segment.halves.is_some() {
                    return None;
                }
                let mut parts = Vec::new();
                for &operand in &operands[stack.first_part()..stack.first_extra()] {
                    parts.extend(parts_of(graph, operand)?);
                }
                self.row_of(value.node, &parts, segment.rows[0] + row)
            }
            Op::Unary(_) | Op::Cast(_) | Op::Clamp(_) => self.product_row(operands[0], row),
            Op::Binary(binary) => {
                let scaled = matches!(binary.func, BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul);
                let [a, b] = operands.as_slice() else {
                    return None;
                };
                let same = |v: &Value| {
                    graph.value_type(*v).shape.last() == graph.value_type(value).shape.last()
                };
                if !scaled {
                    None
                } else if is_weight_only(graph, *b) && same(a) {
                    self.product_row(*a, row)
                } else if is_weight_only(graph, *a) && same(b) {
                    self.product_row(*b, row)
                } else {
                    None
                }
            }
            Op::Split(split) => {
                let rank = graph.value_type(value).shape.rank() as i64;
                if split.axis != -1 && split.axis != rank - 1 {
                    return None;
                }
                let before = &split.sizes[..value.result as usize];
                let sizes: Option<i64> = before.iter().map(|d| d.as_fixed()).sum();
                self.product_row(operands[0], sizes? as usize + row)
            }
            _ => None,
        }
    }

    fn row_of(&self, product: NodeId, parts: &[PartRecipe], row: usize) -> Option<SourceRow> {
        let mut first = 0;
        for part in parts {
            if row < first + part.n_rows {
                let Op::Weight(weight) = self.source.op(part.source.node) else {
                    return None;
                };
                return Some(SourceRow {
                    product: Some(product),
                    tensor: weight.name.to_string(),
                    row: part.rows.map_or(0, |rows| rows.0) + row - first,
                });
            }
            first += part.n_rows;
        }
        None
    }

    /// A module by its path, or by the end of it with gaps: `layers.3.qkv`.
    fn find_module(&self, name: &str, row: usize) -> Result<Option<Found>, ExplainError> {
        let scopes = self.scopes();
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
        let inside = |id: &NodeId| {
            let own = self.source.node(*id).scope.as_deref().unwrap_or_default();
            own == scope
                || own
                    .strip_prefix(&scope)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let order = self.names.order();
        let products: Vec<NodeId> = order
            .iter()
            .copied()
            .filter(|id| inside(id) && is_product(&self.source, *id))
            .collect();
        let Some(&first) = products.first() else {
            let last = order.iter().copied().rev().find(inside);
            let value = Value::new(last.unwrap_or(order[0]), 0);
            return Err(self.no_product(value, &format!("module `{scope}`")));
        };
        let mut found = self.find_value(Value::new(first, 0), row)?;
        found.matched = format!("module `{scope}`, its product {}", found.matched);
        let others = products[1..].iter();
        found.others = others.map(|id| self.shown(Value::new(*id, 0))).collect();
        Ok(Some(found))
    }

    /// A weight, what is computed from it alone, and who reads that.
    pub(super) fn readers(&self, weight: NodeId) -> Origins {
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

/// How many sources of a value are listed.
const MOST_SHOWN: usize = 8;

fn check_row(what: &str, row: usize, rows: usize) -> Result<(), ExplainError> {
    if row < rows {
        return Ok(());
    }
    Err(ExplainError::Range {
        what: what.to_owned(),
        axis: "row",
        asked: row,
        size: rows,
    })
}

fn is_product(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Matmul(_) => {
            let operands = graph.operands(id);
            operands.get(1).is_some_and(|w| is_weight_only(graph, *w))
        }
        Op::StackedMatmul(_) => true,
        _ => false,
    }
}

/// A projection's name may be said without the word for it: `qkv` for `qkv_proj`.
fn short(word: &str) -> &str {
    word.strip_suffix("_proj").unwrap_or(word)
}

/// The words of `name` are words of `scope` in their order, and the last words are the same.
fn ends_like(scope: &str, name: &str) -> bool {
    let mut wanted = name.split('.').rev().map(short).peekable();
    let mut words = scope.split('.').rev().map(short);
    if words.next() != wanted.next() {
        return false;
    }
    for word in words {
        if wanted.peek() == Some(&word) {
            wanted.next();
        }
    }
    wanted.peek().is_none()
}

/// Up to three names that resemble `name`, nearest first: as a whole, or else in their last words and
/// then in how many of the others they have.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    let whole = nearest_whole(name, names.clone());
    if !whole.is_empty() {
        return whole;
    }
    let last = |name: &'n str| short(name.rsplit('.').next().unwrap_or(name));
    let wanted: Vec<&str> = name.split('.').map(short).collect();
    let own = wanted.last().copied().unwrap_or_default();
    let missing = |it: &str| {
        let has = |word: &&&str| it.split('.').map(short).any(|other| other == **word);
        wanted.len() - wanted.iter().filter(has).count()
    };
    let mut near: Vec<(usize, usize, &str)> = names
        .map(|it| (distance(own, last(it)), missing(it), it))
        .filter(|(distance, missing, _)| *distance <= own.len() / 3 && *missing < wanted.len())
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, _, it)| it.to_owned()).collect()
}

fn nearest_whole<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(2);
    let mut near: Vec<(usize, &str)> = names
        .filter(|it| it.len().abs_diff(name.len()) <= 4 * limit)
        .map(|it| (distance(name, it), it))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    near.truncate(3);
    near.into_iter().map(|(_, it)| it.to_owned()).collect()
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_may_leave_words_out() {
        let scope = "model.layers.3.self_attn.qkv";
        for name in ["qkv", "layers.3.qkv", "layers.3.qkv_proj", "3.qkv", scope] {
            assert!(ends_like(scope, name), "{name}");
        }
        for name in [
            "layers.4.qkv",
            "qkv.layers.3",
            "layers.3",
            "3.layers.qkv",
            "kv",
        ] {
            assert!(!ends_like(scope, name), "{name}");
        }
    }

    #[test]
    fn near_names_are_offered_nearest_first() {
        let names = ["layers.3.qkv", "layers.13.qkv", "lm_head"];
        assert_eq!(
            nearest("layer.3.qkv", names.into_iter()),
            ["layers.3.qkv", "layers.13.qkv"]
        );
        let long = ["model.layers.3.self_attn.qkv_proj", "model.layers.4.mlp"];
        assert_eq!(nearest("layer.3.qkv", long.into_iter()), long[..1]);
        assert!(nearest("x", ["embedding"].into_iter()).is_empty());
    }
}
