//! `attention`: scaled dot-product attention with grouped heads, masks, causality and a cache.
//! Its loops and its decomposition are under `attention/`.

mod decompose;
mod evaluate;
mod sample;

use gabion_tensor::{Constraint, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::broadcasting::require_broadcasts_to;
use crate::ops::float::Float;
use crate::ops::requirements::{float, plain, position, promote, rank_at_least};
use crate::sample::{Sample, Sampler};

/// Operands `q [batch.., queries, heads, head_dim]`, `k [batch.., keys, kv_heads, head_dim]`,
/// `v [batch.., keys, kv_heads, value_dim]`, then `mask` and `position` as the flags say. The
/// result is `[batch.., queries, heads, value_dim]`, in the dtype that holds q, k and v, computed
/// wider and rounded once.
///
/// Head `h` attends to key head `h / (heads / kv_heads)`: for query `i` the result is the mean of
/// `v` weighted by `softmax(scale * q . k + mask)` over the keys that `i` may attend to; zeros if
/// there is none. A key at which the sum is `-inf` is one that `i` may not attend to. What the
/// other keys hold does not matter here; a decomposed form needs it to be finite.
///
/// Vaswani et al., "Attention Is All You Need", 2017; Ainslie et al., "GQA", 2023.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Multiplies the dot products.
    pub scale: Float,
    /// Query `i` attends to keys up to its own place: `j <= position + i`, or without `position`
    /// `j <= keys - queries + i`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub causal: bool,
    /// An operand follows that broadcasts to `[batch.., heads, queries, keys]`: bool (true: may
    /// attend) or float (added).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask: bool,
    /// An operand `i64[]` follows: `keys` are the slots of a cache, of which the first `position +
    /// queries` are filled; only those are attended to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub position: bool,
}

impl Attention {
    /// Mask and position among the operands.
    fn optional<'a, T>(&self, args: &'a [T]) -> (Option<&'a T>, Option<&'a T>) {
        let mask = self.mask.then(|| &args[3]);
        let position = self.position.then(|| &args[3 + usize::from(self.mask)]);
        (mask, position)
    }

    /// The number of the operand `position`.
    pub(crate) fn position_operand(&self) -> usize {
        3 + usize::from(self.mask)
    }
}

impl OpDef for Attention {
    const NAME: &'static str = "attention";

    fn infer(&self, args: &[TensorType], cx: &mut InferCx<'_>) -> Result<Results, TypeError> {
        let expected = 3 + usize::from(self.mask) + usize::from(self.position);
        if args.len() != expected {
            return Err(TypeError::arity(&expected.to_string(), args.len()));
        }
        if !self.scale.0.is_finite() {
            return Err(TypeError::new(format!(
                "scale: expected a finite number, found {}",
                self.scale
            )));
        }
        let [q, k, v] = [&args[0], &args[1], &args[2]];
        rank_at_least(0, 3, q)?;
        let rank = q.shape.rank();
        for (i, arg) in args[..3].iter().enumerate() {
            float(i, arg)?;
            if arg.shape.rank() != rank {
                return Err(TypeError::rank(i, &format!("rank {rank} as q"), arg));
            }
        }
        for axis in 0..rank - 3 {
            cx.require_eq(
                &k.shape[axis],
                &q.shape[axis],
                &format!("operand 1, axis {axis}: the batch of q"),
            )?;
        }
        for axis in 0..rank - 1 {
            cx.require_eq(
                &v.shape[axis],
                &k.shape[axis],
                &format!("operand 2, axis {axis}: the size of k"),
            )?;
        }
        cx.require_eq(
            &k.shape[rank - 1],
            &q.shape[rank - 1],
            "operand 1, last axis: the head_dim of q",
        )?;
        let (heads, kv_heads) = (&q.shape[rank - 2], &k.shape[rank - 2]);
        if *kv_heads == Dim::ZERO {
            return Err(TypeError::new(format!(
                "operand 1: expected at least 1 head, found {k}"
            )));
        }
        let lhs = heads.rem(kv_heads)?;
        let why = format!("the {heads} heads of q are a multiple of the {kv_heads} of k");
        cx.require(
            Constraint {
                lhs,
                relation: Relation::Eq,
                rhs: Dim::ZERO,
            },
            &why,
        )?;
        let (mask, at) = self.optional(args);
        if let Some(mask) = mask {
            plain(3, mask)?;
            if !mask.dtype.is_bool() && !mask.dtype.is_float() {
                return Err(TypeError::dtype(3, "a mask of bools or floats", mask.dtype));
            }
            let mut full = q.shape[..rank - 3].to_vec();
            full.extend([
                heads.clone(),
                q.shape[rank - 3].clone(),
                k.shape[rank - 3].clone(),
            ]);
            require_broadcasts_to(3, &mask.shape, &full, cx)?;
        }
        if let Some(at) = at {
            position(self.position_operand(), at)?;
        }
        let mut shape = q.shape.clone();
        shape[rank - 1] = v.shape[rank - 1].clone();
        Ok(smallvec![TensorType::new(promote(&args[..3])?, shape)])
    }

    fn eval(&self, args: &[HostTensor], cx: &EvalCx<'_>) -> Result<HostTensors, EvalError> {
        evaluate::evaluate(self, args, cx)
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        decompose::decompose(self, args)
    }

    fn tolerance(&self) -> Tolerance {
        // Exponentials of f32 dot products, and an f32 sum of the weighted values.
        Tolerance::Norm(1e-5)
    }

    fn sample(s: &mut Sampler) -> Sample {
        sample::sample(s)
    }
}

impl<'g> TensorValue<'g> {
    /// Attention of this value's queries over keys and values; see [`Attention`].
    #[track_caller]
    pub fn attention(
        self,
        k: TensorValue<'g>,
        v: TensorValue<'g>,
        scale: f64,
        causal: bool,
        mask: Option<TensorValue<'g>>,
        position: Option<TensorValue<'g>>,
    ) -> TensorValue<'g> {
        let op = Attention {
            scale: Float(scale),
            causal,
            mask: mask.is_some(),
            position: position.is_some(),
        };
        let operands: Vec<TensorValue<'g>> = [self, k, v]
            .into_iter()
            .chain(mask)
            .chain(position)
            .collect();
        self.builder().apply1(op, &operands)
    }
}
