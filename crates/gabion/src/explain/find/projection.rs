//! A projection that is stacked with others where the model is built: its module has a weight and no product.

use gabion_ir::{NodeId, Op, Value};

use super::products::is_product;
use super::{Asked, ExplainError, Explainer, Found, PartSource, check};

/// A product, and the rows of it that a projection has.
struct Share {
    product: NodeId,
    first: usize,
    rows: usize,
}

impl Explainer<'_> {
    /// Row `asked.row` of a module whose one matrix is a part of exactly one product: that row of the product. None for a
    /// module without weights.
    pub(super) fn find_projection(
        &self,
        scope: &str,
        inside: &[NodeId],
        asked: Asked,
    ) -> Result<Option<Found>, ExplainError> {
        let weights: Vec<(NodeId, &str)> = inside
            .iter()
            .filter_map(|id| match self.source.op(*id) {
                Op::Weight(weight) => Some((*id, &*weight.name)),
                _ => None,
            })
            .collect();
        // What computes something of its own is told by that.
        if weights.is_empty() || inside.iter().any(|id| !self.is_loaded(*id)) {
            return Ok(None);
        }
        let refused = |why: &str| ExplainError::NoOwnProduct {
            module: scope.to_owned(),
            why: why.to_owned(),
            instead: weights.iter().map(|(_, name)| (*name).to_owned()).collect(),
        };
        let matrices = weights.iter().filter(|(id, _)| {
            let ty = self.source.value_type(Value::new(*id, 0));
            ty.shape.rank() > 1
        });
        let matrices: Vec<&(NodeId, &str)> = matrices.collect();
        let [(weight, tensor)] = matrices.as_slice() else {
            return Err(refused(match matrices.is_empty() {
                true => "it has no matrix",
                false => "it has more than one matrix",
            }));
        };
        let shares = self.shares(*weight, tensor);
        let [share] = shares.as_slice() else {
            return Err(refused(match shares.is_empty() {
                true => "its matrix is no part of a product",
                false => "its matrix is more than once a part of products",
            }));
        };
        let matched = format!("module `{scope}`: {} rows", share.rows);
        check("row", &matched, asked.row, share.rows)?;
        let asked = Asked {
            row: share.first + asked.row,
            ..asked
        };
        let mut found = self.find_value(Value::new(share.product, 0), asked)?;
        let end = share.first + share.rows;
        found.matched = format!(
            "{matched}, which are {}..{end} of {}",
            share.first, found.matched
        );
        Ok(Some(found))
    }

    /// A weight, or what loading computes from weights.
    fn is_loaded(&self, id: NodeId) -> bool {
        self.source.op(id).is_leaf()
            || gabion_lower::weight_only::is_weight_only(&self.source, Value::new(id, 0))
    }

    /// The places of a tensor among the parts of the products that read it.
    fn shares(&self, weight: NodeId, tensor: &str) -> Vec<Share> {
        let readers = self.touching(weight);
        let readers = readers
            .ids()
            .iter()
            .filter_map(|id| self.source.node_at(*id));
        let mut shares = Vec::new();
        for product in readers.filter(|id| is_product(&self.source, *id)) {
            let mut first = 0;
            for part in self.product_parts(product).unwrap_or_default() {
                let rows = part.rows.len();
                if matches!(&part.source, PartSource::Checkpoint(name) if name == tensor) {
                    shares.push(Share {
                        product,
                        first,
                        rows,
                    });
                }
                first += rows;
            }
        }
        shares
    }
}
