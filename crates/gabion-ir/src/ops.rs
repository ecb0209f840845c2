//! **The** list of operators. Adding one is a file under `ops/` and a line here.

use std::sync::OnceLock;

use gabion_tensor::{HostTensor, TensorType};
use rustc_hash::FxHashMap;

use crate::builder::TensorValue;
use crate::op::{
    Attrs, EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError,
};
use crate::sample::{Sample, Sampler};

type FromWord = fn(&str, Attrs) -> Result<Op, serde_json::Error>;
type MakeSample = fn(&mut Sampler) -> Sample;

macro_rules! define_ops {
    ($($(#[$doc:meta])* $module:ident: $($op:ident),+;)*) => {
        $($(#[$doc])* pub mod $module;)*
        $(pub use $module::{$($op),+};)*

        /// Every operator; the set is closed.
        ///
        /// What needs an answer for each of them has no wildcard: the methods below are made from
        /// the list, and lowering goes by the classes that the one match in `gabion-lower`'s
        /// `class.rs` gives. A new operator does not compile before it has its place there. Rules
        /// about a few operators (passes, what samples are to be like) name those and pass over the
        /// rest. Executors see plans, never operators.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            $($(#[doc = concat!("See [`mod@", stringify!($module), "`].")] $op($op),)+)*
        }

        $($(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Op::$op(op)
            }
        })+)*

        impl Op {
            /// The operator's word in the text form.
            pub fn name(&self) -> &'static str {
                match self { $($(Op::$op(op) => op.word(),)+)* }
            }

            /// The attributes, in declaration order.
            pub fn attrs(&self) -> Attrs {
                let value = match self { $($(Op::$op(op) => serde_json::to_value(op),)+)* };
                match value {
                    Ok(serde_json::Value::Object(map)) => map,
                    // A struct without fields serialises as null or a bare value: no attributes.
                    _ => Attrs::new(),
                }
            }

            /// The type rule; see [`OpDef::infer`].
            ///
            /// # Errors
            /// Operands that the operator does not accept.
            pub fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
                let results = match self { $($(Op::$op(op) => op.infer(args, cx),)+)* }?;
                results.iter().try_for_each(require_sizes)?;
                Ok(results)
            }

            /// The meaning; see [`OpDef::eval`].
            ///
            /// # Errors
            /// Values that make the operator meaningless.
            pub fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
                match self { $($(Op::$op(op) => op.eval(args, cx),)+)* }
            }

            /// The operator in smaller operators; see [`OpDef::decompose`].
            pub fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
                match self { $($(Op::$op(op) => op.decompose(args),)+)* }
            }

            /// How far an executor may be from the evaluator.
            pub fn tolerance(&self) -> Tolerance {
                match self { $($(Op::$op(op) => op.tolerance(),)+)* }
            }

            /// Every operator's family name with its sampler, in list order.
            pub fn samplers() -> Vec<(&'static str, MakeSample)> {
                vec![$($((<$op as OpDef>::NAME, <$op as OpDef>::sample as MakeSample),)+)*]
            }

            fn table() -> &'static FxHashMap<&'static str, FromWord> {
                static TABLE: OnceLock<FxHashMap<&'static str, FromWord>> = OnceLock::new();
                TABLE.get_or_init(|| {
                    let mut table: FxHashMap<&'static str, FromWord> = FxHashMap::default();
                    $($(for word in <$op as OpDef>::words() {
                        table.insert(word, |word, attrs| Ok(Op::$op(<$op as OpDef>::from_word(word, attrs)?)));
                    })+)*
                    table
                })
            }

            /// Every word of the text form, sorted.
            pub fn words() -> Vec<&'static str> {
                let mut words: Vec<_> = Self::table().keys().copied().collect();
                words.sort_unstable();
                words
            }
        }
    };
}

mod broadcasting;
mod closeness;
mod element_places;
mod family;
pub mod float;
pub mod indexing;
mod lanes;
mod literal;
mod norm;
pub mod operators;
mod ranked;
mod requirements;
mod stack_infer;
pub mod stack_segment;
mod stacked_eval;
mod strides;

pub use arg_reduce::ArgFn;
pub use float::Float;
pub use indexing::{Index, Span};
pub use operators::Operand;
pub use reduce::ReduceFn;
pub use rope::Pairing;
pub use scatter::ScatterReduce;
pub use slice::AxisSlice;
pub use stack_segment::{Fused, Segment, StackNorm, StackNormKind};

define_ops! {
    /// Leaves: graph inputs, checkpoint weights, constants.
    leaf: Input, Weight, Constant;
    /// Elementwise functions of one operand.
    unary: Unary;
    /// Elementwise functions and comparisons of two operands.
    binary: Binary, Compare;
    /// `where`.
    select: Where;
    /// `clamp`.
    clamp: Clamp;
    /// `cast`.
    cast: Cast;
    /// `matmul`.
    matmul: Matmul;
    /// `reduce_sum`, `reduce_max`, ..
    reduce: Reduce;
    /// `argmax`, `argmin`.
    arg_reduce: ArgReduce;
    /// `top_k`.
    top_k: TopK;
    /// `cumsum`.
    cumsum: Cumsum;
    /// `concat`.
    concat: Concat;
    /// `split`.
    split: Split;
    /// `slice`.
    slice: Slice;
    /// `pad`.
    pad: Pad;
    /// `reshape`.
    reshape: Reshape;
    /// `transpose`.
    transpose: Transpose;
    /// `broadcast`.
    broadcast: Broadcast;
    /// `range`.
    range: Range;
    /// `one_hot`.
    one_hot: OneHot;
    /// `gather`.
    gather: Gather;
    /// `gather_elements`.
    gather_elements: GatherElements;
    /// `scatter`.
    scatter: Scatter;
    /// `softmax`, `log_softmax`.
    softmax: Softmax, LogSoftmax;
    /// `rms_norm`.
    rms_norm: RmsNorm;
    /// `layer_norm`.
    layer_norm: LayerNorm;
    /// `rope`.
    rope: Rope;
    /// `attention`.
    attention: Attention;
    /// `cache_append`.
    cache_append: CacheAppend;
    /// `quantize`, `dequantize`.
    quantize: Quantize, Dequantize;
    /// `stacked_matmul`, made by the compiler.
    stacked_matmul: StackedMatmul;
    /// `fused_map`, made by the compiler.
    fused_map: FusedMap;
}

/// Refuses result types with a size that overflowed or is a negative number.
fn require_sizes(ty: &TensorType) -> Result<(), TypeError> {
    ty.shape.iter().try_for_each(gabion_tensor::Dim::check)?;
    reshape::require_sizes(&ty.shape)
}

impl Op {
    /// The operator from its word and attributes; `None` for an unknown word.
    pub fn from_word(word: &str, attrs: Attrs) -> Option<Result<Self, serde_json::Error>> {
        Self::table().get(word).map(|make| make(word, attrs))
    }

    /// True for graph inputs, weights and constants.
    pub fn is_leaf(&self) -> bool {
        matches!(self, Op::Input(_) | Op::Weight(_) | Op::Constant(_))
    }
}

#[cfg(test)]
mod tests;
