//! Embedding tables: rows picked by token, position or type ids.

use gabion_ir::TensorValue;
use gabion_tensor::DType;

use crate::scope::{Scope, to_f32};

/// A table `[rows, dim]` whose rows are picked by ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The attribute of the parent module.
    pub name: String,
    /// The number of rows: ids are below it.
    pub rows: usize,
    /// The size of a row.
    pub dim: usize,
    /// How the table is stored: a plain float dtype or a block format.
    pub dtype: DType,
}

impl Embedding {
    /// The table as it is stored, `[rows, dim]`. `scope` is the parent's.
    #[track_caller]
    pub fn table<'g>(&self, scope: &Scope<'g>) -> TensorValue<'g> {
        scope
            .child(&self.name)
            .weight("weight", self.dtype, &[self.rows, self.dim])
    }

    /// The rows of `ids` (integers `[..]`) as f32 `[.., dim]`. Only the picked rows are decoded.
    /// `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(&self, scope: &Scope<'g>, ids: TensorValue<'g>) -> TensorValue<'g> {
        let table = self.table(scope);
        let _open = scope.child(&self.name).open();
        to_f32(table.gather(ids, 0))
    }

    /// The product with every row, f32 `[.., dim]` to f32 `[.., rows]`: the head of a model that
    /// ties it to its embeddings. `scope` is the parent's.
    #[track_caller]
    pub fn project<'g>(&self, scope: &Scope<'g>, x: TensorValue<'g>) -> TensorValue<'g> {
        x.matmul_t(to_f32(self.table(scope)))
    }
}
