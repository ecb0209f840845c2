//! What was removed, added and changed between two snapshots, names of values and numbers aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::alignment::aligned;
use crate::compare::Kind;
use crate::normal::{Block, Item, Token, blocks, numbered, pinned, tokens};

/// What turns one snapshot into another; nothing if only names of values differ.
pub(crate) fn difference(kind: Kind, old: &str, new: &str) -> Option<String> {
    let (old, new) = (blocks(kind, old), blocks(kind, new));
    let pins = (pinned(&old), pinned(&new));
    let titles: Vec<&str> = new.iter().map(|it| &*it.title).collect();
    let gone = old.iter().filter(|it| !titles.contains(&&*it.title));
    let nothing = Block::default();
    let names = match (old.first(), new.first()) {
        (Some(old), Some(new)) => Names::of(old, new),
        _ => Names::default(),
    };
    let mut counts = Counts::default();
    let mut text = String::new();
    let mut moved = order(&old) != order(&new);
    for title in titles.iter().copied().chain(gone.map(|it| &*it.title)) {
        let of = |blocks: &'_ [Block]| blocks.iter().position(|it| it.title == title);
        let old = of(&old).map_or(&nothing, |at| &old[at]);
        let new = of(&new).map_or(&nothing, |at| &new[at]);
        if numbered(old, &pins.0) == numbered(new, &pins.1) {
            continue;
        }
        moved = false;
        if !title.is_empty() {
            let _ = writeln!(text, "{title}:");
        }
        write_block(old, new, &names, &mut counts, &mut text);
    }
    if moved {
        text += "the passes stand in another order\n";
    }
    (!text.is_empty()).then(|| format!("{}{text}", counts.summary()))
}

fn order(blocks: &[Block]) -> Vec<&str> {
    blocks.iter().map(|it| &*it.title).collect()
}

/// How many of each kind.
#[derive(Default)]
struct Counts(BTreeMap<String, [usize; 3]>);

impl Counts {
    fn summary(&self) -> String {
        let mut text = String::new();
        for (kind, counts) in &self.0 {
            let counted = ["removed", "added", "changed"].into_iter().zip(counts);
            let parts: Vec<String> = counted
                .filter(|(_, count)| **count > 0)
                .map(|(word, count)| format!("{count} {word}"))
                .collect();
            let _ = writeln!(text, "{kind}: {}", parts.join(", "));
        }
        text
    }

    /// Of one kind, as many removed as added are changed.
    fn add(&mut self, removed: &[&Item], added: &[&Item]) {
        let kinds: BTreeSet<&str> = removed.iter().chain(added).map(|it| &*it.kind).collect();
        for kind in kinds {
            let of = |items: &[&Item]| items.iter().filter(|it| it.kind == kind).count();
            let (removed, added) = (of(removed), of(added));
            let changed = removed.min(added);
            let counts = self.0.entry(kind.to_owned()).or_default();
            counts[0] += removed - changed;
            counts[1] += added - changed;
            counts[2] += changed;
        }
    }
}

fn write_block(
    old: &Block,
    new: &Block,
    first: &Names<'_>,
    counts: &mut Counts,
    text: &mut String,
) {
    let before = renamed(old, new, first);
    let after: Vec<&str> = new.items.iter().map(|it| &*it.text).collect();
    let (before, pairs) = {
        let pairs = aligned(before.len(), after.len(), |i, j| {
            u32::from(before[i] == after[j])
        });
        if pairs.len() == before.len() && pairs.len() == after.len() {
            // The names say the difference.
            let before: Vec<String> = old.items.iter().map(|it| it.text.clone()).collect();
            let pairs = aligned(before.len(), after.len(), |i, j| {
                u32::from(before[i] == after[j])
            });
            (before, pairs)
        } else {
            (before, pairs)
        }
    };
    let paired = pairs.clone();
    let (mut i, mut j) = (0, 0);
    // Old items that are shown.
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (to_i, to_j) in pairs.into_iter().chain([(before.len(), after.len())]) {
        let removed: Vec<&Item> = old.items[i..to_i].iter().collect();
        let added: Vec<&Item> = new.items[j..to_j].iter().collect();
        counts.add(&removed, &added);
        if let Some(owner) = removed
            .first()
            .and_then(|it| it.owner)
            .filter(|it| !told.contains(it))
        {
            line(text, ' ', &before[owner]);
            told.insert(owner);
        } else if let (None, Some(owner)) = (removed.first(), added.first().and_then(|it| it.owner))
        {
            let twin = paired.iter().find(|it| it.1 == owner).map(|it| it.0);
            if twin.is_some_and(|it| told.insert(it)) {
                line(text, ' ', &new.items[owner].text);
            }
        }
        told.extend(i..to_i);
        before[i..to_i].iter().for_each(|it| line(text, '-', it));
        after[j..to_j].iter().for_each(|it| line(text, '+', it));
        (i, j) = (to_i + 1, to_j + 1);
    }
}

fn line(text: &mut String, mark: char, item: &str) {
    for part in item.lines() {
        let _ = writeln!(text, "{mark} {part}");
    }
}

/// The old items with the new names of what is the same in both, here or in the first block.
fn renamed(old: &Block, new: &Block, first: &Names<'_>) -> Vec<String> {
    let mut names = Names::of(old, new);
    for (&old, &new) in &first.new_of {
        // Values without a name are numbered in every block anew.
        let named = old.starts_with('%') && !is_number(old);
        if named && !names.new_of.contains_key(old) && names.taken.insert(new) {
            names.new_of.insert(old, new);
        }
    }
    old.items.iter().map(|it| names.apply(&it.text)).collect()
}

fn values(text: &str) -> Vec<&str> {
    let values = tokens(text).into_iter().filter_map(|it| match it {
        Token::Value(name) => Some(name),
        _ => None,
    });
    values.collect()
}

/// True for a value that has no name but a number.
fn is_number(value: &str) -> bool {
    value.starts_with('%') && value[1..].bytes().all(|it| it.is_ascii_digit())
}

/// A text without what may be numbered otherwise, with or without names of values.
fn bare(text: &str, names: bool) -> String {
    let bare = |token| match token {
        Token::Value(name) if names && !is_number(name) => name,
        Token::Value(_) => "%",
        Token::Label(_) => "?",
        Token::Step(_) => "#",
        Token::Text(text) => text,
    };
    tokens(text).into_iter().map(bare).collect()
}

/// Which old name is which new one.
#[derive(Default)]
struct Names<'t> {
    new_of: BTreeMap<&'t str, &'t str>,
    taken: BTreeSet<&'t str>,
    known: BTreeSet<&'t str>,
}

impl<'t> Names<'t> {
    fn of(old: &'t Block, new: &'t Block) -> Self {
        let all = |block: &Block, names: bool| -> Vec<String> {
            let items = block.items.iter();
            items.map(|it| bare(&it.text, names)).collect()
        };
        let (old_bare, new_bare) = (all(old, false), all(new, false));
        let (old_named, new_named) = (all(old, true), all(new, true));
        let pairs = aligned(old_bare.len(), new_bare.len(), |i, j| {
            match old_bare[i] == new_bare[j] {
                true => 2 + u32::from(old_named[i] == new_named[j]),
                false => 0,
            }
        });
        let (same, other): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(|(i, j)| (&*old.items[i].text, &*new.items[j].text))
            .partition(|(old, new)| old == new);
        let mut names = Self::default();
        for (old, new) in same.into_iter().chain(other) {
            names.learn(old, new);
        }
        names.known = new.items.iter().flat_map(|it| values(&it.text)).collect();
        names
    }

    fn learn(&mut self, old: &'t str, new: &'t str) {
        let live = old.find(" live ").unwrap_or(old.len());
        for (a, b) in tokens(old).into_iter().zip(tokens(new)) {
            let ((Token::Value(a), Token::Value(b))
            | (Token::Label(a), Token::Label(b))
            | (Token::Step(a), Token::Step(b))) = (a, b)
            else {
                continue;
            };
            // Steps are numbered where they stand, not where values live.
            if a.as_ptr() as usize - old.as_ptr() as usize > live {
                break;
            }
            if !self.new_of.contains_key(a) && self.taken.insert(b) {
                self.new_of.insert(a, b);
            }
        }
    }

    fn apply(&self, text: &str) -> String {
        let mut out = String::new();
        for token in tokens(text) {
            match token {
                Token::Text(text) => out += text,
                Token::Value(name) | Token::Label(name) | Token::Step(name) => {
                    match self.new_of.get(name) {
                        Some(new) => out += new,
                        None if self.known.contains(name) => {
                            let _ = write!(out, "%old.{}", &name[1..]);
                        }
                        None => out += name,
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::difference_of;

    fn split(y: &str, op: &str, total: &str) -> String {
        format!(
            "graph @g(%x: f32[n, 4]) -> (f32[n, d0], f32[n, d1]) {{\n  \
             %w = weight {{name = \"w\"}} : f32[{total}, 4]\n  \
             %{y} = {op} %x, %w {{transpose_b = true}} : f32[n, {total}]\n  \
             %a, %b = split %{y} {{axis = 1, sizes = [d0, d1]}} : f32[n, d0], f32[n, d1]\n  \
             return %a, %b\n}}\n"
        )
    }

    /// Sizes that are left out cannot be read as a graph's.
    #[test]
    fn redacted_graphs_are_compared_by_structure() {
        let old = split("y", "matmul", "d2");
        assert!(gabion_ir::Graph::parse(&old).is_err());
        let equal = split("other", "matmul", "d2");
        assert_eq!(difference_of(Kind::Graph, &old, &equal), None);
        let scoped = equal.replace("d2]\n", "d2] in \"layers.0\"\n");
        assert_eq!(difference_of(Kind::Graph, &old, &scoped), None);
        let output = old.replace("return %a", "return c = %a");
        let said = difference_of(Kind::Graph, &old, &output).expect("another output");
        assert_eq!(
            said,
            "output: 1 changed\n- return a = %a\n+ return c = %a\n"
        );
        let other = split("other", "product", "d2");
        let said = difference_of(Kind::Graph, &old, &other).expect("another operator");
        let expected = "node: 1 changed\n\
             - %other = matmul %x, %w {transpose_b = true} : f32[n, d2]\n\
             + %other = product %x, %w {transpose_b = true} : f32[n, d2]\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn the_wiring_is_compared() {
        let old = "graph @g(%x: f32[d0]) -> (f32[d0]) {\n  %a = relu %x : f32[d0]\n  \
             %b = neg %x : f32[d0]\n  %c = sub %a, %b : f32[d0]\n  return %c\n}\n";
        let new = old.replace("sub %a, %b", "sub %b, %a");
        let said = difference(Kind::Graph, old, &new).expect("another graph");
        assert!(said.contains("- %c = sub %a, %b"), "{said}");
        assert!(said.contains("+ %c = sub %b, %a"), "{said}");
    }

    const PLAN: &str = "plan @qkv target cpu {\n  input %x: f32[t, 64]\n  weight @kv: f32[96, 64] tiles {\n    \
         rows 0..32 of \"k\": f32[32, 64]\n    rows 0..64 of \"v\": f32[64, 64]\n  }\n  \
         arena %k: f32[32*t] at [0] live 0..1\n  arena %v: f32[64*t] at [128*t] live 0..1\n  \
         step 0: matmul @kv\n    reads %x[t, 64]\n    writes %k[t, 32], %v[t, 64]\n  \
         step 1: relu\n    reads %k[t, 32]\n    writes %k[t, 32]\n  \
         return k = %k[t, 32]\n  return v = %v[t, 64]\n}\n";

    #[test]
    fn a_plan_says_which_parts_buffers_and_steps_changed() {
        let renamed = PLAN.replace("%k", "%key").replace("%v", "%k");
        assert_eq!(difference(Kind::Plan, PLAN, &renamed), None);
        let input = PLAN.replace("%x", "%z");
        let said = difference(Kind::Plan, PLAN, &input).expect("another input");
        assert!(said.starts_with("input: 1 changed\n"), "{said}");
        let new = renamed
            .replace("live 0..1", "live 0..2")
            .replace("    rows 0..64 of \"v\": f32[64, 64]\n", "")
            .replace("  step 1", "  step 1: neg\n    reads %k[t, 64]\n  step 2");
        let said = difference(Kind::Plan, PLAN, &new).expect("another plan");
        let expected = "part: 1 removed\nstep: 1 added\n  weight @kv: f32[96, 64] tiles {\n\
             - rows 0..64 of \"v\": f32[64, 64]\n+ step 1: neg\n+   reads %k[t, 64]\n";
        assert_eq!(said, expected);
    }

    const PASSES: &str = "graph @g(%x: f32[2]) -> (f32[2]) {\n  %y = relu %x : f32[2]\n  return %y\n}\n\n\
         fuse: 1 rewrite\n--- @g\n+++ @g\n  %x: f32[2]\n- %y = relu %x : f32[2]\n\
         + %y = fused %x : f32[2]\n  return %y\n\nledger\nfuse: -: relu %y: one step\n\
         stack: -: relu %y: refused: no product\n";

    #[test]
    fn passes_say_which_pass_and_which_entry_changed() {
        let renamed = PASSES
            .replace("return %y", "return y = %out")
            .replace("%y", "%out");
        assert_eq!(difference(Kind::Passes, PASSES, &renamed), None);
        let new = renamed
            .replace("one step", "two steps")
            .replace("= fused", "= fused_relu");
        let said = difference(Kind::Passes, PASSES, &new).expect("other passes");
        let expected = "entry: 1 changed\nline: 1 changed\npass fuse:\n- + %out = fused %x : f32[2]\n\
             + + %out = fused_relu %x : f32[2]\nledger of fuse:\n- fuse: -: relu %out: one step\n\
             + fuse: -: relu %out: two steps\n";
        assert_eq!(said, expected);
        let less = PASSES.replace("stack: -: relu %y: refused: no product\n", "");
        let said = difference(Kind::Passes, PASSES, &less).expect("an entry less");
        assert!(
            said.starts_with("entry: 1 removed\nledger of stack:\n- stack"),
            "{said}"
        );
    }

    /// A pass that runs twice is compared twice.
    #[test]
    fn every_run_of_a_pass_is_compared() {
        let again = "\nfuse: 2 rewrites\n--- @g\n+++ @g\n- %y = fused %x : f32[2]\n\nledger\n";
        let old = PASSES.replace("\nledger\n", again);
        let new = old.replace("- %y = fused", "- %y = joined");
        let said = difference(Kind::Passes, &old, &new).expect("other passes");
        let expected = "line: 1 changed\npass fuse, time 2:\n- - %y = fused %x : f32[2]\n\
             + - %y = joined %x : f32[2]\n";
        assert_eq!(said, expected);
    }

    /// What is left out is numbered anew, and that is no change.
    #[test]
    fn one_weight_more_is_one_change() {
        let line = |value: &str, at: usize| {
            format!(
                "  %{at} = weight {{name = \"weight.{at}\"}} : f32[d0, d0]\n  \
                 %{value} = matmul %x, %{at} {{transpose_b = true}} : f32[t, d0]\n"
            )
        };
        let graph = |values: &[&str]| {
            let list: Vec<String> = values.iter().map(|it| format!("%{it}")).collect();
            let types = vec!["f32[t, d0]"; values.len()].join(", ");
            let lines: String = values
                .iter()
                .enumerate()
                .map(|(at, it)| line(it, at))
                .collect();
            format!(
                "graph @g(%x: f32[t, d0]) -> ({types}) {{\n{lines}  return {}\n}}\n",
                list.join(", ")
            )
        };
        let (old, new) = (graph(&["q", "v"]), graph(&["q", "k", "v"]));
        assert!(gabion_ir::Graph::parse(&old).is_ok(), "{old}");
        let said = difference_of(Kind::Graph, &old, &new).expect("another graph");
        let expected = "head: 1 changed\nnode: 2 added\noutput: 1 added\n";
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("+ %1 = weight"), "{said}");
        assert!(said.contains("+ %k = matmul"), "{said}");
        assert!(!said.contains("- %"), "{said}");
    }
}
