//! Where the lanes of a segment's tiles go in its output.

use crate::pack::{HALF, NO_ROW, TileRows};

/// Columns of the output, optionally cut into groups of equal size (the heads of a cache) that
/// lie apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    tiles: Vec<[HalfTile; 2]>,
    scattered: Vec<[Place; HALF]>,
}

/// A column: which group, and which column of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub group: u32,
    /// `NO_ROW` for a lane that goes nowhere.
    pub column: u32,
}

/// Where sixteen lanes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HalfTile {
    /// The first `len` go side by side, from `place`.
    Run { place: Place, len: u32 },
    /// Each by an entry of a list.
    Scattered(u32),
}

impl Columns {
    /// Each lane to the column with its row's number. `group` is the size of a group.
    pub fn by_row(tiles: &[TileRows], group: Option<usize>) -> Columns {
        Columns::new(tiles, group, [true, true])
    }

    /// The first half's lanes to the columns with their rows' numbers, the second half's nowhere:
    /// for pairs that give one value.
    pub fn by_first_row(tiles: &[TileRows], group: Option<usize>) -> Columns {
        Columns::new(tiles, group, [true, false])
    }

    fn new(tiles: &[TileRows], group: Option<usize>, halves: [bool; 2]) -> Columns {
        let mut columns = Columns {
            tiles: Vec::with_capacity(tiles.len()),
            scattered: Vec::new(),
        };
        let group = group.map_or(u32::MAX, |size| size.max(1) as u32);
        for rows in tiles {
            let half = |columns: &mut Columns, index: usize| {
                let lanes = std::array::from_fn(|lane| {
                    let row = rows[index * HALF + lane];
                    if row == NO_ROW || !halves[index] {
                        return NOWHERE;
                    }
                    Place {
                        group: row / group,
                        column: row % group,
                    }
                });
                columns.half(lanes)
            };
            let tile = [half(&mut columns, 0), half(&mut columns, 1)];
            columns.tiles.push(tile);
        }
        columns
    }

    fn half(&mut self, lanes: [Place; HALF]) -> HalfTile {
        let len = lanes.iter().take_while(|place| **place != NOWHERE).count();
        let first = lanes[0];
        let side_by_side = lanes[..len].iter().enumerate().all(|(i, place)| {
            place.group == first.group && place.column == first.column + i as u32
        });
        if side_by_side && lanes[len..].iter().all(|place| *place == NOWHERE) {
            return HalfTile::Run {
                place: if len == 0 { Place::default() } else { first },
                len: len as u32,
            };
        }
        self.scattered.push(lanes);
        HalfTile::Scattered(self.scattered.len() as u32 - 1)
    }

    pub(super) fn tile(&self, tile: usize) -> &[HalfTile; 2] {
        &self.tiles[tile]
    }

    pub(super) fn scattered(&self, index: u32) -> &[Place; HALF] {
        &self.scattered[index as usize]
    }
}

const NOWHERE: Place = Place {
    group: 0,
    column: NO_ROW,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Pairing, gated_tiles, plain_tiles, rotary_tiles};

    #[test]
    fn plain_and_gated_columns_are_runs() {
        let columns = Columns::by_row(&plain_tiles(40), None);
        let run = |column, len| HalfTile::Run {
            place: Place { group: 0, column },
            len,
        };
        assert_eq!(
            columns.tiles,
            [[run(0, 16), run(16, 16)], [run(32, 8), run(0, 0)]]
        );
        let columns = Columns::by_first_row(&gated_tiles(20), None);
        assert_eq!(
            columns.tiles,
            [[run(0, 16), run(0, 0)], [run(16, 4), run(0, 0)]]
        );
    }

    #[test]
    fn heads_that_divide_tiles_are_runs_and_others_are_scattered() {
        let tiles = rotary_tiles(2, 64, 64, Pairing::Halves).pairs;
        let columns = Columns::by_row(&tiles, Some(64));
        assert!(columns.scattered.is_empty());
        let place = Place {
            group: 1,
            column: 48,
        };
        assert_eq!(columns.tiles[3][1], HalfTile::Run { place, len: 16 });
        let tiles = rotary_tiles(3, 8, 8, Pairing::Halves).pairs;
        let columns = Columns::by_row(&tiles, Some(8));
        assert_eq!(columns.scattered.len(), 2);
        assert_eq!(
            columns.scattered[1][5],
            Place {
                group: 1,
                column: 5
            }
        );
        assert_eq!(columns.scattered[1][12], NOWHERE);
    }
}
