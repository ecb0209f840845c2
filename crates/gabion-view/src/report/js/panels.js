// The drawer below the picture: the text form, the ledger, the passes, the plan's steps and its stacked weights. Each panel
// is filled when it is first looked at.

class Panels {
  constructor(app) {
    this.app = app;
    this.doc = app.doc;
    this.tabs = element("div", { class: "tabs", role: "tablist", "aria-label": "Panels", keydown: (event) => this.tabKey(event) });
    this.extra = element("div", { class: "extra" });
    this.holder = element("div", { class: "panel-holder" });
    this.grip = element("div", {
      class: "grip", role: "separator", "aria-orientation": "horizontal", "aria-label": "Height of the panels", tabindex: "0",
      "aria-valuemin": "0", "aria-valuemax": "80", "aria-valuenow": "30", keydown: (event) => this.gripKey(event),
    });
    this.root = element("section", { class: "drawer", "aria-label": "Panels" }, [this.grip, element("div", { class: "bar" }, [this.tabs, this.extra]), this.holder]);
    this.panels = [];
    this.add("text", "Text", () => this.makeText());
    if (this.doc.ledger.pass.length > 0) this.add("ledger", "Ledger", () => this.makeLedger());
    if (this.doc.stages.length > 1) this.add("passes", "Passes", () => this.makePasses());
    if (this.doc.plan) {
      this.add("steps", "Steps", () => this.makeSteps());
      if (this.doc.plan.weights.length > 0) this.add("stacks", "Weights", () => this.makeStacks());
      this.add("memory", "Memory", () => new MemoryChart(this.app));
    }
    if (this.doc.faults.length > 0) this.add("faults", `Faults (${this.doc.faults.length})`, () => this.makeFaults());
    this.dragGrip();
  }

  add(name, label, make) {
    const tab = element("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, "aria-selected": "false", tabindex: "-1",
      click: () => this.show(name),
    }, [label]);
    this.panels.push({ name, tab, make, made: null });
    this.tabs.append(tab);
  }

  show(name) {
    const panel = this.panels.find((it) => it.name === name);
    if (!panel) return null;
    for (const it of this.panels) {
      it.tab.setAttribute("aria-selected", String(it === panel));
      it.tab.tabIndex = it === panel ? 0 : -1;
      if (it.body) it.body.hidden = it !== panel;
    }
    if (!panel.made) {
      panel.made = panel.make();
      panel.body = element("div", { class: "panel", role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}` }, [panel.made.root]);
      this.holder.append(panel.body);
    }
    this.current = panel;
    this.extra.replaceChildren(...(panel.made.extra ?? []));
    panel.made.update?.();
    panel.made.list?.draw();
    return panel.made;
  }

  /** The stage or the selection is another. */
  update() { this.current?.made?.update?.(); }

  tabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    const at = this.panels.indexOf(this.current) + step;
    const next = Number.isFinite(step) ? (at + this.panels.length) % this.panels.length : step < 0 ? 0 : this.panels.length - 1;
    this.show(this.panels[next].name);
    this.panels[next].tab.focus();
    event.preventDefault();
  }

  setHeight(share) {
    const height = Math.max(0, Math.min(80, share));
    document.documentElement.style.setProperty("--drawer", `${height}vh`);
    this.grip.setAttribute("aria-valuenow", Math.round(height));
    this.height = height;
  }

  gripKey(event) {
    const step = { ArrowUp: 5, ArrowDown: -5 }[event.key];
    if (step === undefined) return;
    this.setHeight((this.height ?? 30) + step);
    event.preventDefault();
  }

  dragGrip() {
    let dragging = false;
    this.grip.addEventListener("pointerdown", (event) => {
      dragging = true;
      this.grip.setPointerCapture(event.pointerId);
    });
    this.grip.addEventListener("pointermove", (event) => {
      if (dragging) this.setHeight(((window.innerHeight - event.clientY - 34) / window.innerHeight) * 100);
    });
    this.grip.addEventListener("pointerup", () => { dragging = false; });
  }

  showText(id) {
    this.show("text");
    this.textPanel.reveal(id);
  }

  showWeight(at) {
    this.show("stacks").showOne(at);
  }

  makeText() {
    this.textPanel = new TextPanel(this.app);
    return this.textPanel;
  }

  /** A grid with a filter above it. `match(at, words)` says whether a line has the words. */
  filtered(options, n, match, label) {
    const input = element("input", { type: "search", placeholder: "filter…", "aria-label": `Filter ${label}`, spellcheck: "false" });
    const count = element("span", { class: "dim", role: "status" });
    let shown = [];
    const list = grid({ ...options, cells: (at) => options.cells(shown[at]), activate: (at) => options.activate(shown[at]), attributes: (at) => options.attributes?.(shown[at]) ?? {} });
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      shown = [];
      for (let at = 0; at < n; at++) if (words.every((word) => match(at, word))) shown.push(at);
      list.set(shown.length);
      list.root.scrollTop = 0;
      count.textContent = `${countText(shown.length)} of ${countText(n)}`;
    };
    input.addEventListener("input", filter);
    filter();
    const select = (of) => list.setActive(shown.indexOf(of));
    // What the filter leaves out is brought back.
    const reveal = (of) => {
      if (!shown.includes(of)) {
        input.value = "";
        filter();
      }
      select(of);
    };
    return { root: list.root, list, extra: [input, count], select, reveal };
  }

  makeLedger() {
    const { doc, app } = this;
    const { ledger, words } = doc;
    const lower = new Map();
    const has = (number, word) => {
      if (!lower.has(number)) lower.set(number, words[number].toLowerCase());
      return lower.get(number).includes(word);
    };
    const outcome = (at) => app.ledger.outcome(at);
    const madeOf = new Map();
    const fromHas = (at, word) => ledger.from[at].some((id) => {
      if (!madeOf.has(id)) madeOf.set(id, doc.sourceWord(id).toLowerCase());
      return madeOf.get(id).includes(word);
    });
    const sources = (at) => app.ledger.sources(at);
    const panel = this.filtered({
      label: "Ledger", columns: [["pass", "minmax(110px,1fr)"], ["", "76px"], ["candidate", "minmax(140px,1.4fr)"], ["where", "minmax(120px,1.4fr)", "path"], ["why", "minmax(200px,4fr)"], ["from", "minmax(160px,3fr)"]],
      cells: (at) => [
        words[ledger.pass[at]], element("span", { class: `chip ${outcome(at)}` }, [outcome(at)]), words[ledger.candidate[at]],
        words[ledger.scope[at]] || "–", words[ledger.why[at]], sources(at),
      ],
      activate: (at) => {
        if (ledger.target[at] === 0) {
          app.setStage(ledger.stage[at], "after");
          app.announce(`${words[ledger.candidate[at]]}: it is not in the graph any more; this is the graph after ${words[ledger.pass[at]]}`);
          return;
        }
        app.jump(ledger.seen[at], ledger.target[at] - 1, { pass: ledger.stage[at] });
      },
    }, ledger.pass.length, (at, word) => has(ledger.pass[at], word) || has(ledger.candidate[at], word) || has(ledger.scope[at], word)
      || has(ledger.why[at], word) || outcome(at).startsWith(word) || fromHas(at, word), "the ledger");
    this.ledgerPanel = panel;
    return panel;
  }

  /** Goes to a line of the ledger. */
  showLedger(at) {
    this.show("ledger");
    this.ledgerPanel.reveal(at);
  }

  makePasses() {
    const { doc, app } = this;
    const list = grid({
      label: "Stages", columns: [["stage", "minmax(160px,2fr)"], ["rewrites", "90px", "num"], ["boxes", "90px", "num"], ["added", "80px", "num"], ["changed", "80px", "num"], ["removed", "80px", "num"], ["took", "90px", "num"], ["operations", "120px", "num"], ["bytes moved", "110px", "num"]],
      cells: (at) => {
        const it = doc.stages[at];
        const changed = (word, sign) => (it[word] > 0 ? element("span", { class: `count ${word}` }, [`${sign}${countText(it[word])}`]) : "");
        const isPass = it.kind === "pass";
        return [it.name, isPass ? countText(it.rewrites) : "", countText(it.boxes), changed("added", "+"), changed("changed", "~"), changed("removed", "−"), isPass ? timeText(it.time_us * 1000) : "", flopsText(it.flops), bytesText(it.bytes)];
      },
      activate: (at) => app.setStage(at),
    });
    list.set(doc.stages.length, app.stage);
    return { root: list.root, list, update: () => list.setActive(app.stage) };
  }

  makeSteps() {
    const { doc, app } = this;
    const { plan } = doc;
    const panel = this.filtered({
      label: "Steps of the plan", columns: [["step", "60px", "num"], ["kernel", "minmax(110px,1fr)"], ["writes", "minmax(120px,1.4fr)"], ["where", "minmax(160px,2fr)", "path"], ["type", "minmax(120px,1.4fr)"], ["operations", "120px", "num"], ["bytes moved", "110px", "num"], ...doc.runs.map((run) => [run.label, doc.runs.length > 1 ? "150px" : "100px", "num"])],
      cells: (at) => {
        const id = plan.steps[at];
        const cells = [String(at), doc.opWord(id), doc.nameWord(id), doc.pathWord(doc.group[id]) || "–", doc.typeWord(id), flopsText(doc.flops[id]), bytesText(doc.bytes[id])];
        return [...cells, ...doc.runs.map((run) => timeText(run.ns[id]))];
      },
      activate: (at) => app.jump(plan.stage, itemOfBox(plan.steps[at])),
    }, plan.steps.length, (at, word) => {
      const id = plan.steps[at];
      return [doc.opWord(id), doc.nameWord(id), doc.pathWord(doc.group[id]), doc.typeWord(id), String(at)].some((it) => it.toLowerCase().includes(word));
    }, "the steps");
    return panel;
  }

  makeFaults() {
    const { doc, app } = this;
    const list = grid({
      label: "Faults of the graph", columns: [["where", "minmax(160px,1fr)"], ["what is wrong", "4fr"]],
      cells: (at) => [doc.faults[at][0] === null ? "the graph" : doc.describe(itemOfBox(doc.faults[at][0])), doc.faults[at][1]],
      activate: (at) => { if (doc.faults[at][0] !== null) app.jump(0, itemOfBox(doc.faults[at][0])); },
    });
    list.set(doc.faults.length);
    return { root: list.root, list };
  }

  makeStacks() { return new WeightsPanel(this); }
}

/** The text form of the stage that is shown, each line tied to its box. */
class TextPanel {
  constructor(app) {
    this.app = app;
    this.list = new Rows({
      role: "listbox", rowRole: "option", label: "Text form", height: 20, className: "code",
      render: (at) => this.render(at),
      attributes: (at) => this.mark(at),
      activate: (at) => {
        const id = this.text.boxes[at];
        if (id >= 0) app.select(itemOfBox(id), { from: "text", center: true });
      },
    });
    this.root = this.list.root;
    this.name = element("span", { class: "dim" });
    this.extra = [this.name, element("button", { type: "button", class: "small", title: "Copy the whole text", click: () => this.copy() }, ["Copy"])];
    this.stage = -1;
  }

  async update() {
    const stage = this.app.at;
    if (this.stage !== stage) {
      this.stage = stage;
      this.name.textContent = `stage ${this.app.doc.stages[stage].name}`;
      const text = await this.app.doc.text(stage);
      if (this.stage !== stage) return;
      this.text = text;
      this.list.set(text.lines.length);
    }
    if (!this.text) return;
    const item = this.app.selectedItem(stage);
    const line = item !== null && !isGroup(item) ? this.text.lineOf.get(numberOf(item)) ?? -1 : -1;
    if (line !== this.list.active) this.list.setActive(line);
    else this.list.draw();
  }

  async reveal(id) {
    await this.update();
    const line = this.text.lineOf.get(id);
    if (line !== undefined) this.list.setActive(line);
    else this.app.announce("The text form has no line of its own for it");
  }

  mark(at) {
    const id = this.text.boxes[at];
    if (id < 0) return {};
    const change = this.app.changeWord(this.app.doc.stage(this.stage), itemOfBox(id));
    return change ? { "data-change": change } : {};
  }

  render(at) {
    const line = this.text.lines[at];
    // Nobody reads further; the whole line can be copied.
    const shown = line.length > 1500 ? `${line.slice(0, 1500)}…` : line;
    const parts = [];
    let end = 0;
    for (const found of shown.matchAll(/"(?:[^"\\]|\\.)*"|[%@][\w.]+|\b(?:f32|f64|f16|bf16|[iu](?:8|16|32|64)|bool|q\d_\d)\[[^\]]*\]/g)) {
      if (found.index > end) parts.push(shown.slice(end, found.index));
      const [word] = found;
      const kind = word[0] === "\"" ? "string" : word[0] === "%" || word[0] === "@" ? "value" : "type";
      parts.push(element("span", { class: `t-${kind}` }, [word]));
      end = found.index + word.length;
    }
    parts.push(shown.slice(end));
    return [element("span", { class: "number", "aria-hidden": "true" }, [String(at + 1)]), element("span", {}, parts)];
  }

  async copy() {
    await this.update();
    const text = `${this.text.lines.join("\n")}\n`;
    try {
      await navigator.clipboard.writeText(text);
      this.app.announce("The text is copied");
    } catch {
      // Pages from files may not use the clipboard.
      download(new Blob([text], { type: "text/plain" }), `${this.app.doc.title}.${this.app.doc.stages[this.stage].name}.txt`);
      this.app.announce("The text is saved as a file, since the clipboard is closed to this page");
    }
  }
}

function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
