// The arena over the steps of the plan: every buffer is a rectangle from the step that first writes it to the last that
// reads it, at its offset. Beside it the buffers, largest first.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, children = []) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const PLACES = ["input", "arena", "constant"];

class MemoryChart {
  constructor(app) {
    this.app = app;
    this.doc = app.doc;
    const { buffers, steps, arena } = this.doc.plan;
    this.buffers = buffers;
    this.nSteps = Math.max(1, steps.length);
    this.arena = Math.max(1, arena);
    this.inArena = [];
    buffers.place.forEach((place, at) => { if (place === 1) this.inArena.push(at); });
    this.peak = this.livePeak();
    this.chart = svg("svg", { class: "memory", role: "img", preserveAspectRatio: "none" });
    this.holder = element("div", { class: "chart" }, [this.chart]);
    this.makeList();
    this.root = element("div", { class: "split" }, [this.holder, this.list.root]);
    const total = (place) => buffers.bytes.reduce((sum, bytes, at) => sum + (buffers.place[at] === place ? bytes : 0), 0);
    const words = `arena ${bytesText(arena)} for ${plural(this.inArena.length, "buffer")} of ${bytesText(total(1))} · at most ${bytesText(this.peak.bytes)} live, at step ${this.peak.step} · inputs and caches ${bytesText(total(0))} · constants ${bytesText(total(2))}`;
    this.chart.setAttribute("aria-label", `Memory over steps: ${words}`);
    this.extra = [element("span", { class: "dim" }, [words])];
    this.draw();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.holder);
  }

  /** The most bytes that are live at one step. */
  livePeak() {
    const change = new Float64Array(this.nSteps + 2);
    for (const at of this.inArena) {
      change[this.buffers.first[at]] += this.buffers.bytes[at];
      change[Math.min(this.buffers.last[at], this.nSteps) + 1] -= this.buffers.bytes[at];
    }
    let [live, bytes, step] = [0, 0, 0];
    this.live = new Float64Array(this.nSteps + 1);
    for (let at = 0; at <= this.nSteps; at++) {
      live += change[at];
      this.live[at] = live;
      if (live > bytes) [bytes, step] = [live, at];
    }
    return { bytes, step };
  }

  makeList() {
    const { buffers, doc } = this;
    this.order = buffers.bytes.map((_, at) => at).sort((a, b) => buffers.bytes[b] - buffers.bytes[a] || a - b);
    this.list = grid({
      label: "Buffers, largest first", columns: [["buffer", "minmax(90px,1.4fr)"], ["elements", "minmax(110px,1.6fr)"], ["bytes", "80px", "num"], ["place", "76px"], ["offset", "90px", "num"], ["steps", "90px", "num"]],
      cells: (row) => {
        const at = this.order[row];
        const arena = buffers.place[at] === 1;
        return [
          doc.words[buffers.name[at]], doc.words[buffers.ty[at]], bytesText(buffers.bytes[at]), PLACES[buffers.place[at]],
          arena ? countText(buffers.offset[at]) : "–", arena ? `${buffers.first[at]}–${buffers.last[at]}` : "all",
        ];
      },
      move: (row) => this.mark(this.order[row]),
      activate: (row) => this.go(this.order[row]),
    });
    this.list.set(this.order.length);
  }

  /** To the step that writes a buffer. */
  go(at) {
    const { plan } = this.doc;
    this.mark(at);
    const id = plan.steps[this.buffers.first[at]];
    if (this.buffers.place[at] === 1 && id !== undefined) this.app.jump(plan.stage, itemOfBox(id));
  }

  x(step) { return this.left + (step / (this.nSteps + 1)) * (this.width - this.left - 8); }

  y(bytes) { return 8 + (bytes / this.arena) * (this.height - 30); }

  rect(at) {
    const { buffers } = this;
    const [x0, x1] = [this.x(buffers.first[at]), this.x(Math.min(buffers.last[at], this.nSteps) + 1)];
    const [y0, y1] = [this.y(buffers.offset[at]), this.y(buffers.offset[at] + buffers.bytes[at])];
    return [x0, y0, Math.max(0.5, x1 - x0), Math.max(0.5, y1 - y0)];
  }

  draw() {
    this.width = Math.max(240, this.holder.clientWidth);
    this.height = Math.max(90, this.holder.clientHeight);
    this.left = 64;
    this.chart.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    const paths = new Map();
    for (const at of this.inArena) {
      const [x, y, w, h] = this.rect(at);
      const shade = at % 3;
      paths.set(shade, `${paths.get(shade) ?? ""}M${x.toFixed(1)} ${y.toFixed(1)}h${w.toFixed(1)}v${h.toFixed(1)}h${(-w).toFixed(1)}z`);
    }
    const parts = this.axes();
    for (const [shade, d] of [...paths].sort()) parts.push(svg("path", { d, class: `buffer shade-${shade}${this.inArena.length > 3000 ? " many" : ""}` }));
    let line = "";
    const every = Math.max(1, Math.floor(this.nSteps / 2000));
    for (let at = 0; at <= this.nSteps; at += every) {
      const live = this.live.subarray(at, at + every).reduce((most, bytes) => Math.max(most, bytes), 0);
      line += `${line ? "L" : "M"}${this.x(at).toFixed(1)} ${this.y(live).toFixed(1)}H${this.x(at + every).toFixed(1)}`;
    }
    parts.push(svg("path", { d: line, class: "live" }, [svg("title", {}, ["bytes that are live"])]));
    this.step = svg("line", { class: "step", y1: 8, y2: this.height - 22 });
    this.marked = svg("rect", { class: "marked" });
    this.chart.replaceChildren(...parts, this.step, this.marked);
    if (this.markedAt !== undefined) this.mark(this.markedAt);
    this.update();
  }

  axes() {
    const parts = [];
    const label = (x, y, text, anchor) => parts.push(svg("text", { x, y, "text-anchor": anchor }, [text]));
    for (let tick = 0; tick <= 4; tick++) {
      const bytes = (this.arena * tick) / 4;
      const y = this.y(bytes);
      parts.push(svg("line", { class: "tick", x1: this.left, x2: this.width - 8, y1: y, y2: y }));
      label(this.left - 6, y + 4, bytesText(bytes), "end");
      const step = Math.round((this.nSteps * tick) / 4);
      label(this.x(step), this.height - 6, tick === 0 ? "step 0" : countText(step), tick === 4 ? "end" : "start");
    }
    return parts;
  }

  mark(at) {
    this.markedAt = at;
    if (this.buffers.place[at] !== 1) {
      this.marked.setAttribute("width", 0);
      return;
    }
    const [x, y, w, h] = this.rect(at);
    for (const [name, value] of Object.entries({ x, y, width: w, height: h })) this.marked.setAttribute(name, value);
  }

  /** The step that is selected. */
  update() {
    const { plan } = this.doc;
    const item = this.app.selectedItem(plan.stage);
    const step = item === null || isGroup(item) ? -1 : plan.steps.indexOf(numberOf(item));
    this.step.style.display = step < 0 ? "none" : "";
    if (step >= 0) {
      const x = this.x(step + 0.5);
      this.step.setAttribute("x1", x);
      this.step.setAttribute("x2", x);
    }
  }

  at(event) {
    const box = this.chart.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    return this.inArena.find((at) => {
      const [x, y, w, h] = this.rect(at);
      return px >= x && px < x + w && py >= y && py < y + h;
    });
  }

  listen() {
    const { app, buffers, doc } = this;
    this.chart.addEventListener("pointermove", (event) => {
      const at = this.at(event);
      if (at === undefined) {
        app.tip.hide();
        return;
      }
      app.tip.show(event, [
        `${doc.words[buffers.name[at]]}  ${doc.words[buffers.ty[at]]}`,
        `${bytesText(buffers.bytes[at])} at ${countText(buffers.offset[at])}, steps ${buffers.first[at]} to ${buffers.last[at]}`,
      ]);
    });
    this.chart.addEventListener("pointerleave", () => app.tip.hide());
    this.chart.addEventListener("click", (event) => {
      const at = this.at(event);
      if (at === undefined) return;
      this.list.setActive(this.order.indexOf(at));
      this.go(at);
    });
  }
}
