//! Random inputs are as their uses ask: graphs whose every sample must evaluate, for many seeds.

use gabion_ir::Graph;
use gabion_ir::eval::{Evaluator, SampleOptions, sample_inputs};

fn parse(text: &str) -> Graph {
    Graph::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

/// Evaluates on samples of 40 seeds. Returns the least and the largest integer of `input`.
fn evaluates(text: &str, input: &str) -> (i64, i64) {
    let graph = parse(text);
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for seed in 0..40 {
        let samples = sample_inputs(&graph, seed, &SampleOptions::default())
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        Evaluator::new(&graph)
            .with_bindings(samples.bindings.clone())
            .run_all(&samples.inputs, &samples.weights)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
        let tensors = samples.inputs.get(input).or(samples.weights.get(input));
        let values = tensors.expect("the tensor").to_i64_vec().expect("numbers");
        low = values.iter().copied().fold(low, i64::min);
        high = values.iter().copied().fold(high, i64::max);
    }
    (low, high)
}

/// A graph of one output, `%y`, from its lines.
fn graph(inputs: &str, lines: &str, result: &str) -> String {
    format!("graph @g({inputs}) -> ({result}) {{\n{lines}\n  return %y\n}}\n")
}

#[test]
fn indices_lie_in_their_axis_and_reach_its_ends() {
    for (inputs, line, result) in [
        (
            "%ids: i64[n], %t: f32[3, 2]",
            "%y = gather %t, %ids {axis = 0}",
            "f32[n, 2]",
        ),
        (
            "%ids: u8[n, 2], %t: f32[n, 3]",
            "%y = gather_elements %t, %ids {axis = 1}",
            "f32[n, 2]",
        ),
        (
            "%ids: i32[n, 2], %t: f32[n, 3], %u: f32[n, 2]",
            "%y = scatter %t, %ids, %u {axis = -1, reduce = \"add\"}",
            "f32[n, 3]",
        ),
        (
            "%ids: u64[n]",
            "%y = one_hot %ids {depth = 3, dtype = \"f32\"}",
            "f32[n, 3]",
        ),
        (
            "%ids: i64[], %t: f32[5, 2], %u: f32[3, 2]",
            "%y = cache_append %t, %u, %ids {axis = 0}",
            "f32[5, 2]",
        ),
        (
            "%q: f32[2, 4, 8], %k: f32[4, 2, 8], %v: f32[4, 2, 8], %ids: i64[]",
            "%y = attention %q, %k, %v, %ids {scale = 0.5, causal = true, position = true}",
            "f32[2, 4, 8]",
        ),
    ] {
        assert_eq!(
            evaluates(&graph(inputs, line, result), "ids"),
            (0, 2),
            "{line}"
        );
    }
}

#[test]
fn uses_are_followed_back() {
    for (lines, expected) in [
        ("%at = cast %ids {dtype = \"i64\"}", (0, 9)),
        (
            "%w = cast %ids {dtype = \"f32\"}\n %r = floor %w\n %at = cast %r {dtype = \"i64\"}",
            (0, 9),
        ),
        (
            "%r = reshape %ids {shape = [2, 2]}\n %s = transpose %r {perm = [1, 0]}\n %at = slice %s {axes = [{axis = 0, stop = 1}]}",
            (0, 9),
        ),
        (
            "%a, %b = split %ids {axis = 0, sizes = [1, 3]}\n %at = concat %b, %a {axis = 0}",
            (0, 9),
        ),
        (
            "%c = constant {dtype = \"i32\", shape = [], value = 4}\n %at = sub %ids, %c",
            (4, 13),
        ),
        (
            "%c = constant {dtype = \"i32\", shape = [], value = 3}\n %at = mul %c, %ids",
            (0, 3),
        ),
        (
            "%c = constant {dtype = \"i32\", shape = [], value = 2}\n %at = floor_div %ids, %c",
            (0, 19),
        ),
        (
            "%r = range {start = 0, stop = 4, step = 1, dtype = \"i32\"}\n %at = add %r, %ids",
            (0, 6),
        ),
        ("%at = add %ids, %more", (0, 4)),
        ("%n = neg %ids\n %at = abs %n", (-9, 0)),
        (
            "%c = constant {dtype = \"bool\", shape = [], value = true}\n %at = where %c, %ids, %more",
            (0, 9),
        ),
        ("%p = max %ids, %more\n %at = clamp %p {min = -3.0}", (0, 9)),
        // What the graph itself keeps in bounds is asked for nothing.
        (
            "%c = constant {dtype = \"i32\", shape = [], value = 10}\n %at = mod %ids, %c",
            (0, 7),
        ),
        ("%at = clamp %ids {min = 0.0, max = 9.0}", (0, 7)),
    ] {
        let text = graph(
            "%ids: i32[4], %more: i32[4], %t: f32[10]",
            &format!("{lines}\n %y = gather %t, %at {{axis = 0}}\n"),
            "f32[..]",
        );
        // The result has the shape of the index.
        let shape = if lines.contains("stop = 1") {
            "1, 2"
        } else {
            "4"
        };
        let found = evaluates(&text.replace("..", shape), "ids");
        assert_eq!(found, expected, "{lines}");
    }
}

#[test]
fn divisors_are_not_zero_and_exponents_not_negative() {
    for op in ["div", "floor_div", "mod"] {
        let line = format!("%y = {op} %x, %d");
        for dtype in ["i8", "u8", "i64"] {
            let text = graph(
                &format!("%x: {dtype}[9], %d: {dtype}[9]"),
                &line,
                &format!("{dtype}[9]"),
            );
            let (low, high) = evaluates(&text, "d");
            assert!(low >= 1 && high > 2, "{text}: {low}..={high}");
        }
    }
    for lines in [
        "%p = mul %d, %e\n %y = div %x, %p",
        "%n = neg %d\n %y = mod %x, %n",
        "%w = cast %d {dtype = \"i64\"}\n %y = floor_div %x, %w",
        "%c = constant {dtype = \"i32\", shape = [], value = 3}\n %s = sub %d, %c\n %y = div %x, %s",
    ] {
        let dtype = if lines.contains("i64") { "i64" } else { "i32" };
        evaluates(
            &graph(
                "%x: i32[9], %d: i32[9], %e: i32[9]",
                lines,
                &format!("{dtype}[9]"),
            ),
            "d",
        );
    }
    let powers = graph(
        "%x: i64[9], %d: i64[9]",
        "%n = neg %d\n %y = pow %x, %n",
        "i64[9]",
    );
    assert!(evaluates(&powers, "d").1 <= 0);
}

/// Weights are sampled as inputs are; a table of indices may be looked up first.
#[test]
fn weights_and_tables_of_indices() {
    let text = graph(
        "%ids: i64[5], %t: f32[6, 2]",
        "%w = weight {name = \"table\"} : i8[4]\n %at = gather %w, %ids {axis = 0}\n %y = gather %t, %at {axis = 0}",
        "f32[5, 2]",
    );
    assert_eq!(evaluates(&text, "ids"), (0, 3));
    assert_eq!(evaluates(&text, "table"), (0, 5));
}

/// The compiler's own operators ask what those ask that they are made of.
#[test]
fn fused_programs_and_cache_writes() {
    let program = graph(
        "%x: i32[n], %ids: i32[n], %t: f32[6]",
        "%at = fused_map %ids {program = {reads = 1, instrs = [{op = {const = 2}, args = [], dtype = \"i32\"}, \
         {op = {binary = \"sub\"}, args = [0, 1], dtype = \"i32\"}], results = [2]}}\n\
         %d = fused_map %x, %ids {program = {reads = 2, instrs = [{op = {binary = \"div\"}, args = [0, 1], dtype = \"i32\"}], results = [2]}}\n\
         %y = gather %t, %at {axis = 0}",
        "f32[n]",
    );
    assert_eq!(evaluates(&program, "ids"), (2, 7));
    let cache = graph(
        "%x: f32[tokens, 4], donate %c: f32[tokens + 2, 3], %at: i64[]",
        "%w = weight {name = \"w\"} : f32[3, 4]\n\
         %y = stacked_matmul %x, %w, %c, %at {parts = 1, segments = [{rows = [0, 3], epilogue = [{cache_write = {cache = 0, position = 1}}]}]}",
        "f32[tokens + 2, 3]",
    );
    assert_eq!(evaluates(&cache, "at"), (0, 2));
}

#[test]
fn a_range_by_name_wins() {
    let text = graph(
        "%ids: i64[n], %x: f32[n, 9]",
        "%y = gather %x, %ids {axis = 1}",
        "f32[n, n]",
    );
    let graph = parse(&text);
    let mut options = SampleOptions::default();
    options.ranges.insert("ids".to_owned(), 7..9);
    options.ranges.insert("x".to_owned(), -3..-2);
    let samples = sample_inputs(&graph, 3, &options).expect("samples");
    let ids = samples.inputs["ids"].to_i64_vec().expect("integers");
    assert!(ids.iter().all(|id| (7..9).contains(id)), "{ids:?}");
    let x = samples.inputs["x"].to_f32_vec().expect("floats");
    assert!(x.iter().all(|x| (-3.0..=-2.0).contains(x)), "{x:?}");

    for (name, range, expected) in [
        (
            "idz",
            0..3,
            "input `idz`: the graph has no such input; the nearest name is `ids`",
        ),
        ("ids", 3..3, "input `ids`: the range 3..3 is empty"),
    ] {
        let mut options = SampleOptions::default();
        options.ranges.insert(name.to_owned(), range);
        let error = sample_inputs(&graph, 3, &options).expect_err(name);
        assert_eq!(error.to_string(), expected);
    }
    let bytes = parse("graph @g(%b: u8[n]) -> (u8[n]) {\n  return y = %b\n}\n");
    let mut options = SampleOptions::default();
    options.ranges.insert("b".to_owned(), 0..300);
    let error = sample_inputs(&bytes, 3, &options).expect_err("no u8");
    assert_eq!(
        error.to_string(),
        "input `b`: u8 does not hold the range 0..300"
    );
}

#[test]
fn uses_that_leave_no_value_are_an_error() {
    let text = graph(
        "%ids: i64[3], %t: f32[0, 2]",
        "%y = gather %t, %ids {axis = 0}",
        "f32[3, 2]",
    );
    let error = sample_inputs(&parse(&text), 0, &SampleOptions::default()).expect_err("no index");
    assert_eq!(
        error.to_string(),
        "input `ids`: its uses leave it no value: an axis is empty, or they contradict each other; give sizes or a range"
    );
}
