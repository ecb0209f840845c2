//! The coordinates of cells along their ranks.

use super::{GAP, GroupOrder, LANE};
use crate::order::Cell;

/// Rounds of alignment to the neighbours above, below, and both.
const ROUNDS: usize = 6;

/// How much more a lane wants to be straight than a box to be near its neighbours.
const STRAIGHT: f32 = 6.0;

struct Columns {
    /// First cell of each rank.
    first: Vec<usize>,
    width: Vec<f32>,
    weight: Vec<f32>,
    above: Vec<Vec<(usize, f32)>>,
    below: Vec<Vec<(usize, f32)>>,
    x: Vec<f32>,
}

/// The middle of every cell, rank by rank; the leftmost edge is at 0.
pub(super) fn columns(order: &GroupOrder, sizes: &[(f32, f32)]) -> Vec<Vec<f32>> {
    let mut columns = Columns::new(order, sizes);
    columns.pack();
    for _ in 0..ROUNDS {
        columns.align(true, false);
        columns.align(false, true);
    }
    columns.align(true, true);
    columns.by_rank()
}

impl Columns {
    fn new(order: &GroupOrder, sizes: &[(f32, f32)]) -> Self {
        let cells: Vec<Cell> = order.order.ranks.iter().flatten().copied().collect();
        let mut first = vec![0];
        for rank in &order.order.ranks {
            first.push(first[first.len() - 1] + rank.len());
        }
        let mut cell_of = vec![0; sizes.len()];
        let mut lanes = vec![Vec::new(); order.edges.len()];
        let mut rank_of = vec![0; sizes.len()];
        let mut rank = 0;
        for (at, cell) in cells.iter().enumerate() {
            while first[rank + 1] <= at {
                rank += 1;
            }
            match cell {
                Cell::Child(child) => {
                    cell_of[*child as usize] = at;
                    rank_of[*child as usize] = rank;
                }
                Cell::Lane(edge) => lanes[*edge as usize].push(at),
            }
        }
        let width = |cell: &Cell| match cell {
            Cell::Child(child) => sizes[*child as usize].0,
            Cell::Lane(_) => LANE,
        };
        let mut columns = Self {
            width: cells.iter().map(width).collect(),
            weight: vec![1.0; cells.len()],
            above: vec![Vec::new(); cells.len()],
            below: vec![Vec::new(); cells.len()],
            x: vec![0.0; cells.len()],
            first,
        };
        for (edge, lanes) in order.edges.iter().zip(&lanes) {
            let (from, to) = (edge.from as usize, edge.to as usize);
            if rank_of[from] + lanes.len() + 1 != rank_of[to] {
                continue;
            }
            let (from, to) = (cell_of[from], cell_of[to]);
            let chain: Vec<usize> = [from]
                .into_iter()
                .chain(lanes.iter().copied())
                .chain([to])
                .collect();
            for (at, pair) in chain.windows(2).enumerate() {
                let between_lanes = at > 0 && at + 2 < chain.len();
                let weight = if between_lanes { STRAIGHT } else { 1.0 };
                columns.below[pair[0]].push((pair[1], weight));
                columns.above[pair[1]].push((pair[0], weight));
            }
            for lane in lanes {
                columns.weight[*lane] = 2.0;
            }
        }
        columns
    }

    fn ranks(&self) -> usize {
        self.first.len() - 1
    }

    /// Every rank as narrow as it can be, all with one middle.
    fn pack(&mut self) {
        for rank in 0..self.ranks() {
            let cells = self.first[rank]..self.first[rank + 1];
            let gaps = GAP * cells.len().saturating_sub(1) as f32;
            let total: f32 = self.width[cells.clone()].iter().sum::<f32>() + gaps;
            let mut x = -total / 2.0;
            for cell in cells {
                self.x[cell] = x + self.width[cell] / 2.0;
                x += self.width[cell] + GAP;
            }
        }
    }

    fn align(&mut self, above: bool, below: bool) {
        for step in 0..self.ranks() {
            let rank = if above { step } else { self.ranks() - 1 - step };
            let cells = self.first[rank]..self.first[rank + 1];
            let wanted = cells.clone().map(|cell| {
                let near = self.above[cell].iter().filter(|_| above);
                let near = near.chain(self.below[cell].iter().filter(|_| below));
                let (sum, weight) = near.fold((0.0, 0.0), |(sum, total), (other, weight)| {
                    (sum + self.x[*other] * weight, total + weight)
                });
                if weight > 0.0 {
                    sum / weight
                } else {
                    self.x[cell]
                }
            });
            let wanted: Vec<f32> = wanted.collect();
            let settled = settle(
                &wanted,
                &self.width[cells.clone()],
                &self.weight[cells.clone()],
            );
            self.x[cells].copy_from_slice(&settled);
        }
    }

    fn by_rank(&self) -> Vec<Vec<f32>> {
        let edges = self.x.iter().zip(&self.width).map(|(x, w)| x - w / 2.0);
        let left = edges.fold(f32::INFINITY, f32::min);
        let rank = |at: usize| {
            let cells = &self.x[self.first[at]..self.first[at + 1]];
            cells.iter().map(|x| x - left).collect()
        };
        (0..self.ranks()).map(rank).collect()
    }
}

/// Middles that are as near as can be to the wanted ones (least weighted squares), in this order and without overlaps.
pub(crate) fn settle(wanted: &[f32], width: &[f32], weight: &[f32]) -> Vec<f32> {
    // Without the distances that must be kept, what is left has only to ascend.
    let mut offset = Vec::with_capacity(wanted.len());
    let mut sum = 0.0;
    for at in 0..wanted.len() {
        if at > 0 {
            sum += (width[at - 1] + width[at]) / 2.0 + GAP;
        }
        offset.push(sum);
    }
    // Blocks of equal values: mean, weight, members.
    let mut blocks: Vec<(f32, f32, usize)> = Vec::new();
    for at in 0..wanted.len() {
        let mut block = (wanted[at] - offset[at], weight[at], 1);
        while let Some(last) = blocks.last()
            && last.0 >= block.0
        {
            let total = last.1 + block.1;
            let mean = (last.0 * last.1 + block.0 * block.1) / total;
            block = (mean, total, last.2 + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let values = blocks
        .iter()
        .flat_map(|(value, _, n)| std::iter::repeat_n(*value, *n));
    values
        .zip(&offset)
        .map(|(value, offset)| value + offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_wants_the_same_place_shares_it() {
        let settled = settle(&[0.0, 0.0], &[20.0, 20.0], &[1.0, 1.0]);
        assert_eq!(settled, [-(20.0 + GAP) / 2.0, (20.0 + GAP) / 2.0]);
    }

    #[test]
    fn what_has_room_gets_what_it_wants() {
        let settled = settle(&[-100.0, 100.0], &[20.0, 20.0], &[1.0, 1.0]);
        assert_eq!(settled, [-100.0, 100.0]);
    }

    proptest! {
        #[test]
        fn nothing_overlaps(cells in prop::collection::vec((-500f32..500.0, 1f32..90.0, 0.5f32..4.0), 1..40)) {
            let wanted: Vec<f32> = cells.iter().map(|c| c.0).collect();
            let width: Vec<f32> = cells.iter().map(|c| c.1).collect();
            let weight: Vec<f32> = cells.iter().map(|c| c.2).collect();
            let x = settle(&wanted, &width, &weight);
            for at in 1..x.len() {
                let distance = (width[at - 1] + width[at]) / 2.0 + GAP;
                // Sums of some thousand in f32.
                prop_assert!(x[at] - x[at - 1] >= distance - 0.01);
            }
        }
    }
}
