//! Why the arguments of a stack were refused.

use std::fmt;

use gabion_tensor::DType;

use crate::error::list;

/// The dtypes that weights may be stored as, as messages say it.
pub(super) const DTYPES: &str = "f32, f16, bf16, f64, q4_0, q4_1, q5_0, q5_1 or q8_0";

/// One problem of a stack's arguments.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StackProblem {
    /// A stack of nothing.
    #[error("`names` is empty: a stack has at least one projection")]
    Empty,
    /// A list whose length is not that of `names`.
    #[error("`{list}` has {found} entries and `names` has {expected}: one for each projection")]
    Length {
        /// The list.
        list: &'static str,
        /// The number of names.
        expected: usize,
        /// Its own length.
        found: usize,
    },
    /// A name without letters.
    #[error("`{what}` is empty: give the attribute under which the tensors are stored")]
    EmptyName {
        /// The name's place.
        what: String,
    },
    /// A name that would be two modules.
    #[error("`{what}` is \"{name}\": a name is one segment, without dots")]
    Dotted {
        /// The name's place.
        what: String,
        /// The name.
        name: String,
    },
    /// Two projections that would read the same tensors.
    #[error(
        "`names[{second}]` is \"{name}\" again, as `names[{first}]`: every projection has its own name"
    )]
    Duplicate {
        /// The name.
        name: String,
        /// Where it stands first.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// A size of zero.
    #[error("`{what}` is 0: sizes are positive")]
    Zero {
        /// The size's place.
        what: String,
    },
    /// Sizes whose product no machine can hold.
    #[error("in_dim {in_dim} x the sum of out_dims {out_dims:?} overflows the size of a tensor")]
    Overflow {
        /// K.
        in_dim: usize,
        /// The rows of each projection.
        out_dims: Vec<usize>,
    },
    /// A weight that is no real numbers.
    #[error("`{what}` is {found}: weights are stored as {DTYPES}")]
    DType {
        /// The dtype's place.
        what: String,
        /// The dtype.
        found: DType,
    },
    /// Rows that are no whole blocks.
    #[error(
        "`{what}` is {dtype}, whose blocks hold {block} values: in_dim {in_dim} is no multiple of {block}"
    )]
    Block {
        /// The dtype's place.
        what: String,
        /// The block format.
        dtype: DType,
        /// K.
        in_dim: usize,
        /// Values in a block.
        block: usize,
    },
    /// A clip that would turn the range inside out.
    #[error("`{what}` is {found}: a clip is positive; 0 and null are none")]
    Clip {
        /// The clip's place.
        what: String,
        /// The clip.
        found: String,
    },
    /// A clip that the dtype of the weight rounds to zero.
    #[error(
        "`{what}` is {found}, which is 0 in {dtype}: every weight would be 0; 0 and null are no clip"
    )]
    TinyClip {
        /// The clip's place.
        what: String,
        /// The clip.
        found: String,
        /// The dtype of the weight.
        dtype: DType,
    },
    /// A setting that differs between projections which are one tensor.
    #[error(
        "`{field}` differs between projections: in stacked mode they are one tensor; set `stacked` to false"
    )]
    OneTensor {
        /// The setting.
        field: &'static str,
    },
    /// A projection that has another number of rows than declared.
    #[error("projection \"{name}\" has {found} rows and `out_dims` says {expected}")]
    Rows {
        /// The projection.
        name: String,
        /// What was declared.
        expected: usize,
        /// What the projection says.
        found: usize,
    },
}

/// Every problem of a stack's arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct StackErrors {
    /// The stack's attribute.
    pub attribute: String,
    /// The problems; never empty.
    pub problems: Vec<StackProblem>,
}

impl fmt::Display for StackErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &format!("stack `{}`", self.attribute), &self.problems)
    }
}

impl std::error::Error for StackErrors {}
