// The coordinates of cells along their ranks, as `place/columns.rs` gives them: least squared distances to the neighbours in
// the ranks above and below, in the given order and without overlaps (isotonic regression by pooling adjacent violators).

/** What a lane is wide. */
const LANE = 8;
/** What must be free between neighbours of a rank: so much on either side of a child, and of a lane. */
const CHILD_MARGIN = 11;
const LANE_MARGIN = 3;
const ROUNDS = 6;
/** How much a lane resists being moved, where a child resists by 1. */
const LANE_WEIGHT = 2;
/** How much more a lane wants to be straight than a box to be near its neighbours. */
const STRAIGHT = 6;

/** Middles that are as near as can be to the wanted ones, in this order. */
function settle(wanted, width, weight, first, end) {
  const n = end - first;
  const offset = new Float64Array(n);
  for (let at = 1; at < n; at++) {
    offset[at] = offset[at - 1] + (width[first + at - 1] + width[first + at]) / 2;
  }
  // Blocks of equal values: mean, weight, members.
  const mean = new Float64Array(n);
  const total = new Float64Array(n);
  const members = new Uint32Array(n);
  let blocks = 0;
  for (let at = 0; at < n; at++) {
    let value = wanted[at] - offset[at];
    let heavy = weight[first + at];
    let count = 1;
    while (blocks > 0 && mean[blocks - 1] >= value) {
      blocks -= 1;
      value = (mean[blocks] * total[blocks] + value * heavy) / (total[blocks] + heavy);
      heavy += total[blocks];
      count += members[blocks];
    }
    mean[blocks] = value;
    total[blocks] = heavy;
    members[blocks] = count;
    blocks += 1;
  }
  const settled = new Float64Array(n);
  let at = 0;
  for (let block = 0; block < blocks; block++) {
    for (let left = members[block]; left > 0; left--, at++) settled[at] = mean[block] + offset[at];
  }
  return settled;
}

/** The middle of every cell, rank by rank; the leftmost edge is at 0. `widths` are the children's. */
function columnsOf(order, widths) {
  const { ranks, edges } = order;
  const outside = widths.length;
  const first = [0];
  for (const rank of ranks) first.push(first[first.length - 1] + rank.length);
  const n = first[first.length - 1];
  const width = new Float64Array(n).fill(LANE + 2 * LANE_MARGIN);
  const margin = new Float64Array(n).fill(LANE_MARGIN);
  const weight = new Float64Array(n).fill(LANE_WEIGHT);
  const cellOf = new Int32Array(widths.length);
  const lanes = Array.from({ length: edges.length + 1 }, () => []);
  ranks.forEach((cells, rank) => cells.forEach((cell, slot) => {
    const at = first[rank] + slot;
    if (cell & 1) {
      lanes[cell >>> 1].push(at);
    } else {
      width[at] = widths[cell >>> 1] + 2 * CHILD_MARGIN;
      margin[at] = CHILD_MARGIN;
      weight[at] = 1;
      cellOf[cell >>> 1] = at;
    }
  }));
  const above = Array.from({ length: n }, () => []);
  const below = Array.from({ length: n }, () => []);
  const isLane = (at) => weight[at] === LANE_WEIGHT;
  [...edges, [outside, outside]].forEach((edge, number) => {
    const own = lanes[number];
    if (number < edges.length && !order.isKept(edge)) return;
    if (own.length === 0 && order.passes(edge).n > 0) return;
    const end = (child) => (order.leadsBack(edge) || child === outside ? [] : [cellOf[child]]);
    const chain = [...end(edge[0]), ...own, ...end(edge[1])];
    for (let at = 0; at + 1 < chain.length; at++) {
      const pull = isLane(chain[at]) && isLane(chain[at + 1]) ? STRAIGHT : 1;
      below[chain[at]].push(chain[at + 1], pull);
      above[chain[at + 1]].push(chain[at], pull);
    }
  });
  const x = new Float64Array(n);
  for (let rank = 0; rank < ranks.length; rank++) {
    let total = 0;
    for (let at = first[rank]; at < first[rank + 1]; at++) total += width[at];
    let left = -total / 2;
    for (let at = first[rank]; at < first[rank + 1]; at++) {
      x[at] = left + width[at] / 2;
      left += width[at];
    }
  }
  const align = (rank, lists) => {
    const wanted = new Float64Array(first[rank + 1] - first[rank]);
    for (let at = first[rank]; at < first[rank + 1]; at++) {
      let sum = 0;
      let total = 0;
      for (const list of lists) {
        const near = list[at];
        for (let i = 0; i < near.length; i += 2) {
          sum += x[near[i]] * near[i + 1];
          total += near[i + 1];
        }
      }
      wanted[at - first[rank]] = total > 0 ? sum / total : x[at];
    }
    x.set(settle(wanted, width, weight, first[rank], first[rank + 1]), first[rank]);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let rank = 0; rank < ranks.length; rank++) align(rank, [above]);
    for (let rank = ranks.length - 1; rank >= 0; rank--) align(rank, [below]);
  }
  for (let rank = 0; rank < ranks.length; rank++) align(rank, [above, below]);
  let left = Infinity;
  for (let at = 0; at < n; at++) left = Math.min(left, x[at] - width[at] / 2 + margin[at]);
  return ranks.map((cells, rank) => cells.map((_, slot) => x[first[rank] + slot] - left));
}
