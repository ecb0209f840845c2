//! Writing one packed tile from 32 stored rows, and reading a lane of it back.
//!
//! The byte order of a tile is described in [`super::format`].

use super::format::{TILE, WeightFormat};
use half::{bf16, f16};

/// The stored bytes of a tile's rows; an absent row is zeros.
pub(super) type Lanes<'a> = [Option<&'a [u8]>; TILE];

/// Values of plain formats that are copied before the next row's turn: a cache line of `f32`.
const STRIP: usize = 16;

/// Fills `out` (`tile_bytes(k)` zeroed bytes) from rows of `row_bytes(k)` bytes each.
pub(super) fn write(format: WeightFormat, k: usize, rows: &Lanes<'_>, out: &mut [u8]) {
    match format {
        WeightFormat::F32 => write_plain::<4>(k, rows, out, |k, lane| (k * TILE + lane) * 4),
        WeightFormat::F16 => write_plain::<2>(k, rows, out, |k, lane| (k * TILE + lane) * 2),
        WeightFormat::Bf16 => write_plain::<2>(k, rows, out, bf16_at),
        WeightFormat::Q4_0
        | WeightFormat::Q4_1
        | WeightFormat::Q5_0
        | WeightFormat::Q5_1
        | WeightFormat::Q8_0 => write_blocks(format, rows, out),
    }
}

fn bf16_at(k: usize, lane: usize) -> usize {
    ((k / 2) * TILE + lane) * 4 + (k % 2) * 2
}

fn write_plain<const SIZE: usize>(
    k: usize,
    rows: &Lanes<'_>,
    out: &mut [u8],
    at: impl Fn(usize, usize) -> usize,
) {
    for start in (0..k).step_by(STRIP) {
        for (lane, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for k in start..(start + STRIP).min(k) {
                let to = at(k, lane);
                out[to..to + SIZE].copy_from_slice(&row[k * SIZE..(k + 1) * SIZE]);
            }
        }
    }
}

/// Where things stand in a block of a tile.
struct Places {
    minima: bool,
    fifth: bool,
    codes_at: usize,
}

impl Places {
    const fn of(format: WeightFormat) -> Places {
        let (minima, fifth) = match format {
            WeightFormat::Q4_1 => (true, false),
            WeightFormat::Q5_0 => (false, true),
            WeightFormat::Q5_1 => (true, true),
            WeightFormat::F32
            | WeightFormat::F16
            | WeightFormat::Bf16
            | WeightFormat::Q4_0
            | WeightFormat::Q8_0 => (false, false),
        };
        let scales = if minima { 4 * TILE } else { 2 * TILE };
        Places {
            minima,
            fifth,
            codes_at: scales + if fifth { 4 * TILE } else { 0 },
        }
    }

    const fn fifth_at(&self) -> usize {
        if self.minima { 4 * TILE } else { 2 * TILE }
    }
}

fn write_blocks(format: WeightFormat, rows: &Lanes<'_>, out: &mut [u8]) {
    let (size, places) = (format.block_bytes(), Places::of(format));
    for (block, out) in out.chunks_exact_mut(size * TILE).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let stored = &row[block * size..(block + 1) * size];
            if format == WeightFormat::Q8_0 {
                write_codes8(stored, lane, out);
            } else {
                write_codes4(&places, stored, lane, out);
            }
        }
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn write_codes8(stored: &[u8], lane: usize, out: &mut [u8]) {
    put(out, 2 * lane, &stored[..2]);
    for (k, code) in stored[2..].iter().enumerate() {
        out[2 * TILE + k * TILE + lane] = *code;
    }
}

fn write_codes4(places: &Places, stored: &[u8], lane: usize, out: &mut [u8]) {
    let (scale, rest) = stored.split_at(2);
    put(out, 2 * lane, scale);
    let mut rest = rest;
    if places.minima {
        put(out, 2 * TILE + 2 * lane, &rest[..2]);
        rest = &rest[2..];
    }
    if places.fifth {
        let stored = u32_at(rest, 0);
        let bits = (0..32).fold(0, |bits, k| bits | (stored >> k & 1) << fifth_bit(k));
        put(out, places.fifth_at() + 4 * lane, &bits.to_le_bytes());
        rest = &rest[4..];
    }
    let eight = |at: usize| {
        let b = &rest[at..at + 8];
        u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
    };
    let (low, high) = (eight(0), eight(8));
    for (chunk, codes) in [low, high, low >> 4, high >> 4].into_iter().enumerate() {
        let word = gather_nibbles(codes).to_le_bytes();
        put(out, places.codes_at + (chunk * TILE + lane) * 4, &word);
    }
}

/// Where the fifth bit of value `k` of a block stands: a shift puts those of every other value of
/// eight in a row at the same bit of four bytes.
const fn fifth_bit(k: u32) -> u32 {
    let (chunk, step) = (k / 8, k % 8);
    8 * (step / 2) + 2 * chunk + step % 2
}

/// The low halves of eight bytes, side by side.
fn gather_nibbles(bytes: u64) -> u32 {
    let x = bytes & 0x0f0f_0f0f_0f0f_0f0f;
    let x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// Decodes lane `lane` of a tile into `out`, one value for each k, exactly.
pub(super) fn read_lane(format: WeightFormat, tile: &[u8], lane: usize, out: &mut [f32]) {
    let u16_at = |at: usize| u16::from_le_bytes([tile[at], tile[at + 1]]);
    match format {
        WeightFormat::F32 => fill(out, |k| f32::from_bits(u32_at(tile, (k * TILE + lane) * 4))),
        WeightFormat::F16 => fill(out, |k| {
            f16::from_bits(u16_at((k * TILE + lane) * 2)).to_f32_const()
        }),
        WeightFormat::Bf16 => fill(out, |k| {
            bf16::from_bits(u16_at(bf16_at(k, lane))).to_f32_const()
        }),
        WeightFormat::Q8_0
        | WeightFormat::Q4_0
        | WeightFormat::Q4_1
        | WeightFormat::Q5_0
        | WeightFormat::Q5_1 => {
            let blocks = tile.chunks_exact(format.block_bytes() * TILE);
            for (block, out) in blocks.zip(out.chunks_exact_mut(32)) {
                read_block_lane(format, block, lane, out);
            }
        }
    }
}

/// Where one value stands in a tile, in bytes from the tile's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValuePlace {
    /// The byte in which the code (or the value) begins.
    pub(crate) byte: usize,
    /// Which bit of that byte is the code's lowest.
    pub(crate) bit: u8,
    /// How many bits it has.
    pub(crate) bits: u8,
    /// The byte and bit of its fifth bit, where the format keeps that apart.
    pub(crate) fifth: Option<(usize, u8)>,
    /// The first byte of its block's scale.
    pub(crate) scale: Option<usize>,
    /// The first byte of its block's minimum.
    pub(crate) min: Option<usize>,
}

/// Where value `k` of lane `lane` stands: what [`write`] does with it.
pub(crate) fn place_of(format: WeightFormat, lane: usize, k: usize) -> ValuePlace {
    let plain = |byte: usize, bits: u8| ValuePlace {
        byte,
        bit: 0,
        bits,
        fifth: None,
        scale: None,
        min: None,
    };
    let places = Places::of(format);
    let block = k / 32 * (format.block_bytes() * TILE);
    let k_in = k % 32;
    let scale = Some(block + 2 * lane);
    match format {
        WeightFormat::F32 => plain((k * TILE + lane) * 4, 32),
        WeightFormat::F16 => plain((k * TILE + lane) * 2, 16),
        WeightFormat::Bf16 => plain(bf16_at(k, lane), 16),
        WeightFormat::Q8_0 => ValuePlace {
            scale,
            ..plain(block + 2 * TILE + k_in * TILE + lane, 8)
        },
        WeightFormat::Q4_0 | WeightFormat::Q4_1 | WeightFormat::Q5_0 | WeightFormat::Q5_1 => {
            let word = block + places.codes_at + ((k_in / 8) * TILE + lane) * 4;
            let fifth = fifth_bit(k_in as u32) as usize;
            let fifth_word = block + places.fifth_at() + 4 * lane;
            ValuePlace {
                byte: word + k_in % 8 / 2,
                bit: 4 * (k_in % 2) as u8,
                bits: 4,
                fifth: places
                    .fifth
                    .then_some((fifth_word + fifth / 8, (fifth % 8) as u8)),
                scale,
                min: places.minima.then_some(block + 2 * TILE + 2 * lane),
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_block_lane(format: WeightFormat, block: &[u8], lane: usize, out: &mut [f32]) {
    let places = Places::of(format);
    let half_at =
        |at: usize| f16::from_bits(u16::from_le_bytes([block[at], block[at + 1]])).to_f32_const();
    let scale = half_at(2 * lane);
    if format == WeightFormat::Q8_0 {
        return fill(out, |k| {
            scale * f32::from(block[2 * TILE + k * TILE + lane] as i8)
        });
    }
    let fifth = if places.fifth {
        u32_at(block, places.fifth_at() + 4 * lane)
    } else {
        0
    };
    let code = |k: usize| {
        let word = u32_at(block, places.codes_at + ((k / 8) * TILE + lane) * 4);
        ((word >> (4 * (k % 8)) & 15) | (fifth >> fifth_bit(k as u32) & 1) << 4) as f32
    };
    if places.minima {
        let min = half_at(2 * TILE + 2 * lane);
        fill(out, |k| scale * code(k) + min);
    } else {
        let middle = if places.fifth { 16.0 } else { 8.0 };
        fill(out, |k| scale * (code(k) - middle));
    }
}

fn fill(out: &mut [f32], value: impl Fn(usize) -> f32) {
    for (k, out) in out.iter_mut().enumerate() {
        *out = value(k);
    }
}
