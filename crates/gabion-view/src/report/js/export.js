// Files for other programs, as the window writes them (`export/`): a test compares them. DOT is of what is visible, Model
// Explorer's JSON of the stage that is shown, JSON of the whole document.

const quoted = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll("\n", "\\n")}"`;

/** The DOT language of Graphviz: open groups are clusters. `fill` gives the colour of an item. */
function dotText(stage, placement, fill) {
  const lines = [`digraph ${quoted(stage.doc.title)} {`, `  rankdir=${placement.right ? "LR" : "TB"};`, "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];"];
  let depth = 0;
  const closeTo = (to) => {
    for (; depth > to; depth--) lines.push(`${"  ".repeat(depth)}}`);
  };
  placement.nodes.forEach((node, at) => {
    let around = 0;
    for (let it = node.around; it; it = it.around) around += 1;
    closeTo(around);
    const indent = "  ".repeat(around + 1);
    const [first, words] = linesOf(stage, node.item);
    // As a number is written for programs.
    const n = isGroup(node.item) ? stage.counts()[numberOf(node.item)] : 0;
    const second = n > 0 ? `${n} ${n === 1 ? "box" : "boxes"}` : words;
    if (node.open) {
      lines.push(`${indent}subgraph cluster_${at} {`, `${indent}  label=${quoted(first)};`);
    } else {
      const label = quoted(second ? `${first}\n${second}` : first);
      lines.push(`${indent}n${at} [label=${label}, fillcolor="${fill(node.item)}"${isGroup(node.item) ? ", peripheries=2" : ""}];`);
    }
    depth = around + Number(node.open);
  });
  closeTo(0);
  for (const wire of placement.wires) lines.push(`  n${wire.from.number} -> n${wire.to.number} [label=${quoted(wire.type)}];`);
  return `${lines.join("\n")}\n}\n`;
}

/** What Google's Model Explorer reads: a graph of one stage, with namespaces for groups. */
function explorerJson(stage) {
  const { doc } = stage;
  const number = (id) => String(doc.keyNumbers[doc.key[id]]);
  const attr = (key, value) => ({ key, value });
  // Slashes part namespaces.
  const around = (id) => [...doc.ancestors(doc.group[id])].reverse().map((group) => doc.words[doc.groupName[group]].replaceAll("/", "∕")).join("/");
  const node = (id) => ({
    id: number(id),
    label: doc.opWord(id),
    namespace: around(id),
    attrs: [
      ...(doc.nameWord(id) ? [attr("name", doc.nameWord(id))] : []), ...doc.attributes(id).map(([name, value]) => attr(name, value)),
      attr("kind", doc.kinds[doc.kind[id]]), attr("operations", String(doc.flops[id])), attr("bytes", String(doc.bytes[id])),
    ],
    incomingEdges: stage.operandsOf(id).map(([maker, result], at) => ({ sourceNodeId: number(maker), sourceNodeOutputId: String(result), targetNodeInputId: String(at) })),
    outputsMetadata: doc.resultsOf(id).map((at, n) => ({ id: String(n), attrs: [attr("tensor_shape", doc.words[doc.types[at]])] })),
  });
  return { label: doc.title, graphs: [{ id: stage.info.name, nodes: Array.from(stage.boxes, node) }] };
}

/** All of the document. Boxes that stages share stand once; stages name them by number. */
function documentJson(doc) {
  const key = (it) => doc.keyNumbers[it];
  const boxes = Array.from(doc.key, (own, id) => ({
    key: key(own),
    stages: [doc.start[id], doc.end[id]],
    kind: doc.kinds[doc.kind[id]],
    op: doc.opWord(id),
    name: doc.nameWord(id),
    group: doc.group[id],
    operands: Array.from(doc.operands.subarray(doc.operandStart[id], doc.operandStart[id + 1]), (of, at) => [key(of), doc.resultsRead[doc.operandStart[id] + at]]),
    results: doc.resultsOf(id).map((at) => ({ type: doc.words[doc.types[at]], bytes: doc.typeBytes[at] })),
    attributes: doc.attributes(id),
    flops: doc.flops[id],
    bytes: doc.bytes[id],
    origins: doc.originKeys(id).map(key),
    location: doc.locWord(id),
  }));
  const groups = Array.from(doc.parent, (parent, at) => ({
    name: doc.words[doc.groupName[at]], path: doc.pathWord(at), parent: at === 0 ? null : parent, repeats: doc.repeats[at] || null,
  }));
  const stages = doc.stages.map((it, stage) => ({
    name: it.name, rewrites: it.rewrites, time_us: it.time_us,
    boxes: boxes.flatMap((box, id) => (box.stages[0] <= stage && stage < box.stages[1] ? [id] : [])),
  }));
  const { ledger } = doc;
  const lines = ledger.pass.map((pass, at) => ({
    pass: doc.words[pass], scope: doc.words[ledger.scope[at]], candidate: doc.words[ledger.candidate[at]],
    outcome: ledger.fired[at] === 1 ? "fired" : "refused", why: doc.words[ledger.why[at]],
    ...(ledger.rows[at].length > 0 ? { rows: ledger.rows[at].map(([tensor, start, end]) => ({ tensor: doc.words[tensor], rows: { start, end } })) } : {}),
    ...(ledger.from[at].length > 0 ? { origins: ledger.from[at].map((id) => key(doc.key[id])) } : {}),
  }));
  const faults = doc.faults.map(([box, fault]) => ({ box, fault }));
  return { title: doc.title, sizes: Object.fromEntries(doc.sizes), boxes, groups, stages, ledger: lines, faults };
}
