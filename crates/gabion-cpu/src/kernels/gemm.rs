//! Small dense products in `f32` over strided memory: the inner loops of attention and of batched
//! matrix products, and the packing of their right sides.
//!
//! Each element of a result is one chain of fused multiply-adds in ascending order of k, so it has
//! the same bits for every blocking.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
// SAFETY of the blocks below: callers pass pointers that are valid for the sizes and strides they
// name, and the machine has the instruction set `S`.

use super::simd::{Simd, per_isa};
use crate::isa::Isa;

/// Columns of a packed panel.
pub(crate) const PANEL: usize = 32;

/// `c [rows, cols] (+)= a [rows, k] * b [k, cols]`; strides in elements, columns of `b` and `c`
/// adjacent.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) k: usize,
    pub(crate) a: *const f32,
    pub(crate) a_row: isize,
    pub(crate) a_k: isize,
    pub(crate) b: *const f32,
    pub(crate) b_row: isize,
    pub(crate) c: *mut f32,
    pub(crate) c_row: isize,
    /// Goes on from what is in `c`.
    pub(crate) add: bool,
}

/// Rows whose sums are kept in registers.
const ROWS: usize = 6;

#[inline(always)]
unsafe fn product<S: Simd>(p: Product) {
    unsafe {
        let mut row = 0;
        while row < p.rows {
            let part = Product {
                a: p.a.offset(row as isize * p.a_row),
                c: p.c.offset(row as isize * p.c_row),
                ..p
            };
            match p.rows - row {
                1 => rows::<S, 1>(part),
                2 => rows::<S, 2>(part),
                3 => rows::<S, 3>(part),
                4 => rows::<S, 4>(part),
                5 => rows::<S, 5>(part),
                _ => rows::<S, ROWS>(part),
            }
            row += ROWS;
        }
    }
}

#[inline(always)]
unsafe fn rows<S: Simd, const R: usize>(p: Product) {
    unsafe {
        let mut col = 0;
        while col < p.cols {
            let part = Product {
                b: p.b.add(col),
                c: p.c.add(col),
                cols: p.cols - col,
                ..p
            };
            if part.cols >= 2 * S::LANES {
                block::<S, R, 2>(part);
                col += 2 * S::LANES;
            } else if part.cols >= S::LANES {
                block::<S, R, 1>(part);
                col += S::LANES;
            } else {
                edge::<S, R>(part);
                return;
            }
        }
    }
}

/// `R` rows by `V` vectors.
#[inline(always)]
unsafe fn block<S: Simd, const R: usize, const V: usize>(p: Product) {
    unsafe {
        let mut sum = [[S::splat(0.0); V]; R];
        if p.add {
            for (r, sum) in sum.iter_mut().enumerate() {
                for (v, sum) in sum.iter_mut().enumerate() {
                    *sum = S::load(p.c.offset(r as isize * p.c_row).add(v * S::LANES));
                }
            }
        }
        let (mut a, mut b) = (p.a, p.b);
        for _ in 0..p.k {
            let mut column = [S::splat(0.0); V];
            for (v, column) in column.iter_mut().enumerate() {
                *column = S::load(b.add(v * S::LANES));
            }
            for (r, sum) in sum.iter_mut().enumerate() {
                let x = S::splat(*a.offset(r as isize * p.a_row));
                for (sum, &column) in sum.iter_mut().zip(&column) {
                    *sum = S::fma(x, column, *sum);
                }
            }
            a = a.wrapping_offset(p.a_k);
            b = b.wrapping_offset(p.b_row);
        }
        for (r, sum) in sum.iter().enumerate() {
            for (v, &sum) in sum.iter().enumerate() {
                S::store(p.c.offset(r as isize * p.c_row).add(v * S::LANES), sum);
            }
        }
    }
}

/// `R` rows by less than a vector.
#[inline(always)]
unsafe fn edge<S: Simd, const R: usize>(p: Product) {
    unsafe {
        let mut sum = [S::splat(0.0); R];
        if p.add {
            for (r, sum) in sum.iter_mut().enumerate() {
                *sum = S::load_first(p.c.offset(r as isize * p.c_row), p.cols);
            }
        }
        let (mut a, mut b) = (p.a, p.b);
        for _ in 0..p.k {
            let column = S::load_first(b, p.cols);
            for (r, sum) in sum.iter_mut().enumerate() {
                let x = S::splat(*a.offset(r as isize * p.a_row));
                *sum = S::fma(x, column, *sum);
            }
            a = a.wrapping_offset(p.a_k);
            b = b.wrapping_offset(p.b_row);
        }
        for (r, &sum) in sum.iter().enumerate() {
            S::store_first(p.c.offset(r as isize * p.c_row), sum, p.cols);
        }
    }
}

per_isa! {
    /// [`Product`] for an instruction set.
    fn product_for => product(p: Product)
}

/// The functions of this file for one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct GemmKernels {
    product: unsafe fn(Product),
    transpose: Transpose,
}

type Transpose = unsafe fn(*const f32, isize, usize, usize, *mut f32);

impl GemmKernels {
    /// The functions for `isa`, or for the best there is if this machine lacks it.
    pub(crate) fn new(isa: Isa) -> GemmKernels {
        let isa = if isa.is_available() { isa } else { Isa::best() };
        let transpose: Transpose = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::transpose::panel_avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::transpose::panel_avx2,
            _ => super::transpose::panel_plain,
        };
        GemmKernels {
            product: product_for(isa),
            transpose,
        }
    }

    /// See [`Product`].
    ///
    /// # Safety
    /// Its pointers are valid for what its sizes and strides reach, `c` for writing; `c` overlaps
    /// neither `a` nor `b`.
    pub(crate) unsafe fn product(&self, p: Product) {
        unsafe { (self.product)(p) }
    }

    /// Writes `count <= 32` rows of `k` elements, `stride` apart, as the columns of a panel
    /// `[k][32]`. Columns past `count` are left as they are.
    ///
    /// # Safety
    /// `from` is valid for those rows, `panel` for writing `32 k` elements.
    pub(crate) unsafe fn panel_of_rows(
        &self,
        from: *const f32,
        stride: isize,
        count: usize,
        k: usize,
        panel: *mut f32,
    ) {
        unsafe { (self.transpose)(from, stride, count, k, panel) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 500.0 - 1.0)
            .collect()
    }

    #[test]
    fn products_are_chains_in_order_for_every_size() {
        for isa in Isa::available() {
            let kernels = GemmKernels::new(isa);
            for (m, n, k) in [
                (1, 1, 1),
                (3, 64, 5),
                (7, 33, 16),
                (6, 32, 64),
                (13, 47, 9),
                (2, 7, 0),
            ] {
                let (a, b) = (numbers(m * k, 1), numbers(k * (n + 3), 2));
                for add in [false, true] {
                    let start = numbers(m * n, 3);
                    let mut c = start.clone();
                    let p = Product {
                        rows: m,
                        cols: n,
                        k,
                        a: a.as_ptr(),
                        a_row: k as isize,
                        a_k: 1,
                        b: b.as_ptr(),
                        b_row: (n + 3) as isize,
                        c: c.as_mut_ptr(),
                        c_row: n as isize,
                        add,
                    };
                    // SAFETY: the vectors are as long as the sizes say.
                    unsafe { kernels.product(p) };
                    for i in 0..m {
                        for j in 0..n {
                            let mut sum = if add { start[i * n + j] } else { 0.0 };
                            for t in 0..k {
                                let (x, y) = (a[i * k + t], b[t * (n + 3) + j]);
                                sum = if isa == Isa::Portable {
                                    crate::kernels::simd::portable_fma(x, y, sum)
                                } else {
                                    x.mul_add(y, sum)
                                };
                            }
                            assert_eq!(c[i * n + j].to_bits(), sum.to_bits(), "{isa} {m} {n} {k}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn panels_hold_rows_as_columns() {
        for isa in Isa::available() {
            let kernels = GemmKernels::new(isa);
            for count in [1, 7, 8, 15, 16, 17, 31, 32] {
                for k in [1, 3, 8, 16, 20, 33, 64] {
                    let stride = k + 5;
                    let rows = numbers(count * stride, 4);
                    let mut panel = vec![f32::NAN; k * PANEL];
                    // SAFETY: the vectors are as long as the sizes say.
                    unsafe {
                        kernels.panel_of_rows(
                            rows.as_ptr(),
                            stride as isize,
                            count,
                            k,
                            panel.as_mut_ptr(),
                        );
                    }
                    for t in 0..k {
                        for j in 0..count {
                            assert_eq!(
                                panel[t * PANEL + j],
                                rows[j * stride + t],
                                "{isa} {count} {k}"
                            );
                        }
                    }
                }
            }
        }
    }
}
