// Drawing what is placed. One walk draws on a canvas or writes SVG: both are painters with the same three strokes. What lies
// outside the view, and what would be smaller than a dot, is not walked into.

const FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

class CanvasPainter {
  constructor(context, scale) {
    this.context = context;
    this.scale = scale;
  }

  rect(x, y, w, h, radius, { fill, stroke, width = 1, dash = null, alpha = 1 }) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.beginPath();
    // Corners nobody can see cost time.
    if (radius * this.scale < 1) context.rect(x, y, w, h);
    else context.roundRect(x, y, w, h, radius);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.setLineDash(dash ?? []);
      context.lineWidth = width;
      context.strokeStyle = stroke;
      context.stroke();
    }
  }

  curve(points, right, { stroke, width, alpha, arrow }) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.setLineDash([]);
    context.lineWidth = width;
    context.strokeStyle = stroke;
    context.beginPath();
    context.moveTo(...points[0]);
    for (let at = 1; at < points.length; at++) {
      const [x, y] = points[at];
      if (isStraight(points[at - 1], points[at], right)) context.lineTo(x, y);
      else context.bezierCurveTo(...bend(points[at - 2], points[at - 1], points[at], right), x, y);
    }
    context.stroke();
    if (arrow) {
      context.fillStyle = stroke;
      context.beginPath();
      for (const point of arrowHead(points[points.length - 1], right, width)) context.lineTo(...point);
      context.fill();
    }
  }

  text(x, y, text, { fill, size, weight = 400, align = "left", mono = false, alpha = 1, halo = null }) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.font = `${weight} ${size}px ${mono ? MONO : FONT}`;
    context.textAlign = align;
    context.textBaseline = "middle";
    if (halo) {
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.setLineDash([]);
      context.strokeStyle = halo;
      context.strokeText(text, x, y);
    }
    context.fillStyle = fill;
    context.fillText(text, x, y);
  }
}

class SvgPainter {
  constructor() {
    this.parts = [];
    this.scale = 1;
  }

  rect(x, y, w, h, radius, { fill, stroke, width = 1, dash = null, alpha = 1 }) {
    const dashes = dash ? ` stroke-dasharray="${dash.join(" ")}"` : "";
    this.parts.push(`<rect x="${fixed(x)}" y="${fixed(y)}" width="${fixed(w)}" height="${fixed(h)}" rx="${radius}" fill="${fill ?? "none"}" stroke="${stroke ?? "none"}" stroke-width="${width}"${dashes} opacity="${alpha}"/>`);
  }

  curve(points, right, { stroke, width, alpha, arrow }) {
    let d = `M${points[0].map(fixed).join(" ")}`;
    for (let at = 1; at < points.length; at++) {
      const end = points[at].map(fixed).join(" ");
      if (isStraight(points[at - 1], points[at], right)) d += `L${end}`;
      else d += `C${bend(points[at - 2], points[at - 1], points[at], right).map(fixed).join(" ")} ${end}`;
    }
    this.parts.push(`<path d="${d}" fill="none" stroke="${stroke}" stroke-width="${fixed(width)}" opacity="${alpha}"/>`);
    if (arrow) {
      const head = arrowHead(points[points.length - 1], right, width).map((point) => point.map(fixed).join(",")).join(" ");
      this.parts.push(`<polygon points="${head}" fill="${stroke}" opacity="${alpha}"/>`);
    }
  }

  text(x, y, text, { fill, size, weight = 400, align = "left", mono = false, alpha = 1, halo = null }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const stroke = halo ? ` stroke="${halo}" stroke-width="4" paint-order="stroke"` : "";
    const family = (mono ? MONO : FONT).replaceAll("'", "");
    this.parts.push(`<text x="${fixed(x)}" y="${fixed(y)}" font-family="${family}" font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" dominant-baseline="central" fill="${fill}" opacity="${alpha}"${stroke}>${escapeText(text)}</text>`);
  }

  document(x, y, w, h, page, title) {
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${[x, y, w, h].map(fixed).join(" ")}" width="${fixed(w)}" height="${fixed(h)}"><title>${escapeText(title)}</title><rect x="${fixed(x)}" y="${fixed(y)}" width="100%" height="100%" fill="${page}"/>${this.parts.join("")}</svg>`;
  }
}

const fixed = (value) => Number(value.toFixed(1));
const escapeText = (text) => text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;" })[char]);
const isStraight = (a, b, right) => (right ? a[1] === b[1] : a[0] === b[0]);

/** How far a wire swings out where it turns back. */
const SWING = 16;

/** The control points of a curve that leaves and arrives in the direction of the graph, as `place/curve.rs` gives them. */
function bend(before, from, to, right) {
  const along = right ? 0 : 1;
  let middle = (from[along] + to[along]) / 2;
  // It comes back up, and turns to what it reads.
  if (from[along] === to[along]) middle += before && before[along] > from[along] ? -SWING : SWING;
  return right ? [middle, from[1], middle, to[1]] : [from[0], middle, to[0], middle];
}

function arrowHead([x, y], right, width) {
  const size = 5 + width;
  return right
    ? [[x, y], [x - size, y - size * 0.55], [x - size, y + size * 0.55]]
    : [[x, y], [x - size * 0.55, y - size], [x + size * 0.55, y - size]];
}

const textWidths = new Map();
const ruler = document.createElement("canvas").getContext("2d");

function textWidth(text, font) {
  const key = `${font} ${text}`;
  let width = textWidths.get(key);
  if (width === undefined) {
    ruler.font = font;
    width = ruler.measureText(text).width;
    if (textWidths.size > 200_000) textWidths.clear();
    textWidths.set(key, width);
  }
  return width;
}

const OP_FONT = `600 13px ${FONT}`;
const NAME_FONT = `400 11.5px ${FONT}`;
const LABEL_FONT = `400 10px ${MONO}`;
const BADGE_FONT = `700 11px ${FONT}`;
const LONGEST = 300;
/** Wires that are longer are drawn paler: they pass much that they have nothing to do with. */
const LONG_WIRE = 900;

/** The two lines that stand in an item that is not open. */
function linesOf(stage, item) {
  const { doc } = stage;
  const id = numberOf(item);
  if (isGroup(item)) return [doc.groupLabel(id), plural(stage.counts()[id], "box")];
  return [doc.opWord(id), doc.shortName(id)];
}

function sizeOf(stage, item) {
  const [first, second] = linesOf(stage, item);
  const width = Math.max(textWidth(isGroup(item) ? `▸ ${first}` : first, OP_FONT), second ? textWidth(second, NAME_FONT) : 0);
  return [Math.max(56, Math.min(LONGEST, Math.ceil(width)) + 24), second ? 44 : 30];
}

/** The text, cut to a width with an ellipsis. */
function cut(text, font, width) {
  if (textWidth(text, font) <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(`${text.slice(0, middle)}…`, font) <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}

/** Draws a placement. `look` says how things look now, `view` what can be seen, `scale` how large a unit is. */
function paintScene(painter, placement, look, view, scale) {
  look.labels = [];
  const seen = (node) => node.x < view.right && node.x + node.w > view.left && node.y < view.bottom && node.y + node.h > view.top;
  const opened = (node) => node.open && node.w * scale > 8 && node.h * scale > 8;
  const panels = (nodes) => {
    for (const node of nodes) {
      if (!node.open || !seen(node)) continue;
      paintPanel(painter, node, look, scale);
      if (opened(node)) panels(node.children);
    }
  };
  const marked = [];
  const wires = (nodes, list) => {
    for (const wire of list) {
      if (!touches(wire, view)) continue;
      if (look.strength(wire) > 0) marked.push(wire);
      else paintWire(painter, wire, look, scale, placement.right);
    }
    for (const node of nodes) if (node.open && seen(node) && opened(node)) wires(node.children, node.wires);
  };
  const closed = (nodes) => {
    for (const node of nodes) {
      if (!seen(node)) continue;
      if (!node.open) paintItem(painter, node, look, scale);
      else if (opened(node)) closed(node.children);
    }
  };
  panels(placement.roots);
  wires(placement.roots, placement.rootWires);
  for (const wire of marked) paintWire(painter, wire, look, scale, placement.right);
  closed(placement.roots);
}

function touches(wire, view) {
  if (!wire.box) {
    const box = { left: Infinity, right: -Infinity, top: Infinity, bottom: -Infinity };
    for (const [x, y] of wire.points) {
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y);
    }
    wire.box = box;
  }
  const { box } = wire;
  return box.left < view.right + 20 && box.right > view.left - 20 && box.top < view.bottom + 20 && box.bottom > view.top - 20;
}

function paintPanel(painter, node, look, scale) {
  const { theme } = look;
  const fill = node.level % 2 === 0 ? theme.panel : theme["panel-2"];
  // A mark on each frame around what is found would be all there is to see.
  const [stroke, width] = look.panelOutline(node.item) ?? [theme["line-strong"], 1];
  painter.rect(node.x, node.y, node.w, node.h, 10, { fill, stroke, width: Math.max(width, 1 / scale), alpha: look.alpha(node.item) });
  if (scale * 13 < 5) return;
  const label = cut(look.stage.doc.groupLabel(numberOf(node.item)), OP_FONT, Math.max(20, node.w - 40));
  painter.text(node.x + 12, node.y + 14, `▾ ${label}`, { fill: theme.text, size: 13, weight: 600, alpha: look.alpha(node.item) });
  paintBadge(painter, node, look);
}

function paintItem(painter, node, look, scale) {
  const { theme } = look;
  const { item } = node;
  const alpha = look.alpha(item);
  const [fill, border, ink, second] = look.colours.of(item);
  const group = isGroup(item);
  if (group && look.stage.doc.repeats[numberOf(item)] > 0 && scale > 0.3) {
    for (const shift of [6, 3]) painter.rect(node.x + shift, node.y + shift, node.w, node.h, 8, { fill, stroke: border, alpha: alpha * 0.8 });
  }
  const change = look.changeOf(item);
  const [stroke, width, dash] = look.outline(item) ?? [border, 1];
  const body = change ? between(fill, theme[change], 0.28) : fill;
  painter.rect(node.x, node.y, node.w, node.h, group ? 8 : 5, { fill: body, stroke, width: Math.max(width, 0.8 / scale), dash, alpha });
  if (scale * 13 < 5) return;
  const [first, name] = linesOf(look.stage, item);
  const room = node.w - 20;
  const middle = node.y + node.h / 2;
  painter.text(node.x + 10, name ? middle - 8.5 : middle, cut(group ? `▸ ${first}` : first, OP_FONT, room), { fill: ink, size: 13, weight: 600, alpha });
  if (name) painter.text(node.x + 10, middle + 9, cut(name, NAME_FONT, room), { fill: second, size: 11.5, alpha });
  if (group) paintBadge(painter, node, look);
  if (look.isFaulty(item)) painter.text(node.x + node.w - 6, node.y + 2, "⚠", { fill: theme.fault, size: 16, weight: 700, align: "right" });
}

/** How many boxes of a group were added, changed and removed: a label on its upper edge. */
function paintBadge(painter, node, look) {
  const { theme } = look;
  const parts = [];
  let width = 10;
  for (const [word, sign] of [["added", "+"], ["changed", "~"], ["removed", "−"]]) {
    const n = look.changesIn(node.item, word);
    if (n === 0) continue;
    const text = `${sign}${countText(n)}`;
    parts.push([text, theme[word], width - 3]);
    width += textWidth(text, BADGE_FONT) + 6;
  }
  if (parts.length === 0) return;
  const x = node.x + node.w - width + 6;
  painter.rect(x, node.y - 9, width, 18, 9, { fill: theme.surface, stroke: theme["line-strong"] });
  for (const [text, fill, at] of parts) painter.text(x + at, node.y + 0.5, text, { fill, size: 11, weight: 700 });
}

/** Wires are as wide as their bytes have digits. */
function paintWire(painter, wire, look, scale, right) {
  const { theme } = look;
  const strength = look.strength(wire);
  const stroke = strength === 2 ? theme["accent-2"] : strength === 1 ? theme.accent : theme["line-strong"];
  const base = 0.8 + Math.log10(wire.bytes + 1) * 0.28;
  const width = Math.max(strength > 0 ? base + 1 : base, 0.6 / scale);
  const pale = Math.max(wire.box.right - wire.box.left, wire.box.bottom - wire.box.top) > LONG_WIRE ? 0.5 : 0.85;
  const alpha = strength > 0 ? 1 : pale * Math.min(look.alpha(wire.from.item), look.alpha(wire.to.item));
  painter.curve(wire.points, right, { stroke, width, alpha, arrow: scale > 0.35 });
  if (!look.showTypes || (scale < 0.75 && strength === 0) || scale < 0.4) return;
  const [a, b] = [wire.points[wire.points.length - 2], wire.points[wire.points.length - 1]];
  const label = wire.values > 1 ? `${wire.values} values, ${bytesText(wire.bytes)}` : wire.type;
  // Near its end, where it stands alone: long wires have much beside them.
  const share = Math.min(0.5, 22 / (Math.hypot(a[0] - b[0], a[1] - b[1]) || 1));
  const [x, y] = [b[0] + (a[0] - b[0]) * share, b[1] + (a[1] - b[1]) * share];
  if (!isRoom(look.labels, x, y, textWidth(label, LABEL_FONT) / 2 + 4, 7)) return;
  painter.text(x, y, label, { fill: strength > 0 ? stroke : theme.muted, size: 10, align: "center", mono: true, alpha, halo: theme.page });
}

/** Whether a label has room beside those that are drawn already; if so it is noted. */
function isRoom(labels, x, y, halfWidth, halfHeight) {
  if (labels.length > 400) return false;
  for (const [ox, oy, ow, oh] of labels) {
    if (Math.abs(ox - x) < ow + halfWidth && Math.abs(oy - y) < oh + halfHeight) return false;
  }
  labels.push([x, y, halfWidth, halfHeight]);
  return true;
}
