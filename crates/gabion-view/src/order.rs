//! The layered order of one group's children: which rank each has and who is beside whom. Sizes and coordinates are not
//! known here, so the order stays while boxes open and close; [`crate::place`] gives coordinates to it.
//!
//! The method is that of Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): ranks by longest path, long edges as chains
//! of lanes, order by barycentres with the fewest crossings kept. Everything is deterministic: ties go by number.

use std::ops::Range;

use rustc_hash::FxHashMap;

/// An edge between two children, or between a child and what is outside the group: that has the number after the last
/// child's.
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
    /// Where an edge, by its number, passes the rank. The number after the last edge's is the lane that all edges share
    /// that have none of their own.
    Lane(u32),
}

/// Children and lanes, rank by rank, from left to right in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The ranks, from the first to the last.
    pub ranks: Vec<Vec<Cell>>,
    /// The rank of each child.
    pub rank: Vec<u32>,
}

/// Sweeps over the ranks.
const SWEEPS: usize = 12;

/// Cells above which only few sweeps are made.
const MANY_CELLS: usize = 6_000;

/// Lanes for each child beyond which the longest edges share one.
const LANES_PER_CHILD: usize = 12;

impl Order {
    /// Orders `n` children. They are numbered so that edges lead from lower to higher numbers where they can; an edge that
    /// does not (two groups that feed each other) has no part in the ranks. `edges` are sorted and without repetitions; in
    /// them `n` is what is outside, and such edges go on to the first or the last rank.
    /// `floating` children depend on no input (weights and what is made of them): they stand right above what uses them.
    pub fn new(n: usize, edges: &[ChildEdge], floating: &dyn Fn(usize) -> bool) -> Self {
        let rank = ranks(n, edges, floating);
        let mut layers = Layers::new(edges, &rank);
        layers.reduce_crossings();
        Self {
            ranks: layers.cells(),
            rank,
        }
    }

    /// The ranks that an edge passes in a lane.
    pub fn passes(&self, edge: ChildEdge) -> Range<usize> {
        passes(edge, &self.rank, self.ranks.len())
    }

    /// Whether an edge leads from a rank to the same or one before. It passes both of them.
    pub fn leads_back(&self, edge: ChildEdge) -> bool {
        leads_back(edge, &self.rank)
    }
}

fn leads_back(edge: ChildEdge, rank: &[u32]) -> bool {
    let of = |child: u32| rank.get(child as usize);
    matches!((of(edge.from), of(edge.to)), (Some(from), Some(to)) if from >= to)
}

fn passes(edge: ChildEdge, rank: &[u32], n_ranks: usize) -> Range<usize> {
    let of = |child: u32| rank.get(child as usize).map(|rank| *rank as usize);
    match (of(edge.from), of(edge.to)) {
        (Some(from), Some(to)) if from >= to => to..from + 1,
        (from, to) => from.map_or(0, |rank| rank + 1)..to.unwrap_or(n_ranks),
    }
}

/// Longest path from the sources; then floating children move down to what uses them, from the last to the first, so that
/// chains of them move as a whole.
fn ranks(n: usize, edges: &[ChildEdge], floating: &dyn Fn(usize) -> bool) -> Vec<u32> {
    let mut rank = vec![0u32; n];
    let inside = |e: &ChildEdge| e.from < e.to && (e.to as usize) < n;
    let mut forward: Vec<ChildEdge> = edges.iter().copied().filter(inside).collect();
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

/// How many ranks an edge may pass in lanes of its own: any number, unless that would be far more lanes than children.
fn most_lanes(edges: &[ChildEdge], rank: &[u32], n_ranks: usize) -> usize {
    let counts = edges.iter().map(|edge| passes(*edge, rank, n_ranks).len());
    let mut counts: Vec<usize> = counts.filter(|n| *n > 0).collect();
    counts.sort_unstable();
    let mut budget = rank.len() * LANES_PER_CHILD + 64;
    let mut most = 0;
    for lanes in counts {
        if lanes > budget {
            // Those that are as long get lanes all, or none does.
            return most.min(lanes - 1);
        }
        budget -= lanes;
        most = lanes;
    }
    most
}

/// The cells of all ranks, with their neighbours in the rank above and the rank below.
struct Layers {
    cells: Vec<Cell>,
    above: Vec<Vec<u32>>,
    below: Vec<Vec<u32>>,
    ranks: Vec<Vec<u32>>,
}

impl Layers {
    /// Before anything is known, lanes that lead out stand at the left, and those that lead in at the right, each the
    /// nearer to the middle the sooner it ends there.
    fn new(edges: &[ChildEdge], rank: &[u32]) -> Self {
        let (n, n_ranks) = (rank.len(), rank.iter().max().map_or(0, |r| *r as usize + 1));
        let most = most_lanes(edges, rank, n_ranks);
        let mut layers = Layers {
            cells: (0..n as u32).map(Cell::Child).collect(),
            above: vec![Vec::new(); n],
            below: vec![Vec::new(); n],
            ranks: vec![Vec::new(); n_ranks],
        };
        let mut leading_out = vec![Vec::new(); n_ranks];
        for (child, rank) in rank.iter().enumerate() {
            layers.ranks[*rank as usize].push(child as u32);
        }
        let mut shared: Option<Range<usize>> = None;
        for (number, edge) in edges.iter().enumerate() {
            let passed = passes(*edge, rank, n_ranks);
            if passed.len() > most {
                let all = shared.unwrap_or(passed.clone());
                shared = Some(all.start.min(passed.start)..all.end.max(passed.end));
                continue;
            }
            // A lane that leads back has its ends beside it, not above and below.
            let ends = !leads_back(*edge, rank);
            let mut last = (ends && (edge.from as usize) < n).then_some(edge.from);
            for at in passed {
                let lane = layers.lane(number as u32, last);
                match edge.to as usize == n {
                    true => leading_out[at].push(lane),
                    false => layers.ranks[at].push(lane),
                }
                last = Some(lane);
            }
            if let (Some(last), true) = (last, ends && (edge.to as usize) < n) {
                layers.join(last, edge.to);
            }
        }
        for (rank, mut before) in layers.ranks.iter_mut().zip(leading_out) {
            before.append(rank);
            *rank = before;
        }
        let mut last = None;
        for at in shared.unwrap_or(0..0) {
            let lane = layers.lane(edges.len() as u32, last);
            layers.ranks[at].push(lane);
            last = Some(lane);
        }
        layers
    }

    /// A new cell of an edge, under another.
    fn lane(&mut self, edge: u32, above: Option<u32>) -> u32 {
        let lane = self.cells.len() as u32;
        self.cells.push(Cell::Lane(edge));
        self.above.push(Vec::new());
        self.below.push(Vec::new());
        if let Some(above) = above {
            self.join(above, lane);
        }
        lane
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
    fn what_comes_from_outside_and_goes_there_gets_lanes() {
        // 0 -> 1 -> 2; 2 reads something from outside, and 0 gives something to it. 3 is what is outside.
        let order = Order::new(3, &edges(&[(0, 1), (1, 2), (0, 3), (3, 2)]), &|_| false);
        assert_eq!(text(&order), "0 |3\n|1 1 |3\n|1 2");
    }

    #[test]
    fn what_has_no_room_for_lanes_shares_one() {
        // A chain of 60 whose members all read each other: 60 * 58 * 59 / 6 lanes would be too many.
        let pairs: Vec<(u32, u32)> = (0..60)
            .flat_map(|to| (0..to).map(move |from| (from, to)))
            .collect();
        let edges = edges(&pairs);
        let order = Order::new(60, &edges, &|_| false);
        let n_cells: usize = order.ranks.iter().map(Vec::len).sum();
        assert!(n_cells <= 60 + 60 * LANES_PER_CHILD + 64 + 60, "{n_cells}");
        let shared = Cell::Lane(edges.len() as u32);
        for rank in 1..59 {
            assert!(order.ranks[rank].contains(&shared), "{rank}");
        }
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
    fn edges_that_lead_back_pass_both_their_ends() {
        let order = Order::new(2, &edges(&[(0, 1), (1, 0)]), &|_| false);
        assert_eq!(text(&order), "0 |1\n1 |1");
    }

    proptest! {
        #[test]
        fn every_child_stands_once_and_edges_lead_down(
            n in 1usize..40,
            pairs in prop::collection::vec((0u32..40, 0u32..40), 0..120),
        ) {
            // One more than the children: what is outside.
            let pairs: Vec<(u32, u32)> = pairs
                .into_iter()
                .map(|(a, b)| (a % (n as u32 + 1), b % (n as u32 + 1)))
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
            let lanes = |number: usize, rank: usize| order.ranks[rank].iter().filter(|c| **c == Cell::Lane(number as u32)).count();
            for (number, edge) in list.iter().enumerate() {
                for rank in order.passes(*edge) {
                    let (own, shared) = (lanes(number, rank), lanes(list.len(), rank));
                    prop_assert!(own == 1 || own == 0 && shared == 1);
                }
                if edge.from as usize == n || edge.to as usize == n {
                    continue;
                }
                let (from, to) = (rank_of[edge.from as usize], rank_of[edge.to as usize]);
                prop_assert!(from.is_some() && to.is_some());
                prop_assert!(edge.from > edge.to || from < to);
            }
            prop_assert_eq!(&order, &Order::new(n, &list, &floating));
        }
    }
}
