//! Which source row goes to which lane of which tile.
//!
//! A tile has two halves of sixteen lanes. Stacks whose outputs meet in pairs (gate with up, the
//! two partners of a rotation) put one partner in the first half and the other, at the same
//! place, in the second, so that the pair meets in registers.

use super::format::TILE;

/// Lanes in half a tile.
pub const HALF: usize = TILE / 2;

/// A lane that no row goes to; its weights are zeros.
pub const NO_ROW: u32 = u32::MAX;

/// For each lane of a tile, the row of the part that it holds, or [`NO_ROW`].
pub type TileRows = [u32; TILE];

/// Rows in their order, 32 to a tile.
pub fn plain_tiles(rows: usize) -> Vec<TileRows> {
    tiles_of_rows(0..rows as u32)
}

/// The given rows in the given order, 32 to a tile.
pub fn tiles_of_rows(rows: impl IntoIterator<Item = u32>) -> Vec<TileRows> {
    let mut tiles = Vec::new();
    for (i, row) in rows.into_iter().enumerate() {
        if i.is_multiple_of(TILE) {
            tiles.push([NO_ROW; TILE]);
        }
        if let Some(tile) = tiles.last_mut() {
            tile[i % TILE] = row;
        }
    }
    tiles
}

/// Pairs in the given order, sixteen to a tile: the first of each in the first half.
pub fn paired_tiles(pairs: impl IntoIterator<Item = (u32, u32)>) -> Vec<TileRows> {
    let mut tiles = Vec::new();
    for (i, (a, b)) in pairs.into_iter().enumerate() {
        if i.is_multiple_of(HALF) {
            tiles.push([NO_ROW; TILE]);
        }
        if let Some(tile) = tiles.last_mut() {
            tile[i % HALF] = a;
            tile[HALF + i % HALF] = b;
        }
    }
    tiles
}

/// Row `i` with row `n + i`, for a part that is `n` gate rows and then `n` up rows.
pub fn gated_tiles(n: usize) -> Vec<TileRows> {
    paired_tiles((0..n as u32).map(|i| (i, n as u32 + i)))
}

/// How the rows of a head pair up for a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Row `j` with row `rotary / 2 + j` of the head.
    Halves,
    /// Row `2 j` with row `2 j + 1`.
    Neighbours,
}

/// The tiles of a part whose rows are `heads` heads of `head_dim`, of which the first
/// `rotary` rows rotate: tiles of pairs, and tiles of the rows that do not rotate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotaryTiles {
    /// Tiles of pairs, head after head.
    pub pairs: Vec<TileRows>,
    /// For each tile of pairs and each of its pairs, which angle of the head turns it.
    pub angles: Vec<[u16; HALF]>,
    /// Tiles of the other rows.
    pub rest: Vec<TileRows>,
}

/// See [`RotaryTiles`]. `rotary` is even and at most `head_dim`; an odd one loses its last row to
/// the rest.
pub fn rotary_tiles(heads: usize, head_dim: usize, rotary: usize, by: Pairing) -> RotaryTiles {
    let half = (rotary.min(head_dim) / 2) as u32;
    let (heads, head_dim) = (heads as u32, head_dim as u32);
    let pair = |head: u32, j: u32| match by {
        Pairing::Halves => (head * head_dim + j, head * head_dim + half + j),
        Pairing::Neighbours => (head * head_dim + 2 * j, head * head_dim + 2 * j + 1),
    };
    let all = || (0..heads).flat_map(|head| (0..half).map(move |j| (head, j)));
    let mut angles = Vec::new();
    for (i, (_, j)) in all().enumerate() {
        if i.is_multiple_of(HALF) {
            angles.push([0; HALF]);
        }
        if let Some(last) = angles.last_mut() {
            last[i % HALF] = j as u16;
        }
    }
    let rest = (0..heads).flat_map(|h| (2 * half..head_dim).map(move |r| h * head_dim + r));
    RotaryTiles {
        pairs: paired_tiles(all().map(|(head, j)| pair(head, j))),
        angles,
        rest: tiles_of_rows(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(tiles: &[TileRows]) -> Vec<u32> {
        let mut rows: Vec<u32> = tiles.iter().flatten().copied().collect();
        rows.retain(|&r| r != NO_ROW);
        rows.sort_unstable();
        rows
    }

    #[test]
    fn every_row_has_one_lane() {
        for n in [1, 16, 17, 32, 33, 100] {
            assert_eq!(sorted(&plain_tiles(n)), (0..n as u32).collect::<Vec<_>>());
            assert_eq!(
                sorted(&gated_tiles(n)),
                (0..2 * n as u32).collect::<Vec<_>>()
            );
        }
        for (heads, dim, rotary) in [(3, 64, 64), (2, 80, 80), (5, 8, 8), (3, 64, 24), (2, 6, 0)] {
            for by in [Pairing::Halves, Pairing::Neighbours] {
                let tiles = rotary_tiles(heads, dim, rotary, by);
                let mut rows = sorted(&tiles.pairs);
                rows.extend(sorted(&tiles.rest));
                rows.sort_unstable();
                assert_eq!(rows, (0..(heads * dim) as u32).collect::<Vec<_>>());
                assert_eq!(tiles.angles.len(), tiles.pairs.len());
            }
        }
    }

    #[test]
    fn partners_share_a_lane_number() {
        let tiles = rotary_tiles(2, 8, 8, Pairing::Halves);
        assert_eq!(tiles.pairs.len(), 1);
        assert_eq!(tiles.pairs[0][..9], [0, 1, 2, 3, 8, 9, 10, 11, NO_ROW]);
        assert_eq!(tiles.pairs[0][16..25], [4, 5, 6, 7, 12, 13, 14, 15, NO_ROW]);
        assert_eq!(tiles.angles[0][..8], [0, 1, 2, 3, 0, 1, 2, 3]);
        let tiles = rotary_tiles(1, 4, 4, Pairing::Neighbours);
        assert_eq!(tiles.pairs[0][..3], [0, 2, NO_ROW]);
        assert_eq!(tiles.pairs[0][16..19], [1, 3, NO_ROW]);
    }
}
