//! How each stored format turns the bytes of a tile into vectors of `f32`, in registers, exactly.
//!
//! The order of the bytes is described in `pack`. A *lane* here is the number of the first of a
//! vector's columns in its tile.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block below: `TileFormat` obliges its caller to pass a block of a tile of this
// format, and a lane such that a vector's columns lie in the tile; the machine has `S`.

use crate::kernels::simd::Simd;
use crate::pack::TILE;

/// A stored format as the inner loops see it.
///
/// # Safety
/// Every function demands that the machine has `S`, that `block` points at `BLOCK_BYTES` readable
/// bytes of a tile (less if a block is cut short by the end of k: then only the steps in range
/// may be asked for), and that `lane + S::LANES` is at most 32.
pub(super) trait TileFormat<S: Simd>: 'static {
    /// Steps of k whose bytes lie together.
    const BLOCK_K: usize;
    /// Bytes of so many steps, for 32 columns.
    const BLOCK_BYTES: usize;
    /// Steps of k that one load of codes serves; divides `BLOCK_K`, at most 8.
    const CHUNK: usize;
    /// What a block has for all of its steps.
    type Scale: Copy;
    /// What a chunk has for its steps.
    type Codes: Copy;

    unsafe fn scale(block: *const u8, lane: usize) -> Self::Scale;
    unsafe fn codes(block: *const u8, scale: Self::Scale, chunk: usize, lane: usize)
    -> Self::Codes;
    /// The weights of step `step` of the chunk.
    unsafe fn weights(codes: Self::Codes, scale: Self::Scale, step: usize) -> S::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;
pub(super) struct Q8_0;
pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;

/// A format of plain values that lie in the order of k, of `$bytes` bytes each.
macro_rules! plain_values {
    ($format:ty, $bytes:literal, |$at:ident| $load:expr) => {
        impl<S: Simd> TileFormat<S> for $format {
            const BLOCK_K: usize = 4;
            const BLOCK_BYTES: usize = 4 * TILE * $bytes;
            const CHUNK: usize = 1;
            type Scale = ();
            type Codes = S::F;

            #[inline(always)]
            unsafe fn scale(_: *const u8, _: usize) {}
            #[inline(always)]
            unsafe fn codes(block: *const u8, _: (), chunk: usize, lane: usize) -> S::F {
                unsafe {
                    let $at = block.add((chunk * TILE + lane) * $bytes);
                    $load
                }
            }
            #[inline(always)]
            unsafe fn weights(codes: S::F, _: (), _: usize) -> S::F {
                codes
            }
        }
    };
}

plain_values!(F32, 4, |at| S::load(at.cast::<f32>()));
plain_values!(F16, 2, |at| S::load_f16(at));

impl<S: Simd> TileFormat<S> for Bf16 {
    const BLOCK_K: usize = 4;
    const BLOCK_BYTES: usize = 4 * TILE * 2;
    const CHUNK: usize = 2;
    type Scale = ();
    type Codes = S::I;

    #[inline(always)]
    unsafe fn scale(_: *const u8, _: usize) {}
    #[inline(always)]
    unsafe fn codes(block: *const u8, _: (), chunk: usize, lane: usize) -> S::I {
        unsafe { S::load_i(block.add((chunk * TILE + lane) * 4)) }
    }
    #[inline(always)]
    unsafe fn weights(codes: S::I, _: (), step: usize) -> S::F {
        unsafe {
            S::bits_to_float(if step == 0 {
                S::shl(codes, 16)
            } else {
                S::and_i(codes, S::splat_i(0xffff_0000_u32 as i32))
            })
        }
    }
}

/// Bytes of a block's scales.
const SCALES: usize = 2 * TILE;

impl<S: Simd> TileFormat<S> for Q8_0 {
    const BLOCK_K: usize = 32;
    const BLOCK_BYTES: usize = SCALES + 32 * TILE;
    const CHUNK: usize = 1;
    type Scale = S::F;
    type Codes = S::F;

    #[inline(always)]
    unsafe fn scale(block: *const u8, lane: usize) -> S::F {
        unsafe { S::load_f16(block.add(2 * lane)) }
    }
    #[inline(always)]
    unsafe fn codes(block: *const u8, _: S::F, chunk: usize, lane: usize) -> S::F {
        unsafe { S::load_i8(block.add(SCALES + chunk * TILE + lane)) }
    }
    #[inline(always)]
    unsafe fn weights(codes: S::F, scale: S::F, _: usize) -> S::F {
        unsafe { S::mul(codes, scale) }
    }
}

/// Words of eight codes, `start` bytes into the block.
#[inline(always)]
unsafe fn words<S: Simd>(block: *const u8, start: usize, chunk: usize, lane: usize) -> S::I {
    unsafe { S::load_i(block.add(start + (chunk * TILE + lane) * 4)) }
}

/// The eight codes of chunk `chunk`, each with its fifth bit and in a byte of its own: those of
/// even steps and those of odd steps. The bytes' upper bits are zero.
#[inline(always)]
unsafe fn with_fifth_bits<S: Simd>(words: S::I, fifth: S::I, chunk: usize) -> (S::I, S::I) {
    unsafe {
        let fifth = S::shr(fifth, 2 * chunk as u32);
        let (four, bit) = (S::splat_i(0x0f0f_0f0f), S::splat_i(0x1010_1010));
        let even = S::or_i(S::and_i(words, four), S::and_i(S::shl(fifth, 4), bit));
        let words = S::shr(words, 4);
        let odd = S::or_i(S::and_i(words, four), S::and_i(S::shl(fifth, 3), bit));
        (even, odd)
    }
}

/// The word of [`with_fifth_bits`] with the code of step `step` in its low bits.
#[inline(always)]
unsafe fn five_at<S: Simd>((even, odd): (S::I, S::I), step: usize) -> S::I {
    unsafe {
        let codes = if step.is_multiple_of(2) { even } else { odd };
        if step < 2 {
            codes
        } else {
            S::shr(codes, 8 * (step as u32 / 2))
        }
    }
}

/// The word with the code of step `step` in its low bits.
#[inline(always)]
unsafe fn at<S: Simd>(codes: S::I, step: usize) -> S::I {
    unsafe {
        if step == 0 {
            codes
        } else {
            S::shr(codes, 4 * step as u32)
        }
    }
}

impl<S: Simd> TileFormat<S> for Q4_0 {
    const BLOCK_K: usize = 32;
    const BLOCK_BYTES: usize = SCALES + 16 * TILE;
    const CHUNK: usize = 8;
    type Scale = S::F;
    type Codes = S::I;

    #[inline(always)]
    unsafe fn scale(block: *const u8, lane: usize) -> S::F {
        unsafe { S::load_f16(block.add(2 * lane)) }
    }
    #[inline(always)]
    unsafe fn codes(block: *const u8, _: S::F, chunk: usize, lane: usize) -> S::I {
        unsafe { words::<S>(block, SCALES, chunk, lane) }
    }
    #[inline(always)]
    unsafe fn weights(codes: S::I, scale: S::F, step: usize) -> S::F {
        unsafe { S::mul(S::nibble_less_8(at::<S>(codes, step)), scale) }
    }
}

impl<S: Simd> TileFormat<S> for Q4_1 {
    const BLOCK_K: usize = 32;
    const BLOCK_BYTES: usize = 2 * SCALES + 16 * TILE;
    const CHUNK: usize = 8;
    type Scale = (S::F, S::F);
    type Codes = S::I;

    #[inline(always)]
    unsafe fn scale(block: *const u8, lane: usize) -> (S::F, S::F) {
        unsafe {
            let scale = S::load_f16(block.add(2 * lane));
            (scale, S::load_f16(block.add(SCALES + 2 * lane)))
        }
    }
    #[inline(always)]
    unsafe fn codes(block: *const u8, _: (S::F, S::F), chunk: usize, lane: usize) -> S::I {
        unsafe { words::<S>(block, 2 * SCALES, chunk, lane) }
    }
    #[inline(always)]
    unsafe fn weights(codes: S::I, (scale, min): (S::F, S::F), step: usize) -> S::F {
        // Code times scale is exact, so this rounds once whether fused or not.
        unsafe { S::fma(S::nibble(at::<S>(codes, step)), scale, min) }
    }
}

impl<S: Simd> TileFormat<S> for Q5_0 {
    const BLOCK_K: usize = 32;
    const BLOCK_BYTES: usize = SCALES + 4 * TILE + 16 * TILE;
    const CHUNK: usize = 8;
    type Scale = (S::F, S::I);
    type Codes = (S::I, S::I);

    #[inline(always)]
    unsafe fn scale(block: *const u8, lane: usize) -> (S::F, S::I) {
        unsafe {
            let scale = S::load_f16(block.add(2 * lane));
            (scale, S::load_i(block.add(SCALES + 4 * lane)))
        }
    }
    #[inline(always)]
    unsafe fn codes(
        block: *const u8,
        (_, fifth): (S::F, S::I),
        chunk: usize,
        lane: usize,
    ) -> (S::I, S::I) {
        unsafe {
            let words = words::<S>(block, SCALES + 4 * TILE, chunk, lane);
            with_fifth_bits::<S>(words, fifth, chunk)
        }
    }
    #[inline(always)]
    unsafe fn weights(codes: (S::I, S::I), (scale, _): (S::F, S::I), step: usize) -> S::F {
        unsafe {
            let code = S::five_bits_less_16(five_at::<S>(codes, step));
            S::mul(code, scale)
        }
    }
}

impl<S: Simd> TileFormat<S> for Q5_1 {
    const BLOCK_K: usize = 32;
    const BLOCK_BYTES: usize = 2 * SCALES + 4 * TILE + 16 * TILE;
    const CHUNK: usize = 8;
    type Scale = (S::F, S::F, S::I);
    type Codes = (S::I, S::I);

    #[inline(always)]
    unsafe fn scale(block: *const u8, lane: usize) -> (S::F, S::F, S::I) {
        unsafe {
            let scale = S::load_f16(block.add(2 * lane));
            let min = S::load_f16(block.add(SCALES + 2 * lane));
            (scale, min, S::load_i(block.add(2 * SCALES + 4 * lane)))
        }
    }
    #[inline(always)]
    unsafe fn codes(
        block: *const u8,
        (_, _, fifth): (S::F, S::F, S::I),
        chunk: usize,
        lane: usize,
    ) -> (S::I, S::I) {
        unsafe {
            let words = words::<S>(block, 2 * SCALES + 4 * TILE, chunk, lane);
            with_fifth_bits::<S>(words, fifth, chunk)
        }
    }
    #[inline(always)]
    unsafe fn weights(
        codes: (S::I, S::I),
        (scale, min, _): (S::F, S::F, S::I),
        step: usize,
    ) -> S::F {
        unsafe {
            let code = S::five_bits(five_at::<S>(codes, step));
            S::fma(code, scale, min)
        }
    }
}
