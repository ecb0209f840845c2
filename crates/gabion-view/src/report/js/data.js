// What the report shows: every box of every stage, the groups that they lie in, and the words that they are called by.
// Nothing here knows of the page; coordinates and colours are elsewhere.

const BOX = 0;
const GROUP = 1;

/** Items are numbers: twice a box, or twice a group and one. */
const itemOfBox = (id) => id * 2;
const itemOfGroup = (id) => id * 2 + GROUP;
const isGroup = (item) => (item & 1) === GROUP;
const numberOf = (item) => item >>> 1;

/** Reads a chunk of the page: base64 of gzip of JSON. */
async function readChunk(name) {
  const element = document.getElementById(`chunk-${name}`);
  if (!element) throw new Error(`the report has no chunk "${name}": the file is not whole`);
  const bytes = bytesOfBase64(element.textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function bytesOfBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Where the list of each of them begins, from how many members each has. */
function startsOf(counts) {
  const starts = new Uint32Array(counts.length + 1);
  for (let at = 0; at < counts.length; at++) starts[at + 1] = starts[at] + counts[at];
  return starts;
}

/** A document. */
class Doc {
  constructor(data) {
    this.title = data.title;
    this.words = data.words;
    this.sizes = data.sizes;
    this.kinds = data.kinds;
    this.stages = data.stages;
    this.ledger = data.ledger;
    this.faults = data.faults;
    this.plan = data.plan;
    this.measured = data.runs;
    this.readBoxes(data.boxes);
    this.readGroups(data.groups);
    this.orders = data.orders.all;
    this.orderChanges = data.orders.stages;
    this.textChunks = new Map();
    this.stageCache = new Map();
    this.readTimes();
    this.faultOf = new Map();
    for (const [id, what] of this.faults) {
      if (id !== null) this.faultOf.set(id, [...(this.faultOf.get(id) ?? []), what]);
    }
  }

  readBoxes(data) {
    this.n = data.key.length;
    for (const field of ["key", "start", "end", "op", "name", "group", "loc", "attrs", "origins"]) {
      this[field] = new Uint32Array(data[field]);
    }
    this.line = new Uint32Array(data.line);
    for (let at = 1; at < this.n; at++) this.line[at] += this.line[at - 1];
    // What the document calls each key: files for other programs say it.
    this.keyNumbers = new Float64Array(data.keys);
    for (let at = 1; at < this.keyNumbers.length; at++) this.keyNumbers[at] += this.keyNumbers[at - 1];
    this.kind = new Uint8Array(data.kind);
    this.flops = new Float64Array(data.flops);
    this.bytes = new Float64Array(data.bytes);
    this.operandStart = startsOf(data.n_operands);
    this.operands = new Uint32Array(data.operands);
    this.resultsRead = new Uint32Array(data.results_read);
    this.resultStart = startsOf(data.n_results);
    this.types = new Uint32Array(data.types);
    this.typeBytes = new Float64Array(data.sizes);
    this.attrSets = data.attr_sets;
    this.originSets = data.origin_sets;
    // The boxes of a key, as a list through `nextOfKey`.
    this.nKeys = this.key.reduce((most, key) => Math.max(most, key + 1), 0);
    this.firstOfKey = new Int32Array(this.nKeys).fill(-1);
    this.nextOfKey = new Int32Array(this.n).fill(-1);
    for (let id = this.n - 1; id >= 0; id--) {
      this.nextOfKey[id] = this.firstOfKey[this.key[id]];
      this.firstOfKey[this.key[id]] = id;
    }
  }

  readGroups(data) {
    this.nGroups = data.name.length;
    this.groupName = data.name;
    this.groupPath = data.path;
    this.repeats = data.repeats;
    this.parent = new Uint32Array(data.parent);
    this.depth = new Uint32Array(this.nGroups);
    // Parents come first.
    for (let group = 1; group < this.nGroups; group++) this.depth[group] = this.depth[this.parent[group]] + 1;
  }

  readTimes() {
    this.runs = this.measured.map(({ name, what, step_ns: steps }, at) => {
      const ns = new Float64Array(this.n);
      this.plan?.steps.forEach((id, step) => { ns[id] = steps[step] ?? 0; });
      const label = this.measured.length > 1 ? `measured, ${name}` : "measured";
      return { key: at === 0 ? "time" : `time${at}`, label, what, ns };
    });
  }

  /** The box that has this key at this stage, or -1. */
  find(stage, key) {
    for (let id = this.firstOfKey[key]; id >= 0; id = this.nextOfKey[id]) {
      if (this.start[id] <= stage && stage < this.end[id]) return id;
    }
    return -1;
  }

  /** The stages at which an item is, as ranges `[first, end]`: a box with its other versions, which have its key. */
  whereIs(item) {
    const id = numberOf(item);
    const ranges = [];
    const add = (first, end) => {
      const last = ranges[ranges.length - 1];
      if (last && last[1] === first) last[1] = end;
      else ranges.push([first, end]);
    };
    if (isGroup(item)) {
      let order = 0;
      for (let stage = 0; stage < this.stages.length; stage++) {
        const changes = this.orderChanges[stage];
        for (let at = 0; at < changes.length; at += 2) if (changes[at] === id) order = changes[at + 1];
        if (order > 0) add(stage, stage + 1);
      }
      return ranges;
    }
    const versions = [];
    for (let at = this.firstOfKey[this.key[id]]; at >= 0; at = this.nextOfKey[at]) versions.push([this.start[at], this.end[at]]);
    for (const [first, end] of versions.sort((a, b) => a[0] - b[0])) add(first, end);
    return ranges;
  }

  /** The keys in the first stage that a box was made from. */
  originKeys(id) {
    return this.origins[id] === 0 ? [this.key[id]] : this.originSets[this.origins[id] - 1];
  }

  opWord(id) { return this.words[this.op[id]]; }

  nameWord(id) { return this.words[this.name[id]]; }

  /** A box's name, else its operator, and the line that made it. */
  sourceWord(id) {
    const name = this.nameWord(id) || this.opWord(id);
    return this.loc[id] > 0 ? `${name} ${this.locWord(id)}` : name;
  }

  /** The line that made a box, or nothing. */
  locWord(id) { return this.loc[id] > 0 ? `${this.words[this.loc[id] - 1]}:${this.line[id]}` : null; }

  pathWord(group) { return this.words[this.groupPath[group]]; }

  /** What a box is called where there is little room: the end of its path says most. */
  shortName(id) {
    const name = this.nameWord(id);
    const dot = name.lastIndexOf(".");
    if (dot < 0) return name;
    const last = name.slice(dot + 1);
    if (last !== "weight" && last !== "bias") return last;
    return name.slice(name.lastIndexOf(".", dot - 1) + 1);
  }

  /** The type of a box's result. */
  typeWord(id, result = 0) {
    const at = this.resultStart[id] + result;
    return at < this.resultStart[id + 1] ? this.words[this.types[at]] : "";
  }

  /** Where the types of a box's results stand among all. */
  resultsOf(id) { return Array.from({ length: this.resultStart[id + 1] - this.resultStart[id] }, (_, at) => this.resultStart[id] + at); }

  /** Attributes as pairs of words. */
  attributes(id) {
    const set = this.attrSets[this.attrs[id]];
    const pairs = [];
    for (let at = 0; at < set.length; at += 2) pairs.push([this.words[set[at]], this.words[set[at + 1]]]);
    return pairs;
  }

  /** The groups around a group, from itself to below the root. */
  ancestors(group) {
    const around = [];
    for (let at = group; at !== 0; at = this.parent[at]) around.push(at);
    return around;
  }

  groupOfItem(item) { return isGroup(item) ? this.parent[numberOf(item)] : this.group[numberOf(item)]; }

  groupLabel(group) {
    const name = this.words[this.groupName[group]];
    return this.repeats[group] > 0 ? `${name} ×${this.repeats[group]}` : name;
  }

  /** One line that says what an item is, for those who hear it. */
  describe(item) {
    const id = numberOf(item);
    if (isGroup(item)) {
      // A run of alike groups, and a part of many, have the path of the group around them.
      const [path, label] = [this.pathWord(id), this.groupLabel(id)];
      const own = path !== "" && path !== this.pathWord(this.parent[id]);
      return own ? `group ${path}` : ["group", path, label].filter(Boolean).join(" ");
    }
    const name = this.nameWord(id);
    return [this.opWord(id), name, this.typeWord(id)].filter(Boolean).join(" ");
  }

  /** The text of a stage: its lines, and the box of each (-1 for none). */
  async text(stage) {
    const chunk = this.stages[stage].text;
    if (!this.textChunks.has(chunk)) {
      this.textChunks.set(chunk, readChunk(`text-${chunk}`).then(readText));
    }
    return this.textChunks.get(chunk);
  }

  /** A stage, prepared. The last few are kept. */
  stage(number) {
    let stage = this.stageCache.get(number);
    if (!stage) {
      stage = new Stage(this, number);
      if (this.stageCache.size >= 4) this.stageCache.delete(this.stageCache.keys().next().value);
    } else {
      this.stageCache.delete(number);
    }
    this.stageCache.set(number, stage);
    return stage;
  }
}

function readText(chunk) {
  const lines = chunk.text.split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  const boxes = new Int32Array(lines.length).fill(-1);
  const lineOf = new Map();
  let last = 0;
  for (let at = 0; at < lines.length; at++) {
    const difference = chunk.boxes[at];
    if (typeof difference !== "number") continue;
    last += difference;
    boxes[at] = last;
    if (!lineOf.has(last)) lineOf.set(last, at);
  }
  return { lines, boxes, lineOf };
}

const UNITS = ["", "k", "M", "G", "T", "P"];

function scaled(value, base, units) {
  let unit = 0;
  while (value >= base && unit + 1 < units.length) {
    value /= base;
    unit += 1;
  }
  const digits = value >= 100 || unit === 0 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `1.5 MB`: thousands, as disks and wires are counted. */
const bytesText = (bytes) => `${scaled(bytes, 1000, UNITS)}B`;
/** `12.3 MFLOP`. */
const flopsText = (flops) => `${scaled(flops, 1000, UNITS)}FLOP`;
/** `12.3 µs`. */
const timeText = (ns) => scaled(ns, 1000, ["ns", "µs", "ms", "s"]);
const numberText = (x) => String(Number(x.toPrecision(4)));
const countText = (n) => n.toLocaleString("en-US");
const plural = (n, word) => `${countText(n)} ${word}${n === 1 ? "" : word.endsWith("x") ? "es" : "s"}`;
