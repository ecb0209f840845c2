//! The layered order of one group's children: which rank each has and who is beside whom. Sizes and coordinates are not
//! known here, so the order stays while boxes open and close; [`crate::place`] gives coordinates to it.
//!
//! The method is that of Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): ranks by longest path, long edges as chains
//! of lanes, order by barycentres with the fewest crossings kept. Everything is deterministic: ties go by number.

use rustc_hash::FxHashMap;

/// An edge between two children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildEdge {
    /// The child that gives.
    pub from: u32,
    /// The child that takes.
    pub to: u32,
}

/// What stands at one place of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A child.
    Child(u32),
    /// Where an edge, by its number, passes the rank.
    Lane(u32),
}

/// Children and lanes, rank by rank, from left to right in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The ranks, from the first to the last.
    pub ranks: Vec<Vec<Cell>>,
}

/// Sweeps over the ranks.
const SWEEPS: usize = 12;

/// Cells above which only few sweeps are made.
const MANY_CELLS: usize = 6_000;

/// Lanes for each child beyond which the longest edges have none.
const LANES_PER_CHILD: usize = 6;

impl Order {
    /// Orders `n` children. They are numbered so that edges lead from lower to higher numbers where they can; an edge that
    /// does not (two groups that feed each other) has no part in the ranks and no lanes. `edges` are without repetitions.
    /// `floating` children depend on no input (weights and what is made of them): they stand right above what uses them.
    pub fn new(n: usize, edges: &[ChildEdge], floating: &dyn Fn(usize) -> bool) -> Self {
        let ranks = ranks(n, edges, floating);
        let lanes_to = lane_limit(n, edges, &ranks);
        let mut layers = Layers::new(n, edges, &ranks, lanes_to);
        layers.reduce_crossings();
        Self {
            ranks: layers.cells(),
        }
    }
}

/// Longest path from the sources; then floating children move down to what uses them, from the last to the first, so that
/// chains of them move as a whole.
fn ranks(n: usize, edges: &[ChildEdge], floating: &dyn Fn(usize) -> bool) -> Vec<usize> {
    let mut rank = vec![0usize; n];
    let mut forward: Vec<ChildEdge> = edges.iter().copied().filter(|e| e.from < e.to).collect();
    forward.sort_unstable();
    for edge in &forward {
        let (from, to) = (edge.from as usize, edge.to as usize);
        rank[to] = rank[to].max(rank[from] + 1);
    }
    let mut at = forward.len();
    for child in (0..n).rev() {
        let end = at;
        while at > 0 && forward[at - 1].from as usize == child {
            at -= 1;
        }
        let users = forward[at..end].iter().map(|e| rank[e.to as usize]);
        if floating(child)
            && let Some(first) = users.min()
        {
            rank[child] = first.saturating_sub(1);
        }
    }
    rank
}

/// The longest span that gets lanes: every one, unless that would be far more lanes than children.
fn lane_limit(n: usize, edges: &[ChildEdge], rank: &[usize]) -> usize {
    let mut spans: Vec<usize> = edges
        .iter()
        .filter(|e| e.from < e.to)
        .map(|e| rank[e.to as usize] - rank[e.from as usize])
        .filter(|span| *span > 1)
        .collect();
    spans.sort_unstable();
    let mut budget = n * LANES_PER_CHILD + 64;
    let mut limit = 1;
    for span in spans {
        let lanes = span - 1;
        if lanes > budget {
            break;
        }
        budget -= lanes;
        limit = span;
    }
    limit
}

/// The cells of all ranks, with their neighbours in the rank above and the rank below.
struct Layers {
    cells: Vec<Cell>,
    above: Vec<Vec<u32>>,
    below: Vec<Vec<u32>>,
    ranks: Vec<Vec<u32>>,
}

impl Layers {
    fn new(n: usize, edges: &[ChildEdge], rank: &[usize], lanes_to: usize) -> Self {
        let n_ranks = rank.iter().max().map_or(0, |r| r + 1);
        let mut layers = Layers {
            cells: (0..n as u32).map(Cell::Child).collect(),
            above: vec![Vec::new(); n],
            below: vec![Vec::new(); n],
            ranks: vec![Vec::new(); n_ranks],
        };
        for (child, rank) in rank.iter().enumerate() {
            layers.ranks[*rank].push(child as u32);
        }
        for (number, edge) in edges.iter().enumerate() {
            let (from, to) = (rank[edge.from as usize], rank[edge.to as usize]);
            if from >= to || to - from > lanes_to.max(1) {
                continue;
            }
            let mut last = edge.from;
            for between in from + 1..to {
                let lane = layers.cells.len() as u32;
                layers.cells.push(Cell::Lane(number as u32));
                layers.above.push(Vec::new());
                layers.below.push(Vec::new());
                layers.ranks[between].push(lane);
                layers.join(last, lane);
                last = lane;
            }
            layers.join(last, edge.to);
        }
        layers
    }

    fn join(&mut self, upper: u32, lower: u32) {
        self.below[upper as usize].push(lower);
        self.above[lower as usize].push(upper);
    }

    fn reduce_crossings(&mut self) {
        let mut slot = vec![0u32; self.cells.len()];
        let sweeps = match self.cells.len() > MANY_CELLS {
            true => 4,
            false => SWEEPS,
        };
        self.number(&mut slot);
        let mut best = (self.crossings(&slot), self.ranks.clone());
        for sweep in 0..sweeps {
            if best.0 == 0 {
                break;
            }
            let n_ranks = self.ranks.len();
            for step in 1..n_ranks {
                let (rank, neighbours) = match sweep % 2 {
                    0 => (step, &self.above),
                    _ => (n_ranks - 1 - step, &self.below),
                };
                sort_by_barycentre(&mut self.ranks[rank], neighbours, &mut slot);
            }
            let crossings = self.crossings(&slot);
            if crossings < best.0 {
                best = (crossings, self.ranks.clone());
            }
        }
        self.ranks = best.1;
    }

    fn number(&self, slot: &mut [u32]) {
        for rank in &self.ranks {
            for (at, cell) in rank.iter().enumerate() {
                slot[*cell as usize] = at as u32;
            }
        }
    }

    /// Crossings between neighbouring ranks, counted with a Fenwick tree (Barth, Jünger, Mutzel: Simple and efficient
    /// bilayer cross counting, 2002).
    fn crossings(&self, slot: &[u32]) -> u64 {
        let mut total = 0;
        let mut tree: Vec<u64> = Vec::new();
        for (upper, lower) in self.ranks.iter().zip(self.ranks.iter().skip(1)) {
            tree.clear();
            tree.resize(lower.len() + 1, 0);
            let mut seen = 0;
            for cell in upper {
                let mut ends: Vec<usize> = self.below[*cell as usize]
                    .iter()
                    .map(|to| slot[*to as usize] as usize)
                    .collect();
                ends.sort_unstable();
                for end in &ends {
                    total += seen - prefix(&tree, end + 1);
                }
                seen += ends.len() as u64;
                for end in ends {
                    add(&mut tree, end + 1);
                }
            }
        }
        total
    }

    fn cells(&self) -> Vec<Vec<Cell>> {
        let cells = |rank: &Vec<u32>| rank.iter().map(|c| self.cells[*c as usize]).collect();
        self.ranks.iter().map(cells).collect()
    }
}

fn prefix(tree: &[u64], mut at: usize) -> u64 {
    let mut sum = 0;
    while at > 0 {
        sum += tree[at];
        at &= at - 1;
    }
    sum
}

fn add(tree: &mut [u64], mut at: usize) {
    while at < tree.len() {
        tree[at] += 1;
        at += at & at.wrapping_neg();
    }
}

/// Cells without neighbours keep their places; the others share the remaining ones by the mean of their neighbours.
fn sort_by_barycentre(rank: &mut [u32], neighbours: &[Vec<u32>], slot: &mut [u32]) {
    let mean = |cell: u32| {
        let near = &neighbours[cell as usize];
        let sum: u64 = near.iter().map(|n| u64::from(slot[*n as usize])).sum();
        (!near.is_empty()).then(|| sum as f64 / near.len() as f64)
    };
    let mut keyed: Vec<(f64, u32)> = Vec::with_capacity(rank.len());
    let mut places = Vec::with_capacity(rank.len());
    for (at, cell) in rank.iter().enumerate() {
        if let Some(mean) = mean(*cell) {
            keyed.push((mean, *cell));
            places.push(at);
        }
    }
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (at, (_, cell)) in places.into_iter().zip(keyed) {
        rank[at] = cell;
    }
    for (at, cell) in rank.iter().enumerate() {
        slot[*cell as usize] = at as u32;
    }
}

/// Edges without repetitions, sorted, and how many there were of each.
pub(crate) fn unique_edges(edges: impl Iterator<Item = ChildEdge>) -> Vec<ChildEdge> {
    let mut seen: FxHashMap<ChildEdge, ()> = FxHashMap::default();
    let mut unique: Vec<ChildEdge> = edges.filter(|e| seen.insert(*e, ()).is_none()).collect();
    unique.sort_unstable();
    unique
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(list: &[(u32, u32)]) -> Vec<ChildEdge> {
        unique_edges(list.iter().map(|&(from, to)| ChildEdge { from, to }))
    }

    fn text(order: &Order) -> String {
        let rank = |rank: &Vec<Cell>| {
            let cells: Vec<String> = rank
                .iter()
                .map(|cell| match cell {
                    Cell::Child(child) => child.to_string(),
                    Cell::Lane(edge) => format!("|{edge}"),
                })
                .collect();
            cells.join(" ")
        };
        let ranks: Vec<String> = order.ranks.iter().map(rank).collect();
        ranks.join("\n")
    }

    #[test]
    fn a_skip_connection_gets_a_lane() {
        let order = Order::new(4, &edges(&[(0, 1), (1, 2), (2, 3), (0, 3)]), &|_| false);
        assert_eq!(text(&order), "0\n1 |1\n2 |1\n3");
    }

    #[test]
    fn weights_stand_above_what_reads_them() {
        // 0 -> 3 -> 4 -> 5, and 5 reads the weight 1 through 2.
        let edges = edges(&[(0, 3), (3, 4), (4, 5), (1, 2), (2, 5)]);
        let order = Order::new(6, &edges, &|child| child == 1 || child == 2);
        assert_eq!(text(&order), "0\n1 3\n2 4\n5");
    }

    #[test]
    fn crossings_are_undone() {
        let order = Order::new(6, &edges(&[(0, 5), (1, 4), (2, 3)]), &|_| false);
        let layers = text(&order);
        assert!(
            ["0 1 2\n5 4 3", "2 1 0\n3 4 5"].contains(&layers.as_str()),
            "{layers}"
        );
    }

    #[test]
    fn edges_that_lead_back_do_not_matter() {
        let order = Order::new(2, &edges(&[(0, 1), (1, 0)]), &|_| false);
        assert_eq!(text(&order), "0\n1");
    }

    proptest! {
        #[test]
        fn every_child_stands_once_and_edges_lead_down(
            n in 1usize..40,
            pairs in prop::collection::vec((0u32..40, 0u32..40), 0..120),
        ) {
            let pairs: Vec<(u32, u32)> = pairs
                .into_iter()
                .map(|(a, b)| (a % n as u32, b % n as u32))
                .filter(|(a, b)| a != b)
                .collect();
            let list = edges(&pairs);
            let floating = |child: usize| child.is_multiple_of(3);
            let order = Order::new(n, &list, &floating);
            let mut rank_of = vec![None; n];
            for (rank, cells) in order.ranks.iter().enumerate() {
                for cell in cells {
                    if let Cell::Child(child) = cell {
                        prop_assert!(rank_of[*child as usize].replace(rank).is_none());
                    }
                }
            }
            for edge in &list {
                let (from, to) = (rank_of[edge.from as usize], rank_of[edge.to as usize]);
                prop_assert!(from.is_some() && to.is_some());
                prop_assert!(edge.from > edge.to || from < to);
            }
            prop_assert_eq!(&order, &Order::new(n, &list, &floating));
        }
    }
}
