//! What a snapshot leaves out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use gabion_ir::{Graph, Op};
use gabion_plan::{PartSource, Plan};

/// What a snapshot leaves out, so that it holds for other models of the same structure.
///
/// ```
/// use gabion_ir::Graph;
/// use gabion_testing::{Redactions, graph_text};
///
/// let text = "graph @g(%x: f32[tokens, 64]) -> (f32[tokens, 32]) {\n  \
///     %w = weight {name = \"layers.3.q_proj.weight\"} : f32[32, 64]\n  \
///     %y = matmul %x, %w {transpose_b = true} : f32[tokens, 32]\n  return %y\n}\n";
/// let graph: Graph = text.parse().unwrap();
/// let text = graph_text(&graph, &Redactions::new().weights().dims());
/// assert!(text.contains("%w = weight {name = \"weight.0\"} : f32[d1, d0]"), "{text}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redactions {
    weights: bool,
    dims: bool,
}

/// Numbers below this one are axes, ranks and the like, and stay.
const SMALLEST_SIZE: u64 = 8;

impl Redactions {
    /// Nothing is left out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names of weights become `weight.0`, `weight.1`, .. in the order of the text.
    #[must_use]
    pub fn weights(mut self) -> Self {
        self.weights = true;
        self
    }

    /// Whole numbers of 8 and more become `d0`, `d1`, .. in the order in which they are met, equal ones the same: sizes, and
    /// what is computed of sizes. Numbers of steps stay, and so does what stands in quotes. Offsets in the arena become `_`:
    /// which of them happen to equal a size says nothing.
    #[must_use]
    pub fn dims(mut self) -> Self {
        self.dims = true;
        self
    }

    /// The graph with other names of weights, if they are left out.
    pub(crate) fn graph(self, graph: &Graph) -> Graph {
        let mut graph = graph.compacted();
        if self.weights {
            let mut names = Names::default();
            for id in graph.canonical_order() {
                if let Op::Weight(weight) = &mut graph.node_mut(id).op {
                    weight.name = names.get(&weight.name);
                }
            }
        }
        graph
    }

    /// The plan with other names of weights, if they are left out.
    pub(crate) fn plan(self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        if self.weights {
            let mut names = Names::default();
            for (at, weight) in plan.weights.iter_mut().enumerate() {
                weight.name = format!("stack.{at}");
                for part in &mut weight.parts {
                    if let PartSource::Checkpoint(name) = &mut part.source {
                        *name = names.get(name).to_string();
                    }
                }
            }
        }
        plan
    }

    /// The text without sizes, if they are left out.
    pub(crate) fn text(self, text: &str) -> String {
        match self.dims {
            true => without_sizes(text),
            false => text.to_owned(),
        }
    }
}

#[derive(Default)]
struct Names(BTreeMap<String, Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        let next = self.0.len();
        let new = || format!("weight.{next}").into();
        self.0.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

/// Words before numbers that count and do not measure.
const COUNTED: [&str; 2] = ["step ", "live "];

fn without_sizes(text: &str) -> String {
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut quoted = false;
    while at < bytes.len() {
        let rest = &text[at..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if quoted || digits == 0 {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            if quoted && rest.starts_with('\\') {
                // The escaped character cannot end the quotes.
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..1 + escaped]);
                at += 1 + escaped;
                continue;
            }
            quoted ^= rest.starts_with('"');
            out.push_str(&rest[..length]);
            at += length;
            continue;
        }
        let number = &rest[..digits];
        if is_size(text, at, number) && in_offset(text, at) {
            out.push('_');
        } else if is_size(text, at, number) {
            let next = labels.len();
            let label = labels.entry(number).or_insert(next);
            let _ = write!(out, "d{label}");
        } else {
            out.push_str(number);
        }
        at += digits;
    }
    out
}

/// Inside the brackets of `at [256*tokens]`.
fn in_offset(text: &str, at: usize) -> bool {
    let open = text[..at].rfind(['[', ']', '\n']);
    open.is_some_and(|open| text[..=open].ends_with(" at ["))
}

/// A number that stands alone: not in a name, a fraction, an exponent or a dtype, and not one that counts.
fn is_size(text: &str, at: usize, number: &str) -> bool {
    let (before, after) = (&text[..at], &text[at + number.len()..]);
    let range = before.ends_with("..");
    let last = before.chars().next_back().filter(|_| !range);
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '@' | '-');
    if last.is_some_and(part) {
        return false;
    }
    let fraction = after.starts_with('.') && !after.starts_with("..");
    let word = after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if fraction || word {
        return false;
    }
    let start = match range {
        true => before[..before.len() - 2].trim_end_matches(|c: char| c.is_ascii_digit()),
        false => before,
    };
    let counted = COUNTED.iter().any(|word| start.ends_with(word));
    let large = number.parse().is_ok_and(|it: u64| it >= SMALLEST_SIZE);
    !counted && (large || number.len() > 19)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_get_labels_and_nothing_else_does() {
        for (text, expected) in [
            ("f32[tokens, 576]", "f32[tokens, d0]"),
            ("q4_1[64, 64] {axis = 0}", "q4_1[d0, d0] {axis = 0}"),
            ("%x12 = relu %9", "%x12 = relu %9"),
            (
                "rows 0..64 of \"layers.12.w\"",
                "rows 0..d0 of \"layers.12.w\"",
            ),
            ("step 12 matmul [256*tokens]", "step 12 matmul [d0*tokens]"),
            ("live 10..22", "live 10..22"),
            ("eps = 0.00001, scale = 12.5", "eps = 0.00001, scale = 12.5"),
            ("sizes = [576, 192, 192]", "sizes = [d0, d1, d1]"),
            ("\"a \\\" 99\" 99", "\"a \\\" 99\" d0"),
            ("[64*t] at [64*t] live 0..1", "[d0*t] at [_*t] live 0..1"),
            ("[64, 2, 7, 8]", "[d0, 2, 7, d1]"),
        ] {
            assert_eq!(without_sizes(text), expected);
        }
    }
}
