//! `attention`: scores, softmax and weighted values of grouped heads, without a matrix of all
//! scores.
//!
//! For every query, whatever other queries are in the call: a score is one chain over the head's
//! elements; the maximum is over the visible keys; exponentials are summed in sixteen lanes by
//! key number; the result is one chain over the visible keys in ascending order, divided by the
//! sum. Keys that no query of the call sees are not read.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use gabion_plan::{Attention, RunError};
use gabion_tensor::DType;

use super::batched::Batched;
use super::cache_append::check_position;
use super::rows::{Flat, Scratch, int_at, scratch_bytes};
use super::{Prepare, PreparedStep, StepCx, require_float, require_int};
use crate::access::{Access, Placed};
use crate::kernels::gemm::{PANEL, Product};
use crate::kernels::lanes::MaskRow;
use crate::kernels::transpose::prefetch;
use crate::value::{self, Kind, Value};

/// Query rows (queries times heads of a group) that are computed together.
const MAX_ROWS: usize = 96;
/// Scores that are kept at a time.
const MAX_SCORES: usize = 1 << 17;
/// Keys whose values are added at a time.
const VALUE_KEYS: usize = 256;
/// As [`VALUE_KEYS`], for so few rows that memory is what they wait for.
const FEW_KEYS: usize = 32;
/// Rows whose values are added by one call where their keys agree.
const VALUE_ROWS: usize = 6;

/// `[batch.., rows, heads, dim]`.
type Heads = Batched<3>;

impl Heads {
    /// Whether elements of a head are neighbours in f32.
    fn is_plain(&self) -> bool {
        self.placed.dtype == DType::F32 && (self.strides[2] == 1 || self.width() == 1)
    }
}

/// `[batch.., heads, queries, keys]`.
struct Mask {
    placed: Placed,
    batch: Access,
    head: isize,
    query: isize,
    key: isize,
}

impl Mask {
    /// Checks a mask for queries `q` and `keys` keys.
    fn new(cx: &Prepare<'_>, mask: &Placed, q: &Placed, keys: usize) -> Result<Mask, RunError> {
        let lead = q.shape.len() - 3;
        let inner = [q.shape[lead + 1], q.shape[lead], keys];
        let expected = q.shape[..lead].iter().chain(&inner);
        let alike = mask.dtype.is_float() && Kind::of(mask.dtype) == Kind::of(q.dtype);
        let known = mask.dtype.is_bool() || alike;
        cx.require(mask.shape.iter().eq(expected) && known, || {
            format!("a mask {}{:?}", mask.dtype, mask.shape)
        })?;
        Ok(Mask {
            batch: mask.access_of(0..lead),
            head: mask.strides[lead],
            query: mask.strides[lead + 1],
            key: mask.strides[lead + 2],
            placed: mask.clone(),
        })
    }
}

fn position_of(cx: &Prepare<'_>, read: usize) -> Result<Flat, RunError> {
    let position = cx.read(read)?;
    require_int(cx, "the position", position.dtype)?;
    cx.require(position.numel() == 1, || {
        format!("the position is {:?}, expected a scalar", position.shape)
    })?;
    Ok(Flat::new(position))
}

struct AttentionStep {
    spec: Attention,
    q: Heads,
    k: Heads,
    v: Heads,
    y: Heads,
    mask: Option<Mask>,
    position: Option<Flat>,
    batches: usize,
    kv_heads: usize,
    group: usize,
    queries: usize,
    keys: usize,
    /// Queries that are computed together.
    block: usize,
    name: Arc<str>,
}

pub(super) fn prepare(
    cx: &Prepare<'_>,
    spec: &Attention,
) -> Result<Box<dyn PreparedStep>, RunError> {
    let (q, k, v, y) = (cx.read(0)?, cx.read(1)?, cx.read(2)?, cx.write(0)?);
    let kind = Kind::of(q.dtype);
    for (what, placed) in [("q", q), ("k", k), ("v", v), ("the result", y)] {
        require_float(cx, what, placed.dtype)?;
        cx.require(Kind::of(placed.dtype) == kind, || {
            format!("{what} is {}, q is {}", placed.dtype, q.dtype)
        })?;
    }
    let rank = q.shape.len();
    let shapes = || {
        format!(
            "q {:?}, k {:?}, v {:?}, result {:?}",
            q.shape, k.shape, v.shape, y.shape
        )
    };
    cx.require(
        rank >= 3 && [k, v, y].iter().all(|p| p.shape.len() == rank),
        shapes,
    )?;
    let lead = rank - 3;
    let (queries, heads, dim) = (q.shape[lead], q.shape[lead + 1], q.shape[lead + 2]);
    let (keys, kv_heads, value_dim) = (k.shape[lead], k.shape[lead + 1], v.shape[lead + 2]);
    let fits = [k, v, y].iter().all(|p| p.shape[..lead] == q.shape[..lead])
        && k.shape[lead + 2] == dim
        && v.shape[lead..lead + 2] == [keys, kv_heads]
        && y.shape[lead..] == [queries, heads, value_dim]
        && kv_heads > 0
        && heads % kv_heads == 0;
    cx.require(fits, shapes)?;
    let mask = match spec.mask {
        true => Some(Mask::new(cx, cx.read(3)?, q, keys)?),
        false => None,
    };
    let position = match spec.position {
        true => Some(position_of(cx, 3 + usize::from(spec.mask))?),
        false => None,
    };
    let group = heads / kv_heads;
    let rows = MAX_ROWS.min(MAX_SCORES / row_scores(keys)).max(1);
    Ok(Box::new(AttentionStep {
        spec: spec.clone(),
        q: Heads::new(q),
        k: Heads::new(k),
        v: Heads::new(v),
        y: Heads::new(y),
        mask,
        position,
        batches: q.shape[..lead].iter().product(),
        kv_heads,
        group,
        queries,
        keys,
        block: (rows / group.max(1)).clamp(1, queries.max(1)),
        name: cx.name.clone(),
    }))
}

/// Room for a row of scores: whole panels, and a cache line, so that rows do not lie a power of two
/// apart and push each other out of the cache.
fn row_scores(keys: usize) -> usize {
    keys.next_multiple_of(PANEL).max(PANEL) + 16
}

/// Queries of some heads that share keys.
struct Block {
    batch: usize,
    kv_head: usize,
    /// Heads within the group.
    heads: Range<usize>,
    queries: Range<usize>,
}

/// Which keys queries see.
#[derive(Clone, Copy)]
struct Visible {
    causal: bool,
    /// Keys before the first query's own; may be negative.
    before: i64,
    /// All keys that exist.
    keys: usize,
}

impl Visible {
    /// Query `query` sees keys `0..end`.
    fn end(&self, query: usize) -> usize {
        if self.causal {
            (self.before + query as i64 + 1).clamp(0, self.keys as i64) as usize
        } else {
            self.keys
        }
    }
}

/// The rows of a block: its queries, each with all of the block's heads.
struct RowsOf<'a> {
    first_head: usize,
    heads: usize,
    first_query: usize,
    count: usize,
    visible: &'a Visible,
    /// Keys that the last row sees.
    most: usize,
}

impl RowsOf<'_> {
    #[inline(always)]
    fn head(&self, row: usize) -> usize {
        self.first_head + row % self.heads
    }

    #[inline(always)]
    fn query(&self, row: usize) -> usize {
        self.first_query + row / self.heads
    }

    /// The row sees keys `0..end`.
    #[inline(always)]
    fn end(&self, row: usize) -> usize {
        self.visible.end(self.query(row))
    }
}

impl AttentionStep {
    fn visible(&self, cx: &StepCx<'_>) -> Result<Visible, RunError> {
        let causal = self.spec.causal;
        let Some(position) = &self.position else {
            return Ok(Visible {
                causal,
                before: self.keys as i64 - self.queries as i64,
                keys: self.keys,
            });
        };
        let position =
            check_position(&self.name, int_at(cx, position, 0), self.queries, self.keys)?;
        Ok(Visible {
            causal,
            before: position as i64,
            keys: position + self.queries,
        })
    }

    fn blocks(&self) -> usize {
        self.queries.div_ceil(self.block)
    }

    fn block_queries(&self, block: usize) -> Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.queries)
    }

    /// The first item that does not belong to the workers before `part`. Items are ordered by
    /// batch, key head, block of queries, head; their costs are shared out evenly.
    fn first_item(&self, visible: &Visible, part: usize, parts: usize) -> usize {
        let cost = |block: usize| {
            let queries = self.block_queries(block);
            queries.len() * (visible.end(queries.end - 1) + 8)
        };
        let blocks = self.blocks();
        let per_head: usize = (0..blocks).map(cost).sum();
        let pairs = self.batches * self.kv_heads;
        let per_pair = per_head * self.group;
        let mut target = (per_pair as u128 * pairs as u128 * part as u128 / parts as u128) as usize;
        if per_pair == 0 {
            return 0;
        }
        let pair = (target / per_pair).min(pairs);
        target -= pair * per_pair;
        let mut item = pair * blocks * self.group;
        for block in 0..blocks {
            let each = cost(block);
            if target < each * self.group {
                // To the nearest head.
                return item + (target + each / 2) / each;
            }
            target -= each * self.group;
            item += self.group;
        }
        item
    }

    /// This worker's items, cut where queries or key heads change.
    fn for_each_block(&self, cx: &StepCx<'_>, visible: &Visible, mut f: impl FnMut(Block)) {
        let (part, parts) = cx.part;
        let mut item = self.first_item(visible, part, parts);
        let end = self.first_item(visible, part + 1, parts);
        let blocks = self.blocks();
        while item < end {
            let unit = item / self.group;
            let until = end.min((unit + 1) * self.group);
            let pair = unit / blocks;
            f(Block {
                batch: pair / self.kv_heads,
                kv_head: pair % self.kv_heads,
                heads: item % self.group..item % self.group + (until - item),
                queries: self.block_queries(unit % blocks),
            });
            item = until;
        }
    }

    /// One block in f32.
    fn block_f32(&self, cx: &StepCx<'_>, visible: &Visible, block: &Block) {
        let rows = RowsOf {
            first_head: block.kv_head * self.group + block.heads.start,
            heads: block.heads.len(),
            first_query: block.queries.start,
            count: block.heads.len() * block.queries.len(),
            visible,
            most: visible.end(block.queries.end - 1),
        };
        let (dim, value_dim) = (self.q.width(), self.v.width());
        let mut scratch = Scratch::of(cx);
        let panel = scratch.take::<f32>(PANEL * dim);
        let converted = scratch.take::<f32>(self.converted());
        let mask = scratch.take::<f32>(row_scores(self.keys));
        let q = scratch.take::<f32>(rows.count * dim);
        let out = scratch.take::<f32>(rows.count * value_dim);
        let sums = scratch.take::<f32>(rows.count);
        let scores = scratch.take::<f32>(rows.count * row_scores(self.keys));
        for (row, q) in q.chunks_exact_mut(dim.max(1)).enumerate().take(rows.count) {
            self.q
                .load(cx, block.batch, [rows.query(row), rows.head(row), 0], q);
        }
        self.scores_f32(cx, block, &rows, [q, panel, converted], scores);
        self.softmax_f32(cx, block, &rows, mask, scores, sums);
        out.fill(0.0);
        self.values_f32(cx, block, &rows, scores, converted, out);
        let outs = out.chunks_exact_mut(value_dim.max(1));
        for (row, out) in outs.enumerate().take(rows.count) {
            let sum = sums[row];
            if sum == 0.0 {
                out.fill(0.0);
            } else {
                out.iter_mut().for_each(|x| *x /= sum);
            }
            self.y
                .store(cx, block.batch, [rows.query(row), rows.head(row), 0], out);
        }
    }

    /// Products of all rows with the keys that they see.
    fn scores_f32(
        &self,
        cx: &StepCx<'_>,
        block: &Block,
        rows: &RowsOf<'_>,
        [q, panel, converted]: [&mut [f32]; 3],
        scores: &mut [f32],
    ) {
        let (dim, row_len) = (self.q.width(), row_scores(self.keys));
        for key in (0..rows.most).step_by(PANEL) {
            let count = PANEL.min(rows.most - key);
            let (from, stride) = self.plain_rows(cx, &self.k, block, key..key + count, converted);
            // Rows are ordered by what they see: those before see none of these keys.
            let first = (0..rows.count).find(|&row| rows.end(row) > key);
            let first = first.unwrap_or(rows.count);
            // SAFETY: the keys lie in their view or in scratch; panel, q and scores are as large
            // as the sizes say, and this worker's own.
            unsafe {
                cx.kernels
                    .gemm
                    .panel_of_rows(from, stride, count, dim, panel.as_mut_ptr());
                cx.kernels.gemm.product(Product {
                    rows: rows.count - first,
                    cols: PANEL,
                    k: dim,
                    a: q.as_ptr().wrapping_add(first * dim),
                    a_row: dim as isize,
                    a_k: 1,
                    b: panel.as_ptr(),
                    b_row: PANEL as isize,
                    c: scores.as_mut_ptr().wrapping_add(first * row_len + key),
                    c_row: row_len as isize,
                    add: false,
                });
            }
        }
    }

    /// Scores to exponentials, and the sum of each row's.
    fn softmax_f32(
        &self,
        cx: &StepCx<'_>,
        block: &Block,
        rows: &RowsOf<'_>,
        mask: &mut [f32],
        scores: &mut [f32],
        sums: &mut [f32],
    ) {
        let all = scores.chunks_exact_mut(row_scores(self.keys));
        for (row, scores) in all.enumerate().take(rows.count) {
            let scores = &mut scores[..rows.end(row)];
            let (head, query) = (rows.head(row), rows.query(row));
            let mask = self.mask_row(cx, block.batch, head, query, scores.len(), mask);
            cx.kernels.lanes.mask(scores, self.spec.scale, mask);
            sums[row] = cx.kernels.lanes.softmax_sum(scores);
        }
    }

    /// Adds the values that each row sees, times its scores, to `out`.
    fn values_f32(
        &self,
        cx: &StepCx<'_>,
        block: &Block,
        rows: &RowsOf<'_>,
        scores: &[f32],
        converted: &mut [f32],
        out: &mut [f32],
    ) {
        let (value_dim, row_len) = (self.v.width(), row_scores(self.keys));
        let few = rows.count <= VALUE_ROWS;
        let step = if few { FEW_KEYS } else { VALUE_KEYS };
        for key in (0..rows.most).step_by(step) {
            let keys = key..(key + step).min(rows.most);
            let (v, v_row) = self.plain_rows(cx, &self.v, block, keys.clone(), converted);
            if few && self.v.is_plain() {
                for ahead in 2 * FEW_KEYS..3 * FEW_KEYS {
                    prefetch(v.wrapping_offset(ahead as isize * v_row), value_dim);
                }
            }
            let mut add = |rows: Range<usize>, from: usize, to: usize| {
                if from >= to {
                    return;
                }
                // SAFETY: values lie in their view or in scratch; scores and out are as large
                // as the sizes say, and this worker's own.
                unsafe {
                    cx.kernels.gemm.product(Product {
                        rows: rows.len(),
                        cols: value_dim,
                        k: to - from,
                        a: scores.as_ptr().wrapping_add(rows.start * row_len + from),
                        a_row: row_len as isize,
                        a_k: 1,
                        b: v.wrapping_offset((from - keys.start) as isize * v_row),
                        b_row: v_row,
                        c: out.as_mut_ptr().wrapping_add(rows.start * value_dim),
                        c_row: value_dim as isize,
                        add: true,
                    });
                }
            };
            let seen = |row: usize| rows.end(row).clamp(keys.start, keys.end);
            for first in (0..rows.count).step_by(VALUE_ROWS) {
                let last = (first + VALUE_ROWS).min(rows.count);
                // What all rows see together, then the rest of each.
                let common = seen(first);
                add(first..last, keys.start, common);
                for row in first..last {
                    add(row..row + 1, common, seen(row));
                }
            }
        }
    }

    /// Elements of scratch for keys or values that are no plain f32.
    fn converted(&self) -> usize {
        let keys = if self.k.is_plain() {
            0
        } else {
            PANEL * self.k.width()
        };
        let values = if self.v.is_plain() {
            0
        } else {
            VALUE_KEYS * self.v.width()
        };
        keys.max(values)
    }

    /// Rows of keys or values as f32 neighbours: in place, or converted.
    fn plain_rows(
        &self,
        cx: &StepCx<'_>,
        heads: &Heads,
        block: &Block,
        rows: Range<usize>,
        converted: &mut [f32],
    ) -> (*const f32, isize) {
        if heads.is_plain() {
            return (
                heads
                    .at(cx, block.batch, [rows.start, block.kv_head, 0])
                    .cast_const()
                    .cast(),
                heads.strides[0],
            );
        }
        for (out, row) in converted.chunks_exact_mut(heads.width().max(1)).zip(rows) {
            heads.load(cx, block.batch, [row, block.kv_head, 0], out);
        }
        (converted.as_ptr(), heads.width() as isize)
    }

    fn mask_row<'m>(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        head: usize,
        query: usize,
        len: usize,
        buffer: &'m mut [f32],
    ) -> MaskRow<'m> {
        let Some(mask) = &self.mask else {
            return MaskRow::None;
        };
        let offset =
            mask.batch.offset(batch) + head as isize * mask.head + query as isize * mask.query;
        let at = cx
            .at(&mask.placed)
            .wrapping_offset(offset * mask.placed.unit as isize);
        // SAFETY: the row lies inside the view, which was checked to lie inside its memory and
        // which nobody writes while this step runs; scratch is this worker's own.
        unsafe {
            if mask.placed.dtype.is_bool() {
                if mask.key == 1 {
                    return MaskRow::Allowed(value::slice(at, len));
                }
                let out: &mut [u8] = &mut bytemuck::cast_slice_mut(buffer)[..len];
                u8::load(at, mask.placed.dtype, mask.key, out);
                return MaskRow::Allowed(out);
            }
            if mask.key == 1 && mask.placed.dtype == DType::F32 {
                return MaskRow::Added(value::slice(at, len));
            }
            f32::load(at, mask.placed.dtype, mask.key, &mut buffer[..len]);
            MaskRow::Added(&buffer[..len])
        }
    }

    /// One block in f64, query by query.
    fn block_f64(&self, cx: &StepCx<'_>, visible: &Visible, block: &Block) {
        let (dim, value_dim) = (self.q.width(), self.v.width());
        let mut scratch = Scratch::of(cx);
        let (q, row) = (
            scratch.take::<f64>(dim),
            scratch.take::<f64>(dim.max(value_dim)),
        );
        let (out, scores) = (
            scratch.take::<f64>(value_dim),
            scratch.take::<f64>(self.keys),
        );
        for query in block.queries.clone() {
            for head in block.heads.clone() {
                let head = block.kv_head * self.group + head;
                let end = visible.end(query);
                self.q.load(cx, block.batch, [query, head, 0], q);
                for (key, score) in scores[..end].iter_mut().enumerate() {
                    self.k
                        .load(cx, block.batch, [key, block.kv_head, 0], &mut row[..dim]);
                    let dot = q
                        .iter()
                        .zip(row.iter())
                        .fold(0.0, |sum: f64, (&a, &b)| sum + a * b);
                    *score = self.masked_f64(
                        cx,
                        block.batch,
                        head,
                        query,
                        key,
                        dot * f64::from(self.spec.scale),
                    );
                }
                let scores = &mut scores[..end];
                let max =
                    scores.iter().fold(
                        f64::NEG_INFINITY,
                        |a, &b| if a > b || a.is_nan() { a } else { b },
                    );
                out.fill(0.0);
                if max != f64::NEG_INFINITY {
                    scores.iter_mut().for_each(|s| *s = libm::exp(*s - max));
                    let sum: f64 = scores.iter().sum();
                    for (key, &p) in scores.iter().enumerate() {
                        self.v.load(
                            cx,
                            block.batch,
                            [key, block.kv_head, 0],
                            &mut row[..value_dim],
                        );
                        out.iter_mut()
                            .zip(row.iter())
                            .for_each(|(out, &v)| *out += p * v);
                    }
                    out.iter_mut().for_each(|x| *x /= sum);
                }
                self.y.store(cx, block.batch, [query, head, 0], out);
            }
        }
    }

    fn masked_f64(
        &self,
        cx: &StepCx<'_>,
        batch: usize,
        head: usize,
        query: usize,
        key: usize,
        score: f64,
    ) -> f64 {
        let Some(mask) = &self.mask else { return score };
        let offset = mask.batch.offset(batch)
            + head as isize * mask.head
            + query as isize * mask.query
            + key as isize * mask.key;
        let at = cx
            .at(&mask.placed)
            .wrapping_offset(offset * mask.placed.unit as isize);
        // SAFETY: the element lies inside the view.
        unsafe {
            if mask.placed.dtype.is_bool() {
                let mut one = [0u8];
                u8::load(at, mask.placed.dtype, 1, &mut one);
                return if one[0] != 0 {
                    score
                } else {
                    f64::NEG_INFINITY
                };
            }
            let mut one = [0.0f64];
            f64::load(at, mask.placed.dtype, 1, &mut one);
            score + one[0]
        }
    }
}

impl PreparedStep for AttentionStep {
    fn scratch(&self) -> usize {
        let (dim, value_dim) = (self.q.width(), self.v.width());
        if Kind::of(self.q.placed.dtype) == Kind::F64 {
            return scratch_bytes::<f64>(dim)
                + scratch_bytes::<f64>(dim.max(value_dim))
                + scratch_bytes::<f64>(value_dim)
                + scratch_bytes::<f64>(self.keys);
        }
        let rows = self.block * self.group;
        let row_len = row_scores(self.keys);
        let counts = [
            PANEL * dim,
            self.converted(),
            row_len,
            rows * dim,
            rows * value_dim,
            rows,
            rows * row_len,
        ];
        counts.into_iter().map(scratch_bytes::<f32>).sum()
    }

    fn cost(&self) -> usize {
        let pairs = self.batches * self.kv_heads * self.group * self.queries * self.keys;
        pairs * (self.q.width() + self.v.width()) / 32 + 100
    }

    fn run(&self, cx: &StepCx<'_>) -> Result<(), RunError> {
        if self.queries == 0 {
            return Ok(());
        }
        let visible = self.visible(cx)?;
        let wide = Kind::of(self.q.placed.dtype) == Kind::F64;
        self.for_each_block(cx, &visible, |block| {
            if wide {
                self.block_f64(cx, &visible, &block);
            } else {
                self.block_f32(cx, &visible, &block);
            }
        });
        Ok(())
    }
}
