//! The inner loops: some rows of x times one or more tiles, and a tile decoded to `f32`.
//!
//! Every output is one chain over k from its first value to its last, `acc = x w + acc`, so no
//! choice of rows, tiles or blocks changes a bit.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over constant counts unroll into registers"
)]
// SAFETY of every block below: the functions' own contracts; offsets stay within what
// `TileArgs` and `DecodeArgs` promise.

use super::formats::TileFormat;
use crate::kernels::simd::Simd;
use crate::pack::TILE;

/// What a tile kernel works on.
#[derive(Clone, Copy)]
pub(super) struct TileArgs {
    /// `[k][MR]` values of x.
    pub x: *const f32,
    /// The first tile, from the block where k starts.
    pub w: *const u8,
    /// From one tile to the next, in bytes.
    pub tile_bytes: usize,
    /// How many tiles: a whole number of the kernel's passes.
    pub tiles: usize,
    /// Steps.
    pub k: usize,
    /// `[tiles][MR][32]` sums.
    pub out: *mut f32,
    /// Whether `out` holds sums to go on from; else they start at zero.
    pub resume: bool,
    /// How far ahead of the reads weights are fetched, in bytes; zero for not at all.
    pub ahead: usize,
}

/// Rows `MR` of x times `args.tiles` tiles, `NV` vectors of columns at a time.
pub(super) type TileKernel = unsafe fn(&TileArgs);

/// What a decode kernel works on.
#[derive(Clone, Copy)]
pub(super) struct DecodeArgs {
    /// A tile, from the block where k starts.
    pub w: *const u8,
    /// From this tile to the next, in bytes.
    pub tile_bytes: usize,
    /// Steps.
    pub k: usize,
    /// `[k][32]` values.
    pub out: *mut f32,
}

/// How far ahead of its reads decoding asks for weights, in bytes.
const DECODE_AHEAD: usize = 4_000;

/// One tile, decoded.
pub(super) type DecodeKernel = unsafe fn(&DecodeArgs);

#[inline(always)]
unsafe fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Where weights are fetched from that will be read soon: further on in a tile, then in the tile
/// that comes next.
struct Ahead {
    at: *const u8,
    /// Bytes until there.
    left: usize,
    /// From the end of the one to the start of the other.
    jump: usize,
}

impl Ahead {
    /// `by` bytes ahead of `w`, of which `left` are left; then comes what lies `jump` after those.
    #[inline(always)]
    fn new(w: *const u8, by: usize, left: usize, jump: usize) -> Ahead {
        let mut ahead = Ahead { at: w, left, jump };
        ahead.step(by.min(left));
        ahead
    }

    #[inline(always)]
    fn step(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
        if self.left <= bytes {
            self.at = self.at.wrapping_add(self.jump);
            self.left = usize::MAX;
        } else {
            self.left -= bytes;
        }
    }
}

/// See [`TileKernel`].
///
/// # Safety
/// The machine has `S`; `args` describes memory of the sizes it says, tiles in format `F`.
#[inline(always)]
pub(super) unsafe fn tiles<S: Simd, F: TileFormat<S>, const MR: usize, const NV: usize>(
    args: &TileArgs,
) {
    unsafe {
        let per_tile = TILE / S::LANES;
        for pass in 0..args.tiles * per_tile / NV {
            let (tile, part) = (pass * NV / per_tile, pass * NV % per_tile);
            let part = if NV >= per_tile { 0 } else { part };
            let w = args.w.add(tile * args.tile_bytes);
            let out = args.out.add(tile * MR * TILE + part * S::LANES);
            one_pass::<S, F, MR, NV>(args, w, part * S::LANES, out);
        }
    }
}

#[inline(always)]
unsafe fn one_pass<S: Simd, F: TileFormat<S>, const MR: usize, const NV: usize>(
    args: &TileArgs,
    w: *const u8,
    lane: usize,
    out: *mut f32,
) {
    unsafe {
        let per_tile = TILE / S::LANES;
        let tile_of = |v: usize| v / per_tile * args.tile_bytes;
        let lane_of = |v: usize| lane + v % per_tile * S::LANES;
        let out_of = |r: usize, v: usize| {
            out.add(v / per_tile * MR * TILE + r * TILE + v % per_tile * S::LANES)
        };
        let mut acc = [[S::splat(0.0); NV]; MR];
        if args.resume {
            for r in 0..MR {
                for v in 0..NV {
                    acc[r][v] = S::load(out_of(r, v));
                }
            }
        }
        let mut x = args.x;
        let mut block = w;
        let jump = (NV.div_ceil(per_tile) - 1) * args.tile_bytes;
        let mut ahead = Ahead::new(w, args.ahead, args.tile_bytes, jump);
        for _ in 0..args.k / F::BLOCK_K {
            if args.ahead != 0 {
                for v in (0..NV).step_by(per_tile) {
                    for line in 0..F::BLOCK_BYTES / 64 {
                        prefetch(ahead.at.wrapping_add(tile_of(v) + 64 * line));
                    }
                }
                ahead.step(F::BLOCK_BYTES);
            }
            let mut scales = [F::scale(block, lane); NV];
            for v in 1..NV {
                scales[v] = F::scale(block.add(tile_of(v)), lane_of(v));
            }
            for chunk in 0..F::BLOCK_K / F::CHUNK {
                let mut codes = [F::codes(block, scales[0], chunk, lane); NV];
                for v in 1..NV {
                    codes[v] = F::codes(block.add(tile_of(v)), scales[v], chunk, lane_of(v));
                }
                macro_rules! steps {
                    ($($step:literal)*) => { $(
                        if $step < F::CHUNK {
                            let mut weights = [F::weights(codes[0], scales[0], $step); NV];
                            for v in 1..NV {
                                weights[v] = F::weights(codes[v], scales[v], $step);
                            }
                            step::<S, MR, NV>(&mut acc, x.add($step * MR), weights);
                        }
                    )* };
                }
                steps!(0 1 2 3 4 5 6 7);
                x = x.add(F::CHUNK * MR);
            }
            block = block.add(F::BLOCK_BYTES);
        }
        // Only plain formats have steps left over, and those have no scales to read.
        for k in 0..args.k % F::BLOCK_K {
            let mut weights = [S::splat(0.0); NV];
            for v in 0..NV {
                let scale = F::scale(block.add(tile_of(v)), lane_of(v));
                let codes = F::codes(block.add(tile_of(v)), scale, k / F::CHUNK, lane_of(v));
                weights[v] = F::weights(codes, scale, k % F::CHUNK);
            }
            step::<S, MR, NV>(&mut acc, x, weights);
            x = x.add(MR);
        }
        for r in 0..MR {
            for v in 0..NV {
                S::store(out_of(r, v), acc[r][v]);
            }
        }
    }
}

#[inline(always)]
unsafe fn step<S: Simd, const MR: usize, const NV: usize>(
    acc: &mut [[S::F; NV]; MR],
    x: *const f32,
    weights: [S::F; NV],
) {
    unsafe {
        for r in 0..MR {
            let x = S::splat(*x.add(r));
            for v in 0..NV {
                acc[r][v] = S::fma(x, weights[v], acc[r][v]);
            }
        }
    }
}

/// See [`DecodeKernel`].
///
/// # Safety
/// The machine has `S`; `args` describes memory of the sizes it says, a tile in format `F`.
#[inline(always)]
pub(super) unsafe fn decode<S: Simd, F: TileFormat<S>>(args: &DecodeArgs) {
    unsafe {
        let mut block = args.w;
        let mut out = args.out;
        let bytes = args.k / F::BLOCK_K * F::BLOCK_BYTES;
        let jump = args.tile_bytes.saturating_sub(bytes);
        let mut ahead = Ahead::new(args.w, DECODE_AHEAD, bytes, jump);
        for _ in 0..args.k / F::BLOCK_K {
            for line in 0..F::BLOCK_BYTES / 64 {
                prefetch(ahead.at.wrapping_add(64 * line));
            }
            ahead.step(F::BLOCK_BYTES);
            for lane in (0..TILE).step_by(S::LANES) {
                let scale = F::scale(block, lane);
                for chunk in 0..F::BLOCK_K / F::CHUNK {
                    let codes = F::codes(block, scale, chunk, lane);
                    let out = out.add(chunk * F::CHUNK * TILE + lane);
                    macro_rules! steps {
                        ($($step:literal)*) => { $(
                            if $step < F::CHUNK {
                                S::store(out.add($step * TILE), F::weights(codes, scale, $step));
                            }
                        )* };
                    }
                    steps!(0 1 2 3 4 5 6 7);
                }
            }
            block = block.add(F::BLOCK_BYTES);
            out = out.add(F::BLOCK_K * TILE);
        }
        for k in 0..args.k % F::BLOCK_K {
            for lane in (0..TILE).step_by(S::LANES) {
                let scale = F::scale(block, lane);
                let codes = F::codes(block, scale, k / F::CHUNK, lane);
                S::store(out.add(lane), F::weights(codes, scale, k % F::CHUNK));
            }
            out = out.add(TILE);
        }
    }
}
