// The plan's weights: which stored tensors each is stacked of, in which formats, and how its rows are used.

class WeightsPanel {
  constructor(panels) {
    this.app = panels.app;
    this.doc = panels.doc;
    const { plan, words } = this.doc;
    this.weights = plan.weights;
    this.histograms = plan.histograms;
    const panel = panels.filtered({
      label: "Weights of the plan", columns: [["weight", "minmax(160px,3fr)", "path"], ["values", "minmax(110px,1.2fr)"], ["parts", "56px", "num"], ["stored as", "minmax(80px,1fr)"], ["layout", "64px"], ["bytes", "84px", "num"]],
      cells: (at) => {
        const it = this.weights[at];
        return [words[it.name], words[it.ty], String(it.parts.length), this.formats(it).join(", "), it.layout, bytesText(it.bytes)];
      },
      move: () => {},
      activate: (at) => this.showOne(at),
    }, this.weights.length, (at, word) => {
      const it = this.weights[at];
      return words[it.name].toLowerCase().includes(word) || words[it.ty].includes(word) || it.layout.includes(word)
        || it.parts.some(([source, stored]) => words[source].toLowerCase().includes(word) || words[stored].includes(word));
    }, "the weights");
    this.list = panel.list;
    this.select = panel.select;
    this.list.move = (row) => { if (!this.busy) this.list.activate(row); };
    this.detail = element("div", { class: "stack", role: "region", "aria-label": "Parts and segments", tabindex: "0" });
    this.root = element("div", { class: "split" }, [panel.root, this.detail]);
    const total = this.weights.reduce((sum, it) => sum + it.bytes, 0);
    const stacked = this.weights.filter((it) => it.parts.length > 1).length;
    this.extra = [...panel.extra, element("span", { class: "dim" }, [`${plural(stacked, "stack")} of several parts · ${bytesText(total)} stored`])];
    const first = this.weights.findIndex((it) => it.parts.length > 1);
    this.showOne(Math.max(0, first));
  }

  formats(weight) {
    return [...new Set(weight.parts.map(([, stored]) => this.doc.words[stored].split("[", 1)[0]))];
  }

  showOne(at) {
    const weight = this.weights[at];
    if (!weight) return;
    this.busy = true;
    this.select(at);
    this.busy = false;
    const { words } = this.doc;
    const rows = weight.parts.reduce((sum, part) => sum + part[4] - part[3], 0);
    const go = element("button", { type: "button", class: "small", click: () => this.app.jump(this.doc.plan.stage, itemOfBox(weight.id)) }, ["Show in the graph"]);
    const title = element("h3", {}, [words[weight.name], " ", element("span", { class: "type" }, [words[weight.ty]]), " ", go]);
    this.detail.replaceChildren(title, this.picture(weight, rows), this.table(weight));
  }

  /** Rows from top to bottom: parts to the left, segments to the right. */
  picture(weight, rows) {
    const { words } = this.doc;
    const [width, height] = [660, Math.max(64, Math.min(260, 34 * Math.max(weight.parts.length, weight.segments.length)))];
    const y = (row) => (rows > 0 ? (row / rows) * height : 0);
    const formats = this.formats(weight);
    const children = [];
    let row = 0;
    for (const [source, stored, , first, end] of weight.parts) {
      const [top, tall] = [y(row), y(end - first)];
      const format = words[stored].split("[", 1)[0];
      children.push(svg("rect", { x: 0, y: top + 0.5, width: 300, height: Math.max(1, tall - 1), rx: 3, class: `part format-${formats.indexOf(format) % 4}` }));
      if (tall >= 15) {
        const name = cut(words[source], `500 11px ${FONT}`, 230);
        children.push(svg("text", { x: 8, y: top + tall / 2 + 4 }, [name]), svg("text", { x: 292, y: top + tall / 2 + 4, "text-anchor": "end", class: "format" }, [format]));
      }
      row += end - first;
    }
    for (const [first, end, arrangement, done] of weight.segments) {
      const [top, tall] = [y(first), y(end - first)];
      children.push(svg("path", { class: "segment", d: `M308 ${top + 1}h6v${Math.max(1, tall - 2)}h-6` }));
      if (tall >= 13) children.push(svg("text", { x: 322, y: top + tall / 2 + 4 }, [cut([`rows ${first}–${end - 1}`, words[arrangement], words[done]].filter((it) => it && it !== "plain").join(" · "), `500 11px ${FONT}`, 336)]));
    }
    const label = `${plural(weight.parts.length, "part")}, ${plural(weight.segments.length, "segment")}, ${countText(rows)} rows`;
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "stack-picture", role: "img", "aria-label": label }, children);
  }

  table(weight) {
    const { words } = this.doc;
    const head = ["part", "stored", "rows", "bytes", "while loading"].map((it) => element("th", { scope: "col" }, [it]));
    let row = 0;
    const parts = weight.parts.map(([source, stored, recipe, first, end, bytes]) => {
      const to = `${row}–${row + end - first - 1}`;
      row += end - first;
      return element("tr", {}, [words[source], words[stored], first === 0 ? to : `${to} (${first}–${end - 1} of it)`, bytesText(bytes), words[recipe] || "as stored"].map((it) => element("td", {}, [it])));
    });
    const segments = weight.segments.map(([first, end, arrangement, done]) => element("tr", {}, [`rows ${first}–${end - 1}`, words[arrangement], words[done] || "written as they are"].map((it) => element("td", {}, [it]))));
    const tables = [element("table", {}, [element("caption", {}, ["Parts"]), element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, parts)])];
    if (segments.length > 0) {
      const titles = ["segment", "arrangement", "after the product"].map((it) => element("th", { scope: "col" }, [it]));
      tables.push(element("table", {}, [element("caption", {}, ["Segments"]), element("thead", {}, [element("tr", {}, titles)]), element("tbody", {}, segments)]));
    }
    const why = this.why(weight);
    if (why) tables.push(why);
    const spread = this.spread(weight);
    if (spread) tables.push(spread);
    return element("div", { class: "tables" }, tables);
  }

  /** What passes said about the products that read it. */
  why(weight) {
    const { app: { ledger, panels }, doc: { words } } = this;
    const lines = ledger.about(weight.id);
    if (lines.length === 0) return null;
    const cell = (children) => element("td", {}, children);
    const rows = lines.slice(0, MOST_LINKS).map((at) => element("tr", {}, [
      cell([element("button", { type: "button", class: "link", click: () => panels.showLedger(at) }, [words[ledger.lines.pass[at]]])]),
      cell([element("span", { class: `chip ${ledger.outcome(at)}` }, [ledger.outcome(at)])]),
      cell([words[ledger.lines.candidate[at]]]), cell([words[ledger.lines.why[at]]]), cell([ledger.sources(at)]),
    ]));
    if (lines.length > MOST_LINKS) rows.push(element("tr", {}, [element("td", { colspan: 5 }, [`and ${countText(lines.length - MOST_LINKS)} more`])]));
    const head = ["pass", "", "candidate", "why", "from"].map((it) => element("th", { scope: "col" }, [it]));
    return element("table", { class: "reasons" }, [element("caption", {}, ["Why"]), element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]);
  }

  /** How the values of each part are spread, as they are stored. */
  spread(weight) {
    const { words } = this.doc;
    const parts = weight.parts.filter((part) => part[6] > 0);
    if (parts.length === 0) return null;
    const head = ["part", "from", "to", "mean", "deviation", "values"].map((it) => element("th", { scope: "col" }, [it]));
    const rows = parts.map(([source, , , first, end, , number]) => {
      const it = this.histograms[number - 1];
      const name = `${words[source]}, rows ${first}–${end - 1}`;
      const numbers = it.values.map((value) => element("td", {}, [numberText(value)]));
      return element("tr", {}, [element("td", {}, [name]), ...numbers, element("td", {}, [this.bars(it, name)])]);
    });
    return element("table", { class: "spread" }, [element("caption", {}, ["Values"]), element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]);
  }

  bars(it, name) {
    const [width, height] = [192, 36];
    const most = Math.max(1, ...it.bins);
    const wide = width / it.bins.length;
    const bars = it.bins.map((n, at) => `M${(at * wide).toFixed(2)} ${height}v${(-height * n / most).toFixed(2)}h${wide.toFixed(2)}V${height}z`);
    const notes = [it.step > 1 ? `one block in ${it.step} counted` : "", it.not_finite > 0 ? `${countText(it.not_finite)} not finite` : ""].filter((note) => note);
    const label = [`Histogram of ${name}: ${numberText(it.values[0])} to ${numberText(it.values[1])}`, ...notes].join(", ");
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "bars", role: "img", "aria-label": label }, [svg("path", { d: bars.join("") }), svg("path", { class: "ground", d: `M0 ${height}h${width}` })]);
    return element("div", {}, [picture, ...notes.map((note) => element("div", { class: "dim" }, [note]))]);
  }
}
