//! Rows of x in the order that kernels read them: for each k, the values of all rows.
#![allow(unsafe_code)]

use std::ops::Range;

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
    let fours = ks.start + ks.len() / 4 * 4;
    // SAFETY: every index is below `rows` or inside `ks`.
    unsafe {
        for k in (ks.start..fours).step_by(4) {
            for r in (0..rows / 4 * 4).step_by(4) {
                let corner = from.add(r * row_stride + k);
                transpose_4x4(corner, row_stride, to.add(k * rows + r), rows);
            }
            for r in rows / 4 * 4..rows {
                for k in k..k + 4 {
                    *to.add(k * rows + r) = *from.add(r * row_stride + k);
                }
            }
        }
        for k in fours..ks.end {
            for r in 0..rows {
                *to.add(k * rows + r) = *from.add(r * row_stride + k);
            }
        }
    }
}

/// Four values of each of four rows at `from` become four values of each of four rows at `to`.
///
/// # Safety
/// Both are valid for four rows of four values, so far apart.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use core::arch::x86_64::*;
    // SAFETY: the caller's promise; SSE is part of the architecture.
    unsafe {
        let mut a = _mm_loadu_ps(from);
        let mut b = _mm_loadu_ps(from.add(from_stride));
        let mut c = _mm_loadu_ps(from.add(2 * from_stride));
        let mut d = _mm_loadu_ps(from.add(3 * from_stride));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to.add(to_stride), b);
        _mm_storeu_ps(to.add(2 * to_stride), c);
        _mm_storeu_ps(to.add(3 * to_stride), d);
    }
}

/// As above, value by value.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    for row in 0..4 {
        for column in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
        }
    }
}
