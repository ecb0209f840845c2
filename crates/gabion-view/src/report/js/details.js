// All that is known of what is selected, with links to what it reads, to what reads it, and to what it became.

/** Longer lists get a line that says how many more there are. */
const MOST_LINKS = 60;

class Details {
  constructor(app) {
    this.app = app;
    this.body = element("div", { class: "details-body" });
    this.back = element("button", { type: "button", class: "small", click: () => app.travel(-1), "aria-label": "Back to what was selected before", title: "Back (Alt+←)" }, ["←"]);
    this.forward = element("button", { type: "button", class: "small", click: () => app.travel(1), "aria-label": "Forward again", title: "Forward (Alt+→)" }, ["→"]);
    this.mark = element("button", { type: "button", class: "small", click: () => app.toggleBookmark(), "aria-label": "Bookmark", "aria-pressed": "false", title: "Set or remove a bookmark (b); B goes to the next" }, ["☆"]);
    this.root = element("aside", { class: "details", "aria-label": "Details" }, [
      element("div", { class: "bar" }, [element("h2", {}, ["Details"]), element("span", { class: "grow" }), this.mark, this.back, this.forward]),
      this.body,
    ]);
  }

  show(stage, item) {
    const { trail, trailAt } = this.app;
    this.back.disabled = trailAt <= 0;
    this.forward.disabled = trailAt + 1 >= trail.length;
    const marked = item !== null && this.app.bookmarkOf(item) >= 0;
    this.mark.disabled = this.app.selectedItem(this.app.at) === null;
    this.mark.setAttribute("aria-pressed", String(marked));
    this.mark.textContent = marked ? "★" : "☆";
    const { selected } = this.app;
    if (item === null && selected !== null) this.body.replaceChildren(...this.absent(stage, selected));
    else if (item === null) this.body.replaceChildren(...this.overview(stage));
    else this.body.replaceChildren(...(isGroup(item) ? this.group(stage, numberOf(item)) : this.box(stage, numberOf(item))));
    this.body.append(...this.bookmarks());
  }

  /** What the reader has set, in this order, each with its stage. */
  bookmarks() {
    const { bookmarks, doc } = this.app;
    const list = bookmarks.map(([number, item]) => this.link(doc.stage(number), item, [doc.describe(item)], doc.stages[number].name));
    return this.section("Bookmarks", list.length === 0 ? [] : [element("ul", { class: "links bookmarks" }, list)], list.length);
  }

  link(stage, item, words, more = "") {
    const button = element("button", {
      type: "button", class: "link", click: () => this.app.jump(stage.number, item),
      "aria-label": `Go to ${stage.doc.describe(item)}${stage.number === this.app.at ? "" : ` in stage ${stage.info.name}`}`,
    }, words);
    return element("li", {}, more ? [button, element("span", { class: "type" }, [more])] : [button]);
  }

  boxLink(stage, id, result = 0) {
    const { doc } = stage;
    const name = doc.shortName(id);
    const words = [element("span", { class: "dot", style: `background:var(--kind-${doc.kinds[doc.kind[id]]})` }), element("b", {}, [doc.opWord(id)])];
    if (name) words.push(` ${name}`);
    return this.link(stage, itemOfBox(id), words, doc.typeWord(id, result));
  }

  section(title, children, n = null) {
    if (children.length === 0) return [];
    const heading = n === null ? title : `${title} (${countText(n)})`;
    return [element("h3", {}, [heading]), ...children];
  }

  links(title, stage, boxes) {
    const list = boxes.slice(0, MOST_LINKS).map((it) => (Array.isArray(it) ? this.boxLink(stage, ...it) : this.boxLink(stage, it)));
    if (boxes.length > MOST_LINKS) list.push(element("li", { class: "dim" }, [`and ${countText(boxes.length - MOST_LINKS)} more`]));
    return this.section(title, boxes.length === 0 ? [] : [element("ul", { class: "links" }, list)], boxes.length);
  }

  facts(pairs) {
    const rows = pairs.filter(([, value]) => value !== null && value !== "");
    return element("dl", {}, rows.flatMap(([name, value]) => [element("dt", {}, [name]), element("dd", {}, Array.isArray(value) ? value : [value])]));
  }

  path(stage, group) {
    const { doc } = stage;
    const around = doc.ancestors(group).reverse();
    const parts = [];
    for (const at of around) {
      if (parts.length > 0) parts.push(" › ");
      parts.push(element("button", { type: "button", class: "link", click: () => this.app.jump(stage.number, itemOfGroup(at)) }, [doc.groupLabel(at)]));
    }
    return parts.length > 0 ? parts : null;
  }

  overview(stage) {
    const { info, doc } = stage;
    const sizes = doc.sizes.map(([name, value]) => `${name} = ${value}`).join(", ");
    return [
      element("p", { class: "dim" }, ["Nothing is selected. Click a box, or use the tree."]),
      element("h3", {}, [`Stage ${info.name}`]),
      this.facts([
        ["boxes", countText(stage.boxes.length)], ["operations", flopsText(info.flops)], ["bytes moved", bytesText(info.bytes)],
        ["counted with", sizes || null],
      ]),
    ];
  }

  /** What is selected, but is not at the stage that is shown. */
  absent(stage, item) {
    const { doc } = stage;
    const id = numberOf(item);
    const chip = element("span", { class: "chip refused" }, ["not at this stage"]);
    const title = element("h2", { class: "title" }, [isGroup(item) ? doc.groupLabel(id) : doc.opWord(id), " ", chip]);
    const name = isGroup(item) ? doc.pathWord(id) : doc.nameWord(id);
    const facts = isGroup(item) ? [["in", this.path(stage, doc.parent[id])]] : [["kind", doc.kinds[doc.kind[id]]], ["type", doc.typeWord(id)], ["in", this.path(stage, doc.group[id])]];
    const parts = [title, ...(name ? [element("p", { class: "name" }, [name])] : []), this.facts(facts)];
    if (!isGroup(item)) {
      const made = stage.number < doc.start[id] ? "Made from, at this stage" : "Became, at this stage";
      parts.push(...this.links(made, stage, stage.counterparts(id)));
    }
    const where = doc.whereIs(item).map(([first, end]) => {
      const [from, to] = [doc.stages[first].name, doc.stages[end - 1].name];
      return this.link(doc.stage(first), this.versionAt(first, item), [from === to ? from : `${from} to ${to}`]);
    });
    const ledger = isGroup(item) ? [] : this.ledger(id);
    return [...parts, ...this.section("Is at the stages", [element("ul", { class: "links" }, where)]), ...ledger];
  }

  versionAt(stage, item) { return isGroup(item) ? item : itemOfBox(this.app.doc.find(stage, this.app.doc.key[numberOf(item)])); }

  box(stage, id) {
    const { doc } = stage;
    const item = itemOfBox(id);
    const name = doc.nameWord(id);
    const change = this.app.changeWord(stage, item);
    const faults = doc.faultOf.get(id) ?? [];
    const title = [doc.opWord(id)];
    if (change) title.push(" ", element("span", { class: `chip ${change}` }, [change]));
    const intensity = doc.bytes[id] > 0 && doc.flops[id] > 0 ? MEASURES.intensity.text(doc.flops[id] / doc.bytes[id]) : null;
    const results = [];
    for (let result = 0; result < doc.resultStart[id + 1] - doc.resultStart[id]; result++) {
      const at = doc.resultStart[id] + result;
      results.push(element("li", {}, [element("span", { class: "type" }, [doc.words[doc.types[at]]]), element("span", { class: "dim" }, [bytesText(doc.typeBytes[at])])]));
    }
    const lasts = doc.end[id] < doc.stages.length ? `until ${doc.stages[doc.end[id]].name}` : "to the end";
    return [
      element("h2", { class: "title" }, title),
      ...(name ? [element("p", { class: "name" }, [name])] : []),
      ...faults.map((what) => element("p", { class: "fault", role: "note" }, [`⚠ ${what}`])),
      this.actions(stage, item),
      this.facts([
        ["kind", doc.kinds[doc.kind[id]]], ["in", this.path(stage, doc.group[id])], ["stages", `from ${doc.stages[doc.start[id]].name} ${lasts}`],
        ["operations", doc.flops[id] > 0 ? flopsText(doc.flops[id]) : null], ["bytes moved", doc.bytes[id] > 0 ? bytesText(doc.bytes[id]) : null],
        ["intensity", intensity], ...doc.runs.map((run) => [run.label, run.ns[id] > 0 ? timeText(run.ns[id]) : null]),
        ["built at", doc.loc[id] > 0 ? element("code", {}, [doc.locWord(id)]) : null],
      ]),
      ...this.section("Attributes", doc.attributes(id).length > 0 ? [this.facts(doc.attributes(id).map(([key, value]) => [key, element("code", {}, [value])]))] : []),
      ...this.links("Reads", stage, stage.operandsOf(id)),
      ...this.section("Results", results.length > 0 ? [element("ul", { class: "links" }, results)] : []),
      ...this.links("Read by", stage, [...stage.usersOf(id)]),
      ...this.weight(id),
      ...this.history(stage, id),
      ...this.ledger(id),
    ];
  }

  /** What passes said about it: each line leads to the ledger. */
  ledger(id) {
    const { doc, ledger, panels } = this.app;
    const lines = ledger.about(id);
    const list = lines.slice(0, MOST_LINKS).map((at) => element("li", { class: "line" }, [
      element("button", { type: "button", class: "link", click: () => panels.showLedger(at), "aria-label": `Go to the ledger: ${doc.words[ledger.lines.pass[at]]}, ${doc.words[ledger.lines.candidate[at]]}` }, [doc.words[ledger.lines.pass[at]]]),
      element("span", { class: `chip ${ledger.outcome(at)}` }, [ledger.outcome(at)]), element("span", {}, [doc.words[ledger.lines.candidate[at]]]),
      element("div", { class: "why" }, [doc.words[ledger.lines.why[at]]]),
    ]));
    if (lines.length > MOST_LINKS) list.push(element("li", { class: "dim" }, [`and ${countText(lines.length - MOST_LINKS)} more`]));
    return this.section("Ledger", lines.length === 0 ? [] : [element("ul", { class: "links ledger" }, list)], lines.length);
  }

  /** What it came from, and what it became. */
  history(stage, id) {
    const { doc } = stage;
    const sections = [];
    const first = doc.stage(0);
    const last = doc.stage(doc.stages.length - 1);
    const same = (other, at) => other.filter((box) => doc.key[box] !== doc.key[id] || (at.number !== stage.number && box !== id));
    if (stage.number > 0) sections.push(...this.links("Made from, as built", first, same(first.counterparts(id), first)));
    if (stage.number < last.number) sections.push(...this.links(`Became, in ${last.info.name}`, last, same(last.counterparts(id), last)));
    return sections;
  }

  weight(id) {
    const at = this.app.doc.plan?.weights.findIndex((weight) => weight.id === id) ?? -1;
    if (at < 0) return [];
    return [element("button", { type: "button", class: "wide", click: () => this.app.panels.showWeight(at) }, ["Show its parts and segments"])];
  }

  actions(stage, item) {
    const { app } = this;
    const button = (label, title, act) => element("button", { type: "button", class: "small", title, click: act }, [label]);
    const all = [
      button("Centre", "Bring it to the middle", () => app.center(item)),
      button("Upstream", "Show only what it depends on", () => app.showCone(item, "up")),
      button("Downstream", "Show only what depends on it", () => app.showCone(item, "down")),
      button("Neighbours", "Show only what it reads and what reads it", () => app.showCone(item, "near")),
    ];
    all.push(button(app.isolated ? "Show the rest" : "Isolate", app.isolated ? "Show what is hidden (i)" : "Hide all that is not highlighted (i)", () => app.isolate(!app.isolated)));
    if (app.cone) all.push(button("Show all", "End the highlight", () => app.showCone(null)));
    if (!isGroup(item)) all.push(button("Text", "Show its line in the text form", () => app.panels.showText(numberOf(item))));
    return element("div", { class: "actions", role: "group", "aria-label": "Actions" }, all);
  }

  group(stage, group) {
    const { app } = this;
    const { doc } = stage;
    const opened = app.open.has(group);
    const flops = stage.sum("flops", (id) => doc.flops[id])[group];
    const bytes = stage.sum("bytes", (id) => doc.bytes[id])[group];
    const times = doc.runs.map((run) => [run.label, stage.sum(run.key, (id) => run.ns[id])[group]]);
    const ops = new Map();
    for (const id of stage.boxesIn(group)) ops.set(doc.opWord(id), (ops.get(doc.opWord(id)) ?? 0) + 1);
    const most = [...ops].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, 12);
    return [
      element("h2", { class: "title" }, [doc.groupLabel(group)]),
      element("p", { class: "name" }, [doc.pathWord(group)]),
      element("button", { type: "button", class: "wide", click: () => app.toggle(group) }, [opened ? "Close this group" : "Open this group"]),
      this.actions(stage, itemOfGroup(group)),
      this.facts([
        ["in", this.path(stage, doc.parent[group])], ["boxes", countText(stage.counts()[group])],
        ["identical groups", doc.repeats[group] > 0 ? countText(doc.repeats[group]) : null],
        ["operations", flops > 0 ? flopsText(flops) : null], ["bytes moved", bytes > 0 ? bytesText(bytes) : null],
        ...times.map(([label, ns]) => [label, ns > 0 ? timeText(ns) : null]),
        ...["added", "changed", "removed"].map((word) => {
          const n = app.changesIn(stage, itemOfGroup(group), word);
          return [word, n > 0 ? countText(n) : null];
        }),
      ]),
      ...this.section("Operators inside", [this.facts(most.map(([op, n]) => [op, countText(n)]))]),
    ];
  }
}
