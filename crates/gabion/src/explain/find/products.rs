//! Rows of products: which rows of weights they are, and where the plan has them.

use std::collections::BTreeSet;

use gabion_ir::{Graph, NodeId, Op, Value};
use gabion_lower::recipe::{PartRecipe, parts_of, transposed_parts_of};
use gabion_lower::weight_only::is_weight_only;
use gabion_plan::{Layout, Part, PartSource, WeightId};
use gabion_tensor::BinaryFn;

use super::{Asked, ExplainError, Explainer, Found, Hit, check, not_followed, places};

/// A row of a product's weight: of one of the parts that the weight is made of.
pub(super) struct ProductRow {
    product: NodeId,
    parts: Vec<Part>,
    part: usize,
    /// Counted after the part's recipe, before its cut.
    row: usize,
}

/// How many sources of a value are listed.
const MOST_SHOWN: usize = 8;

impl Explainer<'_> {
    /// The plan weights' rows that are exactly a product's row, in weights that steps made from the
    /// product read.
    pub(super) fn find_product(
        &self,
        mut matched: String,
        at: &ProductRow,
        asked: Asked,
    ) -> Result<Found, ExplainError> {
        let part = &at.parts[at.part];
        let PartSource::Checkpoint(tensor) = &part.source else {
            return Err(not_followed(
                &matched,
                asked.row,
                "it is a row of a constant",
            ));
        };
        let follow = |part: &Part, row| places::row_elements(part, row);
        let Some(row) = follow(part, at.row) else {
            return Err(not_followed(
                &matched,
                asked.row,
                "its recipe is none that is followed",
            ));
        };
        check("column", &matched, asked.col.unwrap_or(0), row.len())?;
        let same = |other: &Part, other_row: usize| {
            other.source == part.source
                && places::same_values(other, part)
                && follow(other, other_row).as_ref() == Some(&row)
        };
        let mut hits: Vec<Hit> = Vec::new();
        let mut elsewhere = false;
        for (id, first_row, loaded) in self.parts_with(tensor) {
            self.part_info(loaded, tensor)?;
            let Some((after, _)) = row.first().and_then(|f| places::after_recipe(loaded, *f))
            else {
                continue;
            };
            if !loaded.rows.contains(&after) || !self.reads(at.product, id) {
                continue;
            }
            if same(loaded, after) {
                hits.push(Hit {
                    weight: id,
                    row: first_row + after - loaded.rows.start,
                    column: asked.col.unwrap_or(0),
                });
            } else {
                elsewhere = true;
            }
        }
        let again = at.parts.iter().filter(|it| {
            let after = row.first().and_then(|f| places::after_recipe(it, *f));
            after.is_some_and(|(row, _)| it.rows.contains(&row) && same(it, row))
        });
        let twice = again.count() > 1;
        let in_one = hits.windows(2).any(|pair| pair[0].weight == pair[1].weight);
        if !hits.is_empty() && (twice || in_one) {
            let why = format!(
                "it is a row of tensor `{tensor}` that the product has more than once, and which of them a loaded row is, is not followed: ask for the tensor"
            );
            return Err(not_followed(&matched, asked.row, &why));
        }
        if hits.is_empty() && elsewhere {
            let why = format!(
                "the plan has tensor `{tensor}` in another form than the product: ask for the tensor"
            );
            return Err(not_followed(&matched, asked.row, &why));
        }
        let stored = self.element(&mut matched, part, at.row, asked, row.len())?;
        hits.sort_by_key(|hit| self.plan.weight(hit.weight).layout == Layout::Dense);
        Ok(Found {
            matched,
            others: Vec::new(),
            hits,
            stored,
            product: Some(at.product),
        })
    }

    /// A step that was made from the node reads the weight.
    fn reads(&self, node: NodeId, weight: WeightId) -> bool {
        (0..self.plan.steps.len())
            .any(|step| self.is_of(step, node) && self.step_reads(step, weight))
    }

    pub(super) fn no_product(&self, value: Value, what: &str) -> ExplainError {
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
    /// None for what is no product, and none inside for a product whose weight is not followed.
    pub(super) fn product_row(&self, value: Value, row: usize) -> Option<Option<ProductRow>> {
        let graph = &self.source;
        let operands = graph.operands(value.node);
        match graph.op(value.node) {
            Op::Matmul(_) => {
                let weight = *operands.get(1)?;
                if !is_weight_only(graph, weight) {
                    return None;
                }
                if graph.value_type(weight).shape.rank() != 2 {
                    return Some(None);
                }
                let parts = self.product_parts(value.node);
                Some(parts.and_then(|parts| self.row_of(value.node, parts, row)))
            }
            Op::StackedMatmul(stack) => {
                let segment = stack.segments.get(value.result as usize)?;
                if segment.halves.is_some() {
                    return Some(None);
                }
                let parts = self.product_parts(value.node);
                let row = segment.rows[0] + row;
                Some(parts.and_then(|parts| self.row_of(value.node, parts, row)))
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

    /// The parts of a product's weight, one under the other; none for what is not followed.
    pub(super) fn product_parts(&self, product: NodeId) -> Option<Vec<Part>> {
        let graph = &self.source;
        let operands = graph.operands(product);
        let recipes: Vec<PartRecipe> = match graph.op(product) {
            Op::Matmul(matmul) => {
                let weight = *operands.get(1)?;
                match matmul.transpose_b {
                    true => parts_of(graph, weight)?,
                    false => transposed_parts_of(graph, weight)?,
                }
            }
            Op::StackedMatmul(stack) => {
                let operands = &operands[stack.first_part()..stack.first_extra()];
                let parts: Option<Vec<_>> = operands.iter().map(|v| parts_of(graph, *v)).collect();
                parts?.into_iter().flatten().collect()
            }
            _ => return None,
        };
        let parts = recipes.iter().map(|recipe| places::part(graph, recipe));
        parts.collect()
    }

    fn row_of(&self, product: NodeId, parts: Vec<Part>, row: usize) -> Option<ProductRow> {
        let mut first = 0;
        for (at, part) in parts.iter().enumerate() {
            if row < first + part.rows.len() {
                let row = part.rows.start + row - first;
                return Some(ProductRow {
                    product,
                    parts,
                    part: at,
                    row,
                });
            }
            first += part.rows.len();
        }
        None
    }
}

pub(super) fn is_product(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Op::Matmul(_) => {
            let operands = graph.operands(id);
            operands.get(1).is_some_and(|w| is_weight_only(graph, *w))
        }
        Op::StackedMatmul(_) => true,
        _ => false,
    }
}
