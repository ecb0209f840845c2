//! Queries over the boxes of a stage: words that all have to match, some of them with the field that they are looked for in.
//! The page of a report reads the same language (`report/js/search.js`); `tests/search_cases.json` says what both find.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use crate::document::{BoxId, Document, ViewBox};

/// Where a word is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Any,
    Op,
    Name,
    Dtype,
    Shape,
    Module,
}

#[derive(Clone, Debug)]
struct Term {
    field: Field,
    /// What the text has to have in it; patterns are anchored.
    expression: Regex,
    /// Boxes that match are left out.
    not: bool,
}

/// A query: `op:matmul 576 -name:lm_head in:layers.3 /gate|up/`. Words are parts of what they are looked for in; with `*`
/// or `?` they are patterns for all of it; between slashes they are regular expressions. A word without a field is looked
/// for in the operator, the name, the types and the module path. Case does not matter, nor do spaces in types.
#[derive(Clone, Debug, Default)]
pub struct Query {
    terms: Vec<Term>,
    fault: Option<String>,
}

/// The fields, with what each is, for those who explain them.
pub const FIELDS: [(&str, &str); 5] = [
    ("op:", "the operator or kernel"),
    ("name:", "the name of a weight, input, output or value"),
    ("dtype:", "a dtype of a result"),
    ("shape:", "a shape of a result, with or without brackets"),
    ("in:", "the module path"),
];

/// What [`FIELDS`] are looked for in, in the same order.
const READ: [Field; FIELDS.len()] = [
    Field::Op,
    Field::Name,
    Field::Dtype,
    Field::Shape,
    Field::Module,
];

/// An expression larger than this once it is compiled is refused: nobody types one, and it would be slow.
const MOST_BYTES: usize = 1 << 20;

impl Query {
    /// Reads a query. One that cannot be read has a [`fault`](Self::fault) and finds nothing.
    pub fn new(text: &str) -> Self {
        let terms: Result<Vec<Option<Term>>, String> =
            words(text).iter().map(|word| term(word)).collect();
        match terms {
            Ok(terms) => Self {
                terms: terms.into_iter().flatten().collect(),
                fault: None,
            },
            Err(fault) => Self {
                terms: Vec::new(),
                fault: Some(fault),
            },
        }
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Why it cannot be read.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether a box matches.
    pub fn matches(&self, document: &Document, it: &ViewBox) -> bool {
        let holds = |term: &Term| term.not != term.finds(document, it);
        !self.is_empty() && self.terms.iter().all(holds)
    }

    /// The boxes of a stage that match, in its order.
    pub fn find(&self, document: &Document, stage: usize) -> Vec<BoxId> {
        let Some(stage) = document.stages.get(stage) else {
            return Vec::new();
        };
        let boxes = stage.boxes.iter().copied();
        boxes
            .filter(|id| self.matches(document, document.get(*id)))
            .collect()
    }
}

/// Words are parted by spaces that stand neither in brackets nor in a regular expression, so that `shape:[tokens, 576]` is
/// one, and `/a b/`. Spaces in brackets say nothing and are left out.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '/' && depth == 0 && opens_expression(&word) {
            word.push(c);
            while let Some(inner) = chars.next() {
                word.push(inner);
                let ends = chars.peek().is_none_or(|next| next.is_whitespace());
                match inner {
                    '\\' => word.extend(chars.next()),
                    '/' if ends => break,
                    _ => {}
                }
            }
            continue;
        }
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !c.is_whitespace() {
            word.push(c);
        } else if depth == 0 && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether a slash after this begins a regular expression.
fn opens_expression(word: &str) -> bool {
    split(word).2.is_empty()
}

/// Whether a word is negated, its field, and the rest.
fn split(word: &str) -> (bool, Field, &str) {
    let (not, word) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let found = FIELDS.iter().zip(READ).find_map(|((prefix, _), field)| {
        let begins = word.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
        begins.then(|| (field, &word[prefix.len()..]))
    });
    let (field, word) = found.unwrap_or((Field::Any, word));
    (not, field, word)
}

/// A term, or nothing for a word that says nothing yet.
fn term(word: &str) -> Result<Option<Term>, String> {
    let (not, field, text) = split(word);
    if text.is_empty() {
        return Ok(None);
    }
    let source = match text.strip_prefix('/') {
        Some(rest) => inner_expression(rest)
            .ok_or_else(|| format!("`{text}` is not closed: a regular expression ends with `/`"))?
            .to_owned(),
        None if text.contains(['*', '?']) => pattern(text),
        // `in:layers.1` is not `layers.10`.
        None if field == Field::Module => format!(r"(?:^|\.){}(?:\.|$)", regex::escape(text)),
        None => regex::escape(text),
    };
    let built = RegexBuilder::new(&source)
        .case_insensitive(true)
        .size_limit(MOST_BYTES)
        .build();
    let expression = built
        .map_err(|error| format!("`{text}` is not a regular expression: {}", reason(&error)))?;
    Ok(Some(Term {
        field,
        expression,
        not,
    }))
}

/// What stands before the slash that ends an expression; nothing if none does.
fn inner_expression(rest: &str) -> Option<&str> {
    let inner = rest.strip_suffix('/').filter(|it| !it.is_empty())?;
    // `\/` is a slash, `\\/` a backslash and the end.
    let backslashes = inner.len() - inner.trim_end_matches('\\').len();
    (backslashes % 2 == 0).then_some(inner)
}

/// The expression of a pattern: it describes the whole text.
fn pattern(text: &str) -> String {
    let escaped = regex::escape(text);
    let inner = escaped.replace(r"\*", ".*").replace(r"\?", ".");
    format!("(?s)^(?:{inner})$")
}

/// The last line of what the parser says; those before it draw the expression again.
fn reason(error: &regex::Error) -> String {
    let words = error.to_string();
    let last = words.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl Term {
    fn finds(&self, document: &Document, it: &ViewBox) -> bool {
        let hits = |text: &str| self.expression.is_match(text);
        let module = || hits(&document.tree.get(it.group).path);
        let mut types = it.results.iter().map(|port| dense(&port.ty));
        match self.field {
            Field::Op => hits(&it.op),
            Field::Name => hits(&it.name),
            Field::Module => module(),
            Field::Dtype => types.any(|ty| hits(dtype_and_shape(&ty).0)),
            Field::Shape => types.any(|ty| {
                let shape = dtype_and_shape(&ty).1;
                let bare = shape.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
                hits(shape) || bare.is_some_and(hits)
            }),
            Field::Any => hits(&it.op) || hits(&it.name) || types.any(|ty| hits(&ty)) || module(),
        }
    }
}

/// A type without its spaces.
fn dense(ty: &str) -> Cow<'_, str> {
    match ty.contains(' ') {
        true => Cow::Owned(ty.replace(' ', "")),
        false => Cow::Borrowed(ty),
    }
}

fn dtype_and_shape(ty: &str) -> (&str, &str) {
    match ty.find('[') {
        Some(at) => ty.split_at(at),
        None => (ty, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_describe_the_whole_text() {
        let hits = |text: &str, of: &str| {
            let term = term(text).ok().flatten();
            term.is_some_and(|it| it.expression.is_match(of))
        };
        assert!(hits("layers.*.q_proj.*", "layers.12.Q_proj.weight"));
        assert!(hits("*", "") && hits("*", "two\nlines"));
        assert!(hits("a?c", "abc") && hits("a?c", "aéc") && !hits("a?c", "ac"));
        assert!(hits("*aab", "aaaab") && !hits("*aab", "aaaaba"));
        assert!(hits("matmul", "matmul_t") && !hits("matm?l", "matmul_t"));
        assert!(!hits("a.c", "abc"));
    }

    #[test]
    fn brackets_and_slashes_hold_words_together() {
        assert_eq!(
            words("shape:[tokens, 576]  OP:Add"),
            ["shape:[tokens,576]", "OP:Add"]
        );
        assert_eq!(
            words(r"-op:/a b|[/] \/ c/ d/e"),
            [r"-op:/a b|[/] \/ c/", "d/e"]
        );
        assert_eq!(words("  "), [""; 0]);
        assert!(Query::new("op: -").is_empty() && Query::new("op: -").fault().is_none());
    }

    #[test]
    fn an_expression_that_would_be_huge_is_refused() {
        let query = Query::new(r"/(?:\w{500}){500}/");
        assert!(query.fault().is_some() && query.is_empty());
    }
}
