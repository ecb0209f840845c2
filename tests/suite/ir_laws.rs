//! The laws of text, JSON, equality, hash and verifier, on random graphs and on every operator; and
//! that no text, however damaged, makes the parser panic.

use gabion_ir::Graph;
use gabion_ir::diff::diff;
use gabion_ir::hash::graph_hash;
use gabion_ir::verify::verify;
use proptest::prelude::*;

use crate::random_graph::{
    every_operator, fixed_graphs, random_graph, rebuilt_with_other_ids, steps,
};

/// Every law that holds for one graph.
#[track_caller]
pub(crate) fn laws(graph: &Graph) {
    if let Err(errors) = verify(graph) {
        panic!("{errors}");
    }
    let text = graph.to_text();
    let parsed = Graph::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(parsed.to_text(), text, "printing is idempotent");
    assert!(parsed == *graph, "parse(print(g)) == g\n{text}");
    assert_eq!(graph_hash(&parsed), graph_hash(graph));
    let json = graph.to_json();
    let read = Graph::from_json(&json).unwrap_or_else(|e| panic!("{e}\n{json:#}"));
    assert!(read == *graph, "from_json(to_json(g)) == g\n{text}");
    let compact = graph.compacted();
    assert!(compact == *graph, "compaction keeps the graph");
    let difference = diff(graph, &parsed);
    assert!(difference.is_equal(), "{difference}");
}

/// The JSON pointer of every value in a document.
fn pointers(json: &serde_json::Value, at: String, out: &mut Vec<String>) {
    let children: Vec<(String, &serde_json::Value)> = match json {
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        serde_json::Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        pointers(child, format!("{at}/{key}"), out);
    }
    out.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_obey_the_laws(steps in steps()) {
        laws(&random_graph(&steps));
    }

    #[test]
    fn ids_and_history_do_not_show(steps in steps()) {
        let graph = random_graph(&steps);
        let other = rebuilt_with_other_ids(&graph);
        prop_assert!(graph == other);
        prop_assert_eq!(graph.to_text(), other.to_text());
        prop_assert_eq!(graph_hash(&graph), graph_hash(&other));
        prop_assert!(diff(&graph, &other).is_equal());
    }

    #[test]
    fn damaged_text_never_panics(steps in steps(), damage in prop::collection::vec((any::<usize>(), any::<u8>(), 0u8..5), 1..6)) {
        let mut bytes = random_graph(&steps).to_text().into_bytes();
        for (at, byte, how) in damage {
            let at = at % bytes.len().max(1);
            match how {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let copied: Vec<u8> = bytes[at..].iter().copied().take(usize::from(byte)).collect();
                    bytes.splice(at..at, copied);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match Graph::parse(&text) {
            Ok(graph) => laws(&graph),
            Err(errors) => {
                prop_assert!(!errors.items().is_empty() && errors.items().len() <= 20);
                prop_assert!(!errors.to_string().is_empty());
            }
        }
    }

    /// One place of a JSON document is replaced: it is read, or refused, and what is read is valid.
    #[test]
    fn damaged_json_never_panics(steps in steps(), at in any::<prop::sample::Index>(), what in 0usize..8) {
        let mut json = random_graph(&steps).to_json();
        let mut places = Vec::new();
        pointers(&json, String::new(), &mut places);
        let place = &places[at.index(places.len())];
        let old = json.pointer_mut(place).expect("a place of this document");
        *old = match what {
            0 => serde_json::Value::Null,
            1 => serde_json::json!([]),
            2 => serde_json::json!({}),
            3 => serde_json::json!("%x0"),
            4 => serde_json::json!(-1),
            5 => serde_json::json!("f32[]"),
            6 => serde_json::json!("input"),
            _ => serde_json::json!([old.clone(), old.clone()]),
        };
        if let Ok(graph) = Graph::from_json(&json) {
            laws(&graph);
        }
    }

    #[test]
    fn any_text_never_panics(text in "[ -~\\n]{0,200}") {
        let errors = Graph::parse(&text).expect_err("no text of this kind is a graph");
        prop_assert!(errors.items().iter().all(|e| e.line >= 1 && !e.message.is_empty()));
    }

    /// Soup of the grammar's own words.
    #[test]
    fn any_tokens_never_panic(words in prop::collection::vec(0usize..26, 0..80)) {
        const WORDS: [&str; 26] = [
            "%x", "%0", "=", ",", ":", "(", ")", "{", "}", "[", "]", "->", "f32[n]", "f32[", "\"s\"", "\n", "return",
            "guard", "where", "donate", "in", "relu", "concat", "axis", "// c\n", "1e5",
        ];
        let mut text = "graph @g(%x: f32[2]) -> (f32[2]) {\n".to_owned();
        for word in words {
            text.push_str(WORDS[word]);
            text.push(' ');
        }
        if let Err(errors) = Graph::parse(&text) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

#[test]
fn every_operator_obeys_the_laws() {
    for seed in 0..8 {
        laws(&every_operator(seed));
    }
}

/// The generator must make what the laws are about; else they hold of nothing.
#[test]
fn random_graphs_are_rich() {
    let (mut nodes, mut guards, mut dead, mut multi) = (0, 0, 0, 0);
    for mut graph in fixed_graphs(50) {
        nodes += graph.len();
        guards += graph.guards().len();
        multi += graph
            .node_ids()
            .filter(|id| graph.node(*id).results.len() > 1)
            .count();
        dead += graph.remove_dead();
    }
    assert!(
        nodes > 50 * 15 && guards > 20 && dead > 50 && multi > 20,
        "{nodes} {guards} {dead} {multi}"
    );
}

/// `depends_on` searches from both ends and leaves out what cannot lead there; a plain walk is what it means.
#[test]
fn one_node_depends_on_another_if_a_path_leads_there() {
    let (mut yes, mut no) = (0, 0);
    for graph in fixed_graphs(40) {
        let ids: Vec<_> = graph.node_ids().collect();
        for &from in &ids {
            let mut reached = std::collections::BTreeSet::from([from]);
            for id in graph.canonical_order() {
                if graph.operands(id).iter().any(|v| reached.contains(&v.node)) {
                    reached.insert(id);
                }
            }
            for &to in &ids {
                let expected = reached.contains(&to);
                assert_eq!(
                    graph.depends_on(to, from),
                    expected,
                    "{to:?} {from:?}\n{graph}"
                );
                if expected { yes += 1 } else { no += 1 }
            }
        }
    }
    assert!(yes > 1000 && no > 1000, "{yes} {no}");
}
