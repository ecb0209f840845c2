// The graph as a tree: the same groups, open or closed, the same selection, and everything that the picture says in words.

class Tree {
  constructor(app) {
    this.app = app;
    this.rows = [];
    this.typed = "";
    this.list = new Rows({
      role: "tree", rowRole: "treeitem", label: "Graph", height: 24, className: "tree",
      render: (at) => this.render(at),
      attributes: (at) => this.attributes(at),
      move: (at) => app.select(this.rows[at].item, { from: "tree" }),
      activate: (at, byKey) => this.activate(at, byKey),
      click: (event, at) => {
        const { item } = this.rows[at];
        if (event.target.closest(".twist") && isGroup(item)) app.toggle(numberOf(item));
        else app.select(item, { from: "tree" });
      },
      double: (at) => this.activate(at, true),
      key: (event, at) => this.key(event, at),
    });
    this.root = this.list.root;
  }

  /** Lists what is open. */
  show(stage, layout, open) {
    Object.assign(this, { stage, layout, open });
    const rows = [];
    const stack = [];
    const push = (group, level) => {
      const children = layout.children(group);
      for (let at = children.length - 1; at >= 0; at--) stack.push({ item: children[at], level, place: at + 1, of: children.length });
    };
    push(0, 1);
    while (stack.length > 0) {
      const row = stack.pop();
      rows.push(row);
      if (isGroup(row.item) && open.has(numberOf(row.item))) push(numberOf(row.item), row.level + 1);
    }
    this.rows = rows;
    this.atItem = new Map(rows.map((row, at) => [row.item, at]));
    this.list.set(rows.length, -1);
  }

  /** Shows what is selected. */
  select(item) {
    this.list.setActive(item === null ? -1 : this.atItem.get(item) ?? -1);
  }

  attributes(at) {
    const { item, level, place, of } = this.rows[at];
    const attributes = {
      "aria-level": level, "aria-posinset": place, "aria-setsize": of, "aria-label": this.spoken(item),
      "data-item": item,
    };
    if (isGroup(item)) attributes["aria-expanded"] = String(this.open.has(numberOf(item)));
    return attributes;
  }

  spoken(item) {
    const { doc } = this.stage;
    const change = this.app.changeWord(this.stage, item);
    const name = isGroup(item)
      ? `${doc.groupLabel(numberOf(item))}, ${plural(this.stage.counts()[numberOf(item)], "box")}`
      : doc.describe(item);
    return change ? `${name}, ${change}` : name;
  }

  render(at) {
    const { item, level } = this.rows[at];
    const { doc } = this.stage;
    const id = numberOf(item);
    const indent = element("span", { class: "indent", style: `width:${(level - 1) * 14}px` });
    const change = this.app.changeWord(this.stage, item);
    const mark = change ? [element("span", { class: `mark ${change}`, title: change }, [{ added: "+", changed: "~", removed: "−" }[change] ?? "•"])] : [];
    if (isGroup(item)) {
      const open = this.open.has(id);
      return [
        indent, element("span", { class: "twist", "aria-hidden": "true" }, [open ? "▾" : "▸"]),
        element("span", { class: "op" }, [doc.groupLabel(id)]), ...mark,
        element("span", { class: "dim end" }, [countText(this.stage.counts()[id])]),
      ];
    }
    const kind = doc.kinds[doc.kind[id]];
    return [
      indent, element("span", { class: "dot", style: `background:var(--kind-${kind})`, "aria-hidden": "true" }),
      element("span", { class: "op" }, [doc.opWord(id)]), ...mark,
      element("span", { class: "dim" }, [doc.shortName(id)]),
      element("span", { class: "type end" }, [doc.typeWord(id)]),
    ];
  }

  activate(at, byKey) {
    const { item } = this.rows[at];
    if (isGroup(item) && byKey) this.app.toggle(numberOf(item));
    else this.app.select(item, { from: "tree", center: true });
  }

  /** Left and right close and open, `*` opens all beside, letters look for a name. */
  key(event, at) {
    const row = this.rows[at];
    if (!row) return false;
    const id = numberOf(row.item);
    const opened = isGroup(row.item) && this.open.has(id);
    if (event.key === "ArrowRight") {
      if (isGroup(row.item) && !opened) this.app.toggle(id);
      else if (opened && at + 1 < this.rows.length) this.go(at + 1);
    } else if (event.key === "ArrowLeft") {
      if (opened) this.app.toggle(id);
      else this.goOut(at);
    } else if (event.key === "*") {
      const group = this.stage.doc.groupOfItem(row.item);
      this.app.openAll(this.layout.children(group).filter(isGroup).map(numberOf));
    } else if (event.key.length === 1 && /\p{L}|\p{N}|_/u.test(event.key)) {
      this.typeAhead(event.key, at);
    } else {
      return false;
    }
    return true;
  }

  go(at) {
    this.list.setActive(at);
    this.app.select(this.rows[at].item, { from: "tree" });
  }

  goOut(at) {
    for (let above = at - 1; above >= 0; above--) {
      if (this.rows[above].level < this.rows[at].level) {
        this.go(above);
        return;
      }
    }
  }

  typeAhead(letter, at) {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => { this.typed = ""; }, 700);
    this.typed += letter.toLowerCase();
    const from = this.typed.length > 1 ? at : at + 1;
    for (let step = 0; step < this.rows.length; step++) {
      const next = (from + step) % this.rows.length;
      if (this.spoken(this.rows[next].item).toLowerCase().startsWith(this.typed)) {
        this.go(next);
        return;
      }
    }
  }
}
