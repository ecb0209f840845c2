//! Graphs that do not verify, read to be looked at.

use gabion_ir::Graph;
use gabion_ir::text::{FaultAt, Written};
use gabion_ir::verify::verify;

fn written(text: &str) -> Written {
    match Graph::parse_as_written(text, "g.gir") {
        Ok(written) => written,
        Err(errors) => panic!("expected a graph, found\n{errors}"),
    }
}

/// Each fault: its line, the printed name of the node it is at, and its words.
fn faults(written: &Written) -> Vec<(usize, String, String)> {
    let names = gabion_ir::text::Names::new(&written.graph);
    let at = |at: FaultAt| match at {
        FaultAt::Graph => "graph".to_owned(),
        FaultAt::Node(id) => names.node(id),
        FaultAt::Output(at) => format!("output {at}"),
    };
    let faults = written.faults.iter();
    faults
        .map(|it| (it.error.line, at(it.at), it.error.message.clone()))
        .collect()
}

fn expect(text: &str, expected: &[(usize, &str, &str)]) -> Written {
    let strict = Graph::parse(text).expect_err("it does not verify");
    let written = written(text);
    let found = faults(&written);
    let found: Vec<(usize, &str, &str)> = found.iter().map(|(l, n, m)| (*l, &**n, &**m)).collect();
    assert_eq!(found, expected, "{}", written.graph);
    // What the strict reader says first, the other says too.
    let first = &strict.items()[0].message;
    assert!(
        found.iter().any(|(_, _, message)| message == first),
        "{strict}"
    );
    // It can be printed, numbered afresh, and checked.
    let _ = written.graph.compacted().to_text();
    written
}

#[test]
fn a_graph_that_verifies_has_no_fault_and_is_the_same() {
    let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 8]) {\n  %y = relu %x : f32[n, 8] in \"a\"\n  return %y\n}\n";
    let written = written(text);
    assert!(written.faults.is_empty());
    assert_eq!(written.graph.to_text(), text);
}

#[test]
fn a_stated_type_stays_as_it_is_stated() {
    let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 9]) {\n  %y = relu %x : f32[n, 9]\n  %z = neg %y : f32[n, 9]\n  return %z\n}\n";
    let message = "type of result 0 of `relu`: expected f32[n, 8], found f32[n, 9]";
    let written = expect(text, &[(2, "%y", message)]);
    // What follows is right, given what is stated; and it is the graph that is written.
    assert_eq!(written.graph.to_text(), text);
}

#[test]
fn operands_that_an_operator_does_not_accept_are_kept() {
    let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 4]) {\n  %w = weight {name = \"w\"} : f32[4, 9]\n  \
                %y = matmul %x, %w {transpose_b = true} : f32[n, 4]\n  return %y\n}\n";
    let message = "matmul: the summed axes of operands 0 and 1 are equal: needs 8 == 9, which can never hold (operands: f32[n, 8], f32[4, 9])";
    let written = expect(text, &[(3, "%y", message)]);
    assert_eq!(written.graph.to_text(), text);
    assert!(verify(&written.graph).is_err());
}

#[test]
fn a_type_that_nobody_knows_is_said_to_be_guessed() {
    let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 4]) {\n  %y = concat %x, %z {axis = 1}\n  %t = relu %y\n  return %t\n}\n";
    let guessed = "the type of this value is not known: it is shown as f32[n, 8]";
    // Nothing is said of the output, whose type is not known either.
    expect(
        text,
        &[
            (2, "%y", guessed),
            (2, "%y", "`%z` is not defined"),
            (3, "%t", guessed),
        ],
    );
}

#[test]
fn what_is_defined_later_is_joined_and_a_cycle_is_told() {
    let text = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %a = add %b, %x : f32[n]\n  %b = relu %a : f32[n]\n  \
                %c = neg %d : f32[n]\n  %d = relu %x : f32[n]\n  %y = add %b, %c : f32[n]\n  return %y\n}\n";
    let written = expect(
        text,
        &[
            (2, "%a", "`%b` is not defined"),
            (4, "%c", "`%d` is not defined"),
        ],
    );
    let help = |at: usize| written.faults[at].error.help.clone().unwrap_or_default();
    assert!(help(0).ends_with("computed from itself"), "{}", help(0));
    assert!(help(1).ends_with("before it is used"), "{}", help(1));
    let operands = |name: &str| {
        let names = gabion_ir::text::Names::new(&written.graph);
        let mut ids = written.graph.node_ids();
        let id = ids.find(|id| names.node(*id) == name).expect("a node");
        let operands = written.graph.operands(id);
        operands
            .iter()
            .map(|v| names.get(*v).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(operands("%a"), ["b", "x"]);
    assert_eq!(operands("%c"), ["d"]);
    let errors = verify(&written.graph).expect_err("a cycle");
    assert!(errors.to_string().contains("no cycle"), "{errors}");
    let again = written.graph.compacted();
    assert_eq!(again.len(), written.graph.len());
    assert!(verify(&again).is_err(), "numbering anew keeps the cycle");
}

#[test]
fn doubles_and_wrong_counts_are_kept() {
    let text = "graph @g(%x: f32[8]) -> (f32[8], f32[8]) where n == 3, n == 4 {\n  %a = weight {name = \"w\"} : f32[8]\n  \
                %b = weight {name = \"w\"} : f32[9]\n  %c = relu %a : f32[8]\n  %c = neg %a : f32[8]\n  \
                %d, %e = relu %c : f32[8], f32[8]\n  return %c, c = %d, y = %b\n}\n";
    let strict = Graph::parse(text).expect_err("it does not verify");
    let written = written(text);
    let found = faults(&written);
    let is_there = |line: usize, node: &str, words: &str| {
        let fits =
            |it: &(usize, String, String)| it.0 == line && it.1 == node && it.2.contains(words);
        assert!(
            found.iter().any(fits),
            "{line} {node} {words}: {found:#?}\n{strict}"
        );
    };
    is_there(1, "graph", "");
    is_there(3, "%b", "declared twice");
    is_there(5, "%0", "`%c` is defined twice, first in line 4");
    is_there(6, "%d, %e", "the operator has 1 results, found 2");
    is_there(7, "graph", "output `c` is declared twice");
    is_there(
        7,
        "graph",
        "the header states 2 result types, found 3 outputs",
    );
    assert_eq!(written.graph.len(), 6);
}

#[test]
fn what_states_no_graph_is_an_error_as_ever() {
    let type_ = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %y = relu %x : f99[n]\n  return %y\n}\n";
    let operator = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %y = rellu %z\n  return %y\n}\n";
    let cut = "graph @g(%x: f32[n]) -> (f32[n]) {\n  %y = relu %z : f32[n]\n";
    for text in [type_, operator, cut, "", "no graph", "graph @g("] {
        let errors = Graph::parse(text).expect_err(text).with_file("g.gir");
        let again = Graph::parse_as_written(text, "g.gir").expect_err(text);
        assert_eq!(again, errors);
    }
}

#[test]
fn many_faults_are_counted_and_not_slow() {
    let lines: String = (0..20_000)
        .map(|at| format!("  %y{at} = relu %x : f32[n, 9]\n"))
        .collect();
    let text = format!("graph @g(%x: f32[n, 8]) -> (f32[n, 9]) {{\n{lines}  return %y0\n}}\n");
    let start = std::time::Instant::now();
    let written = written(&text);
    assert_eq!((written.faults.len(), written.more), (1000, 19_000));
    assert_eq!(written.graph.len(), 20_001);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn nodes_know_their_lines() {
    let text = "// A comment.\ngraph @g(%x: f32[n]) -> (f32[n]) {\n\n  %a, %b = split %x {axis = 0, sizes = [2, 3]}\n  %y = relu\n     %a\n  return %y\n}\n";
    let graph = Graph::parse_file(
        &text
            .replace("f32[n]", "f32[5]")
            .replace("-> (f32[5])", "-> (f32[2])"),
        "dir/g.gir",
    );
    let graph = graph.unwrap_or_else(|errors| panic!("{errors}"));
    let names = gabion_ir::text::Names::new(&graph);
    let lines = graph.node_ids().map(|id| {
        let loc = graph.node(id).loc.as_ref().map(ToString::to_string);
        (names.node(id), loc.unwrap_or_default())
    });
    let lines: Vec<(String, String)> = lines.collect();
    let expected = [
        ("%x", "dir/g.gir:2"),
        ("%a, %b", "dir/g.gir:4"),
        ("%y", "dir/g.gir:5"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    assert_eq!(lines, expected);
    let plain = Graph::parse(&graph.to_text()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(plain.node_ids().all(|id| plain.node(id).loc.is_none()));
}
