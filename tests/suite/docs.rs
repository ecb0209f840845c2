//! Every ```gir block of the documentation parses and prints as itself, and `docs/operators.md` has
//! every operator.

use std::collections::BTreeSet;
use std::fs;

use gabion_ir::{Graph, Op};
use gabion_tensor::{BinaryFn, CompareFn, UnaryFn};

use crate::repository;

/// The ```gir blocks of a page: (line of the fence, text).
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match &mut open {
            None if line.trim_end() == "```gir" => open = Some((index + 1, String::new())),
            None => {}
            Some(_) if line.trim_end() == "```" => blocks.extend(open.take()),
            Some((_, text)) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks
}

#[test]
fn graphs_in_the_documentation_are_canonical() {
    let mut pages: Vec<_> = fs::read_dir(repository().join("docs"))
        .expect("docs/ is there")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.sort();
    let mut n_blocks = 0;
    let mut problems = Vec::new();
    for path in pages {
        let page = fs::read_to_string(&path).expect("a page of docs/");
        for (line, text) in blocks(&page) {
            n_blocks += 1;
            let place = format!("{}:{line}", path.display());
            match Graph::parse(&text) {
                Ok(graph) if graph.to_text() == text => {}
                Ok(graph) => problems.push(format!("{place} prints as\n{}", graph.to_text())),
                Err(errors) => problems.push(errors.with_file(place).to_string()),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(
        n_blocks >= 3,
        "expected at least 3 blocks, found {n_blocks}: is the fence `gir`?"
    );
}

/// A page that is not listed in `src/lib.rs` has Rust blocks that nobody compiles.
#[test]
fn the_rust_blocks_of_every_page_are_compiled() {
    let list = fs::read_to_string(repository().join("tests/src/lib.rs")).expect("the list");
    for entry in fs::read_dir(repository().join("docs")).expect("docs/ is there") {
        let name = entry.expect("an entry").file_name().display().to_string();
        if name.ends_with(".md") {
            let line = format!("= \"{name}\",");
            assert!(
                list.contains(&line),
                "docs/{name} is not in tests/src/lib.rs"
            );
        }
    }
}

/// The rows of the page's tables that tell of an operator: (its word, the row).
fn operators(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter_map(|row| {
        let (word, _) = row.strip_prefix("| `")?.split_once("` |")?;
        Some((word, row))
    });
    rows.collect()
}

#[test]
fn every_operator_is_on_its_page_with_an_example() {
    let page = fs::read_to_string(repository().join("docs/operators.md")).expect("the page");
    let mut told: Vec<&str> = operators(&page).iter().map(|(word, _)| *word).collect();
    told.sort_unstable();
    assert_eq!(told, Op::words(), "left: the page; right: the operators");
    let mut shown = BTreeSet::new();
    for (line, text) in blocks(&page) {
        let graph = Graph::parse(&text).unwrap_or_else(|e| panic!("line {line}: {e}"));
        gabion_ir::verify::verify(&graph).unwrap_or_else(|e| panic!("line {line}: {e}"));
        shown.extend(graph.node_ids().map(|id| graph.op(id).name()));
    }
    let shown: Vec<&str> = shown.into_iter().collect();
    assert_eq!(
        shown,
        Op::words(),
        "left: the examples; right: the operators"
    );
}

/// What the tables of functions say is what the functions say of themselves.
#[test]
fn functions_are_told_in_their_own_words() {
    let page = fs::read_to_string(repository().join("docs/operators.md")).expect("the page");
    let unary = UnaryFn::ALL.iter().map(|f| (f.name(), f.doc()));
    let binary = BinaryFn::ALL.iter().map(|f| (f.name(), f.doc()));
    let compare = CompareFn::ALL.iter().map(|f| (f.name(), f.doc()));
    let rows = operators(&page);
    for (name, doc) in unary.chain(binary).chain(compare) {
        let row = rows.iter().find(|(word, _)| *word == name).expect(name);
        let doc = doc.replace('|', "\\|");
        assert!(row.1.contains(&doc), "expected `{doc}` in {}", row.1);
    }
}
