//! Transposing rows into panels of 32 columns, in registers where the instruction set allows.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
// SAFETY of the blocks below: callers pass rows of `k` elements and room for `[k][32]`.

use super::gemm::PANEL;

/// Any count, any k, one element at a time.
///
/// # Safety
/// `from` is valid for `count` rows of `k` elements `stride` apart, `panel` for `32 k` elements.
pub(super) unsafe fn panel_plain(
    from: *const f32,
    stride: isize,
    count: usize,
    k: usize,
    panel: *mut f32,
) {
    for j in 0..count {
        unsafe {
            let row = from.offset(j as isize * stride);
            for t in 0..k {
                *panel.add(t * PANEL + j) = *row.add(t);
            }
        }
    }
}

/// Whole blocks of `N` by `N` by `block`, the edges one by one.
#[inline(always)]
unsafe fn panel_in_blocks<const N: usize>(
    from: *const f32,
    stride: isize,
    count: usize,
    k: usize,
    panel: *mut f32,
    block: impl Fn(*const f32, isize, *mut f32),
) {
    let (rows, depth) = (count / N * N, k / N * N);
    unsafe {
        for j in (0..rows).step_by(N) {
            let row = from.offset(j as isize * stride);
            for i in 0..N as isize {
                // Two panels on, if rows go on that far: spread rows are no stream to the hardware.
                prefetch(row.wrapping_offset((2 * PANEL as isize + i) * stride), k);
            }
            for t in (0..depth).step_by(N) {
                block(row.add(t), stride, panel.add(t * PANEL + j));
            }
            panel_plain(
                row.add(depth),
                stride,
                N,
                k - depth,
                panel.add(depth * PANEL + j),
            );
        }
        let row = from.offset(rows as isize * stride);
        panel_plain(row, stride, count - rows, k, panel.add(rows));
    }
}

/// Asks for the cache lines of `count` elements from an address that need not exist.
#[inline(always)]
pub(crate) fn prefetch(from: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on speed, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{panel_avx2, panel_avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{PANEL, panel_in_blocks};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::panel_plain`], on a machine with AVX2.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(in super::super) unsafe fn panel_avx2(
        from: *const f32,
        stride: isize,
        count: usize,
        k: usize,
        panel: *mut f32,
    ) {
        unsafe {
            panel_in_blocks::<8>(from, stride, count, k, panel, |from, stride, to| {
                block8(from, stride, to)
            })
        }
    }

    /// # Safety
    /// As [`super::panel_plain`], on a machine with AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    pub(in super::super) unsafe fn panel_avx512(
        from: *const f32,
        stride: isize,
        count: usize,
        k: usize,
        panel: *mut f32,
    ) {
        unsafe {
            panel_in_blocks::<16>(from, stride, count, k, panel, |from, stride, to| {
                block16(from, stride, to)
            })
        }
    }

    /// Eight rows of eight: pairs, fours, halves.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn block8(from: *const f32, stride: isize, to: *mut f32) {
        unsafe {
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm256_loadu_ps(from.offset(i as isize * stride));
            }
            let mut t = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..2 {
                r[4 * i] = _mm256_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 1] = _mm256_shuffle_ps::<0xEE>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                r[4 * i + 3] = _mm256_shuffle_ps::<0xEE>(t[4 * i + 1], t[4 * i + 3]);
            }
            for i in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]);
                let high = _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]);
                _mm256_storeu_ps(to.add(i * PANEL), low);
                _mm256_storeu_ps(to.add((i + 4) * PANEL), high);
            }
        }
    }

    /// Sixteen rows of sixteen: pairs, fours, then quarters of registers twice.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    unsafe fn block16(from: *const f32, stride: isize, to: *mut f32) {
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            for (i, r) in r.iter_mut().enumerate() {
                *r = _mm512_loadu_ps(from.offset(i as isize * stride));
            }
            let mut t = [_mm512_setzero_ps(); 16];
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            // r[4 i + c]: columns c, c + 4, c + 8, c + 12 of rows 4 i .. 4 i + 4.
            for i in 0..4 {
                r[4 * i] = _mm512_shuffle_ps::<0x44>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 1] = _mm512_shuffle_ps::<0xEE>(t[4 * i], t[4 * i + 2]);
                r[4 * i + 2] = _mm512_shuffle_ps::<0x44>(t[4 * i + 1], t[4 * i + 3]);
                r[4 * i + 3] = _mm512_shuffle_ps::<0xEE>(t[4 * i + 1], t[4 * i + 3]);
            }
            for c in 0..4 {
                let (a, b) = (
                    _mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]),
                    _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]),
                );
                let (d, e) = (
                    _mm512_shuffle_f32x4::<0xDD>(r[c], r[4 + c]),
                    _mm512_shuffle_f32x4::<0xDD>(r[8 + c], r[12 + c]),
                );
                _mm512_storeu_ps(to.add(c * PANEL), _mm512_shuffle_f32x4::<0x88>(a, b));
                _mm512_storeu_ps(to.add((c + 8) * PANEL), _mm512_shuffle_f32x4::<0xDD>(a, b));
                _mm512_storeu_ps(to.add((c + 4) * PANEL), _mm512_shuffle_f32x4::<0x88>(d, e));
                _mm512_storeu_ps(to.add((c + 12) * PANEL), _mm512_shuffle_f32x4::<0xDD>(d, e));
            }
        }
    }
}
