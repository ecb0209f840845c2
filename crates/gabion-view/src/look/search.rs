//! Queries over the boxes of a stage: words that all have to match, some of them with the field that they are looked for in.

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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    /// In lower case.
    word: String,
    /// Boxes that match are left out.
    not: bool,
}

/// A query: `op:matmul 576 -name:lm_head in:layers.3`. Words are parts of what they are looked for in; with `*` or `?` they
/// are patterns for all of it. A word without a field is looked for in the operator, the name, the type and the module path.
/// Case does not matter. Shapes match with and without their spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

/// The fields, for those who explain them.
pub const FIELDS: [(&str, &str); 5] = [
    ("op:", "the operator or kernel"),
    ("name:", "the name of a weight, input, output or value"),
    ("dtype:", "a dtype of a result"),
    ("shape:", "a shape of a result, with or without brackets"),
    ("in:", "the module path"),
];

impl Query {
    /// Reads a query. Every text is one.
    pub fn new(text: &str) -> Self {
        let terms = words(text).into_iter().filter_map(|word| term(&word));
        Self {
            terms: terms.collect(),
        }
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
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

/// Words are parted by spaces that stand in no brackets, so that `shape:[tokens, 576]` is one.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0usize);
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() {
            if depth == 0 && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn term(word: &str) -> Option<Term> {
    let (not, word) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let fields = [
        ("op:", Field::Op),
        ("name:", Field::Name),
        ("dtype:", Field::Dtype),
        ("shape:", Field::Shape),
        ("in:", Field::Module),
    ];
    let found = fields
        .into_iter()
        .find_map(|(prefix, field)| Some((field, word.strip_prefix(prefix)?)));
    let (field, word) = found.unwrap_or((Field::Any, word));
    let word = word.to_owned();
    (!word.is_empty()).then_some(Term { field, word, not })
}

impl Term {
    fn finds(&self, document: &Document, it: &ViewBox) -> bool {
        let module = || &*document.tree.get(it.group).path;
        let mut types = it.results.iter().map(|port| &*port.ty);
        match self.field {
            Field::Op => self.hits(&it.op),
            Field::Name => self.hits(&it.name),
            Field::Module => self.hits_module(module()),
            Field::Dtype => types.any(|ty| self.hits(dtype_and_shape(ty).0)),
            Field::Shape => types.any(|ty| self.hits_shape(dtype_and_shape(ty).1)),
            Field::Any => {
                self.hits(&it.op)
                    || self.hits(&it.name)
                    || types.any(|ty| self.hits_shape(ty))
                    || self.hits_module(module())
            }
        }
    }

    fn hits(&self, text: &str) -> bool {
        if self.word.contains(['*', '?']) {
            return pattern_matches(self.word.as_bytes(), text.as_bytes());
        }
        contains(text.as_bytes(), self.word.as_bytes())
    }

    /// A module path: `layers.1` is not `layers.12`.
    fn hits_module(&self, path: &str) -> bool {
        if self.field == Field::Any || self.word.contains(['*', '?']) {
            return self.hits(path);
        }
        let at = |start: usize| {
            let end = start + self.word.len();
            let begins = start == 0 || path.as_bytes()[start - 1] == b'.';
            begins && matches!(path.as_bytes().get(end), None | Some(b'.'))
        };
        let starts = 0..(path.len() + 1).saturating_sub(self.word.len());
        let mut starts = starts.filter(|start| {
            path.as_bytes()[*start..*start + self.word.len()]
                .eq_ignore_ascii_case(self.word.as_bytes())
        });
        starts.any(at)
    }

    /// Spaces in shapes do not matter.
    fn hits_shape(&self, text: &str) -> bool {
        if self.hits(text) {
            return true;
        }
        let dense: String = text.chars().filter(|c| *c != ' ').collect();
        self.hits(&dense) || self.hits(dense.trim_start_matches('[').trim_end_matches(']'))
    }
}

fn dtype_and_shape(ty: &str) -> (&str, &str) {
    match ty.find('[') {
        Some(at) => ty.split_at(at),
        None => (ty, ""),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

/// Whether a pattern with `*` and `?` describes all of a text. The pattern is in lower case.
fn pattern_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let fits = |c: &u8| *c == b'?' || *c == text[t].to_ascii_lowercase();
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if pattern.get(p).is_some_and(fits) {
            p += 1;
            t += 1;
        } else if let Some((after_star, at)) = retry {
            p = after_star;
            t = at + 1;
            retry = Some((p, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_describe_the_whole_text() {
        let hits = |pattern: &str, text: &str| pattern_matches(pattern.as_bytes(), text.as_bytes());
        assert!(hits("layers.*.q_proj.*", "layers.12.Q_proj.weight"));
        assert!(hits("*", ""));
        assert!(hits("a?c", "abc") && !hits("a?c", "ac"));
        assert!(hits("*aab", "aaaab") && !hits("*aab", "aaaaba"));
        assert!(!hits("matmul", "matmul_t"));
    }

    #[test]
    fn brackets_hold_words_together() {
        assert_eq!(
            words("shape:[tokens, 576]  OP:Add"),
            ["shape:[tokens,576]", "op:add"]
        );
        assert_eq!(words("  "), [""; 0]);
        assert!(Query::new("op: -").is_empty());
    }
}
