// Where everything lies while some groups are open, and the wires between what is visible, as `place.rs` and
// `place/routes.rs` do it. The order of a group's children comes with the data; only sizes are decided here.

const RANK_GAP = 40;
const PADDING = 16;
/** The line of an open group's name. */
const HEADER = 26;

/** Lays out stages; remembers groups in which nothing was opened, closed or hidden. */
class Layout {
  /** `measure` gives the size of an item that is not open. */
  constructor(stage, hidden, measure) {
    this.stage = stage;
    this.doc = stage.doc;
    this.hidden = hidden;
    this.measure = measure;
    this.orders = new Map();
    this.known = new Map();
    const hides = [...hidden].length > 0;
    this.shown = hides ? stage.sum(`shown but ${[...hidden].sort()}`, (id) => Number(!hidden.has(this.doc.kind[id]))) : stage.counts();
  }

  isShown(item) {
    return isGroup(item) ? this.shown[numberOf(item)] > 0 : !this.hidden.has(this.doc.kind[numberOf(item)]);
  }

  /** The children of a group that are shown, in the order of the text. */
  children(group) {
    return (this.stage.order(group)?.[0] ?? []).filter((item) => this.isShown(item));
  }

  /** A group's order without what is hidden. */
  order(group) {
    let order = this.orders.get(group);
    if (order) return order;
    const [children, flat, cells] = this.stage.order(group) ?? [[], [], []];
    const keep = children.map((item) => this.isShown(item));
    const edges = [];
    for (let at = 0; at < flat.length; at += 2) edges.push([flat[at], flat[at + 1]]);
    const ranks = [];
    for (let at = 0; at < cells.length; at += cells[at] + 1) {
      const rank = cells.slice(at + 1, at + 1 + cells[at]).filter((cell) => {
        if (!(cell & 1)) return keep[cell >>> 1];
        const [from, to] = edges[cell >>> 1];
        return keep[from] && keep[to];
      });
      // A rank of lanes alone is no rank.
      if (rank.some((cell) => !(cell & 1))) ranks.push(rank);
    }
    const numbers = new Map(children.map((item, at) => [item, at]));
    const edgeOf = new Map(edges.map(([from, to], at) => [from * children.length + to, at]));
    order = { children, keep, edges, ranks, numbers, edgeOf };
    this.orders.set(group, order);
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
    const lanes = order.edges.map(() => null);
    let y = top;
    let edge = left;
    order.ranks.forEach((cells, rank) => {
      let tallest = 0;
      for (const cell of cells) if (!(cell & 1)) tallest = Math.max(tallest, size[cell >>> 1][1]);
      cells.forEach((cell, slot) => {
        const x = left + columns[rank][slot];
        if (cell & 1) {
          edge = Math.max(edge, x + LANE / 2);
          lanes[cell >>> 1] = [...(lanes[cell >>> 1] ?? []), [x, y], [x, y + tallest]];
        } else {
          const [w, h] = size[cell >>> 1];
          rects[cell >>> 1] = [x - w / 2, y + (tallest - h) / 2, w, h];
          edge = Math.max(edge, x + w / 2);
        }
      });
      y += tallest + RANK_GAP;
    });
    const bottom = order.ranks.length > 0 ? y - RANK_GAP : y;
    return { group, order, nested, right, rects, lanes, size: [edge + PADDING, bottom + PADDING] };
  }

  /** Everything that is visible. */
  place(open, right) {
    const inside = this.inside(0, open, right);
    const placement = new Placement(inside.size, right);
    const lanes = new Map();
    this.spread(inside, null, 0, 0, placement, lanes);
    this.connect(open, lanes, placement);
    if (right) placement.transpose();
    return placement;
  }

  spread(inside, around, x, y, placement, lanes) {
    lanes.set(inside.group, { inside, x, y });
    inside.order.children.forEach((item, at) => {
      const rect = inside.rects[at];
      if (!rect) return;
      const node = {
        item, x: rect[0] + x, y: rect[1] + y, w: rect[2], h: rect[3],
        open: inside.nested[at] !== null, around, children: [], wires: [],
      };
      placement.add(node);
      if (node.open) this.spread(inside.nested[at], node, node.x, node.y, placement, lanes);
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
  connect(open, lanes, placement) {
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
      if (this.hidden.has(doc.kind[maker]) || this.hidden.has(doc.kind[reader])) continue;
      const [from, to] = [shown(maker), shown(reader)];
      if (!from || !to) continue;
      const pair = from.number * placement.nodes.length + to.number;
      let wire = merged.get(pair);
      if (!wire) {
        wire = { from, to, values: 0, bytes: 0, largest: -1, type: "", points: null };
        merged.set(pair, wire);
        placement.wires.push(wire);
      }
      // A value that several boxes inside use is carried once.
      const seen = `${pair}:${maker}:${stage.result[at]}`;
      if (counted.has(seen)) continue;
      counted.add(seen);
      addValue(doc, wire, maker, stage.result[at]);
    }
    for (const wire of placement.wires) route(wire, lanes, placement);
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

/** The lanes of a wire are those of the children of the lowest group around both its ends. */
function route(wire, lanes, placement) {
  let [a, b] = [wire.from, wire.to];
  while (a.around !== b.around) {
    if (a.level >= b.level) a = a.around;
    else b = b.around;
  }
  const around = a.around;
  (around ? around.wires : placement.rootWires).push(wire);
  const { inside, x, y } = lanes.get(around ? numberOf(around.item) : 0);
  const { order } = inside;
  const edge = order.edgeOf.get(order.numbers.get(a.item) * order.children.length + order.numbers.get(b.item));
  const middle = edge === undefined ? null : inside.lanes[edge];
  wire.points = (middle ?? []).map(([px, py]) => [px + x, py + y]);
}

/** Begins and ends the wires at their items, spread along the sides in the order of where they come from and go to. */
function attach(placement) {
  const out = placement.nodes.map(() => []);
  const into = placement.nodes.map(() => []);
  for (const wire of placement.wires) {
    const first = wire.points[0]?.[0] ?? wire.to.x + wire.to.w / 2;
    const last = wire.points[wire.points.length - 1]?.[0] ?? wire.from.x + wire.from.w / 2;
    out[wire.from.number].push([first, wire]);
    into[wire.to.number].push([last, wire]);
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
  for (const wire of placement.wires) wire.points = [wire.start, ...wire.points, wire.end];
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
