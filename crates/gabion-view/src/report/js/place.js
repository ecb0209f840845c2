// Where everything lies while some groups are open, and the wires between what is visible, as `place.rs` and the files of
// `place/` do it, number for number: a test compares them. The order of a group's children comes with the data; only sizes are decided here.

const RANK_GAP = 40;
const PADDING = 16;
/** The line of an open group's name. */
const HEADER = 26;
/** Lanes that are as near as this to each other's line are one line. */
const ON_LINE = 0.5;

/** A group's children that are shown, the edges between them, and where both stand; `children.length` is what is outside. */
class GroupOrder {
  /** `cells` are the ranks: a length, and so many cells each: twice a child, or twice an edge and one for its lane. */
  constructor([children, flat, cells], isShown) {
    this.children = children;
    this.keep = children.map(isShown);
    this.edges = [];
    for (let at = 0; at < flat.length; at += 2) this.edges.push([flat[at], flat[at + 1]]);
    this.ranks = [];
    for (let at = 0; at < cells.length; at += cells[at] + 1) {
      const rank = cells.slice(at + 1, at + 1 + cells[at]).filter((cell) => this.isCellKept(cell));
      // A rank of lanes alone is no rank.
      if (rank.some((cell) => !(cell & 1))) this.ranks.push(rank);
    }
    this.rank = new Int32Array(children.length);
    this.ranks.forEach((rank, at) => {
      for (const cell of rank) if (!(cell & 1)) this.rank[cell >>> 1] = at;
    });
    this.numbers = new Map(children.map((item, at) => [item, at]));
    this.edgeOf = new Map(this.edges.map((edge, at) => [this.key(edge), at]));
  }

  get outside() { return this.children.length; }

  key([from, to]) { return from * (this.children.length + 1) + to; }

  isKept([from, to]) {
    return (from === this.outside || this.keep[from]) && (to === this.outside || this.keep[to]);
  }

  /** Children that are shown and lanes between them; the lane that many edges share has the number after the last edge's. */
  isCellKept(cell) {
    const number = cell >>> 1;
    if (!(cell & 1)) return this.keep[number];
    return number === this.edges.length || this.isKept(this.edges[number]);
  }

  /** Whether an edge leads from a rank to the same or one before. It passes both of them. */
  leadsBack([from, to]) {
    return from !== this.outside && to !== this.outside && this.rank[from] >= this.rank[to];
  }

  /** The ranks that an edge passes in a lane: the first, and how many. */
  passes(edge) {
    const [from, to] = edge;
    if (this.leadsBack(edge)) return { first: this.rank[to], n: this.rank[from] + 1 - this.rank[to] };
    const first = from === this.outside ? 0 : this.rank[from] + 1;
    return { first, n: (to === this.outside ? this.ranks.length : this.rank[to]) - first };
  }
}

/** Lays out stages; remembers groups in which nothing was opened, closed or hidden. */
class Layout {
  /** `measure` gives the size of an item that is not open; `only` are the boxes that are shown, if not all. */
  constructor(stage, hidden, measure, only = null) {
    this.stage = stage;
    this.doc = stage.doc;
    this.hidden = hidden;
    this.measure = measure;
    this.orders = new Map();
    this.known = new Map();
    this.only = only;
    this.shown = hidden.size > 0 || only ? stage.total((id) => Number(!this.hides(id))) : stage.counts();
  }

  hides(id) { return this.hidden.has(this.doc.kind[id]) || (this.only !== null && !this.only.has(id)); }

  isShown(item) { return isGroup(item) ? this.shown[numberOf(item)] > 0 : !this.hides(numberOf(item)); }

  /** The children of a group that are shown, in the order of the text. */
  children(group) {
    return (this.stage.order(group)?.[0] ?? []).filter((item) => this.isShown(item));
  }

  /** A group's order without what is hidden. */
  order(group) {
    let order = this.orders.get(group);
    if (!order) {
      order = new GroupOrder(this.stage.order(group) ?? [[], [], []], (item) => this.isShown(item));
      this.orders.set(group, order);
    }
    return order;
  }

  /** A group that is open: its children relative to its own corner. */
  inside(group, open, right) {
    const order = this.order(group);
    const nested = order.children.map((item, at) => (
      order.keep[at] && isGroup(item) && open.has(numberOf(item)) ? this.inside(numberOf(item), open, right) : null
    ));
    const known = this.known.get(group);
    if (known && known.right === right && known.nested.every((it, at) => it === nested[at])) return known;
    const inside = this.arrange(group, order, nested, right);
    this.known.set(group, inside);
    return inside;
  }

  arrange(group, order, nested, right) {
    const size = order.children.map((item, at) => {
      if (nested[at]) return nested[at].size;
      if (!order.keep[at]) return [0, 0];
      const [w, h] = this.measure(item);
      return right ? [h, w] : [w, h];
    });
    const columns = columnsOf(order, size.map(([w]) => w));
    const [left, top] = group === 0 ? [PADDING, PADDING] : right ? [HEADER + PADDING / 2, PADDING] : [PADDING, HEADER + PADDING / 2];
    const rects = new Array(order.children.length).fill(null);
    const lanes = Array.from({ length: order.edges.length + 1 }, () => []);
    const ranks = [];
    let sharedFrom = order.ranks.length;
    let y = top;
    let edge = left;
    order.ranks.forEach((cells, rank) => {
      let tallest = 0;
      for (const cell of cells) if (!(cell & 1)) tallest = Math.max(tallest, size[cell >>> 1][1]);
      cells.forEach((cell, slot) => {
        const x = left + columns[rank][slot];
        if (cell & 1) {
          edge = Math.max(edge, x + LANE / 2);
          lanes[cell >>> 1].push(x);
          if (cell >>> 1 === order.edges.length) sharedFrom = Math.min(sharedFrom, rank);
        } else {
          const [w, h] = size[cell >>> 1];
          rects[cell >>> 1] = [x - w / 2, y + (tallest - h) / 2, w, h];
          edge = Math.max(edge, x + w / 2);
        }
      });
      ranks.push([y, y + tallest]);
      y += tallest + RANK_GAP;
    });
    const bottom = order.ranks.length > 0 ? y - RANK_GAP : y;
    return { group, order, nested, right, rects, ranks, lanes, sharedFrom, size: [edge + PADDING, bottom + PADDING] };
  }

  /** Everything that is visible. */
  place(open, right) {
    const inside = this.inside(0, open, right);
    const placement = new Placement(inside.size, right);
    const frames = new Map();
    this.spread(inside, null, 0, 0, placement, frames);
    this.connect(open, frames, placement);
    if (right) placement.transpose();
    return placement;
  }

  spread(inside, around, x, y, placement, frames) {
    frames.set(inside.group, { inside, x, y });
    inside.order.children.forEach((item, at) => {
      const rect = inside.rects[at];
      if (!rect) return;
      const node = {
        item, x: rect[0] + x, y: rect[1] + y, w: rect[2], h: rect[3],
        open: inside.nested[at] !== null, around, children: [], wires: [],
      };
      placement.add(node);
      if (node.open) this.spread(inside.nested[at], node, node.x, node.y, placement, frames);
    });
  }

  /** For each group, the outermost closed group around it or itself; 0 if there is none. */
  closedAround(open) {
    const { doc } = this;
    const closed = new Uint32Array(doc.nGroups);
    for (let group = 1; group < doc.nGroups; group++) {
      closed[group] = closed[doc.parent[group]] || (open.has(group) ? 0 : group);
    }
    return closed;
  }

  /** One wire for each pair of visible things, through the lanes that its order keeps free. */
  connect(open, frames, placement) {
    const { doc, stage } = this;
    const closed = this.closedAround(open);
    const merged = new Map();
    const counted = new Set();
    const shown = (id) => {
      const group = closed[doc.group[id]];
      return placement.byItem.get(group === 0 ? itemOfBox(id) : itemOfGroup(group));
    };
    for (let at = 0; at < stage.from.length; at++) {
      const [maker, reader] = [stage.from[at], stage.to[at]];
      const group = closed[doc.group[maker]];
      if (group !== 0 && group === closed[doc.group[reader]]) continue;
      if (this.hides(maker) || this.hides(reader)) continue;
      const [from, to] = [shown(maker), shown(reader)];
      if (!from || !to) continue;
      const pair = from.number * placement.nodes.length + to.number;
      let wire = merged.get(pair);
      if (!wire) {
        wire = { from, to, values: 0, bytes: 0, largest: -1, type: "", path: null, points: null };
        merged.set(pair, wire);
        placement.wires.push(wire);
      }
      // A value that several boxes inside use is carried once.
      const seen = `${pair}:${maker}:${stage.result[at]}`;
      if (counted.has(seen)) continue;
      counted.add(seen);
      addValue(doc, wire, maker, stage.result[at]);
    }
    // Whatever order they were met in, they stand in one.
    placement.wires.sort((a, b) => a.from.number - b.from.number || a.to.number - b.to.number);
    for (const wire of placement.wires) route(wire, frames, placement);
    attach(placement);
  }
}

function addValue(doc, wire, maker, result) {
  const port = doc.resultStart[maker] + result;
  if (port >= doc.resultStart[maker + 1]) return;
  const bytes = doc.typeBytes[port];
  wire.values += 1;
  wire.bytes += bytes;
  if (bytes > wire.largest) {
    wire.largest = bytes;
    wire.type = doc.words[doc.types[port]];
  }
}

/** Where an edge of an open group passes its ranks: straight pieces `[x, from, to]`. */
function passes({ inside, x, y }, edge) {
  const { order } = inside;
  const number = order.edgeOf.get(order.key(edge));
  if (number === undefined) return [];
  const { first, n } = order.passes(edge);
  const own = inside.lanes[number];
  const shared = inside.lanes[order.edges.length];
  const pieces = [];
  for (let at = 0; at < n; at++) {
    const column = own.length === 0 ? shared[first + at - inside.sharedFrom] : own[at];
    const [top, bottom] = inside.ranks[first + at];
    pieces.push([x + column, y + top, y + bottom]);
  }
  return pieces;
}

/**
 * The way of a wire: straight from its beginning to the end of that rank (`leave`), along lanes, and straight to its end
 * from the beginning of that rank (`arrive`). In every open group between its ends and the group around both it takes a
 * lane of that group, and crosses the border in it.
 */
function route(wire, frames, placement) {
  let [a, b] = [wire.from, wire.to];
  while (a.around !== b.around) {
    if (a.level >= b.level) a = a.around;
    else b = b.around;
  }
  (a.around ? a.around.wires : placement.rootWires).push(wire);
  const frameOf = (node) => frames.get(node.around ? numberOf(node.around.item) : 0);
  const path = { leave: 0, arrive: 0, lanes: [] };
  for (let node = wire.from; ; node = node.around) {
    const frame = frameOf(node);
    const { order, ranks } = frame.inside;
    const child = order.numbers.get(node.item);
    const bottom = frame.y + ranks[order.rank[child]][1];
    if (path.lanes.length === 0) path.leave = bottom;
    else path.lanes[path.lanes.length - 1][2] = bottom;
    const edge = [child, node === a ? order.numbers.get(b.item) : order.outside];
    const pieces = passes(frame, edge);
    path.lanes.push(...(order.leadsBack(edge) ? pieces.reverse().map(([x, from, to]) => [x, to, from]) : pieces));
    if (node === a) break;
  }
  const lanes = [];
  for (let node = wire.to; ; node = node.around) {
    const frame = frameOf(node);
    const { order, ranks } = frame.inside;
    const child = order.numbers.get(node.item);
    const top = frame.y + ranks[order.rank[child]][0];
    if (lanes.length === 0) path.arrive = top;
    else lanes[lanes.length - 1][1] = top;
    if (node === b) break;
    lanes.push(...passes(frame, [order.outside, child]).reverse());
  }
  path.lanes.push(...lanes.reverse());
  wire.path = path;
}

/** The points of a wire from where to where it goes. */
function pointsOf({ leave, arrive, lanes }, begin, end) {
  const points = [];
  go(points, begin[0], begin[1], leave);
  for (const [x, from, to] of lanes) go(points, x, from, to);
  go(points, end[0], arrive, end[1]);
  return points;
}

/** Goes on with a straight piece, as part of the one before if that is on the same line. */
function go(points, x, from, to) {
  const last = points[points.length - 1];
  const before = points[points.length - 2];
  if (before && Math.abs(last[0] - x) < ON_LINE && before[0] === last[0] && (last[1] - before[1]) * (to - last[1]) >= 0) {
    last[1] = to;
    return;
  }
  points.push([x, from]);
  if (from !== to) points.push([x, to]);
}

/** Begins and ends the wires at their items, spread along the sides in the order of where they come from and go to. */
function attach(placement) {
  const out = placement.nodes.map(() => []);
  const into = placement.nodes.map(() => []);
  for (const wire of placement.wires) {
    const { lanes } = wire.path;
    out[wire.from.number].push([lanes[0]?.[0] ?? wire.to.x + wire.to.w / 2, wire]);
    into[wire.to.number].push([lanes[lanes.length - 1]?.[0] ?? wire.from.x + wire.from.w / 2, wire]);
  }
  placement.nodes.forEach((node, at) => {
    for (const [list, y, isOut] of [[out[at], node.y + node.h, true], [into[at], node.y, false]]) {
      list.sort((a, b) => a[0] - b[0]);
      list.forEach(([, wire], place) => {
        const point = [node.x + (node.w * (place + 1)) / (list.length + 1), y];
        if (isOut) wire.start = point;
        else wire.end = point;
      });
    }
  });
  for (const wire of placement.wires) wire.points = pointsOf(wire.path, wire.start, wire.end);
}

/** All that is visible. */
class Placement {
  constructor([w, h], right) {
    this.w = w;
    this.h = h;
    this.right = right;
    this.nodes = [];
    this.roots = [];
    this.wires = [];
    this.rootWires = [];
    this.byItem = new Map();
  }

  add(node) {
    node.number = this.nodes.length;
    node.level = node.around ? node.around.level + 1 : 0;
    this.nodes.push(node);
    this.byItem.set(node.item, node);
    (node.around ? node.around.children : this.roots).push(node);
  }

  transpose() {
    [this.w, this.h] = [this.h, this.w];
    for (const node of this.nodes) [node.x, node.y, node.w, node.h] = [node.y, node.x, node.h, node.w];
    for (const wire of this.wires) wire.points = wire.points.map(([x, y]) => [y, x]);
  }

  /** The innermost item at a point. */
  at(x, y) {
    let [found, list] = [null, this.roots];
    while (list) {
      const inner = list.find((node) => node.x <= x && x < node.x + node.w && node.y <= y && y < node.y + node.h);
      if (!inner) return found;
      found = inner;
      list = inner.open ? inner.children : null;
    }
    return found;
  }

  /** The item, or the closed group that it is in. */
  visible(doc, item) {
    let at = item;
    while (true) {
      const node = this.byItem.get(at);
      if (node) return node;
      const group = doc.groupOfItem(at);
      if (group === 0) return null;
      at = itemOfGroup(group);
    }
  }
}
