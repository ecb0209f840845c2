//! How a matmul is cut into pieces that fit the caches, and shared among workers.
//!
//! No choice made here changes a bit of the result.

use crate::pack::TILE;
use crate::workers::split;
use std::ops::Range;

/// Sizes of the pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    /// Most rows of x in a panel.
    pub panel_rows: usize,
    /// Most rows that any kernel decodes weights in registers for.
    pub stream_rows: usize,
    /// Tiles that a panel of x meets before the next panel comes.
    pub group: usize,
    /// Most steps of k at a time: a panel of x over so many stays in the first cache, a group of
    /// tiles in the second.
    pub max_step: usize,
    /// If no more values than this are in a block of x and a group of tiles together, all steps
    /// of k are taken at a time, so that tiles are read from end to end.
    pub whole: usize,
    /// Values of packed x that stay in the second cache beside the tiles: a block is no larger
    /// if it can have `near_rows` rows then, so many that reading weights again costs little.
    pub near_packed: usize,
    pub near_rows: usize,
    /// Most values of packed x otherwise, unless one panel alone is larger.
    pub max_packed: usize,
    /// Most rows in a block of packed x.
    pub max_rows: usize,
}

impl Blocking {
    /// The pieces in which a block of `rows` rows of `k` values meets its tiles; those that are
    /// decoded are best read back soon.
    pub(super) fn pieces(&self, rows: usize, k: usize, decodes: bool) -> Pieces {
        for group in (1..=self.group).rev() {
            if !decodes && (rows + group * TILE).saturating_mul(k) <= self.whole {
                return Pieces { group, step: k };
            }
        }
        Pieces {
            group: self.group,
            step: self.step(k),
        }
    }

    /// The values of the tiles of a piece that are decoded.
    pub(super) fn most_decoded(&self, k: usize) -> usize {
        self.group * TILE * self.step(k)
    }

    /// Steps of k at a time: equal parts, in whole blocks of 32.
    fn step(&self, k: usize) -> usize {
        let parts = k.div_ceil(self.max_step).max(1);
        k.div_ceil(parts).next_multiple_of(32).min(k.max(1))
    }

    /// The most rows in a block.
    pub(super) fn block_rows(&self, k: usize) -> usize {
        let near = self.near_packed / k.max(1);
        let far = (self.max_packed / k.max(1)).min(self.max_rows);
        let rows = if near >= self.near_rows { near } else { far };
        (rows / self.panel_rows).max(1) * self.panel_rows
    }

    /// The blocks of `m` rows: of nearly equal size.
    pub(super) fn blocks(&self, m: usize, k: usize) -> impl Iterator<Item = Panels> + use<> {
        let parts = m.div_ceil(self.block_rows(k));
        let panel_rows = self.panel_rows;
        (0..parts).map(move |part| {
            let rows = split(m, part, parts);
            Panels {
                count: rows.len().div_ceil(panel_rows),
                rows,
            }
        })
    }
}

/// How many tiles and how many steps of k a panel of x meets at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    pub group: usize,
    pub step: usize,
}

/// Rows cut into panels of nearly equal height.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    pub rows: Range<usize>,
    pub count: usize,
}

impl Panels {
    /// A panel's rows, counted from the first of the block.
    pub(super) fn panel(&self, index: usize) -> Range<usize> {
        split(self.rows.len(), index, self.count)
    }
}

/// One worker's rectangle of tiles and panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub tiles: Range<usize>,
    pub panels: Range<usize>,
}

/// Cuts tiles, and panels where tiles are too few, so that the largest share is as small as can
/// be. Fewer cuts through panels are better if equal, since each repeats the reading of weights.
pub(super) fn share(tiles: usize, panels: usize, worker: usize, workers: usize) -> Share {
    let cost = |across: usize| tiles.div_ceil(across) * panels.div_ceil(workers / across);
    let across = (1..=workers)
        .rev()
        .filter(|across| workers.is_multiple_of(*across))
        .min_by_key(|&across| cost(across))
        .unwrap_or(workers);
    Share {
        tiles: split(tiles, worker % across, across),
        panels: split(panels, worker / across, workers / across),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for workers in 1..7 {
            for tiles in [1, 2, 3, 18, 30] {
                for panels in [1, 2, 5, 43] {
                    let mut seen = vec![0; tiles * panels];
                    for worker in 0..workers {
                        let share = share(tiles, panels, worker, workers);
                        for tile in share.tiles {
                            for panel in share.panels.clone() {
                                seen[tile * panels + panel] += 1;
                            }
                        }
                    }
                    assert!(seen.iter().all(|&n| n == 1), "{workers} {tiles} {panels}");
                }
            }
        }
    }

    #[test]
    fn one_tile_is_shared_by_rows_and_many_are_shared_by_tiles() {
        assert_eq!(share(1, 10, 1, 2).panels, 5..10);
        assert_eq!(share(18, 43, 1, 2).tiles, 9..18);
        assert_eq!(share(18, 43, 1, 2).panels, 0..43);
    }

    #[test]
    fn steps_are_whole_blocks_and_cover_k() {
        let blocking = Blocking {
            panel_rows: 12,
            stream_rows: 8,
            group: 2,
            max_step: 512,
            whole: 100_000,
            near_packed: 1 << 17,
            near_rows: 192,
            max_packed: 1 << 20,
            max_rows: 512,
        };
        for k in [1, 31, 32, 37, 512, 513, 576, 1536, 2048, 8192] {
            let step = blocking.step(k);
            assert!(step <= 512 && (step.is_multiple_of(32) || step == k));
            assert!(k.div_ceil(step) <= k.div_ceil(512).max(1));
            for rows in [1, 12, 13, 40, 100, 1_000] {
                let pieces = blocking.pieces(rows, k, true);
                assert_eq!(pieces, Pieces { group: 2, step });
                assert_eq!(blocking.most_decoded(k), 2 * step * TILE);
                let pieces = blocking.pieces(rows, k, false);
                assert!(pieces.step == k || pieces == Pieces { group: 2, step });
            }
        }
        for (m, k) in [(1, 1), (13, 576), (513, 2048), (5000, 64), (40, 1 << 21)] {
            let mut next = 0;
            for block in blocking.blocks(m, k) {
                assert_eq!(block.rows.start, next);
                next = block.rows.end;
                let mut row = 0;
                for index in 0..block.count {
                    let panel = block.panel(index);
                    assert!(panel.start == row && (1..=12).contains(&panel.len()));
                    row = panel.end;
                }
                assert_eq!(row, block.rows.len());
                assert!(row <= blocking.block_rows(k));
            }
            assert_eq!(next, m);
        }
    }
}
