//! Rows of x in the order that kernels read them: for each k, the values of all rows.
#![allow(unsafe_code)]

use std::ops::Range;

/// Values of a row that are read before the next row's turn.
const STRIP: usize = 16;

/// Writes `to[k * rows + r] = from[r * row_stride + k]` for `k` in `ks`.
///
/// # Safety
/// `from` is valid for `rows` rows up to `ks.end`, `to` for `rows * ks.end` values; they do not
/// overlap.
pub(super) unsafe fn pack(
    from: *const f32,
    row_stride: usize,
    rows: usize,
    ks: Range<usize>,
    to: *mut f32,
) {
    for start in ks.clone().step_by(STRIP) {
        let end = (start + STRIP).min(ks.end);
        for r in 0..rows {
            for k in start..end {
                // SAFETY: `r < rows` and `k < ks.end`.
                unsafe { *to.add(k * rows + r) = *from.add(r * row_stride + k) };
            }
        }
    }
}
