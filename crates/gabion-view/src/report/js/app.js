// What the reader has chosen: the stage, what is open, what is selected and found. Every change goes through here, so the
// tree, the picture, the details and the panels always say the same.

class App extends Focus {
  constructor(doc) {
    super();
    this.doc = doc;
    this.camera = new Camera();
    this.theme = readTheme();
    this.search = new Search(doc);
    this.ledger = new Ledger(doc);
    this.stage = 0;
    this.mode = "after";
    this.open = new Set();
    this.hidden = new Set();
    this.selected = null;
    this.colour = "kind";
    this.right = false;
    this.showTypes = true;
    this.cone = null;
    this.isolated = false;
    this.bookmarks = [];
    this.found = null;
    this.searches = 0;
    this.trail = [];
    this.trailAt = -1;
    this.layouts = new Map();
    this.colours = new Map();
  }

  /** The parts of the page, once they are there. */
  attach(parts) { Object.assign(this, parts); }

  // ---- stages

  /** The stage that the tree, the details and the text show. */
  get at() { return this.mode === "before" ? Math.max(0, this.stage - 1) : this.stage; }

  /** The stages of the panes that are shown, and whether each looks forward. */
  shownStages() {
    if (this.stage === 0 || this.mode === "after") return [[this.stage, false]];
    const isPass = this.doc.stages[this.stage].kind === "pass";
    return this.mode === "before" ? [[this.stage - 1, isPass]] : [[this.stage - 1, isPass], [this.stage, false]];
  }

  get pane() { return this.panes[this.mode === "both" && this.stage > 0 ? 1 : 0]; }

  setStage(stage, mode = this.mode) {
    const next = Math.max(0, Math.min(this.doc.stages.length - 1, stage));
    const wanted = next === 0 && mode === "before" ? "after" : mode;
    if (next === this.stage && wanted === this.mode) return;
    const panes = this.shownStages().length;
    this.keepPlace(() => {
      [this.stage, this.mode] = [next, wanted];
      this.forgetCone();
      if (this.found) this.find(this.found.question, false, true);
      this.refresh();
    });
    if (panes !== this.shownStages().length) this.panesChanged();
    const info = this.doc.stages[this.at];
    this.announce(`${info.name}: ${plural(info.boxes, "box")}`);
    this.remember();
  }

  /** There is half the room, or twice: what is selected, or all, is brought into view again. */
  panesChanged() {
    for (const pane of this.panes) if (!pane.root.hidden) pane.resize();
    const item = this.selectedItem(this.at);
    const node = item === null ? null : this.pane.placement.visible(this.doc, item);
    if (node) this.pane.keepInView(node);
    else this.pane.fit();
  }

  setMode(mode) { this.setStage(this.stage, mode); }

  // ---- layout and drawing

  layout(number) {
    const only = this.isolated ? this.coneAt(this.doc.stage(number)).boxes : null;
    const key = `${number} ${[...this.hidden].sort()} ${only ? this.cone.number : ""}`;
    let layout = this.layouts.get(key);
    if (!layout) {
      const stage = this.doc.stage(number);
      layout = new Layout(stage, this.hidden, (item) => sizeOf(stage, item), only);
      if (this.layouts.size >= 4) this.layouts.delete(this.layouts.keys().next().value);
      this.layouts.set(key, layout);
    }
    return layout;
  }

  coloursOf(stage) {
    const key = `${stage.number} ${this.colour}`;
    if (!this.colours.has(key)) {
      if (this.colours.size > 8) this.colours.clear();
      this.colours.set(key, new Colours(stage, this.colour, this.theme));
    }
    return this.colours.get(key);
  }

  /** Places and draws everything anew. */
  refresh() {
    const shown = this.shownStages();
    this.panes.forEach((pane, at) => {
      pane.root.hidden = at >= shown.length;
      if (at < shown.length) {
        const [number] = shown[at];
        Object.assign(pane, { number, placement: this.layout(number).place(this.open, this.right) });
      }
    });
    this.tree.show(this.doc.stage(this.at), this.layout(this.at), this.open);
    this.slider.update();
    this.paint();
  }

  /** Draws what is placed as it looks now. */
  paint() {
    const shown = this.shownStages();
    this.align();
    shown.forEach(([number, before], at) => {
      const pane = this.panes[at];
      const look = new Look(this, this.doc.stage(number), before);
      look.setVisible(pane.placement);
      const name = this.doc.stages[number].name;
      const pass = this.doc.stages[this.stage].name;
      pane.show(look.stage, pane.placement, look, shown.length > 1 || before ? (before || at === 0 ? `before ${pass}` : `after ${pass}`) : name);
    });
    this.legend.replaceChildren(...this.coloursOf(this.doc.stage(this.at)).legend());
    this.tree.select(this.selectedItem(this.at));
    this.showDetails();
    this.panels.update();
  }

  /** Of what is selected, at the stage that the tree shows or else in the other pane. */
  showDetails() {
    const numbers = [this.at, ...this.shownStages().map(([number]) => number)];
    const number = numbers.find((it) => this.selectedItem(it) !== null) ?? this.at;
    this.details.show(this.doc.stage(number), this.selectedItem(number));
  }

  resized() {
    if (!this.fitted && this.pane?.width && this.pane.placement) {
      this.fitted = true;
      this.pane.fit();
    }
  }

  /** The middle of what is selected as it is seen in a pane, or of what is made of the same there. */
  anchor(pane) {
    if (this.selected === null || !pane?.placement) return null;
    const item = this.selectedItem(pane.number);
    const twins = () => (isGroup(this.selected) ? [] : this.doc.stage(pane.number).counterparts(numberOf(this.selected)).map(itemOfBox));
    const nodes = (item === null ? twins() : [item]).map((it) => pane.placement.visible(this.doc, it)).filter((it) => it !== null);
    if (nodes.length === 0) return null;
    const mean = (of) => nodes.reduce((sum, it) => sum + of(it), 0) / nodes.length;
    return { x: mean((it) => it.x + it.w / 2), y: mean((it) => it.y + it.h / 2) };
  }

  /** Shifts the pane before a pass so that what is selected, or what it became, is seen where it is after it. */
  align() {
    const [before, after] = this.panes;
    before.shift = [0, 0];
    if (this.pane !== after) return;
    const [a, b] = [this.anchor(after), this.anchor(before)];
    if (a && b) before.shift = [a.x - b.x, a.y - b.y];
    else if (this.right) before.shift = [0, (after.placement.h - before.placement.h) / 2];
    else before.shift = [(after.placement.w - before.placement.w) / 2, 0];
  }

  /** Does something that places things anew, and keeps what the reader looks at (a group, or what is selected) where it is. */
  keepPlace(act, item = null) {
    const find = () => (item === null ? this.anchor(this.pane) : this.pane?.placement?.visible(this.doc, item) ?? null);
    const before = find();
    const size = [this.pane?.placement?.w, this.pane?.placement?.h];
    act();
    const after = before && find();
    const { x, y, k } = this.camera;
    if (before && after) this.camera.set(x + after.x - before.x, y + after.y - before.y, k);
    else if (this.pane?.placement && (size[0] !== this.pane.placement.w || size[1] !== this.pane.placement.h)) this.settleView();
  }

  /** If nothing of the picture is in view any more, shows all of it. */
  settleView() {
    const view = this.pane.view();
    const { w, h } = this.pane.placement;
    if (view.left > w || view.top > h || view.right < 0 || view.bottom < 0) this.pane.fit();
  }

  // ---- selection

  /** What is selected as it is at a stage, or null. Boxes are followed by their keys. */
  selectedItem(stage) {
    if (this.selected === null) return null;
    if (isGroup(this.selected)) return this.doc.stage(stage).orderOf[numberOf(this.selected)] > 0 ? this.selected : null;
    const id = this.doc.find(stage, this.doc.key[numberOf(this.selected)]);
    return id < 0 ? null : itemOfBox(id);
  }

  /** Selects an item of the stage that is shown; null for none. */
  select(item, { from = "", center = false, trail = true } = {}) {
    this.selected = item;
    if (item === null && this.isolated) this.isolate(false);
    if (trail && item !== null) {
      this.trail = [...this.trail.slice(Math.max(0, this.trailAt - 40), this.trailAt + 1), [this.at, item]];
      this.trailAt = this.trail.length - 1;
    }
    this.paint();
    const here = this.selectedItem(this.at);
    const node = here === null ? null : this.pane.placement.visible(this.doc, here);
    if (node && center) this.pane.goTo(node);
    else if (node && from !== "canvas") this.pane.keepInView(node);
    // A tree says its own items.
    if (from !== "tree") this.announce(item === null ? "Nothing is selected" : `Selected ${this.doc.describe(item)}${here === null ? ", which is not at this stage" : ""}`);
    this.remember();
  }

  /** Goes to an item of any stage, and opens what is closed around it. `pass`: the stage that is about to change it. */
  jump(stage, item, { pass = stage, trail = true } = {}) {
    // Beside each other, the details speak of the graph after the pass: what is gone there is shown before it.
    const stays = isGroup(item) || this.doc.find(pass, this.doc.key[numberOf(item)]) >= 0;
    if (pass !== stage) this.setStage(pass, this.mode === "both" && stays ? "both" : "before");
    else if (stage !== this.at) this.setStage(stage, this.mode === "both" && stage > 0 ? "both" : "after");
    if (this.isolated) this.isolate(false);
    const around = this.doc.ancestors(this.doc.groupOfItem(item));
    if (!isGroup(item) && this.hidden.has(this.doc.kind[numberOf(item)])) this.setHidden(this.doc.kind[numberOf(item)], false);
    if (around.some((group) => !this.open.has(group))) {
      for (const group of around) this.open.add(group);
      this.refresh();
    }
    const shown = this.doc.stage(this.at);
    const here = !isGroup(item) ? this.doc.find(shown.number, this.doc.key[numberOf(item)]) : -1;
    this.select(here >= 0 ? itemOfBox(here) : item, { center: true, trail });
  }

  /** Back and forward through what was selected. */
  travel(by) {
    const at = this.trailAt + by;
    if (at < 0 || at >= this.trail.length) return;
    this.trailAt = at;
    const [stage, item] = this.trail[at];
    this.jump(stage, item, { trail: false });
  }

  center(item) {
    const node = this.pane.placement.visible(this.doc, item);
    if (node) this.pane.goTo(node);
  }

  clicked(pane, node) {
    pane.canvas.focus({ preventScroll: true });
    if (!node) {
      this.select(null, { from: "canvas" });
      return;
    }
    // A pane that is not the one that the tree shows has the box by its key.
    let { item } = node;
    if (!isGroup(item) && pane.number !== this.at) {
      const here = this.doc.find(this.at, this.doc.key[numberOf(item)]);
      if (here < 0) {
        this.selected = item;
        this.paint();
        this.remember();
        this.announce(`Selected ${this.doc.describe(item)}, in stage ${pane.stage.info.name} only`);
        return;
      }
      item = itemOfBox(here);
    }
    this.select(item, { from: "canvas" });
  }

  // ---- groups

  toggle(group) {
    const opens = !this.open.has(group);
    this.keepPlace(() => {
      if (opens) this.open.add(group);
      else this.open.delete(group);
      this.refresh();
    }, itemOfGroup(group));
    this.announce(`${this.doc.groupLabel(group)} is ${opens ? "open" : "closed"}`);
    this.remember();
  }

  openAll(groups) {
    this.keepPlace(() => {
      for (const group of groups) this.open.add(group);
      this.refresh();
    });
    this.announce(`${plural(groups.length, "group")} opened`);
  }

  /** Opens every group that is visible and closed: one level more. */
  openLevel() {
    const closed = this.pane.placement.nodes.filter((node) => isGroup(node.item) && !node.open).map((node) => numberOf(node.item));
    if (closed.length === 0) {
      this.announce("Every group is open");
      return;
    }
    this.openAll(closed);
    this.pane.fit(0.2);
  }

  closeAll() {
    this.open.clear();
    this.refresh();
    this.pane.fit();
    this.announce("Every group is closed");
  }

  // ---- looks

  setColour(colour) {
    this.colour = colour;
    // Only steps of the plan were measured.
    if (measureOf(this.doc, colour)?.run && this.at !== this.doc.plan.stage) this.setStage(this.doc.plan.stage, "after");
    else this.paint();
    this.remember();
  }

  setHidden(kind, hides) {
    this.keepPlace(() => {
      if (hides) this.hidden.add(kind);
      else this.hidden.delete(kind);
      this.refresh();
    });
    for (const box of document.querySelectorAll("input[data-kind]")) box.checked = !this.hidden.has(Number(box.dataset.kind));
  }

  setRight(right) {
    this.right = right;
    this.refresh();
    this.pane.fit();
    this.remember();
  }

  setTypes(shows) {
    this.showTypes = shows;
    this.paint();
  }

  themeChanged() {
    this.theme = readTheme();
    this.colours.clear();
    this.paint();
  }

  /** `added`, `changed` or `removed` for a box, `changes inside` for a group, or nothing. */
  changeWord(stage, item) {
    const before = stage.number !== this.stage;
    if (stage.number !== this.at && !before) return "";
    if (!isGroup(item)) {
      const id = numberOf(item);
      return CHANGE_WORDS[before ? stage.nextChange(id) : stage.change(id)] ?? "";
    }
    return ["added", "changed", "removed"].some((word) => this.changesIn(stage, item, word) > 0) ? "changes inside" : "";
  }

  changesIn(stage, item, word) {
    const kind = { added: ADDED, changed: CHANGED, removed: REMOVED }[word];
    return stage.changes(kind, stage.number !== this.stage)[numberOf(item)];
  }

  // ---- search

  /** Finds, and goes to the first if `goes`. */
  find(question, goes = true, silent = false) {
    const begin = performance.now();
    const stage = this.doc.stage(this.at);
    const { list, fault } = this.search.find(stage, question);
    const took = performance.now() - begin;
    this.found = question.trim() === "" ? null : { question, stage: stage.number, list, fault, at: goes && list.length > 0 ? 0 : -1, took };
    this.searchBox.update();
    // Read by tests: how long the answer took, and how many there were.
    Object.assign(document.documentElement.dataset, { searchMs: took.toFixed(1), searches: (this.searches += 1) });
    if (silent) return;
    if (goes && list.length > 0) this.jump(this.at, itemOfBox(list[0]));
    else this.paint();
    if (this.found) this.announce(fault ?? (list.length === 0 ? "Nothing is found" : `${countText(list.length)} found`));
  }

  nextFound(by) {
    const { found } = this;
    if (!found || found.list.length === 0) return;
    found.at = (Math.max(found.at, by > 0 ? -1 : 0) + by + found.list.length) % found.list.length;
    this.searchBox.update();
    this.jump(this.at, itemOfBox(found.list[found.at]));
    this.announce(`${found.at + 1} of ${countText(found.list.length)}: ${this.doc.describe(itemOfBox(found.list[found.at]))}`);
  }

  foundAt(stage) {
    if (!this.found || this.found.list.length === 0) return null;
    if (stage.number === this.found.stage) {
      this.found.marks ??= groupsAround(stage, this.found.list);
      return this.found.marks;
    }
    const keys = new Set(this.found.list.map((id) => this.doc.key[id]));
    return groupsAround(stage, Array.from(stage.boxes).filter((id) => keys.has(this.doc.key[id])));
  }

  // ---- words

  announce(words) { this.live.textContent = words; }

  /** The lines of a tip. */
  summary(stage, item) {
    const { doc } = this;
    const id = numberOf(item);
    if (isGroup(item)) {
      const flops = stage.sum("flops", (box) => doc.flops[box])[id];
      const bytes = stage.sum("bytes", (box) => doc.bytes[box])[id];
      return [doc.pathWord(id) || doc.groupLabel(id), `${plural(stage.counts()[id], "box")} · ${flopsText(flops)} · ${bytesText(bytes)}`, "double click to open"];
    }
    const cost = [doc.flops[id] > 0 ? flopsText(doc.flops[id]) : "", doc.bytes[id] > 0 ? bytesText(doc.bytes[id]) : "", doc.runs[0]?.ns[id] > 0 ? timeText(doc.runs[0].ns[id]) : ""];
    return [[doc.opWord(id), doc.nameWord(id)].filter(Boolean).join("  "), doc.typeWord(id), cost.filter(Boolean).join(" · "), ...(doc.faultOf.get(id) ?? [])].filter(Boolean);
  }

  /** Arrow keys walk along the wires, the others do as the tree does. */
  canvasKey(pane, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { camera } = this;
    const [w, h] = [pane.width, pane.height];
    const keys = {
      ArrowUp: () => this.walk(pane, 0, -1), ArrowDown: () => this.walk(pane, 0, 1), ArrowLeft: () => this.walk(pane, -1, 0), ArrowRight: () => this.walk(pane, 1, 0),
      Enter: () => this.toggleSelected(), " ": () => this.toggleSelected(), Escape: () => (this.isolated ? this.isolate(false) : this.selectAround()), Backspace: () => this.selectAround(),
      "+": () => camera.zoom(1.25, w / 2, h / 2), "=": () => camera.zoom(1.25, w / 2, h / 2), "-": () => camera.zoom(0.8, w / 2, h / 2),
      f: () => pane.fit(), 0: () => pane.fit(),
    };
    const act = keys[event.key];
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }

  toggleSelected() {
    const item = this.selectedItem(this.at);
    if (item !== null && isGroup(item)) this.toggle(numberOf(item));
  }

  selectAround() {
    const item = this.selectedItem(this.at);
    if (item === null) return;
    const group = this.doc.groupOfItem(item);
    this.select(group === 0 ? null : itemOfGroup(group));
  }

  /** Selects the nearest item in a direction, a connected one before all others. */
  walk(pane, dx, dy) {
    const { placement } = pane;
    const item = this.selectedItem(this.at);
    const from = item === null ? null : placement.visible(this.doc, item);
    if (!from) {
      if (placement.roots.length > 0) this.select(placement.roots[0].item);
      return;
    }
    const along = placement.right ? dx : dy;
    const wired = along === 0 ? [] : placement.wires.filter((wire) => (along > 0 ? wire.from === from : wire.to === from)).map((wire) => (along > 0 ? wire.to : wire.from));
    const beside = (from.around ? from.around.children : placement.roots).filter((node) => node !== from);
    const ahead = (node) => (node.x + node.w / 2 - from.x - from.w / 2) * dx + (node.y + node.h / 2 - from.y - from.h / 2) * dy;
    const aside = (node) => Math.abs((node.x + node.w / 2 - from.x - from.w / 2) * dy) + Math.abs((node.y + node.h / 2 - from.y - from.h / 2) * dx);
    const best = (nodes) => nodes.filter((node) => ahead(node) > 0).sort((a, b) => ahead(a) + 2 * aside(a) - ahead(b) - 2 * aside(b))[0];
    const next = best(wired) ?? best(beside);
    if (next) this.select(next.item);
  }
}
