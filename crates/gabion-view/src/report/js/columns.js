// The coordinates of cells along their ranks, as `place/columns.rs` gives them: least squared distances to the neighbours in
// the ranks above and below, in the given order and without overlaps (isotonic regression by pooling adjacent violators).

const GAP = 22;
const LANE = 8;
const ROUNDS = 6;
/** How much more a lane wants to be straight than a box to be near its neighbours. */
const STRAIGHT = 6;

/** Middles that are as near as can be to the wanted ones, in this order. */
function settle(wanted, width, weight, first, end) {
  const n = end - first;
  const offset = new Float64Array(n);
  for (let at = 1; at < n; at++) {
    offset[at] = offset[at - 1] + (width[first + at - 1] + width[first + at]) / 2 + GAP;
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
  const first = [0];
  for (const rank of ranks) first.push(first[first.length - 1] + rank.length);
  const n = first[first.length - 1];
  const width = new Float64Array(n);
  const weight = new Float64Array(n).fill(1);
  const cellOf = new Int32Array(widths.length);
  const rankOf = new Int32Array(widths.length);
  const lanes = edges.map(() => []);
  ranks.forEach((cells, rank) => cells.forEach((cell, slot) => {
    const at = first[rank] + slot;
    if (cell & 1) {
      width[at] = LANE;
      lanes[cell >>> 1].push(at);
    } else {
      width[at] = widths[cell >>> 1];
      cellOf[cell >>> 1] = at;
      rankOf[cell >>> 1] = rank;
    }
  }));
  const above = Array.from({ length: n }, () => []);
  const below = Array.from({ length: n }, () => []);
  edges.forEach(([from, to], edge) => {
    if (rankOf[from] + lanes[edge].length + 1 !== rankOf[to]) return;
    const chain = [cellOf[from], ...lanes[edge], cellOf[to]];
    for (let at = 0; at + 1 < chain.length; at++) {
      const pull = at > 0 && at + 2 < chain.length ? STRAIGHT : 1;
      below[chain[at]].push(chain[at + 1], pull);
      above[chain[at + 1]].push(chain[at], pull);
    }
    for (const lane of lanes[edge]) weight[lane] = 2;
  });
  const x = new Float64Array(n);
  for (let rank = 0; rank < ranks.length; rank++) {
    let total = GAP * Math.max(0, ranks[rank].length - 1);
    for (let at = first[rank]; at < first[rank + 1]; at++) total += width[at];
    let left = -total / 2;
    for (let at = first[rank]; at < first[rank + 1]; at++) {
      x[at] = left + width[at] / 2;
      left += width[at] + GAP;
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
  for (let at = 0; at < n; at++) left = Math.min(left, x[at] - width[at] / 2);
  return ranks.map((cells, rank) => cells.map((_, slot) => x[first[rank] + slot] - left));
}
