//! The coordinates of cells along their ranks.

use super::GroupOrder;
use crate::order::{Cell, ChildEdge};

/// What must be free between neighbours of a rank: so much on either side of a child, and of a lane.
const CHILD_MARGIN: f64 = 11.0;
const LANE_MARGIN: f64 = 3.0;

/// What a lane is wide.
pub(super) const LANE: f64 = 8.0;

/// Rounds of alignment to the neighbours above, below, and both.
const ROUNDS: usize = 6;

/// How much more a lane wants to be straight than a box to be near its neighbours.
const STRAIGHT: f64 = 6.0;

/// How much a lane resists being moved, where a child resists by 1.
const LANE_WEIGHT: f64 = 2.0;

struct Columns {
    /// First cell of each rank.
    first: Vec<usize>,
    /// With what must be free beside it.
    width: Vec<f64>,
    margin: Vec<f64>,
    weight: Vec<f64>,
    above: Vec<Vec<(usize, f64)>>,
    below: Vec<Vec<(usize, f64)>>,
    x: Vec<f64>,
}

/// The middle of every cell, rank by rank; the leftmost edge is at 0. `sizes` are the children's.
pub(super) fn columns(order: &GroupOrder, sizes: &[(f64, f64)]) -> Vec<Vec<f64>> {
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
    fn new(order: &GroupOrder, sizes: &[(f64, f64)]) -> Self {
        let cells: Vec<Cell> = order.order.ranks.iter().flatten().copied().collect();
        let mut first = vec![0];
        for rank in &order.order.ranks {
            first.push(first[first.len() - 1] + rank.len());
        }
        let mut columns = Self {
            width: vec![LANE + 2.0 * LANE_MARGIN; cells.len()],
            margin: vec![LANE_MARGIN; cells.len()],
            weight: vec![LANE_WEIGHT; cells.len()],
            above: vec![Vec::new(); cells.len()],
            below: vec![Vec::new(); cells.len()],
            x: vec![0.0; cells.len()],
            first,
        };
        let mut cell_of = vec![0; sizes.len()];
        let mut lanes = vec![Vec::new(); order.edges.len() + 1];
        for (at, cell) in cells.iter().enumerate() {
            match cell {
                Cell::Child(child) => {
                    cell_of[*child as usize] = at;
                    columns.width[at] = sizes[*child as usize].0 + 2.0 * CHILD_MARGIN;
                    columns.margin[at] = CHILD_MARGIN;
                    columns.weight[at] = 1.0;
                }
                Cell::Lane(edge) => lanes[*edge as usize].push(at),
            }
        }
        let outside = sizes.len() as u32;
        let shared = ChildEdge {
            from: outside,
            to: outside,
        };
        for (edge, lanes) in order.edges.iter().chain([&shared]).zip(&lanes) {
            if lanes.is_empty() && !order.order.passes(*edge).is_empty() {
                continue;
            }
            let ends = !order.order.leads_back(*edge);
            let end = |child: u32| (ends && child < outside).then(|| cell_of[child as usize]);
            let chain = end(edge.from).into_iter().chain(lanes.iter().copied());
            columns.join(&chain.chain(end(edge.to)).collect::<Vec<_>>());
        }
        columns
    }

    /// Neighbours in a chain pull each other, lanes the most.
    fn join(&mut self, chain: &[usize]) {
        for pair in chain.windows(2) {
            let lane = |cell: usize| self.weight[cell] == LANE_WEIGHT;
            let pull = match lane(pair[0]) && lane(pair[1]) {
                true => STRAIGHT,
                false => 1.0,
            };
            self.below[pair[0]].push((pair[1], pull));
            self.above[pair[1]].push((pair[0], pull));
        }
    }

    fn ranks(&self) -> usize {
        self.first.len() - 1
    }

    /// Every rank as narrow as it can be, all with one middle.
    fn pack(&mut self) {
        for rank in 0..self.ranks() {
            let cells = self.first[rank]..self.first[rank + 1];
            let total: f64 = self.width[cells.clone()].iter().sum();
            let mut x = -total / 2.0;
            for cell in cells {
                self.x[cell] = x + self.width[cell] / 2.0;
                x += self.width[cell];
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
            let wanted: Vec<f64> = wanted.collect();
            let settled = settle(
                &wanted,
                &self.width[cells.clone()],
                &self.weight[cells.clone()],
            );
            self.x[cells].copy_from_slice(&settled);
        }
    }

    fn by_rank(&self) -> Vec<Vec<f64>> {
        let cells = self.x.iter().zip(&self.width).zip(&self.margin);
        let edges = cells.map(|((x, w), margin)| x - w / 2.0 + margin);
        let left = edges.fold(f64::INFINITY, f64::min);
        let rank = |at: usize| {
            let cells = &self.x[self.first[at]..self.first[at + 1]];
            cells.iter().map(|x| x - left).collect()
        };
        (0..self.ranks()).map(rank).collect()
    }
}

/// Middles that are as near as can be to the wanted ones (least weighted squares), in this order and without overlaps.
pub(crate) fn settle(wanted: &[f64], width: &[f64], weight: &[f64]) -> Vec<f64> {
    // Without the distances that must be kept, what is left has only to ascend.
    let mut offset = Vec::with_capacity(wanted.len());
    let mut sum = 0.0;
    for at in 0..wanted.len() {
        if at > 0 {
            sum += (width[at - 1] + width[at]) / 2.0;
        }
        offset.push(sum);
    }
    // Blocks of equal values: mean, weight, members.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
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
        assert_eq!(settled, [-10.0, 10.0]);
    }

    #[test]
    fn what_has_room_gets_what_it_wants() {
        let settled = settle(&[-100.0, 100.0], &[20.0, 20.0], &[1.0, 1.0]);
        assert_eq!(settled, [-100.0, 100.0]);
    }

    proptest! {
        #[test]
        fn nothing_overlaps(cells in prop::collection::vec((-500f64..500.0, 1f64..90.0, 0.5f64..4.0), 1..40)) {
            let wanted: Vec<f64> = cells.iter().map(|c| c.0).collect();
            let width: Vec<f64> = cells.iter().map(|c| c.1).collect();
            let weight: Vec<f64> = cells.iter().map(|c| c.2).collect();
            let x = settle(&wanted, &width, &weight);
            for at in 1..x.len() {
                let distance = (width[at - 1] + width[at]) / 2.0;
                prop_assert!(x[at] - x[at - 1] >= distance - 1e-9);
            }
        }
    }
}
