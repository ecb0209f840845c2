//! Attention in plain loops.

use gabion_tensor::HostTensor;
use smallvec::smallvec;

use super::Attention;
use crate::op::{EvalCx, EvalError, HostTensors};
use crate::ops::broadcasting::broadcast_positions;
use crate::ops::lanes::from_f64;

/// See [`Attention`].
pub(super) fn evaluate(
    op: &Attention,
    args: &[HostTensor],
    cx: &EvalCx<'_>,
) -> Result<HostTensors, EvalError> {
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
    let (mask, at) = op.optional(args);
    let mask = mask
        .map(|m| Mask::read(m, args[0].shape(), &sizes))
        .transpose()?;
    let at = at.map(HostTensor::to_i64_vec).transpose()?.map(|at| at[0]);
    let mut out = vec![0.0; batches * queries * heads * value_dim];
    for (batch, query, head) in each(batches, queries, heads) {
        let row = (batch * queries + query) * heads + head;
        let q = &q[row * head_dim..(row + 1) * head_dim];
        let key_row = |j: usize| (batch * keys + j) * kv_heads + head / (heads / kv_heads);
        let end = op.end(query as i64, at, queries as i64, keys as i64);
        let mut scores = Vec::new();
        for j in 0..end {
            let k = &k[key_row(j) * head_dim..(key_row(j) + 1) * head_dim];
            let dot: f64 = q.iter().zip(k).map(|(a, b)| a * b).sum();
            let added = mask.as_ref().map_or(0.0, |m| m.at(batch, head, query, j));
            let score = dot * op.scale.0 + added;
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
        if !fits || sizes.kv_heads == 0 || !sizes.heads.is_multiple_of(sizes.kv_heads) {
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
