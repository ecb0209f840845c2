// Long lists: only the rows in view are in the page. The list has the focus and says which row is active, as trees and
// grids of ARIA do; the active row is always in the page, so it can be read out.

let listNumber = 0;

class Rows {
  /**
   * `role` and `rowRole` are ARIA's; `label` names the list; `height` is a row's in pixels. `render(at)` gives the children
   * of a row, `attributes(at)` what else it says; `activate(at)` is called for Enter and clicks, `move(at)` when a row
   * becomes active, `key(event, at)` for other keys (true if it was one of its own).
   */
  constructor(options) {
    Object.assign(this, { attributes: () => ({}), move: () => {}, key: () => false, rowRole: "row", height: 24, className: "", head: null }, options);
    this.id = `list-${listNumber++}`;
    this.n = 0;
    this.active = -1;
    this.inner = element("div", { class: "rows-inner", role: "presentation" });
    this.root = element("div", {
      class: `rows ${this.className}`, role: this.role, "aria-label": this.label, tabindex: "0",
      scroll: () => this.draw(), keydown: (event) => this.onKey(event), click: (event) => this.onClick(event),
      dblclick: (event) => this.onDouble(event),
    }, this.head ? [this.head, this.inner] : [this.inner]);
    this.headHeight = this.head ? this.height : 0;
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  /** Shows `n` rows. */
  set(n, active = -1) {
    this.n = n;
    this.active = active;
    this.inner.style.height = `${n * this.height}px`;
    if (this.role !== "tree") this.root.setAttribute(this.role === "grid" ? "aria-rowcount" : "data-rows", n + (this.head ? 1 : 0));
    this.draw(true);
  }

  /** Redraws what is in view. */
  draw() {
    const top = this.root.scrollTop;
    const first = Math.max(0, Math.floor((top - this.headHeight) / this.height) - 4);
    const end = Math.min(this.n, Math.ceil((top + this.root.clientHeight) / this.height) + 4);
    const rows = [];
    for (let at = first; at < end; at++) rows.push(this.row(at));
    if (this.active >= 0 && this.active < this.n && (this.active < first || this.active >= end)) rows.push(this.row(this.active));
    this.inner.replaceChildren(...rows);
    if (this.active >= 0 && this.active < this.n) this.root.setAttribute("aria-activedescendant", `${this.id}-${this.active}`);
    else this.root.removeAttribute("aria-activedescendant");
  }

  row(at) {
    const active = at === this.active;
    return element("div", {
      id: `${this.id}-${at}`, class: `row${active ? " active" : ""}`, role: this.rowRole, "data-at": at,
      "aria-selected": active ? "true" : "false", style: `top:${at * this.height}px;height:${this.height}px`,
      ...(this.role === "grid" ? { "aria-rowindex": at + (this.head ? 2 : 1) } : {}), ...this.attributes(at),
    }, this.render(at));
  }

  /** Makes a row the active one, and scrolls to it. */
  setActive(at) {
    if (at === this.active && at < 0) return;
    this.active = at;
    if (at >= 0) this.reveal(at);
    this.draw();
  }

  reveal(at) {
    const top = at * this.height;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop) this.root.scrollTop = top - this.height;
    else if (top + this.height + this.headHeight > scrollTop + clientHeight) this.root.scrollTop = top - clientHeight / 2 + this.height;
  }

  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step !== undefined && this.n > 0) {
      const from = this.active < 0 ? (step > 0 ? -1 : 0) : this.active;
      const at = Math.max(0, Math.min(this.n - 1, from + step));
      this.setActive(at);
      this.move(at);
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.active < 0) return;
      this.activate(this.active, true);
    } else if (!this.key(event, this.active)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  rowOf(event) {
    const row = event.target.closest(".row");
    return row && this.inner.contains(row) ? Number(row.dataset.at) : -1;
  }

  onClick(event) {
    const at = this.rowOf(event);
    if (at < 0) return;
    this.setActive(at);
    if (this.click) this.click(event, at);
    else this.activate(at, false);
  }

  onDouble(event) {
    const at = this.rowOf(event);
    if (at >= 0 && this.double) this.double(at);
  }
}

/** A grid of named columns: `[title, css width, align]` each. */
function grid(options) {
  const columns = options.columns.map(([, width]) => width).join(" ");
  const head = element("div", { class: "row head", role: "row", "aria-rowindex": "1", style: `grid-template-columns:${columns}` },
    options.columns.map(([title, , align]) => element("span", { role: "columnheader", class: align ?? "" }, [title])));
  const list = new Rows({
    ...options, role: "grid", className: `grid ${options.className ?? ""}`, head,
    attributes: (at) => ({ ...(options.attributes?.(at) ?? {}), "data-columns": "" }),
    render: (at) => options.cells(at).map((cell, column) => element("span", {
      role: "gridcell", class: options.columns[column][2] ?? "", title: typeof cell === "string" ? cell : null,
    }, [cell])),
  });
  list.root.style.setProperty("--columns", columns);
  return list;
}
