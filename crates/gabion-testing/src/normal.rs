//! The texts of snapshots as items in which only the names that mean something stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::compare::Kind;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    /// A value's name, `%x`.
    Value(&'t str),
    /// What stands for something that is left out: `d3`, `"weight.3"`, `@stack.3`.
    Label(&'t str),
    /// The number of a step.
    Step(&'t str),
    /// Anything else.
    Text(&'t str),
}

/// A thing that a text tells: a node, a weight, a part, a step with what it reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it is.
    pub kind: String,
    /// Its lines.
    pub text: String,
    /// The item that it is part of, by its place in the block.
    pub owner: Option<usize>,
}

/// Items whose names belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// What the block tells of; empty where a text has but one.
    pub title: String,
    pub items: Vec<Item>,
}

/// The blocks of a snapshot.
pub(crate) fn blocks(kind: Kind, text: &str) -> Vec<Block> {
    match kind {
        Kind::Graph => vec![block("", text, "node", true)],
        Kind::Plan => vec![block("", text, "", false)],
        Kind::Passes => blocks_of_passes(text),
    }
}

fn blocks_of_passes(text: &str) -> Vec<Block> {
    let mut parts = text.split("\n\n");
    let graph = parts.next().unwrap_or_default();
    let mut blocks = vec![block("the graph", graph, "node", false)];
    for part in parts {
        let (head, rest) = part.split_once('\n').unwrap_or((part, ""));
        if head != "ledger" {
            let pass = head.split(':').next().unwrap_or(head);
            let mut title = format!("pass {pass}");
            let again = |it: &&Block| {
                it.items.first().is_some_and(|it| it.kind == "count")
                    && it.title.split(", ").next() == Some(&title)
            };
            let before = blocks.iter().filter(again).count();
            if before > 0 {
                title += &format!(", time {}", before + 1);
            }
            let mut pass = block(&title, rest, "line", false);
            pass.items.insert(0, item("count", head));
            blocks.push(pass);
            continue;
        }
        // Each pass numbers the values of its own graph.
        for line in rest.lines() {
            let pass = line.split(':').next().unwrap_or(line);
            let title = format!("ledger of {pass}");
            match blocks.iter_mut().find(|it| it.title == title) {
                Some(block) => block.items.push(item("entry", line)),
                None => blocks.push(Block {
                    title,
                    items: vec![item("entry", line)],
                }),
            }
        }
    }
    blocks
}

fn item(kind: &str, text: &str) -> Item {
    Item {
        kind: kind.to_owned(),
        text: text.to_owned(),
        owner: None,
    }
}

/// A kind is given, or the items are those of a plan. Scopes mean nothing in a graph.
fn block(title: &str, text: &str, kind: &str, scopeless: bool) -> Block {
    let mut items: Vec<Item> = Vec::new();
    let mut owner = None;
    for line in text.lines() {
        let nested = line.starts_with("    ");
        let line = line.trim_end();
        let word = line.trim_start().split([' ', ':']).next().unwrap_or("");
        let bare = line.trim_start();
        if matches!(bare, "" | "}") {
            continue;
        }
        // A list that was too long for its line, what a step reads and writes, a constant's rows.
        let closes = bare.starts_with(')');
        let more = |last: &&mut Item| match kind {
            "node" => nested || closes,
            _ => nested && matches!(&*last.kind, "step" | "constant"),
        };
        if let Some(last) = items.last_mut().filter(more) {
            last.text += match kind {
                "node" if closes => "",
                "node" => " ",
                _ => "\n  ",
            };
            last.text += bare;
            continue;
        }
        let mut item = match kind {
            "line" => item(kind, &changed(line)),
            _ => item(kind_of(word, kind, nested), bare),
        };
        if scopeless {
            item.text = without_scope(&item.text);
        }
        match nested {
            true => item.owner = owner,
            false => owner = Some(items.len()),
        }
        items.push(item);
    }
    if kind == "node" {
        items = items.into_iter().flat_map(apart).collect();
    }
    let title = title.to_owned();
    Block { title, items }
}

fn kind_of<'k>(word: &'k str, kind: &'k str, nested: bool) -> &'k str {
    match word {
        "graph" | "plan" => "head",
        "return" => "output",
        "guard" => "guard",
        _ if !kind.is_empty() => kind,
        "rows" => "part",
        "segment" => "segment",
        "weight" | "input" | "step" => word,
        "const" => "constant",
        "require" => "relation",
        "refused" => "error",
        _ if nested => "part",
        _ => "buffer",
    }
}

/// A graph's outputs, one by one, each with its name.
fn apart(whole: Item) -> Vec<Item> {
    let Some(list) = whole.text.strip_prefix("return ") else {
        if whole.kind != "head" {
            return vec![whole];
        }
        let text = whole.text.replace("( ", "(").replace(",)", ")");
        return vec![Item { text, ..whole }];
    };
    let entries = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    entries.map(|it| item("output", &output(it))).collect()
}

/// An output whose value has its name says so.
fn output(entry: &str) -> String {
    match entry.strip_prefix('%') {
        Some(name) => format!("return {name} = {entry}"),
        None => format!("return {entry}"),
    }
}

/// A line of what a pass changed.
fn changed(line: &str) -> String {
    match line.split_once("return ") {
        Some((mark, entry)) if matches!(mark, "  " | "- " | "+ ") => {
            format!("{mark}{}", output(entry))
        }
        _ => line.to_owned(),
    }
}

fn without_scope(line: &str) -> String {
    if let [
        ..,
        Token::Text(before),
        Token::Text(scope) | Token::Label(scope),
    ] = tokens(line)[..]
        && before.ends_with(" in ")
        && scope.starts_with('"')
    {
        return line[..line.len() - scope.len() - " in ".len()].to_owned();
    }
    match line
        .strip_prefix("graph @")
        .and_then(|it| it.split_once('('))
    {
        Some((_, rest)) => format!("graph ({rest}"),
        None => line.to_owned(),
    }
}

/// The names that callers give: those of inputs.
pub(crate) fn pinned(blocks: &[Block]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for item in blocks.iter().flat_map(|it| &it.items) {
        if item.kind == "head" || item.kind == "input" {
            names.extend(tokens(&item.text).into_iter().filter_map(|it| match it {
                Token::Value(name) => Some(name.to_owned()),
                _ => None,
            }));
        }
    }
    names
}

/// The items with values numbered in the order in which they are met: equal where only names differ.
pub(crate) fn numbered(block: &Block, pinned: &BTreeSet<String>) -> Vec<String> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for item in &block.items {
        let mut text = String::new();
        for token in tokens(&item.text) {
            match token {
                Token::Value(name) if !pinned.contains(name) => {
                    let next = numbers.len();
                    text += &format!("%{}", numbers.entry(name).or_insert(next));
                }
                Token::Value(it) | Token::Label(it) | Token::Step(it) | Token::Text(it) => {
                    text += it
                }
            }
        }
        all.push(text);
    }
    all
}

/// True if a text leaves something out.
pub(crate) fn is_redacted(text: &str) -> bool {
    tokens(text).iter().any(|it| matches!(it, Token::Label(_)))
}

/// Splits a text.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let (mut at, mut plain) = (0, 0);
    while at < text.len() {
        match token(text, at) {
            Some((token, length)) => {
                if plain < at {
                    all.push(Token::Text(&text[plain..at]));
                }
                all.push(token);
                at += length;
                plain = at;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    if plain < at {
        all.push(Token::Text(&text[plain..]));
    }
    all
}

fn token(text: &str, at: usize) -> Option<(Token<'_>, usize)> {
    let (before, rest) = (&text[..at], &text[at..]);
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '#' | '-');
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let ends =
        |length: usize| !rest[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    match rest.chars().next()? {
        '%' => {
            let length = match rest[1..].starts_with('"') {
                true => quoted(&rest[1..]),
                false => rest[1..].find(|c| !word(c)).unwrap_or(rest.len() - 1),
            };
            (length > 0).then(|| (Token::Value(&rest[..=length]), length + 1))
        }
        '"' => {
            let length = quoted(rest);
            let name = rest[..length].strip_prefix("\"weight.");
            let label = name.is_some_and(|it| digits(it) > 0 && digits(it) + 1 == it.len());
            let make = if label { Token::Label } else { Token::Text };
            Some((make(&rest[..length]), length))
        }
        '@' => {
            let length = "@stack.".len() + digits(rest.strip_prefix("@stack.")?);
            Some((Token::Label(&rest[..length]), length))
        }
        'd' => {
            let length = 1 + digits(&rest[1..]);
            let alone = !before.ends_with(|c: char| word(c) && !before.ends_with(".."));
            let label = length > 1 && alone && ends(length);
            label.then(|| (Token::Label(&rest[..length]), length))
        }
        '0'..='9' => {
            let length = digits(rest);
            let start = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            let live = start.ends_with(" live ") && (before.ends_with("..") || before == start);
            let step = before == "step ";
            (step || live).then(|| (Token::Step(&rest[..length]), length))
        }
        _ => None,
    }
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_steps_are_told_apart() {
        let text = "step 4: matmul @stack.0 %a#1 \"weight.12\" \"d1 %x\" [d3, id4] live 10..12";
        let found: Vec<&str> = tokens(text)
            .into_iter()
            .filter_map(|it| match it {
                Token::Value(it) | Token::Label(it) | Token::Step(it) => Some(it),
                Token::Text(_) => None,
            })
            .collect();
        let expected = ["4", "@stack.0", "%a#1", "\"weight.12\"", "d3", "10", "12"];
        assert_eq!(found, expected);
        let whole: String = tokens(text)
            .into_iter()
            .map(|it| match it {
                Token::Value(it) | Token::Label(it) | Token::Step(it) | Token::Text(it) => it,
            })
            .collect();
        assert_eq!(whole, text);
    }

    #[test]
    fn scopes_and_names_of_graphs_mean_nothing() {
        assert_eq!(
            without_scope("%a = relu %x : f32[2] in \"a.b\""),
            "%a = relu %x : f32[2]"
        );
        assert_eq!(
            without_scope("graph @g(%x: f32[2]) -> (f32[2]) {"),
            "graph (%x: f32[2]) -> (f32[2]) {"
        );
        let kept = "%a = weight {name = \" in \"} : f32[2]";
        assert_eq!(without_scope(kept), kept);
    }
}
