//! Which kernel serves how many rows, for each instruction set and format.
//!
//! The shapes are what measured best: as many independent sums as hide the latency of a
//! multiply-add, as few loads for each as the registers allow.
#![allow(unsafe_code)]

use super::formats::{Bf16, F16, F32, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, TileFormat};
use super::micro::{self, DecodeArgs, DecodeKernel, TileArgs, TileKernel};
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{Avx2, Avx512};
use crate::kernels::simd::{Portable, Simd};
use crate::pack::{TILE, WeightFormat};

/// A tile kernel and how many tiles it takes at a time.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub kernel: TileKernel,
    pub tiles: usize,
}

/// The kernels for one number of rows: the one to use, and one for single tiles left over.
#[derive(Clone, Copy)]
pub(super) struct Shapes {
    pub many: Shape,
    pub one: Shape,
}

/// The kernels of one format.
pub(super) struct FormatKernels {
    /// For 1, 2, .. rows, decoding in registers.
    pub stream: Vec<Shapes>,
    /// To `f32`.
    pub decode: DecodeKernel,
}

/// The kernels of one instruction set.
pub(super) struct Table {
    /// For 1, 2, .. rows of x over `f32` tiles.
    pub panels: Vec<Shapes>,
    formats: Vec<FormatKernels>,
}

impl Table {
    /// The most rows for which decoding in registers, for each panel anew, is worth it.
    pub(super) fn stream_rows(&self, format: WeightFormat) -> usize {
        let rows = self.format(format).stream.len();
        let panels = match format {
            // Panels that are low for want of registers gain nothing from more decoding.
            _ if rows < self.panel_rows() => 1,
            WeightFormat::F16 | WeightFormat::Bf16 => 4,
            WeightFormat::F32
            | WeightFormat::Q4_0
            | WeightFormat::Q4_1
            | WeightFormat::Q5_0
            | WeightFormat::Q5_1
            | WeightFormat::Q8_0 => 2,
        };
        panels * rows
    }

    pub(super) fn format(&self, format: WeightFormat) -> &FormatKernels {
        &self.formats[format as usize]
    }

    /// The most rows that one pass over a tile serves.
    pub(super) fn panel_rows(&self) -> usize {
        self.panels.len()
    }
}

/// Wraps the generic kernels in functions that have the instruction set.
macro_rules! instruction_set {
    ($module:ident, $simd:ident, $(#[$feature:meta])?) => {
        mod $module {
            use super::*;

            $(#[$feature])?
            unsafe fn tiles<F: TileFormat<$simd>, const MR: usize, const NV: usize>(
                args: &TileArgs,
            ) {
                // SAFETY: the caller's contract is the same.
                unsafe { micro::tiles::<$simd, F, MR, NV>(args) }
            }

            $(#[$feature])?
            unsafe fn decode<F: TileFormat<$simd>>(args: &DecodeArgs) {
                // SAFETY: the caller's contract is the same.
                unsafe { micro::decode::<$simd, F>(args) }
            }

            fn shape<F: TileFormat<$simd>, const MR: usize, const NV: usize>() -> Shape {
                Shape {
                    kernel: tiles::<F, MR, NV>,
                    tiles: (NV * <$simd as Simd>::LANES).div_ceil(TILE),
                }
            }

            pub(super) fn shapes<
                F: TileFormat<$simd>,
                const MR: usize,
                const MANY: usize,
                const ONE: usize,
            >() -> Shapes {
                Shapes {
                    many: shape::<F, MR, MANY>(),
                    one: shape::<F, MR, ONE>(),
                }
            }

            pub(super) fn decoder<F: TileFormat<$simd>>() -> DecodeKernel {
                decode::<F>
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    Avx512,
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, Avx2, #[target_feature(enable = "avx2,fma,f16c")]);
instruction_set!(portable, Portable,);

/// `rows: vectors at a time / vectors for a single tile`, in order of rows from one.
macro_rules! shapes {
    ($set:ident, $format:ty; $($rows:literal : $many:literal / $one:literal),* $(,)?) => {
        vec![$($set::shapes::<$format, $rows, $many, $one>()),*]
    };
}

/// The kernels of all formats, in the order of `WeightFormat`.
macro_rules! formats {
    ($set:ident; $f32:tt; $f16:tt; $bf16:tt; $block:tt) => {
        vec![
            formats!(@ $set, F32, $f32),
            formats!(@ $set, F16, $f16),
            formats!(@ $set, Bf16, $bf16),
            formats!(@ $set, Q4_0, $block),
            formats!(@ $set, Q4_1, $block),
            formats!(@ $set, Q5_0, $block),
            formats!(@ $set, Q5_1, $block),
            formats!(@ $set, Q8_0, $block),
        ]
    };
    (@ $set:ident, $format:ty, { $($shapes:tt)* }) => {
        FormatKernels {
            stream: shapes!($set, $format; $($shapes)*),
            decode: $set::decoder::<$format>(),
        }
    };
}

/// Sixteen lanes and 32 registers: two vectors to a tile.
#[cfg(target_arch = "x86_64")]
pub(super) fn avx512_table() -> Table {
    Table {
        panels: shapes!(avx512, F32;
            1: 8/2, 2: 8/2, 3: 6/2, 4: 4/2, 5: 4/2, 6: 4/2,
            7: 2/2, 8: 2/2, 9: 2/2, 10: 2/2, 11: 2/2, 12: 2/2),
        formats: formats!(avx512;
            { 1: 8/2, 2: 8/2, 3: 6/2, 4: 4/2, 5: 4/2, 6: 4/2, 7: 2/2, 8: 2/2,
              9: 2/2, 10: 2/2, 11: 2/2, 12: 2/2 };
            { 1: 8/2, 2: 4/2, 3: 4/2, 4: 4/2, 5: 2/2, 6: 2/2, 7: 2/2, 8: 2/2,
              9: 2/2, 10: 2/2, 11: 2/2, 12: 2/2 };
            { 1: 8/2, 2: 4/2, 3: 4/2, 4: 4/2, 5: 2/2, 6: 2/2, 7: 2/2, 8: 2/2,
              9: 2/2, 10: 2/2, 11: 2/2, 12: 2/2 };
            { 1: 4/2, 2: 4/2, 3: 4/2, 4: 2/2, 5: 2/2, 6: 2/2, 7: 2/2, 8: 2/2,
              9: 2/2, 10: 2/2, 11: 2/2, 12: 2/2 }),
    }
}

/// Eight lanes and sixteen registers: four vectors to a tile.
#[cfg(target_arch = "x86_64")]
pub(super) fn avx2_table() -> Table {
    Table {
        panels: shapes!(avx2, F32; 1: 8/4, 2: 4/4, 3: 2/2, 4: 2/2, 5: 2/2, 6: 2/2),
        formats: formats!(avx2;
            { 1: 8/4, 2: 4/4, 3: 2/2, 4: 2/2, 5: 2/2, 6: 2/2 };
            { 1: 8/4, 2: 4/4, 3: 2/2, 4: 2/2 };
            { 1: 8/4, 2: 4/4, 3: 2/2, 4: 2/2 };
            { 1: 4/4 }),
    }
}

/// Eight lanes in pairs of the sixteen smaller registers; too few to decode blocks beside sums.
pub(super) fn portable_table() -> Table {
    Table {
        panels: shapes!(portable, F32; 1: 4/4, 2: 2/2, 3: 1/1, 4: 1/1),
        formats: formats!(portable;
            { 1: 4/4, 2: 2/2, 3: 1/1, 4: 1/1 };
            {};
            { 1: 2/2, 2: 2/2 };
            {}),
    }
}
