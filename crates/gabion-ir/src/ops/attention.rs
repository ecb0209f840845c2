//! `attention`: scaled dot-product attention with grouped heads, masks, causality and a cache.
//! Its decomposition is in `attention/decompose.rs`.

mod decompose;

use gabion_tensor::{Constraint, DType, Dim, HostTensor, Relation, TensorType};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::builder::TensorValue;
use crate::op::{EvalCx, EvalError, HostTensors, InferCx, OpDef, Results, Tolerance, TypeError};
use crate::ops::broadcasting::{broadcast_positions, require_broadcasts_to};
use crate::ops::float::Float;
use crate::ops::lanes::from_f64;
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
    fn position_operand(&self) -> usize {
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
        let sizes = Sizes::of(&args[0], &args[1], &args[2])?;
        let Sizes {
            batches,
            queries,
            keys,
            heads,
            kv_heads,
            head_dim,
            value_dim,
        } = sizes;
        let (q, k, v) = (
            args[0].to_f64_vec()?,
            args[1].to_f64_vec()?,
            args[2].to_f64_vec()?,
        );
        let (mask, at) = self.optional(args);
        let mask = mask
            .map(|m| Mask::read(m, args[0].shape(), &sizes))
            .transpose()?;
        let at = at.map(HostTensor::to_i64_vec).transpose()?.map(|at| at[0]);
        let mut out = vec![0.0; batches * queries * heads * value_dim];
        for (batch, query, head) in each(batches, queries, heads) {
            let row = (batch * queries + query) * heads + head;
            let q = &q[row * head_dim..(row + 1) * head_dim];
            let key_row = |j: usize| (batch * keys + j) * kv_heads + head / (heads / kv_heads);
            let end = self.end(query as i64, at, queries as i64, keys as i64);
            let mut scores = Vec::new();
            for j in 0..end {
                let k = &k[key_row(j) * head_dim..(key_row(j) + 1) * head_dim];
                let dot: f64 = q.iter().zip(k).map(|(a, b)| a * b).sum();
                let added = mask.as_ref().map_or(0.0, |m| m.at(batch, head, query, j));
                let score = dot * self.scale.0 + added;
                if score != f64::NEG_INFINITY && added != f64::NEG_INFINITY {
                    scores.push((key_row(j), score));
                }
            }
            let largest =
                scores.iter().fold(
                    f64::NEG_INFINITY,
                    |m, &(_, s)| if s > m || s.is_nan() { s } else { m },
                );
            let sum: f64 = scores.iter().map(|(_, s)| libm::exp(s - largest)).sum();
            let out = &mut out[row * value_dim..(row + 1) * value_dim];
            for (at, score) in scores {
                let weight = libm::exp(score - largest) / sum;
                let v = &v[at * value_dim..(at + 1) * value_dim];
                out.iter_mut().zip(v).for_each(|(o, v)| *o += weight * v);
            }
        }
        Ok(smallvec![from_f64(cx.result(0).dtype, &cx.shape(0)?, out)?])
    }

    fn decompose<'g>(&self, args: &[TensorValue<'g>]) -> Option<Vec<TensorValue<'g>>> {
        decompose::decompose(self, args)
    }

    fn tolerance(&self) -> Tolerance {
        // Exponentials of f32 dot products, and an f32 sum of the weighted values.
        Tolerance::Norm(1e-5)
    }

    fn sample(s: &mut Sampler) -> Sample {
        let batch_rank = s.size(0, 2);
        let batch = s.shape(batch_rank, 2);
        let kv_heads = s.size(1, 3);
        let heads = kv_heads * s.size(1, 3);
        let (queries, keys) = (s.size(1, 5), s.size(1, 9));
        let (head_dim, value_dim) = (s.choose(&[1, 3, 8, 16]), s.choose(&[2, 5, 8]));
        let mut op = Attention {
            scale: Float(s.choose(&[1.0, 0.25, 0.125])),
            causal: s.one_in(2),
            mask: s.one_in(2),
            position: false,
        };
        op.position = queries <= keys && s.one_in(2);
        let dtype = s.choose(&[DType::F32, DType::F32, DType::F16, DType::BF16, DType::F64]);
        let cache = if dtype == DType::F32 {
            s.choose(&[DType::F32, DType::F16, DType::BF16])
        } else {
            dtype
        };
        let mut operand = |dtype: DType, tail: [usize; 3]| {
            let shape: Vec<usize> = batch.iter().copied().chain(tail).collect();
            s.tensor_in(dtype, &shape, -2.0, 2.0)
        };
        let mut args = vec![
            operand(dtype, [queries, heads, head_dim]),
            operand(cache, [keys, kv_heads, head_dim]),
            operand(cache, [keys, kv_heads, value_dim]),
        ];
        if op.mask {
            let mut shape = batch.clone();
            shape.extend([heads, queries, keys]);
            shape.drain(..s.size(0, shape.len() - 1));
            let stretch =
                |size: &mut usize, s: &mut Sampler| *size = if s.one_in(3) { 1 } else { *size };
            shape
                .iter_mut()
                .rev()
                .skip(1)
                .for_each(|size| stretch(size, s));
            args.push(if s.one_in(2) {
                s.tensor(DType::Bool, &shape)
            } else {
                s.tensor(DType::F32, &shape)
            });
        }
        if op.position {
            args.push(HostTensor::scalar(s.int(0, (keys - queries) as i64)));
        }
        Sample::new(op, args)
    }
}

fn each(
    batches: usize,
    queries: usize,
    heads: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..batches)
        .flat_map(move |b| (0..queries).flat_map(move |q| (0..heads).map(move |h| (b, q, h))))
}

impl Attention {
    /// The number of leading keys that query `i` may attend to.
    fn end(&self, i: i64, position: Option<i64>, queries: i64, keys: i64) -> usize {
        let end = match (self.causal, position) {
            (true, Some(position)) => position.saturating_add(i + 1),
            (true, None) => keys - queries + i + 1,
            (false, Some(position)) => position.saturating_add(queries),
            (false, None) => keys,
        };
        end.clamp(0, keys) as usize
    }
}

struct Sizes {
    batches: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    value_dim: usize,
}

impl Sizes {
    fn of(q: &HostTensor, k: &HostTensor, v: &HostTensor) -> Result<Self, EvalError> {
        let (q, k, v) = (q.shape(), k.shape(), v.shape());
        let at = q.len() - 3;
        let sizes = Sizes {
            batches: q[..at].iter().product(),
            queries: q[at],
            keys: k[at],
            heads: q[at + 1],
            kv_heads: k[at + 1],
            head_dim: q[at + 2],
            value_dim: v[at + 2],
        };
        let fits = q[..at] == k[..at] && k[..at + 2] == v[..at + 2] && k[at + 2] == q[at + 2];
        if !fits || sizes.kv_heads == 0 || sizes.heads % sizes.kv_heads != 0 {
            return Err(EvalError::Value(format!(
                "q {q:?}, k {k:?} and v {v:?} do not fit together"
            )));
        }
        Ok(sizes)
    }
}

/// What is added to each score; `-inf` where a bool mask says no.
struct Mask {
    values: Vec<f64>,
    at: Vec<usize>,
    strides: [usize; 3],
}

impl Mask {
    fn read(mask: &HostTensor, q: &[usize], sizes: &Sizes) -> Result<Self, EvalError> {
        let mut full = q[..q.len() - 3].to_vec();
        full.extend([sizes.heads, sizes.queries, sizes.keys]);
        let mut values = mask.to_f64_vec()?;
        if mask.dtype().is_bool() {
            values
                .iter_mut()
                .for_each(|v| *v = if *v == 0.0 { f64::NEG_INFINITY } else { 0.0 });
        }
        let strides = [sizes.heads, sizes.queries, sizes.keys];
        Ok(Self {
            values,
            at: broadcast_positions(mask.shape(), &full)?,
            strides,
        })
    }

    fn at(&self, batch: usize, head: usize, query: usize, key: usize) -> f64 {
        let [heads, queries, keys] = self.strides;
        self.values[self.at[((batch * heads + head) * queries + query) * keys + key]]
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
