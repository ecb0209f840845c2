// How things look now in one pane: what is selected, found, dimmed, changed or at fault. Asked for each item that is drawn,
// so every answer is a look into a table.

const CHANGE_WORDS = { [ADDED]: "added", [CHANGED]: "changed", [REMOVED]: "removed" };

class Look {
  /** `before`: the pane shows what a pass is about to do, rather than what it did. */
  constructor(app, stage, before) {
    this.stage = stage;
    this.doc = stage.doc;
    this.before = before;
    this.theme = app.theme;
    this.showTypes = app.showTypes;
    this.colours = app.coloursOf(stage);
    this.selected = app.selectedItem(stage.number);
    this.twins = this.twinsOf(app);
    this.cone = app.coneAt(stage);
    this.found = app.foundAt(stage);
    this.current = app.found?.list[app.found.at] ?? -1;
    this.faults = groupsAround(stage, this.doc.faultOf.keys());
  }

  /** Of a selected box that is not in this stage: what was made from the same. */
  twinsOf(app) {
    if (this.selected !== null || app.selected === null || isGroup(app.selected)) return null;
    const twins = this.stage.counterparts(numberOf(app.selected));
    return twins.length > 0 ? groupsAround(this.stage, twins) : null;
  }

  /** The item that stands for what is selected: itself, or the closed group around it. */
  setVisible(placement) {
    this.visible = this.selected === null ? null : placement.visible(this.doc, this.selected)?.item ?? null;
  }

  changeOf(item) {
    if (isGroup(item)) return null;
    const id = numberOf(item);
    return CHANGE_WORDS[this.before ? this.stage.nextChange(id) : this.stage.change(id)] ?? null;
  }

  changesIn(item, word) {
    const kind = { added: ADDED, changed: CHANGED, removed: REMOVED }[word];
    return isGroup(item) ? this.stage.changes(kind, this.before)[numberOf(item)] : 0;
  }

  has(set, item) { return set !== null && (isGroup(item) ? set.groups[numberOf(item)] === 1 : set.boxes.has(numberOf(item))); }

  isFaulty(item) { return this.has(this.faults, item); }

  /** `[colour, width, dashes]` of the border, if it is not the usual one. */
  outline(item) {
    const { theme } = this;
    if (item === this.visible) return [theme.accent, 3, item === this.selected ? null : [6, 3]];
    if (!isGroup(item) && numberOf(item) === this.current) return [theme.found, 4, null];
    if (this.twins && this.has(this.twins, item)) return [theme.accent, 2.5, [4, 3]];
    if (this.found && this.has(this.found, item)) return [theme.found, 2.5, null];
    if (this.isFaulty(item)) return [theme.fault, 2, null];
    const change = this.changeOf(item);
    if (change) return [theme[change], 2, change === "removed" ? [5, 3] : null];
    return null;
  }

  /** The same for a group that is open. */
  panelOutline(item) { return item === this.visible ? [this.theme.accent, 3] : null; }

  alpha(item) {
    if (this.cone && !this.has(this.cone, item)) return 0.16;
    return 1;
  }

  /** 1 for wires into what is selected, 2 for wires out of it. */
  strength(wire) {
    if (this.visible === null) return 0;
    if (wire.to.item === this.visible) return 1;
    return wire.from.item === this.visible ? 2 : 0;
  }
}

/** Boxes, and the groups that hold any of them. */
function groupsAround(stage, boxes) {
  const { doc } = stage;
  const set = { boxes: new Set(boxes), groups: new Uint8Array(doc.nGroups) };
  for (const id of set.boxes) {
    for (let group = doc.group[id]; group !== 0 && set.groups[group] === 0; group = doc.parent[group]) set.groups[group] = 1;
  }
  return set;
}
