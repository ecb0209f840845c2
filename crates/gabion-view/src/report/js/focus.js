// What a reader keeps in sight or comes back to: highlights, what is isolated, bookmarks, and the address of a place. It is
// the part of `App` that its other parts build on.

class Focus {
  /** The number of the bookmark of an item at this stage, or -1. */
  bookmarkOf(item) { return this.bookmarks.findIndex(([stage, it]) => stage === this.at && it === item); }

  toggleBookmark() {
    const item = this.selectedItem(this.at);
    if (item === null) return;
    const at = this.bookmarkOf(item);
    if (at >= 0) this.bookmarks.splice(at, 1);
    else this.bookmarks.push([this.at, item]);
    this.showDetails();
    this.announce(at >= 0 ? "The bookmark is removed" : `Bookmark ${this.bookmarks.length} is set`);
  }

  nextBookmark() {
    if (this.bookmarks.length === 0) return;
    const item = this.selectedItem(this.at);
    const [stage, next] = this.bookmarks[(this.bookmarkOf(item) + 1) % this.bookmarks.length];
    this.jump(stage, next);
  }

  forgetCone() { [this.cone, this.isolated] = [null, false]; }

  /** Hides all that is dimmed; without a highlight, all but what the selection depends on and what depends on it. */
  isolate(isolated) {
    const item = this.selectedItem(this.at);
    if (isolated && !this.cone && item !== null) this.showCone(item, "both");
    const was = this.isolated;
    this.isolated = isolated && this.cone !== null;
    if (was === this.isolated) return;
    this.keepPlace(() => this.refresh());
    if (this.isolated) this.pane.fit();
    this.announce(this.isolated ? `${plural(this.cone.boxes.size, "box")} shown, all others are hidden` : "Everything is shown");
  }

  /** Dims all but what an item depends on (`up`), what depends on it (`down`), either (`both`), or its neighbours (`near`). */
  showCone(item, way = "up") {
    if (item === null) {
      this.isolate(false);
      this.cone = null;
    } else {
      const stage = this.doc.stage(this.at);
      const start = isGroup(item) ? stage.boxesIn(numberOf(item)) : [numberOf(item)];
      let boxes;
      if (way === "near") {
        boxes = new Set(start);
        for (const id of start) {
          for (const [maker] of stage.operandsOf(id)) boxes.add(maker);
          for (const user of stage.usersOf(id)) boxes.add(user);
        }
      } else {
        boxes = new Set(way === "down" ? start : stage.cone(start, true));
        if (way !== "up") for (const id of stage.cone(start, false)) boxes.add(id);
      }
      this.isolate(false);
      this.cones = (this.cones ?? 0) + 1;
      this.cone = { number: this.cones, stage: stage.number, boxes, keys: new Set(Array.from(boxes, (id) => this.doc.key[id])) };
      const words = { up: "it depends on", down: "depends on it", both: "around it", near: "is beside it" }[way];
      this.announce(`${plural(boxes.size - start.length, "box")} ${words}`);
    }
    this.paint();
  }

  coneAt(stage) {
    if (!this.cone) return null;
    if (stage.number === this.cone.stage) return groupsAround(stage, this.cone.boxes);
    return groupsAround(stage, Array.from(stage.boxes).filter((id) => this.cone.keys.has(this.doc.key[id])));
  }

  /** The stage, the mode and the selection stand in the address, so that a place can be linked to. */
  remember() {
    const words = new URLSearchParams();
    if (this.stage > 0) words.set("stage", this.doc.stages[this.stage].name);
    if (this.mode !== "after") words.set("show", this.mode);
    if (this.colour !== "kind") words.set("colour", this.colour);
    if (this.right) words.set("direction", "right");
    if (this.selected !== null) words.set(isGroup(this.selected) ? "group" : "box", String(numberOf(this.selected)));
    try {
      history.replaceState(null, "", `#${words}`);
    } catch {
      // Some viewers give pages no address.
    }
  }

  /** Reads the address; gives what is selected. A box may be one that is not at the stage. */
  recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    const stage = this.doc.stages.findIndex((it) => it.name === words.get("stage"));
    const mode = words.get("show");
    this.stage = Math.max(0, stage);
    this.mode = stage > 0 && ["before", "both"].includes(mode) ? mode : "after";
    this.colour = measureOf(this.doc, words.get("colour")) ? words.get("colour") : "kind";
    this.right = words.get("direction") === "right";
    const group = Number(words.get("group") ?? -1);
    const box = Number(words.get("box") ?? -1);
    if (group > 0 && group < this.doc.nGroups) return itemOfGroup(group);
    return Number.isInteger(box) && box >= 0 && box < this.doc.n ? itemOfBox(box) : null;
  }

  /** The address of an open page became another: the page goes there. */
  follow() {
    // Links inside the page are no places in the graph.
    if (location.hash.length > 1 && !location.hash.includes("=")) return;
    const panes = this.shownStages().length;
    const selected = this.recall();
    this.forgetCone();
    if (this.found) this.find(this.found.question, false, true);
    this.controls.update();
    this.refresh();
    if (panes !== this.shownStages().length) this.panesChanged();
    if (selected !== null) this.jump(this.at, selected);
    else this.select(null);
  }
}
