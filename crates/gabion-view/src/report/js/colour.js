// What colours say: the kind of a box, or how much it costs. The page's colours are CSS variables; the canvas reads them
// whenever the theme changes.

const THEME_NAMES = [
  "page", "surface", "panel", "panel-2", "line", "line-strong", "text", "muted", "accent", "accent-2", "added", "changed",
  "removed", "found", "fault", "kind-input", "kind-output", "kind-weight", "kind-constant", "kind-movement", "kind-op",
  "kind-step", "kind-group", "heat-low", "heat-mid", "heat-high",
];

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(THEME_NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function channels(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** A colour between two, `share` of the way. */
function between(a, b, share) {
  const [from, to] = [channels(a), channels(b)];
  const mixed = from.map((low, at) => Math.round(low + (to[at] - low) * share));
  return `#${mixed.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/** Black or white, whichever reads better on a colour (WCAG's relative luminance). */
function inkOn(hex) {
  const [r, g, b] = channels(hex).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? "#101418" : "#ffffff";
}

/** The ways to colour by a number: what each box has of it, and how it is said. */
const MEASURES = {
  flops: { label: "Operations", of: (doc, id) => doc.flops[id], text: flopsText, adds: true },
  bytes: { label: "Bytes moved", of: (doc, id) => doc.bytes[id], text: bytesText, adds: true },
  intensity: {
    label: "Operations per byte",
    of: (doc, id) => (doc.bytes[id] > 0 ? doc.flops[id] / doc.bytes[id] : 0),
    text: (value) => `${value.toPrecision(3)} FLOP/B`,
    adds: false,
  },
};

/** The measure of this name: one of those that every page has, or the times of something that was run. */
function measureOf(doc, mode) {
  const run = doc.runs.find((it) => it.key === mode);
  if (!run) return MEASURES[mode] ?? null;
  return { label: `Time ${run.label}`, of: (_, id) => run.ns[id], text: timeText, adds: true, run };
}

/** The colours of one stage. */
class Colours {
  constructor(stage, mode, theme) {
    this.stage = stage;
    this.doc = stage.doc;
    this.mode = mode;
    this.theme = theme;
    this.measure = measureOf(this.doc, mode);
    if (this.measure) this.scale();
  }

  scale() {
    const { doc, stage, measure } = this;
    this.most = 0;
    this.least = Infinity;
    for (const id of stage.boxes) {
      const value = measure.of(doc, id);
      if (value <= 0) continue;
      this.most = Math.max(this.most, value);
      this.least = Math.min(this.least, value);
    }
    this.sums = measure.adds ? stage.sum(this.mode, (id) => measure.of(doc, id)) : null;
  }

  /** What an item has of the measure. */
  value(item) {
    const id = numberOf(item);
    if (!isGroup(item)) return this.measure.of(this.doc, id);
    if (this.sums) return this.sums[id];
    const { stage, doc } = this;
    const bytes = stage.sum("bytes", (box) => doc.bytes[box])[id];
    return bytes > 0 ? stage.sum("flops", (box) => doc.flops[box])[id] / bytes : 0;
  }

  /** The colour of a value on the scale, which is logarithmic. */
  heat(value) {
    const { theme } = this;
    if (!(value > 0)) return theme.surface;
    const span = Math.log(this.most / this.least) || 1;
    const share = Math.min(1, Math.max(0, Math.log(value / this.least) / span));
    return share < 0.5
      ? between(theme["heat-low"], theme["heat-mid"], share * 2)
      : between(theme["heat-mid"], theme["heat-high"], share * 2 - 1);
  }

  /** `[fill, border, ink, second ink]` of an item. */
  of(item) {
    const { theme } = this;
    if (this.measure) {
      const fill = this.heat(this.value(item));
      const ink = inkOn(fill);
      return [fill, between(fill, theme.text, 0.25), ink, ink];
    }
    const kind = isGroup(item) ? "group" : this.doc.kinds[this.doc.kind[numberOf(item)]];
    const strong = theme[`kind-${kind}`];
    return [between(theme.surface, strong, isGroup(item) ? 0.1 : 0.16), between(theme.surface, strong, 0.75), theme.text, theme.muted];
  }

  /** What the colours mean, as HTML elements. */
  legend() {
    if (!this.measure) {
      const kinds = new Set(Array.from(this.stage.boxes, (id) => this.doc.kind[id]));
      return [...kinds].sort((a, b) => a - b).map((kind) => {
        const word = this.doc.kinds[kind];
        const swatch = element("span", { class: "swatch", style: `background:${this.theme[`kind-${word}`]}` });
        return element("span", { class: "legend-item" }, [swatch, word]);
      });
    }
    const { theme, measure } = this;
    if (this.most === 0) return [element("span", {}, [`${measure.label}: nothing here has any`])];
    const bar = element("span", {
      class: "heat",
      style: `background:linear-gradient(90deg,${theme["heat-low"]},${theme["heat-mid"]},${theme["heat-high"]})`,
    });
    const total = this.sums ? `total ${measure.text(this.sums[0])}` : "";
    const run = measure.run?.what ?? "";
    return [
      element("span", {}, [measure.label]), element("span", {}, [measure.text(this.least)]), bar,
      element("span", {}, [measure.text(this.most)]), element("strong", {}, [total]), element("span", {}, [run]),
    ];
  }
}

/** An HTML element with attributes (functions are listeners) and children. */
function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}
