// Finding boxes by words, in the language of the window's search (`look/search.rs`); `tests/search_cases.json` says what both
// find. Each term is one regular expression, asked of each distinct word once and of each box by its word's number.

const FIELDS = ["op", "dtype", "shape", "name", "in"];

/** A question that cannot be read. */
class Unreadable extends Error {}

class Search {
  constructor(doc) {
    this.doc = doc;
    this.asked = new Map();
    this.dense = new Map();
  }

  /**
   * The boxes of a stage that match every term, in the order of reading; `fault` says why a question cannot be read. Terms are
   * parted by spaces; `op:`, `dtype:`, `shape:`, `name:` and `in:` ask one field, `*` and `?` make a pattern, `/…/` is a regular
   * expression, and `-` in front means not.
   */
  find(stage, question) {
    let terms;
    try {
      terms = wordsOf(question).map((word) => this.term(word)).filter(Boolean);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return { list: [], fault: error.message };
    }
    const list = [];
    if (terms.length > 0) for (const id of stage.reading()) if (terms.every((matches) => matches(id))) list.push(id);
    return { list, fault: null };
  }

  /** A test of boxes, or null for a word that says nothing yet. */
  term(word) {
    const [not, field, text] = splitWord(word);
    if (text === "") return null;
    const finds = this.finder(field, text, expressionOf(field, text));
    return not ? (id) => !finds(id) : finds;
  }

  finder(field, text, expression) {
    const { doc } = this;
    const hits = (word) => expression.test(word);
    const ask = (part, test) => this.asker(`${part} ${field}:${text}`, test);
    const whole = ask("whole", (number) => hits(doc.words[number]));
    const typed = (part, test) => {
      const has = ask(part, (number) => test(this.typeOf(number)));
      return (id) => {
        for (let at = doc.resultStart[id]; at < doc.resultStart[id + 1]; at++) if (has(doc.types[at])) return true;
        return false;
      };
    };
    const inModule = (id) => whole(doc.groupPath[doc.group[id]]);
    switch (field) {
      case "op": return (id) => whole(doc.op[id]);
      case "name": return (id) => whole(doc.name[id]);
      case "in": return inModule;
      case "dtype": return typed("dtype", ([dtype]) => hits(dtype));
      case "shape": return typed("shape", ([, shape]) => hits(shape) || (shape !== "" && hits(shape.slice(1, -1))));
      default: {
        const ofType = typed("type", ([dtype, shape]) => hits(dtype + shape));
        return (id) => whole(doc.op[id]) || whole(doc.name[id]) || ofType(id) || inModule(id);
      }
    }
  }

  /** A test of words by their numbers, each asked once. The last few questions are kept. */
  asker(name, test) {
    let answers = this.asked.get(name);
    if (!answers) {
      answers = new Uint8Array(this.doc.words.length);
      if (this.asked.size > 32) this.asked.clear();
      this.asked.set(name, answers);
    }
    return (number) => {
      if (answers[number] === 0) answers[number] = test(number) ? 2 : 1;
      return answers[number] === 2;
    };
  }

  /** The dtype and the shape of a type, without its spaces. */
  typeOf(number) {
    let parts = this.dense.get(number);
    if (!parts) {
      const type = this.doc.words[number].replaceAll(" ", "");
      const at = type.indexOf("[");
      parts = at < 0 ? [type, ""] : [type.slice(0, at), type.slice(at)];
      this.dense.set(number, parts);
    }
    return parts;
  }
}

/** Words are parted by spaces that stand neither in brackets, where they say nothing, nor in a regular expression. */
function wordsOf(question) {
  const words = [];
  let [word, depth, at] = ["", 0, 0];
  const next = () => {
    const char = String.fromCodePoint(question.codePointAt(at));
    at += char.length;
    return char;
  };
  const isSpace = (char) => /^\s$/.test(char);
  while (at < question.length) {
    const char = next();
    if (char === "/" && depth === 0 && splitWord(word)[2] === "") {
      word += char;
      while (at < question.length) {
        const inner = next();
        word += inner;
        if (inner === "\\" && at < question.length) word += next();
        else if (inner === "/" && (at >= question.length || isSpace(question[at]))) break;
      }
      continue;
    }
    if (char === "[") depth += 1;
    else if (char === "]") depth = Math.max(0, depth - 1);
    if (!isSpace(char)) word += char;
    else if (depth === 0 && word !== "") {
      words.push(word);
      word = "";
    }
  }
  return word === "" ? words : [...words, word];
}

/** Whether a word is negated, its field, and the rest. */
function splitWord(word) {
  const not = word.startsWith("-");
  const rest = not ? word.slice(1) : word;
  const field = FIELDS.find((it) => rest.toLowerCase().startsWith(`${it}:`)) ?? "";
  return [not, field, field ? rest.slice(field.length + 1) : rest];
}

const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

function expressionOf(field, text) {
  if (text.startsWith("/")) return readExpression(text);
  if (/[*?]/.test(text)) return new RegExp(`^(?:${escaped(text).replaceAll("\\*", ".*").replaceAll("\\?", ".")})$`, "isu");
  // `in:layers.1` is not `layers.10`.
  return new RegExp(field === "in" ? `(?:^|\\.)${escaped(text)}(?:\\.|$)` : escaped(text), "iu");
}

function readExpression(text) {
  const inner = text.slice(1, -1);
  // `\/` is a slash, `\\/` a backslash and the end.
  if (text.length < 3 || !text.endsWith("/") || inner.match(/\\*$/)[0].length % 2 === 1) {
    throw new Unreadable(`\`${text}\` is not closed: a regular expression ends with \`/\``);
  }
  const fail = (why) => { throw new Unreadable(`\`${text}\` is not a regular expression: ${why}`); };
  // What the window's expressions do not know.
  if (/\\[1-9]|\\k<|\(\?<?[=!]/.test(inner.replaceAll("\\\\", "").replace(/\[(?:\\.|[^\]\\])*\]/g, ""))) fail("it looks around, or back");
  try {
    return new RegExp(inner, "iu");
  } catch (error) {
    return fail(error.message.split(": ").pop());
  }
}
