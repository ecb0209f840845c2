// The passes as a slider: what each added, changed and removed as bars above it, and the pictures before and after it.

class Slider {
  constructor(app) {
    this.app = app;
    const { stages } = app.doc;
    this.range = element("input", {
      type: "range", id: "stage", min: "0", max: String(stages.length - 1), step: "1", value: "0", "aria-label": "Stage: the graph, after each pass, the plan",
      input: () => app.setStage(Number(this.range.value)),
    });
    this.bars = svg("svg", { class: "bars", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.name = element("output", { for: "stage", class: "stage-name" });
    this.facts = element("span", { class: "stage-facts" });
    const step = (by, label, words) => element("button", { type: "button", "aria-label": label, title: label, click: () => app.setStage(app.stage + by) }, [words]);
    this.previous = step(-1, "Stage before", "‹");
    this.next = step(1, "Next stage", "›");
    this.modes = ["before", "after", "both"].map((mode) => element("button", {
      type: "button", "aria-pressed": "false", "data-mode": mode, click: () => app.setMode(mode),
      title: { before: "The graph that the pass is given; what it removes is red", after: "The graph that the pass makes; what it added is green", both: "Both, side by side" }[mode],
    }, [mode[0].toUpperCase() + mode.slice(1)]));
    this.root = element("nav", { class: "slider", "aria-label": "Stages" }, [
      element("div", { class: "slider-words" }, [this.previous, this.next, this.name, this.facts]),
      element("div", { class: "track" }, [this.bars, this.range]),
      element("div", { class: "segmented", role: "group", "aria-label": "Before or after the pass" }, this.modes),
    ]);
    this.root.hidden = stages.length < 2;
    this.draw();
  }

  draw() {
    const { stages } = this.app.doc;
    const last = Math.max(1, stages.length - 1);
    const most = Math.max(1, ...stages.map((it) => Math.max(it.added + it.changed, it.removed)));
    const size = (n) => (n === 0 ? 0 : 2 + (Math.log(n + 1) / Math.log(most + 1)) * 18);
    this.bars.setAttribute("viewBox", "0 0 1000 44");
    const parts = [];
    stages.forEach((it, at) => {
      const x = 8 + (at / last) * 984;
      const bar = (n, y, word) => parts.push(svg("rect", { x: x - 7, y, width: 14, height: size(n), class: word }));
      const added = size(it.added);
      bar(it.added, 22 - added, "added");
      bar(it.changed, 22 - added - size(it.changed), "changed");
      bar(it.removed, 23, "removed");
      parts.push(svg("rect", { x: x - 1, y: 21, width: 2, height: 3, class: "tick" }));
    });
    this.bars.replaceChildren(...parts);
  }

  update() {
    const { app } = this;
    const { stages } = app.doc;
    const it = stages[app.stage];
    this.range.value = String(app.stage);
    const words = it.kind === "graph" ? "graph as built" : it.kind === "plan" ? "plan" : `after ${it.name}`;
    this.range.setAttribute("aria-valuetext", `${app.stage} of ${stages.length - 1}, ${words}`);
    this.name.textContent = it.kind === "graph" ? "Graph as built" : it.kind === "plan" ? "Plan" : it.name;
    const facts = [`${app.stage} of ${stages.length - 1} `];
    if (it.kind === "pass") {
      for (const [word, sign] of [["added", "+"], ["changed", "~"], ["removed", "−"]]) {
        if (it[word] > 0) facts.push(" ", element("span", { class: `chip ${word}`, title: `${countText(it[word])} ${word}` }, [`${sign}${countText(it[word])}`]));
      }
      facts.push(` · ${it.rewrites > 0 ? plural(it.rewrites, "rewrite") : "nothing to do"} · ${timeText(it.time_us * 1000)}`);
    }
    facts.push(` · ${plural(it.boxes, "box")}`);
    this.facts.replaceChildren(...facts);
    this.previous.disabled = app.stage === 0;
    this.next.disabled = app.stage === stages.length - 1;
    for (const button of this.modes) {
      button.disabled = app.stage === 0 && button.dataset.mode !== "after";
      button.setAttribute("aria-pressed", String(button.dataset.mode === app.mode));
    }
  }
}
