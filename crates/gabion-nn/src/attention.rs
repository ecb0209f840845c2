//! Self-attention of decoders: one stack for q, k and v, rotary positions, a cache that is appended
//! in place. Attention of encoders, which have neither, is in [`crate::bert`].

use gabion_ir::TensorValue;

use crate::linear::Linear;
use crate::rope::Rotary;
use crate::scope::Scope;
use crate::stack::StackedLinear;

/// Keys and values of one layer, f32 `[capacity, kv_heads, head_dim]` each.
#[derive(Clone, Copy, Debug)]
pub struct KvCache<'g> {
    /// Keys, rotated.
    pub keys: TensorValue<'g>,
    /// Values.
    pub values: TensorValue<'g>,
}

/// Causal self-attention with grouped heads (Ainslie et al., arXiv:2305.13245) and a cache.
#[derive(Clone, Debug)]
pub struct SelfAttention {
    /// The attribute of the parent module.
    pub name: String,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads: a divisor of `heads`.
    pub kv_heads: usize,
    /// The size of a head.
    pub head_dim: usize,
    /// q, k, v of `heads`, `kv_heads`, `kv_heads` heads.
    pub qkv: StackedLinear,
    /// From `heads · head_dim` back to the width of the model.
    pub output: Linear,
}

impl SelfAttention {
    /// Attends from `x`, f32 `[tokens, hidden]`, whose first row stands at `position` (i64 `[]`),
    /// to everything before and itself. Gives f32 `[tokens, hidden]` and the cache with the new
    /// keys and values at `position..position + tokens`. `scope` is the parent's.
    #[track_caller]
    pub fn forward<'g>(
        &self,
        scope: &Scope<'g>,
        x: TensorValue<'g>,
        rotary: &Rotary<'g>,
        cache: KvCache<'g>,
        position: TensorValue<'g>,
    ) -> (TensorValue<'g>, KvCache<'g>) {
        let (scope, _open) = scope.enter(&self.name);
        let tokens = x.dim(0);
        let split = |x: TensorValue<'g>, heads: usize| {
            x.reshape([tokens.clone(), heads.into(), self.head_dim.into()])
        };
        let projected = self.qkv.forward_split(&scope, x);
        let [q, k, v] = projected[..] else {
            let message = format!(
                "`{}` needs 3 projections, found {}",
                self.name,
                projected.len()
            );
            return (scope.builder().poison("attention", message), cache);
        };
        let q = rotary.rotate(split(q, self.heads));
        let k = rotary.rotate(split(k, self.kv_heads));
        let v = split(v, self.kv_heads);
        let cache = KvCache {
            keys: cache.keys.cache_append(k, position, 0),
            values: cache.values.cache_append(v, position, 0),
        };
        let scale = score_scale(self.head_dim);
        let attended = q.attention(cache.keys, cache.values, scale, true, None, Some(position));
        let joined = attended.reshape([tokens, (self.heads * self.head_dim).into()]);
        (self.output.forward(&scope, joined), cache)
    }
}

/// What scores are multiplied by: `1 / sqrt(head_dim)`.
pub(crate) fn score_scale(head_dim: usize) -> f64 {
    1.0 / (head_dim as f64).sqrt()
}
