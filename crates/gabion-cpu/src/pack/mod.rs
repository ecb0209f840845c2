//! Packed weights: one copy, in tiles of 32 output columns, read by every kernel.
//!
//! A [`PackedWeight`] is a list of parts (the members of a stack), each starting at a tile of its
//! own and each in its own stored format. Kernels are elsewhere; here is only the order of bytes.
#![allow(unsafe_code)]

mod arena;
mod format;
mod stored;
mod tile;
mod tiles;

pub use arena::{Arena, OutOfMemory};
pub use format::{TILE, WeightFormat};
pub use stored::decode_row;
pub(crate) use tile::{ValuePlace, place_of};
pub use tiles::{
    HALF, NO_ROW, Pairing, RotaryTiles, TileRows, gated_tiles, paired_tiles, plain_tiles,
    rotary_tiles, tiles_of_rows,
};

use crate::workers::{Team, TeamError, split};
use std::ops::Range;

/// A matrix of stored rows. Several in a row make up the rows of a [`Part`].
#[derive(Clone, Copy, Debug)]
pub struct StoredRows<'a> {
    /// How the rows are stored.
    pub format: WeightFormat,
    /// How many there are.
    pub rows: usize,
    /// All of them, one after the other, little endian.
    pub bytes: &'a [u8],
}

/// A change of a row's values (clamp, scale, fold); gets the row's number in its part. The part is
/// then kept in `f32`.
pub type RowChange<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// One member of a stack.
#[derive(Clone)]
pub struct Part<'a> {
    /// The member's rows: these matrices one below the other, all in one format (unless changed).
    pub sources: Vec<StoredRows<'a>>,
    /// Applied to each row as it is packed.
    pub change: Option<RowChange<'a>>,
    /// Which row goes where: see [`plain_tiles`], [`gated_tiles`], [`rotary_tiles`].
    pub tiles: Vec<TileRows>,
}

/// Why a weight cannot be packed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackError {
    /// `k` is no whole number of the format's blocks.
    #[error(
        "part {part}: rows of {k} values are no whole number of {format} blocks ({block} values each)"
    )]
    RaggedRow {
        /// Which part.
        part: usize,
        /// Values in a row.
        k: usize,
        /// The stored format.
        format: WeightFormat,
        /// Its block.
        block: usize,
    },
    /// The bytes are not those of so many rows.
    #[error(
        "part {part}: {rows} rows of {k} {format} values take {expected} bytes, {found} are there"
    )]
    WrongSize {
        /// Which part.
        part: usize,
        /// Rows said to be there.
        rows: usize,
        /// Values in a row.
        k: usize,
        /// The stored format.
        format: WeightFormat,
        /// What they take.
        expected: usize,
        /// What is there.
        found: usize,
    },
    /// Sources of one part differ in format and are not changed to `f32`.
    #[error(
        "part {part} is made of {first} and of {other} rows: give them parts of their own, or a change that makes them f32"
    )]
    MixedFormats {
        /// Which part.
        part: usize,
        /// The format of the first source.
        first: WeightFormat,
        /// Another one's.
        other: WeightFormat,
    },
    /// A tile names a row that the part has not.
    #[error("part {part}: tile {tile} names row {row}, there are {rows}")]
    NoSuchRow {
        /// Which part.
        part: usize,
        /// Which of its tiles.
        tile: usize,
        /// The row named.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// No memory.
    #[error("packing a weight: {0}")]
    OutOfMemory(#[from] OutOfMemory),
    /// A row change panicked.
    #[error("packing a weight: {0}")]
    Team(#[from] TeamError),
}

/// Tiles of one format that lie one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Their format.
    pub format: WeightFormat,
    /// The first tile's number in the weight.
    pub first: usize,
    /// How many.
    pub tiles: usize,
    /// Where the first starts, in bytes.
    pub offset: usize,
    /// Bytes of each.
    pub tile_bytes: usize,
}

#[derive(Clone, Debug)]
struct PackedPart {
    tiles: Range<usize>,
    lane_of_row: Box<[u32]>,
}

/// A weight `[n, k]`, or a stack of them, in the order that kernels read.
#[derive(Debug)]
pub struct PackedWeight {
    k: usize,
    runs: Vec<Run>,
    parts: Vec<PackedPart>,
    n_tiles: usize,
    arena: Arena,
}

impl PackedWeight {
    /// Packs `parts`, whose rows all have `k` values, with the help of `team`.
    ///
    /// The bytes do not depend on the number of threads.
    ///
    /// # Errors
    /// [`PackError`]; nothing is kept then.
    pub fn pack(team: &Team, k: usize, parts: &[Part<'_>]) -> Result<PackedWeight, PackError> {
        let formats = check(k, parts)?;
        let mut runs: Vec<Run> = Vec::new();
        let (mut n_tiles, mut bytes) = (0, 0);
        let mut packed = Vec::with_capacity(parts.len());
        for (part, &(format, tile_bytes)) in parts.iter().zip(&formats) {
            let count = part.tiles.len();
            match runs.last_mut() {
                Some(last) if last.format == format => last.tiles += count,
                _ if count == 0 => {}
                _ => runs.push(Run {
                    format,
                    first: n_tiles,
                    tiles: count,
                    offset: bytes,
                    tile_bytes,
                }),
            }
            packed.push(PackedPart {
                tiles: n_tiles..n_tiles + count,
                lane_of_row: lanes_of_rows(part),
            });
            n_tiles += count;
            bytes += count * tile_bytes;
        }
        let weight = PackedWeight {
            k,
            runs,
            parts: packed,
            n_tiles,
            arena: Arena::reserve(bytes)?,
        };
        weight.fill(team, parts)?;
        Ok(weight)
    }

    fn fill(&self, team: &Team, parts: &[Part<'_>]) -> Result<(), TeamError> {
        team.run(|worker| {
            // As matmul splits them, so that each worker touches first what it will read.
            let mine = split(self.n_tiles, worker.index(), worker.count());
            for (part, packed) in parts.iter().zip(&self.parts) {
                let start = mine.start.max(packed.tiles.start);
                for index in start..mine.end.min(packed.tiles.end) {
                    let (run, at) = self.locate(index);
                    // SAFETY: the arena has room for every tile, and each tile is in the share of
                    // one worker only.
                    let out = unsafe {
                        let start = self.arena.as_mut_ptr().add(at);
                        start.write_bytes(0, run.tile_bytes);
                        std::slice::from_raw_parts_mut(start, run.tile_bytes)
                    };
                    let rows = &part.tiles[index - packed.tiles.start];
                    part.write_tile(self.k, rows, out);
                }
            }
        })
    }

    fn locate(&self, tile: usize) -> (Run, usize) {
        let after = self.runs.partition_point(|run| run.first <= tile);
        let run = self.runs[after - 1];
        (run, run.offset + (tile - run.first) * run.tile_bytes)
    }

    /// Values in a row: what is summed over.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How many tiles there are in all.
    pub fn n_tiles(&self) -> usize {
        self.n_tiles
    }

    /// How many parts there are.
    pub fn n_parts(&self) -> usize {
        self.parts.len()
    }

    /// The tiles of one part.
    pub fn part_tiles(&self, part: usize) -> Range<usize> {
        self.parts[part].tiles.clone()
    }

    /// Rows of one part: the highest that its tiles name, and one.
    pub fn part_rows(&self, part: usize) -> usize {
        self.parts[part].lane_of_row.len()
    }

    /// The stretches of equal format.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.tiles * run.tile_bytes).sum()
    }

    /// The packed bytes of a tile.
    pub fn tile(&self, tile: usize) -> (WeightFormat, &[u8]) {
        let (run, at) = self.locate(tile);
        // SAFETY: the arena holds every tile, and nobody writes once packing is over.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.arena.as_ptr().add(at), run.tile_bytes) };
        (run.format, bytes)
    }

    /// All packed bytes, tile after tile.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the arena holds every tile, all of them were written, and nobody writes any more.
        unsafe { std::slice::from_raw_parts(self.arena.as_ptr(), self.bytes()) }
    }

    pub(crate) fn base(&self) -> *const u8 {
        self.arena.as_ptr()
    }

    /// Decodes row `row` of part `part` into `out` (`k` values), exactly: an embedding's look-up
    /// in a weight that is also a projection. False, and nothing written, if no such row is
    /// packed or `out` has another length.
    #[must_use]
    pub fn decode_row(&self, part: usize, row: usize, out: &mut [f32]) -> bool {
        let Some(part) = self.parts.get(part) else {
            return false;
        };
        let lane = part.lane_of_row.get(row).copied().unwrap_or(NO_ROW);
        if lane == NO_ROW || out.len() != self.k {
            return false;
        }
        let (format, bytes) = self.tile(part.tiles.start + lane as usize / TILE);
        tile::read_lane(format, bytes, lane as usize % TILE, out);
        true
    }
}

fn lanes_of_rows(part: &Part<'_>) -> Box<[u32]> {
    let lanes = || part.tiles.iter().flatten().copied();
    let highest = lanes().filter(|&row| row != NO_ROW).max();
    let mut of_row = vec![NO_ROW; highest.map_or(0, |row| row as usize + 1)];
    for (lane, row) in lanes().enumerate() {
        if row != NO_ROW {
            of_row[row as usize] = lane as u32;
        }
    }
    of_row.into_boxed_slice()
}

/// The format and tile size of each part, or the first thing that is wrong.
fn check(k: usize, parts: &[Part<'_>]) -> Result<Vec<(WeightFormat, usize)>, PackError> {
    let mut formats = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let mut rows = 0;
        for source in &part.sources {
            let format = source.format;
            let ragged = || PackError::RaggedRow {
                part: index,
                k,
                format,
                block: format.block_elems(),
            };
            let row = format.row_bytes(k).ok_or_else(ragged)?;
            let expected = row.saturating_mul(source.rows);
            if expected != source.bytes.len() {
                return Err(PackError::WrongSize {
                    part: index,
                    rows: source.rows,
                    k,
                    format,
                    expected,
                    found: source.bytes.len(),
                });
            }
            let first = part.sources[0].format;
            if part.change.is_none() && first != format {
                return Err(PackError::MixedFormats {
                    part: index,
                    first,
                    other: format,
                });
            }
            rows += source.rows;
        }
        for (tile, lanes) in part.tiles.iter().enumerate() {
            if let Some(&row) = lanes.iter().find(|&&r| r != NO_ROW && r as usize >= rows) {
                return Err(PackError::NoSuchRow {
                    part: index,
                    tile,
                    row,
                    rows,
                });
            }
        }
        let stored = part.sources.first().map(|source| source.format);
        // Without values one format is as good as another, and this one every kernel streams.
        let format = stored.filter(|_| part.change.is_none() && k > 0);
        let format = format.unwrap_or(WeightFormat::F32);
        let tile_bytes = format.tile_bytes(k).unwrap_or(0);
        formats.push((format, tile_bytes));
    }
    Ok(formats)
}

impl Part<'_> {
    /// A part with its rows in order.
    pub fn plain(source: StoredRows<'_>) -> Part<'_> {
        Part {
            sources: vec![source],
            change: None,
            tiles: plain_tiles(source.rows),
        }
    }

    fn stored_row(&self, k: usize, row: usize) -> Option<(WeightFormat, &[u8])> {
        let mut row = row;
        for source in &self.sources {
            if row < source.rows {
                let size = source.format.row_bytes(k)?;
                return Some((source.format, &source.bytes[row * size..(row + 1) * size]));
            }
            row -= source.rows;
        }
        None
    }

    fn write_tile(&self, k: usize, rows: &TileRows, out: &mut [u8]) {
        if k == 0 {
            return;
        }
        let stored = |row: u32| (row != NO_ROW).then(|| self.stored_row(k, row as usize))?;
        let Some(change) = self.change else {
            let format = self.sources.first().map_or(WeightFormat::F32, |s| s.format);
            let lanes = rows.map(|row| stored(row).map(|(_, bytes)| bytes));
            return tile::write(format, k, &lanes, out);
        };
        let mut values = vec![0.0; k * TILE];
        for (lane, values) in values.chunks_exact_mut(k).enumerate() {
            if let Some((format, bytes)) = stored(rows[lane]) {
                decode_row(format, bytes, values);
                change(rows[lane] as usize, values);
            }
        }
        // Values in memory are little endian on every target that kernels exist for; going
        // through bytes keeps the others right.
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let lanes = std::array::from_fn(|lane| {
            (rows[lane] != NO_ROW).then(|| &bytes[lane * k * 4..(lane + 1) * k * 4])
        });
        tile::write(WeightFormat::F32, k, &lanes, out);
    }
}
