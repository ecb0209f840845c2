// Puts the page together: the bar of controls, the keys, and what is read at the start.

/** The words that follow the pointer. */
class Tip {
  constructor() {
    this.root = element("div", { class: "tip", "aria-hidden": "true", hidden: true });
    document.body.append(this.root);
  }

  show(event, lines) {
    this.root.replaceChildren(...lines.map((line) => element("div", {}, [line])));
    this.root.hidden = false;
    const box = this.root.getBoundingClientRect();
    this.root.style.left = `${Math.min(event.clientX + 14, window.innerWidth - box.width - 8)}px`;
    this.root.style.top = `${Math.min(event.clientY + 16, window.innerHeight - box.height - 8)}px`;
  }

  hide() { this.root.hidden = true; }
}

class SearchBox {
  constructor(app) {
    this.app = app;
    this.input = document.getElementById("search");
    this.count = document.getElementById("search-count");
    this.before = document.getElementById("search-previous");
    this.after = document.getElementById("search-next");
    this.input.addEventListener("input", () => {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => app.find(this.input.value), 40);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        clearTimeout(this.waiting);
        if (app.found?.question === this.input.value) app.nextFound(event.shiftKey ? -1 : 1);
        else app.find(this.input.value);
        event.preventDefault();
      } else if (event.key === "Escape") {
        this.input.value = "";
        app.find("", false);
      }
    });
    this.before.addEventListener("click", () => app.nextFound(-1));
    this.after.addEventListener("click", () => app.nextFound(1));
    document.documentElement.dataset.searches = "0";
    this.update();
  }

  update() {
    const { found } = this.app;
    const n = found?.list.length ?? 0;
    this.count.textContent = !found ? "" : found.fault ?? (n === 0 ? "none" : found.at < 0 ? countText(n) : `${countText(found.at + 1)} of ${countText(n)}`);
    this.count.title = found?.fault ?? "";
    this.count.classList.toggle("fault", Boolean(found?.fault));
    this.input.setAttribute("aria-invalid", String(Boolean(found?.fault)));
    this.before.disabled = n === 0;
    this.after.disabled = n === 0;
    this.input.classList.toggle("nothing", Boolean(found) && n === 0);
  }
}

/** A button that opens a small box of controls; Escape and clicks elsewhere close it. */
function menu(button, box) {
  const set = (open) => {
    box.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => {
    set(box.hidden);
    if (!box.hidden) box.querySelector("button, input")?.focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!box.hidden && !box.contains(event.target) && !button.contains(event.target)) set(false);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    set(false);
    button.focus();
    event.stopPropagation();
  });
  return set;
}

function makeControls(app) {
  const byId = (id) => document.getElementById(id);
  const colour = byId("colour");
  for (const run of app.doc.runs) colour.append(element("option", { value: run.key }, [run.label === "measured" ? "measured time" : run.label]));
  colour.value = app.colour;
  colour.addEventListener("change", () => app.setColour(colour.value));
  const kinds = byId("hide-menu");
  const present = new Set(app.doc.kind);
  [...present].sort((a, b) => a - b).forEach((kind) => {
    const word = app.doc.kinds[kind];
    const box = element("input", { type: "checkbox", "data-kind": kind, checked: true, change: () => app.setHidden(kind, !box.checked) });
    kinds.append(element("label", {}, [box, element("span", { class: "dot", style: `background:var(--kind-${word})` }), `${word}s`]));
  });
  const types = element("input", { type: "checkbox", checked: true, change: () => app.setTypes(types.checked) });
  kinds.append(element("label", { class: "ruled" }, [types, "types on wires"]));
  menu(byId("hide"), kinds);
  const direction = byId("direction");
  const directed = () => {
    direction.textContent = app.right ? "→ Right" : "↓ Down";
    direction.setAttribute("aria-label", `Direction: ${app.right ? "to the right" : "down"}; press to change`);
  };
  direction.addEventListener("click", () => {
    app.setRight(!app.right);
    directed();
  });
  directed();
  byId("fit").addEventListener("click", () => app.pane.fit());
  byId("open-level").addEventListener("click", () => app.openLevel());
  byId("close-all").addEventListener("click", () => app.closeAll());
  byId("zoom-in").addEventListener("click", () => app.camera.zoom(1.25, app.pane.width / 2, app.pane.height / 2));
  byId("zoom-out").addEventListener("click", () => app.camera.zoom(0.8, app.pane.width / 2, app.pane.height / 2));
  const close = menu(byId("export"), byId("export-menu"));
  const name = (ending) => `${app.doc.title}.${app.doc.stages[app.at].name}.${ending}`;
  byId("export-svg").addEventListener("click", () => {
    download(new Blob([app.pane.svg(`${app.doc.title}, ${app.doc.stages[app.at].name}`)], { type: "image/svg+xml" }), name("svg"));
    app.announce("The picture is saved as SVG");
    close(false);
  });
  byId("export-png").addEventListener("click", () => {
    app.pane.paint();
    app.pane.canvas.toBlob((blob) => download(blob, name("png")), "image/png");
    app.announce("The picture is saved as PNG");
    close(false);
  });
  const texts = {
    dot: ["What is visible is saved as DOT", "text/vnd.graphviz", () => dotText(app.pane.stage, app.pane.placement, (item) => app.coloursOf(app.pane.stage).of(item)[0])],
    json: ["The document is saved as JSON", "application/json", () => JSON.stringify(documentJson(app.doc))],
    explorer: ["The stage is saved for Model Explorer", "application/json", () => JSON.stringify(explorerJson(app.doc.stage(app.at)))],
  };
  for (const [kind, [words, type, make]] of Object.entries(texts)) {
    byId(`export-${kind}`).addEventListener("click", () => {
      const file = { dot: name("dot"), json: `${app.doc.title}.json`, explorer: name("explorer.json") }[kind];
      download(new Blob([make()], { type }), file);
      app.announce(words);
      close(false);
    });
  }
  const help = byId("help");
  byId("help-button").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());
  makeTheme(app, byId("theme"));
  return {
    update: () => {
      colour.value = app.colour;
      directed();
    },
  };
}

/** Light, dark, or as the system says. */
function makeTheme(app, button) {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const words = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
    button.textContent = isDark ? "☾" : "☀";
    button.setAttribute("aria-label", isDark ? "Dark colours; press for light" : "Light colours; press for dark");
    return isDark;
  };
  button.addEventListener("click", () => {
    root.dataset.theme = words() ? "light" : "dark";
    words();
    app.themeChanged();
  });
  dark.addEventListener("change", () => {
    words();
    app.themeChanged();
  });
  words();
}

/** Keys that work wherever the focus is, unless words are being typed. */
function makeKeys(app) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      app.travel(event.key === "ArrowLeft" ? -1 : 1);
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=range]):not([type=checkbox]), select, dialog *")) return;
    const keys = {
      "/": () => document.getElementById("search").focus(), "?": () => document.getElementById("help").showModal(),
      "[": () => app.setStage(app.stage - 1), "]": () => app.setStage(app.stage + 1), n: () => app.nextFound(1), N: () => app.nextFound(-1),
      i: () => app.isolate(!app.isolated), b: () => app.toggleBookmark(), B: () => app.nextBookmark(),
    };
    // A tree looks for letters.
    const act = keys[event.key];
    if (!act || (/^[a-z]$/i.test(event.key) && event.target.closest("[role=tree]"))) return;
    act();
    event.preventDefault();
  });
}

function fail(error) {
  const words = typeof DecompressionStream === "undefined"
    ? "This browser is too old for the report: it needs DecompressionStream (Chrome 80, Firefox 113, Safari 16.4 or newer)."
    : `The report cannot be shown: ${error.message}`;
  document.getElementById("loading").textContent = words;
  document.documentElement.dataset.ready = "failed";
}

async function start() {
  const doc = new Doc(await readChunk("data"));
  const app = new App(doc);
  const panes = [new Pane(app, "Picture of the graph"), new Pane(app, "Picture of the graph after the pass")];
  app.attach({ panes, live: document.getElementById("live"), legend: document.getElementById("legend"), tip: new Tip() });
  app.attach({ tree: new Tree(app), details: new Details(app), panels: new Panels(app), slider: new Slider(app), searchBox: new SearchBox(app) });
  const selected = app.recall();
  document.getElementById("slider").replaceWith(app.slider.root);
  document.getElementById("tree").append(app.tree.root);
  document.getElementById("panes").append(...panes.map((pane) => pane.root));
  document.getElementById("details").replaceWith(app.details.root);
  document.getElementById("drawer").replaceWith(app.panels.root);
  app.attach({ controls: makeControls(app) });
  makeKeys(app);
  document.getElementById("loading").remove();
  document.getElementById("app").hidden = false;
  openFirst(app);
  app.refresh();
  for (const pane of panes) pane.resize();
  if (selected !== null) app.jump(app.at, selected);
  window.addEventListener("hashchange", () => app.follow());
  // Where things lie with these groups open, if they are of these sizes: a test compares it with what the window says.
  window.placementOf = (stage, open, right, sizes) => {
    const layout = new Layout(doc.stage(stage), new Set(), (item) => sizes.get(item));
    return layout.place(new Set(open), right);
  };
  // What is visible with these groups open, as DOT, but for colours: a test compares it with what the window writes.
  window.dotOf = (stage, open, right) => {
    const layout = new Layout(doc.stage(stage), new Set(), (item) => sizeOf(doc.stage(stage), item));
    return dotText(doc.stage(stage), layout.place(new Set(open), right), () => "");
  };
  // What a question finds in a stage, or why it cannot be read: a test compares it with what the window says.
  window.foundBy = (stage, question) => {
    const { list, fault } = app.search.find(doc.stage(stage), question);
    return { fault, found: list.map((id) => `${doc.opWord(id)} ${doc.nameWord(id)}`) };
  };
  // The lines of the ledger about each box: a test compares them with what the window says.
  window.linesAbout = () => Array.from({ length: doc.n }, (_, id) => app.ledger.about(id));
  // Where what is selected, or what is made of it, is seen in each pane: a test clicks there.
  window.selectionSeenAt = () => app.panes.filter((pane) => !pane.root.hidden).map((pane) => {
    const [{ x, y, k }, middle] = [pane.camera, app.anchor(pane)];
    return middle && [(middle.x - x) * k, (middle.y - y) * k];
  });
  app.panels.show(doc.faults.length > 0 ? "faults" : "text");
  if (doc.faults.length > 0) app.announce(`The graph has ${plural(doc.faults.length, "fault")}`);
  requestAnimationFrame(() => setTimeout(() => {
    // How long it took from the beginning of the page to its first picture, in milliseconds; tests read it.
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  }, 0));
}

/** A group that holds all but inputs and outputs is opened at once, and a small graph wholly. */
function openFirst(app) {
  const { doc } = app;
  const stage = doc.stage(app.at);
  const groups = [];
  for (let group = 1; group < doc.nGroups; group++) if (stage.orderOf[group] > 0) groups.push(group);
  if (stage.boxes.length <= 120 && groups.length <= 30) {
    for (const group of groups) app.open.add(group);
    return;
  }
  let at = 0;
  while (true) {
    const inner = (stage.order(at)?.[0] ?? []).filter(isGroup).map(numberOf);
    if (inner.length !== 1 || doc.repeats[inner[0]] > 0) return;
    [at] = inner;
    app.open.add(at);
  }
}

start().catch(fail);
