// Which lines of the ledger speak of a box: found by what the candidate of a line was made from, never by words.

/** More values than these are counted. */
const MOST_SOURCES = 6;

class Ledger {
  constructor(doc) {
    this.doc = doc;
    this.lines = doc.ledger;
  }

  /** The lines whose candidate was made from a key of the first stage. */
  ofKey(key) {
    if (!this.byKey) {
      this.byKey = new Map();
      this.lines.from.forEach((boxes, at) => {
        for (const id of boxes) {
          const known = this.byKey.get(this.doc.key[id]);
          if (known) known.push(at);
          else this.byKey.set(this.doc.key[id], [at]);
        }
      });
    }
    return this.byKey.get(key) ?? [];
  }

  /** The lines about a box, in the order of the ledger. What is stored is spoken of where it is read. */
  about(id) {
    const { doc } = this;
    const keys = new Set(doc.originKeys(id));
    if (doc.kinds[doc.kind[id]] === "weight") for (const key of this.readers(keys)) keys.add(key);
    const found = new Set();
    for (const key of keys) for (const at of this.ofKey(key)) found.add(at);
    return [...found].sort((a, b) => a - b);
  }

  /** Whether a box of the first stage depends on no input. */
  floats(id) {
    const { doc } = this;
    if (!this.floating) {
      const first = doc.stage(0);
      this.floating = new Uint8Array(doc.n);
      // Operands stand before their users.
      for (const at of first.boxes) {
        const free = doc.kinds[doc.kind[at]] !== "input" && first.operandsOf(at).every(([maker]) => this.floating[maker] === 1);
        this.floating[at] = free ? 1 : 0;
      }
    }
    return this.floating[id] === 1;
  }

  /** The keys of what reads values of the first stage, through all that depends on no input. */
  readers(keys) {
    const { doc } = this;
    const first = doc.stage(0);
    const stack = [...keys].map((key) => doc.find(0, key)).filter((id) => id >= 0);
    const found = new Set();
    while (stack.length > 0) {
      for (const user of first.usersOf(stack.pop())) {
        if (found.has(doc.key[user])) continue;
        found.add(doc.key[user]);
        if (this.floats(user)) stack.push(user);
      }
    }
    return found;
  }

  outcome(at) { return this.lines.fired[at] === 1 ? "fired" : "refused"; }

  /** The values of the graph as it was built that a line names, with the lines that made them. */
  sources(at) {
    const from = this.lines.from[at].slice(0, MOST_SOURCES).map((id) => this.doc.sourceWord(id));
    const more = this.lines.from[at].length - from.length;
    return [...from, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
  }
}
