// A picture of one stage that can be moved, magnified and clicked. Two panes share one camera, so they move together; one of
// them may be shifted, so that what is selected is seen at the same place in both.

/** What part of the world is seen: `x`, `y` at the upper left, `k` pixels to a unit. */
class Camera {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.k = 1;
    this.listeners = [];
    this.moving = 0;
  }

  set(x, y, k) {
    [this.x, this.y, this.k] = [x, y, Math.min(4, Math.max(0.005, k))];
    for (const listener of this.listeners) listener();
  }

  zoom(factor, px, py) {
    const k = Math.min(4, Math.max(0.005, this.k * factor));
    this.set(this.x + px / this.k - px / k, this.y + py / this.k - py / k, k);
  }

  /** Goes there in a few frames, or at once where motion is not wanted. */
  glide(x, y, k) {
    cancelAnimationFrame(this.moving);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.set(x, y, k);
      return;
    }
    const [x0, y0, k0, begin] = [this.x, this.y, this.k, performance.now()];
    const step = (now) => {
      const share = Math.min(1, (now - begin) / 180);
      const eased = 1 - (1 - share) ** 3;
      this.set(x0 + (x - x0) * eased, y0 + (y - y0) * eased, k0 * (k / k0) ** eased);
      if (share < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  stop() { cancelAnimationFrame(this.moving); }
}

class Pane {
  constructor(app, label) {
    this.app = app;
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": label, "aria-describedby": "canvas-help" });
    this.caption = element("div", { class: "caption" });
    this.root = element("div", { class: "pane" }, [this.canvas, this.caption]);
    this.context = this.canvas.getContext("2d");
    this.dirty = false;
    this.shift = [0, 0];
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.root);
    app.camera.listeners.push(() => this.draw());
  }

  resize() {
    this.width = this.root.clientWidth;
    this.height = this.root.clientHeight;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.paint();
    this.app.resized();
  }

  /** Shows a stage as it is placed now. */
  show(stage, placement, look, caption) {
    Object.assign(this, { stage, placement, look });
    this.caption.textContent = caption;
    this.draw();
  }

  /** Draws before the next frame, however often it is asked. */
  draw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => this.paint());
  }

  /** The camera, as it looks at this pane. */
  get camera() {
    const { x, y, k } = this.app.camera;
    return { x: x - this.shift[0], y: y - this.shift[1], k };
  }

  view() {
    const { x, y, k } = this.camera;
    return { left: x, top: y, right: x + this.width / k, bottom: y + this.height / k };
  }

  paint() {
    this.dirty = false;
    if (!this.placement || !this.width) return;
    const { context } = this;
    const { x, y, k } = this.camera;
    const scale = this.ratio * k;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = this.look.theme.page;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(scale, 0, 0, scale, -x * scale, -y * scale);
    paintScene(new CanvasPainter(context, k), this.placement, this.look, this.view(), k);
  }

  /** All of it, or its beginning where all of it would be smaller than `least`. */
  fit(least = 0.03) {
    const { width, height } = this;
    const shown = this.app.panes.filter((pane) => !pane.root.hidden && pane.placement);
    if (shown.length === 0 || !width) return;
    const left = Math.min(...shown.map((it) => it.shift[0]));
    const top = Math.min(...shown.map((it) => it.shift[1]));
    const w = Math.max(...shown.map((it) => it.shift[0] + it.placement.w)) - left;
    const h = Math.max(...shown.map((it) => it.shift[1] + it.placement.h)) - top;
    // The legend and the caption lie over the edges.
    const k = Math.max(least, Math.min(1.2, (width - 24) / w, (height - 84) / h));
    const [px, py] = [width / k, height / k];
    this.app.camera.stop();
    this.app.camera.set(left + (w < px ? (w - px) / 2 : -20 / k), top + (h < py ? (h - py) / 2 : -42 / k), k);
  }

  /** Brings an item to the middle, large enough to read. */
  goTo(node) {
    const { camera } = this.app;
    const fits = Math.min((this.width - 60) / node.w, (this.height - 60) / node.h);
    const k = Math.min(Math.max(camera.k, 0.85), Math.max(fits, 0.02), 1.6);
    const [x, y] = [node.x + node.w / 2 + this.shift[0], node.y + node.h / 2 + this.shift[1]];
    camera.glide(x - this.width / k / 2, y - this.height / k / 2, k);
  }

  /** Moves only if the item is not in view or too small. */
  keepInView(node) {
    const view = this.view();
    const inside = node.x >= view.left && node.x + node.w <= view.right && node.y >= view.top && node.y + node.h <= view.bottom;
    if (!inside || this.app.camera.k < 0.4) this.goTo(node);
  }

  nodeAt(event) {
    const { x, y, k } = this.camera;
    const box = this.canvas.getBoundingClientRect();
    return this.placement?.at((event.clientX - box.left) / k + x, (event.clientY - box.top) / k + y) ?? null;
  }

  listen() {
    const { canvas, app } = this;
    const pointers = new Map();
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      moved = 0;
      app.camera.stop();
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) {
        this.hover(event);
        return;
      }
      const now = [event.clientX, event.clientY];
      moved += Math.hypot(now[0] - last[0], now[1] - last[1]);
      if (pointers.size === 2) this.pinch(pointers, event.pointerId, now);
      else app.camera.set(app.camera.x - (now[0] - last[0]) / app.camera.k, app.camera.y - (now[1] - last[1]) / app.camera.k, app.camera.k);
      pointers.set(event.pointerId, now);
    });
    const release = (event) => {
      const wasDown = pointers.delete(event.pointerId);
      if (wasDown && event.type === "pointerup" && moved < 5) app.clicked(this, this.nodeAt(event));
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => app.tip.hide());
    canvas.addEventListener("dblclick", (event) => {
      const node = this.nodeAt(event);
      if (node && isGroup(node.item)) app.toggle(numberOf(node.item), this);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      const unit = event.deltaMode === 1 ? 16 : 1;
      app.camera.stop();
      app.camera.zoom(Math.exp(-event.deltaY * unit * 0.0016), event.clientX - box.left, event.clientY - box.top);
      app.tip.hide();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => app.canvasKey(this, event));
  }

  pinch(pointers, id, now) {
    const [other] = [...pointers].filter(([key]) => key !== id).map(([, point]) => point);
    const last = pointers.get(id);
    const box = this.canvas.getBoundingClientRect();
    const before = Math.hypot(last[0] - other[0], last[1] - other[1]) || 1;
    const after = Math.hypot(now[0] - other[0], now[1] - other[1]) || 1;
    this.app.camera.zoom(after / before, (now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top);
  }

  hover(event) {
    const node = this.nodeAt(event);
    this.canvas.style.cursor = node ? "pointer" : "grab";
    if (!node || node.open) this.app.tip.hide();
    else this.app.tip.show(event, this.app.summary(this.stage, node.item));
  }

  /** The picture as it is seen now. */
  svg(title) {
    const { x, y, k } = this.camera;
    const painter = new SvgPainter();
    const view = this.view();
    paintScene(painter, this.placement, this.look, view, Math.max(k, 0.76));
    return painter.document(x, y, view.right - view.left, view.bottom - view.top, this.look.theme.page, title);
  }
}
