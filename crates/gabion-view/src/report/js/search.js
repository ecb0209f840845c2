// Finding boxes by words. The index (lower-case words) is made once; a question is answered by asking it of each distinct
// word and then of each box by number.

const FIELDS = ["op", "dtype", "shape", "name", "in"];

class Search {
  constructor(doc) {
    this.doc = doc;
    this.lower = null;
    this.asked = new Map();
  }

  /** Lower-case words, without the spaces that types have. */
  prepare() {
    if (!this.lower) this.lower = this.doc.words.map((word) => word.toLowerCase().replaceAll(" ", ""));
  }

  /**
   * The boxes of a stage that match every term, in the order of reading. Terms are parted by spaces; `op:`, `dtype:`,
   * `shape:`, `name:` and `in:` ask one field; `/…/` is a regular expression.
   */
  find(stage, question) {
    this.prepare();
    const terms = this.terms(question);
    if (terms.length === 0) return [];
    const found = [];
    for (const id of stage.reading()) {
      if (terms.every((matches) => matches(id))) found.push(id);
    }
    return found;
  }

  terms(question) {
    const words = question.match(/(?:[^\s\[]|\[[^\]]*\]?)+/g) ?? [];
    return words.map((word) => {
      const field = FIELDS.find((it) => word.toLowerCase().startsWith(`${it}:`)) ?? "";
      return this.term(field, field ? word.slice(field.length + 1) : word);
    }).filter(Boolean);
  }

  /** A test of boxes, or null for a term that says nothing yet. */
  term(field, text) {
    if (text === "") return null;
    const { doc } = this;
    const ask = (part, of) => this.flags(part, text, of);
    const whole = (word) => word;
    const ops = () => ask("op", whole);
    const names = () => ask("name", whole);
    const dtypes = () => ask("dtype", (word) => word.split("[", 1)[0]);
    const shapes = () => ask("shape", (word) => word.slice(word.indexOf("[")));
    const typed = (flags) => (id) => {
      for (let at = doc.resultStart[id]; at < doc.resultStart[id + 1]; at++) if (flags[doc.types[at]]) return true;
      return false;
    };
    switch (field) {
      case "op": { const flags = ops(); return (id) => flags[doc.op[id]] === 1; }
      case "name": { const flags = names(); return (id) => flags[doc.name[id]] === 1; }
      case "dtype": return typed(dtypes());
      case "shape": return typed(shapes());
      case "in": {
        // `in:layers.1` is not `layers.10`.
        const flags = this.flags("in", isExpression(text) ? text : `.${text}.`, (word) => `.${word}.`);
        return (id) => flags[doc.groupPath[doc.group[id]]] === 1;
      }
      default: {
        const flags = ask("any", whole);
        const ofType = typed(flags);
        return (id) => flags[doc.op[id]] === 1 || flags[doc.name[id]] === 1 || ofType(id);
      }
    }
  }

  /** For each word of the document, whether the part of it that `of` gives has the text. */
  flags(part, text, of) {
    const name = `${part} ${text}`;
    const known = this.asked.get(name);
    if (known) return known;
    const matches = matcher(text);
    const flags = Uint8Array.from(this.lower, (word) => Number(matches(of(word))));
    if (this.asked.size > 32) this.asked.clear();
    this.asked.set(name, flags);
    return flags;
  }
}

const isExpression = (text) => text.length > 2 && text.startsWith("/") && text.endsWith("/");

function matcher(text) {
  if (isExpression(text)) {
    try {
      // As it is written: in lower case `\D` would be `\d`.
      const expression = new RegExp(text.slice(1, -1), "i");
      return (word) => expression.test(word);
    } catch {
      // An expression that is not finished is looked for as it stands.
    }
  }
  const plain = text.toLowerCase().replaceAll(" ", "");
  return (word) => word.includes(plain);
}
