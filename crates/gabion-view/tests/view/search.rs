//! The table of what a search finds, which the page of a report is asked for too (`tests/web`).

use gabion_ir::Graph;
use gabion_view::look::Query;
use gabion_view::{Document, Look, Sizes};
use serde_json::Value;

const CASES: &str = include_str!("../search_cases.json");
const GRAPH: &str = include_str!("../search.gir");

fn document() -> Document {
    let graph = Graph::parse(GRAPH).expect("a graph");
    Document::of_graph(&graph, &Sizes::default())
}

fn cases() -> Vec<(String, Value)> {
    let table: Value = serde_json::from_str(CASES).expect("JSON");
    let cases = table["cases"].as_array().expect("cases").iter();
    let query = |case: &Value| case["query"].as_str().expect("a query").to_owned();
    cases.map(|case| (query(case), case.clone())).collect()
}

#[test]
fn a_search_finds_what_the_table_says() {
    let document = document();
    let cases = cases();
    assert!(cases.len() > 40);
    for (text, case) in cases {
        let query = Query::new(&text);
        let found = query.find(&document, 0).into_iter().map(|id| {
            let it = document.get(id);
            format!("{} {}", it.op, it.name)
        });
        let mut found: Vec<String> = found.collect();
        found.sort_unstable();
        match case["fault"].as_str() {
            Some(part) => {
                let said = query.fault().expect("a fault");
                assert!(said.contains(part), "{text}: {said}");
                assert!(found.is_empty() && !said.contains('\n'), "{text}: {said}");
            }
            None => {
                let names = case["found"].as_array().expect("names").iter();
                let mut names: Vec<&str> = names.filter_map(Value::as_str).collect();
                names.sort_unstable();
                assert_eq!((found, query.fault()), (own(&names), None), "{text}");
            }
        }
    }
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

#[test]
fn a_search_that_cannot_be_read_says_so_and_finds_nothing() {
    let document = document();
    let mut look = Look::new(&document);
    look.set_search("op:matmul");
    assert_eq!(
        (look.search().found.len(), look.search().fault()),
        (3, None)
    );
    look.set_search("op:matmul /gate");
    let fault = look.search().fault().expect("a fault");
    assert!(fault.contains("not closed"), "{fault}");
    assert!(look.search().found.is_empty());
}
