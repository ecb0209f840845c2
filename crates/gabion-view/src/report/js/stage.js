// One stage of a document: who reads whom, what the stage changed, and sums over groups. Made when a stage is first shown;
// every table is one walk over the boxes.

const SAME = 0;
const ADDED = 1;
const CHANGED = 2;
const REMOVED = 3;

class Stage {
  constructor(doc, number) {
    this.doc = doc;
    this.number = number;
    this.info = doc.stages[number];
    const boxes = [];
    for (let id = 0; id < doc.n; id++) {
      if (doc.start[id] <= number && number < doc.end[id]) boxes.push(id);
    }
    this.boxes = new Uint32Array(boxes);
    this.readOrders();
    this.collectWires();
    this.sums = new Map();
  }

  /** The number of each group's order, and one; 0 where the group is empty. */
  readOrders() {
    const { doc, number } = this;
    this.orderOf = new Uint32Array(doc.nGroups);
    for (let stage = 0; stage <= number; stage++) {
      const changes = doc.orderChanges[stage];
      for (let at = 0; at < changes.length; at += 2) this.orderOf[changes[at]] = changes[at + 1];
    }
  }

  /** The order of a group's children: `[children, edges, ranks]`, or null. */
  order(group) {
    const number = this.orderOf[group];
    return number === 0 ? null : this.doc.orders[number - 1];
  }

  collectWires() {
    const { doc } = this;
    const from = [];
    const to = [];
    const result = [];
    for (const id of this.boxes) {
      for (let at = doc.operandStart[id]; at < doc.operandStart[id + 1]; at++) {
        const maker = doc.find(this.number, doc.operands[at]);
        if (maker < 0) continue;
        from.push(maker);
        to.push(id);
        result.push(doc.resultsRead[at]);
      }
    }
    this.from = new Uint32Array(from);
    this.to = new Uint32Array(to);
    this.result = new Uint32Array(result);
  }

  /** The boxes that a box reads, as `[box, result]`, in order. */
  operandsOf(id) {
    const { doc } = this;
    const list = [];
    for (let at = doc.operandStart[id]; at < doc.operandStart[id + 1]; at++) {
      const maker = doc.find(this.number, doc.operands[at]);
      if (maker >= 0) list.push([maker, doc.resultsRead[at]]);
    }
    return list;
  }

  /** The boxes that read a box, each once. */
  usersOf(id) {
    if (!this.userStart) this.collectUsers();
    return new Set(this.users.subarray(this.userStart[id], this.userStart[id + 1]));
  }

  collectUsers() {
    const counts = new Uint32Array(this.doc.n);
    for (const maker of this.from) counts[maker] += 1;
    this.userStart = startsOf(counts);
    this.users = new Uint32Array(this.from.length);
    const next = this.userStart.slice();
    for (let at = 0; at < this.from.length; at++) this.users[next[this.from[at]]++] = this.to[at];
  }

  /** What this stage did to one of its boxes, compared with the stage before. */
  change(id) {
    const { doc, number } = this;
    if (doc.start[id] !== number || number === 0 || this.info.kind !== "pass") return SAME;
    return doc.find(number - 1, doc.key[id]) >= 0 ? CHANGED : ADDED;
  }

  /** What the next stage does to a box of this one. */
  nextChange(id) {
    const { doc } = this;
    const next = this.number + 1;
    if (doc.end[id] !== next || doc.stages[next]?.kind !== "pass") return SAME;
    return doc.find(next, doc.key[id]) >= 0 ? CHANGED : REMOVED;
  }

  /** A number for each group: the sum over the boxes inside of what `of` gives. `name` says which sum it is. */
  sum(name, of) {
    let sums = this.sums.get(name);
    if (!sums) {
      sums = this.total(of);
      this.sums.set(name, sums);
    }
    return sums;
  }

  /** The same, for what is asked once. */
  total(of) {
    const sums = new Float64Array(this.doc.nGroups);
    for (const id of this.boxes) sums[this.doc.group[id]] += of(id);
    for (let group = this.doc.nGroups - 1; group > 0; group--) sums[this.doc.parent[group]] += sums[group];
    return sums;
  }

  /** How many boxes each group holds. */
  counts() { return this.sum("boxes", () => 1); }

  /** For each group, how many boxes changed in this way; `before` looks at what the next stage does. */
  changes(kind, before) {
    return this.sum(`${before ? "next " : ""}change ${kind}`, (id) => Number((before ? this.nextChange(id) : this.change(id)) === kind));
  }

  /** The boxes in the order in which a reader meets them. */
  reading() {
    if (this.inOrder) return this.inOrder;
    const inOrder = [];
    const stack = [itemOfGroup(0)];
    while (stack.length > 0) {
      const item = stack.pop();
      if (!isGroup(item)) {
        inOrder.push(numberOf(item));
        continue;
      }
      const children = this.order(numberOf(item))?.[0] ?? [];
      for (let at = children.length - 1; at >= 0; at--) stack.push(children[at]);
    }
    this.inOrder = new Uint32Array(inOrder);
    return this.inOrder;
  }

  /** Everything that a box depends on (`up`), or that depends on it, with itself. */
  cone(start, up) {
    const seen = new Set(start);
    const stack = [...start];
    while (stack.length > 0) {
      const id = stack.pop();
      const next = up ? this.operandsOf(id).map(([maker]) => maker) : this.usersOf(id);
      for (const other of next) {
        if (!seen.has(other)) {
          seen.add(other);
          stack.push(other);
        }
      }
    }
    return seen;
  }

  /** The boxes inside a group, at any depth. */
  boxesIn(group) {
    const boxes = [];
    for (const id of this.boxes) {
      for (let at = this.doc.group[id]; ; at = this.doc.parent[at]) {
        if (at === group) {
          boxes.push(id);
          break;
        }
        if (at === 0) break;
      }
    }
    return boxes;
  }

  /** Boxes of this stage that share an origin with a box of another. */
  counterparts(id) {
    if (!this.byOrigin) {
      this.byOrigin = new Map();
      for (const box of this.boxes) {
        for (const key of this.doc.originKeys(box)) {
          const known = this.byOrigin.get(key);
          if (known) known.push(box);
          else this.byOrigin.set(key, [box]);
        }
      }
    }
    const found = new Set();
    for (const key of this.doc.originKeys(id)) {
      for (const box of this.byOrigin.get(key) ?? []) found.add(box);
    }
    return [...found].sort((a, b) => a - b);
  }
}
