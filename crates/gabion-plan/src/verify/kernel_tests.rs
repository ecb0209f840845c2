//! The contract of each kernel: a step that keeps it, and steps that break one part of it.

use super::tests::{mutate, mutate_lines};
use crate::sample::attention_plan_text;

/// Cases for one step over these declarations: valid, then one change each with its only error.
#[track_caller]
fn step(lines: &str, mutations: &[(&str, &str, &str)]) {
    let kernel = lines
        .split("step: ")
        .nth(1)
        .and_then(|s| s.split([' ', '\n']).next())
        .unwrap();
    let place = format!("step 0 {kernel}: ");
    let messages: Vec<[String; 1]> = mutations
        .iter()
        .map(|(_, _, message)| [format!("{place}{message}")])
        .collect();
    let messages: Vec<[&str; 1]> = messages
        .iter()
        .map(|[message]| [message.as_str()])
        .collect();
    let all: Vec<(&str, &str, &[&str])> = mutations
        .iter()
        .zip(&messages)
        .map(|((from, to, _), message)| (*from, *to, message.as_slice()))
        .collect();
    mutate_lines(lines, &all);
}

#[test]
fn matmul() {
    let at = |message: &str| format!("step 0 \"layers.0.self_attn\" matmul: {message}");
    let cases: &[(&str, &str, &str)] = &[
        (
            "matmul @layers.0.qkv",
            "matmul @layers.0.norm",
            "expected a weight in tiles, found @layers.0.norm dense",
        ),
        (
            "reads %x[tokens, 64]",
            "reads %past[]",
            "read 0: expected [.., K], found []",
        ),
        (
            "kind = \"rms\"",
            "kind = \"layer_bias\"",
            "read 2 (norm): expected [64], found [tokens, 8]",
        ),
        (
            "{cache_write = {position = 4}}], write = 1",
            "{cache_write = {position = 9}}], write = 1",
            "segment 1: read 9 (position) is missing",
        ),
        (
            "{rope = {cos = 2, sin = 3}}, {cache_write = {position = 4}}]",
            "{cache_write = {position = 4}}, {rope = {cos = 2, sin = 3}}]",
            "segment 1: a cache write ends its epilogue",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{rope = {cos = 9, sin = 3}}], write = 0",
            "segment 0: read 9 (cos) is missing",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{rope = {cos = 0, sin = 3}}], write = 0",
            "read 0 (cos): expected [tokens, 8], found [tokens, 64]",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{glu = {func = \"silu\"}}], write = 0",
            "segment 0: glu needs halves of one block of 64 rows, found Halves { block: 16 }",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{map = {func = \"not\"}}], write = 0",
            "segment 0: not is no function of f32 numbers",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{map = {func = \"is_nan\"}}], write = 0",
            "segment 0: is_nan is no function of f32 numbers",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{scalar = {func = \"and\", value = 1}}], write = 0",
            "segment 0: and is no function of f32 numbers",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{bias = {read = 1}}], write = 0",
            "",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{bias = {read = 2}}], write = 0",
            "read 2 (bias): expected [64], found [tokens, 8]",
        ),
        (
            "{rope = {cos = 2, sin = 3}}], write = 0",
            "{binary = {func = \"add\", read = 1}}], write = 0",
            "read 1 (operand): expected [tokens, 64], found [64]",
        ),
        (
            "writes %q[tokens, 64]",
            "writes %q[tokens, 4, 16]",
            "write 0: expected [tokens, 64], found [tokens, 4, 16]",
        ),
        (
            "writes %q[tokens, 64]",
            "writes %q[tokens, 64] strides [1, tokens]",
            "write 0: expected a stride of 1 along the last axis, found tokens",
        ),
        (
            "%k_cache.0[capacity, 32]",
            "%k_cache.0[2*capacity, 16]",
            "write 1: expected a cache with rows of 32 elements, found [2*capacity, 16]",
        ),
    ];
    let sample = attention_plan_text();
    for (from, to, message) in cases {
        match *message {
            "" => mutate(&sample, &[(from, to, &[])]),
            message => mutate(&sample, &[(from, to, &[&at(message)])]),
        }
    }
    mutate(
        &sample,
        &[
            (
                "      {epilogue = [{cache_write = {position = 4}}], write = 2}\n",
                "",
                &[&at(
                    "expected an output for each of 3 segments of @layers.0.qkv, found 2",
                )],
            ),
            (
                "{position = 4}}], write = 2}",
                "{position = 4}}], write = 1}",
                &[
                    &at("write 1 is the output of 2 segments, expected one"),
                    &at("write 2 is the output of 0 segments, expected one"),
                ],
            ),
            (
                "{position = 4}}], write = 2}",
                "{position = 4}}], write = 7}",
                &[
                    &at("segment 2: write 7 is missing"),
                    &at("write 2 is the output of 0 segments, expected one"),
                ],
            ),
            (
                "{cache_write = {position = 4}}], write = 1",
                "{cache_write = {position = 2}}], write = 1",
                &[
                    &at("read 2 (position): expected i64, found f32"),
                    &at("read 2 (position): expected [], found [tokens, 8]"),
                ],
            ),
            (
                "reads %x[tokens, 64]",
                "reads %x[tokens, 32]",
                &[
                    &at("read 0: expected [tokens, 64], found [tokens, 32]"),
                    &at("read 1 (norm): expected [32], found [64]"),
                ],
            ),
            (
                "segment 0..64 halves {block = 16}",
                "segment 0..64 plain",
                &[&at("segment 0: rope needs halves of one head, found Plain")],
            ),
        ],
    );
}

#[test]
fn glu_and_layer_norms() {
    let lines = "input %x: f32[n, 8]\nweight @v: f32[8] dense {\nrows 0..8 of \"v\": f32[8]\n}\n\
        weight @gu: f32[12, 8] tiles {\nrows 0..12 of \"gu\": f32[12, 8]\nsegment 0..12 halves {block = 12}\n}\narena %y: f32[6*n] at [0] live 0..1\n\
        step: matmul @gu {prologue = {kind = \"layer_bias\", eps = 0.1}, outputs = [{epilogue = [{glu = {func = \"silu\"}}, {bias = {read = 3}}], write = 0}]}\n\
        reads %x[n, 8], @v[8], @v[8], @v[6]\nwrites %y[n, 6]\nreturn y = %y[n, 6]";
    step(
        lines,
        &[
            ("@v[6]", "@v[8]", "read 3 (bias): expected [6], found [8]"),
            (
                "{bias = {read = 3}}",
                "{glu = {func = \"silu\"}}",
                "segment 0: glu needs halves of one block of 6 rows, found Halves { block: 12 }",
            ),
        ],
    );
}

#[test]
fn batch_matmul() {
    let lines = "input %a: f32[b, m, 3]\ninput %b: f32[b, 3, 5]\narena %y: f32[5*b*m] at [0] live 0..1\n\
        step: batch_matmul\nreads %a[b, m, 3], %b[b, 3, 5]\nwrites %y[b, m, 5]\nreturn y = %y[b, m, 5]";
    step(
        lines,
        &[
            (
                "%a[b, m, 3], %b",
                "%a[b, m, 2], %b",
                "read 1: expected [b, 2, 5], found [b, 3, 5]",
            ),
            (
                "input %b: f32",
                "input %b: f16",
                "read 1: expected f32, found f16",
            ),
            (
                "reads %a[b, m, 3]",
                "reads %a[3*b*m]",
                "read 0: expected rank 2 or more, found [3*b*m]",
            ),
            (
                ", %b[b, 3, 5]\n",
                "\n",
                "expected 2 reads and 1 writes, found 1 and 1",
            ),
        ],
    );
}

#[test]
fn map() {
    let lines = "input %x: f32[n]\ninput %c: bool[n]\narena %y: f32[n] at [0] live 0..1\n\
        step: map {reads = 2, instrs = [{op = {unary = \"exp\"}, args = [0], dtype = \"f32\"}, {op = {const = 2}, args = [], dtype = \"f32\"}, \
        {op = {compare = \"lt\"}, args = [0, 3], dtype = \"bool\"}, {op = \"select\", args = [4, 2, 3], dtype = \"f32\"}], results = [5]}\n\
        reads %x[n], %c[n]\nwrites %y[n]\nreturn y = %y[n]";
    step(
        lines,
        &[
            (
                "args = [0], ",
                "args = [2], ",
                "instruction 0: register 2 is not defined",
            ),
            (
                "args = [0], ",
                "args = [0, 0], ",
                "instruction 0: expected 1 operands, found 2",
            ),
            (
                "args = [0], ",
                "args = [1], ",
                "instruction 0: exp does not take (bool)",
            ),
            (
                "args = [0, 3]",
                "args = [0, 1]",
                "instruction 2: lt does not take (f32, bool)",
            ),
            (
                "args = [0, 3], dtype = \"bool\"",
                "args = [0, 3], dtype = \"i8\"",
                "instruction 2: lt gives bool, not i8",
            ),
            (
                "args = [4, 2, 3]",
                "args = [3, 2, 3]",
                "instruction 3: select does not take (f32, f32, f32)",
            ),
            (
                "{op = {const = 2}, args = [], dtype = \"f32\"}",
                "{op = {const = 2.1}, args = [], dtype = \"f32\"}",
                "instruction 1: 2.1 is no f32",
            ),
            (
                "results = [5]",
                "results = [6]",
                "result 0: register 6 is not defined",
            ),
            (
                "results = [5]",
                "results = [4]",
                "write 0: expected bool, found f32",
            ),
            (
                "results = [5]",
                "results = [5, 5]",
                "expected 2 reads and 2 writes, found 2 and 1",
            ),
            (
                "%c[n]\nwrites",
                "%c[n, 1]\nwrites",
                "read 1: expected [n], found [n, 1]",
            ),
        ],
    );
}

#[test]
fn reductions() {
    let reduce = "input %x: f32[a, 4, b]\narena %y: f32[4] at [0] live 0..1\n\
        step: reduce {func = \"mean\", axes = [0, 2]}\nreads %x[a, 4, b]\nwrites %y[1, 4, 1]\nreturn y = %y[4]";
    step(
        reduce,
        &[
            (
                "axes = [0, 2]",
                "axes = [2, 0]",
                "axes [2, 0] are not ascending",
            ),
            ("axes = [0, 2]", "axes = [0, 3]", "axis 3 is outside rank 3"),
            (
                "writes %y[1, 4, 1]",
                "writes %y[4]",
                "write 0: expected [1, 4, 1], found [4]",
            ),
            ("mean", "any", "read 0: expected bool, found f32"),
        ],
    );
    let arg = "input %x: f32[4, b]\narena %y: i64[4] at [0] live 0..1\n\
        step: arg_reduce {largest = true, axis = 1}\nreads %x[4, b]\nwrites %y[4, 1]\nreturn y = %y[4]";
    step(
        arg,
        &[
            ("axis = 1", "axis = 2", "axis 2 is outside rank 2"),
            (
                "arena %y: i64[4]",
                "arena %y: i32[4]",
                "write 0: expected i64, found i32",
            ),
        ],
    );
    let top_k = "input %x: f32[4, b]\nguard b >= 3 \"top_k\"\narena %y: f32[12] at [0] live 0..1\narena %i: i64[12] at [64] live 0..1\n\
        step: top_k {axis = 1}\nreads %x[4, b]\nwrites %y[4, 3], %i[4, 3]\nreturn y = %y[4, 3]\nreturn i = %i[4, 3]";
    step(
        top_k,
        &[
            (
                "guard b >= 3",
                "guard b >= 2",
                "the number of largest: expected at most b, found 3 (b = 2)",
            ),
            (
                "arena %i: i64[12]",
                "arena %i: i32[12]",
                "write 1 (indices): expected i64, found i32",
            ),
        ],
    );
}

#[test]
fn along_an_axis() {
    for (kernel, attributes, dtype, message) in [
        (
            "cum_sum",
            "{axis = 1, exclusive = false, reverse = true}",
            "bool",
            "read 0: expected a dtype of numbers, found bool",
        ),
        (
            "softmax",
            "{axis = 1, log = false}",
            "i32",
            "read 0: expected a float dtype, found i32",
        ),
    ] {
        let lines = format!(
            "input %x: f32[4, b]\narena %y: f32[4*b] at [0] live 0..1\nstep: {kernel} {attributes}\nreads %x[4, b]\nwrites %y[4, b]\nreturn y = %y[4, b]"
        );
        let other = lines.replace("f32", dtype);
        step(
            &lines,
            &[
                (&lines, &other, message),
                ("axis = 1", "axis = 2", "axis 2 is outside rank 2"),
                (
                    "writes %y[4, b]",
                    "writes %y[b, 4]",
                    "write 0: expected [4, b], found [b, 4] (b = 1)",
                ),
                (
                    "input %x: f32",
                    "input %x: f16",
                    "write 0: expected f16, found f32",
                ),
            ],
        );
    }
}

#[test]
fn norm_and_rope() {
    let norm = "input %x: f32[n, 8]\ninput %w: bf16[8]\narena %y: f32[8*n] at [0] live 0..1\n\
        step: norm {kind = \"rms\", eps = 0.00001}\nreads %x[n, 8], %w[8]\nwrites %y[n, 8]\nreturn y = %y[n, 8]";
    step(
        norm,
        &[
            (
                "rms",
                "layer_bias",
                "expected 3 reads and 1 writes, found 2 and 1",
            ),
            (
                "input %w: bf16",
                "input %w: i32",
                "read 1: expected a float dtype, found i32",
            ),
            ("%w[8]\n", "%w[7]\n", "read 1: expected [8], found [7]"),
            (
                "writes %y[n, 8]",
                "writes %y[8*n]",
                "write 0: expected [n, 8], found [8*n]",
            ),
        ],
    );
    let rope = "input %x: f32[n, 2, 8]\ninput %c: f32[n, 3]\narena %y: f32[16*n] at [0] live 0..1\n\
        step: rope {pairing = \"half\"}\nreads %x[n, 2, 8], %c[n, 3], %c[n, 3]\nwrites %y[n, 2, 8]\nreturn y = %y[n, 2, 8]";
    step(
        rope,
        &[
            (
                "%c[n, 3]\nwrites",
                "%c[n, 2]\nwrites",
                "read 2 (sin): expected [n, 3], found [n, 2]",
            ),
            (
                "%x[n, 2, 8], %c[n, 3], %c[n, 3]\nwrites %y[n, 2, 8]",
                "%x[n, 4, 4], %c[n, 3], %c[n, 3]\nwrites %y[n, 4, 4]",
                "twice the last axis of cos: expected at most 4, found 6",
            ),
        ],
    );
}

#[test]
fn attention() {
    let lines = "input %q: f32[n, 6, 4]\ninput %k: f32[m, 2, 4]\ninput %v: f32[m, 2, 3]\ninput %mask: bool[6, n, m]\ninput %p: i64[]\n\
        arena %y: f32[18*n] at [0] live 0..1\n\
        step: attention {scale = 0.5, causal = true, mask = true, position = true}\nreads %q[n, 6, 4], %k[m, 2, 4], %v[m, 2, 3], %mask[6, n, m], %p[]\n\
        writes %y[n, 6, 3]\nreturn y = %y[n, 6, 3]";
    step(
        lines,
        &[
            (
                "position = true",
                "position = false",
                "expected 4 reads and 1 writes, found 5 and 1",
            ),
            (
                "reads %q[n, 6, 4]",
                "reads %q[6*n, 4]",
                "read 0 (q): expected rank 3 or more, found [6*n, 4]",
            ),
            (
                "%k[m, 2, 4], %v",
                "%k[m, 2, 3], %v",
                "read 1 (k): expected [m, 2, 4], found [m, 2, 3]",
            ),
            (
                "%v[m, 2, 3], %mask",
                "%v[2*m, 1, 3], %mask",
                "read 2 (v): expected [m, 2, 3], found [2*m, 1, 3] (m = 1)",
            ),
            (
                "%mask[6, n, m], %p",
                "%mask[6, m, n], %p",
                "read 3 (mask): expected [6, n, m], found [6, m, n] (m = 5, n = 4)",
            ),
            (
                "input %mask: bool",
                "input %mask: i8",
                "read 3 (mask): expected a float dtype, found i8",
            ),
            (
                "input %p: i64",
                "input %p: i32",
                "read 4 (position): expected i64, found i32",
            ),
            (
                "writes %y[n, 6, 3]",
                "writes %y[n, 3, 6]",
                "write 0: expected [n, 6, 3], found [n, 3, 6]",
            ),
        ],
    );
    let odd = lines.replace(
        "input %k: f32[m, 2, 4]\ninput %v: f32[m, 2, 3]",
        "input %k: f32[m, 4, 4]\ninput %v: f32[m, 4, 3]",
    );
    let odd = odd.replace("%k[m, 2, 4], %v[m, 2, 3]", "%k[m, 4, 4], %v[m, 4, 3]");
    step(lines, &[(lines, &odd, "6 heads are not a multiple of 4")]);
}

#[test]
fn indexing() {
    let gather = "input %x: f32[a, 5, 2]\ninput %i: i32[3, n]\narena %y: f32[6*a*n] at [0] live 0..1\n\
        step: gather {axis = 1}\nreads %x[a, 5, 2], %i[3, n]\nwrites %y[a, 3, n, 2]\nreturn y = %y[a, 3, n, 2]";
    step(
        gather,
        &[
            ("axis = 1", "axis = 3", "axis 3 is outside rank 3"),
            (
                "input %i: i32",
                "input %i: f32",
                "read 1 (indices): expected an integer dtype, found f32",
            ),
            (
                "writes %y[a, 3, n, 2]",
                "writes %y[3, a, n, 2]",
                "write 0: expected [a, 3, n, 2], found [3, a, n, 2] (a = 1)",
            ),
        ],
    );
    let tiled = "weight @t: f32[9, 4] tiles {\nrows 0..9 of \"t\": q8_0[9, 4] then cast {dtype = \"f32\"}\nsegment 0..9 plain\n}\n\
        input %i: i64[n]\narena %y: f32[4*n] at [0] live 0..1\nstep: gather {axis = 0}\nreads @t[9, 4], %i[n]\nwrites %y[n, 4]\nreturn y = %y[n, 4]"
        .replace("q8_0[9, 4]", "f16[9, 4]");
    step(
        &tiled,
        &[(
            "reads @t[9, 4]",
            "reads @t[8, 4]",
            "read 0: @t is in tiles; tiles are read by matmul, and whole by gather along axis 0",
        )],
    );
    let elements = "input %x: f32[a, 5]\ninput %i: i64[a, 2]\narena %y: f32[2*a] at [0] live 0..1\n\
        step: gather_elements {axis = 1}\nreads %x[a, 5], %i[a, 2]\nwrites %y[a, 2]\nreturn y = %y[a, 2]";
    step(
        elements,
        &[
            (
                "writes %y[a, 2]",
                "writes %y[2, a]",
                "write 0: expected [a, 2], found [2, a] (a = 1)",
            ),
            (
                "reads %x[a, 5]",
                "reads %x[5*a]",
                "axis 1 is outside rank 1",
            ),
        ],
    );
    let scatter = "input %x: f32[a, 5]\ninput %i: i64[3, 2]\ninput %u: f32[3, 2]\nguard a >= 3 \"scatter\"\narena %y: f32[5*a] at [0] live 0..1\n\
        step: scatter {axis = 1, reduce = \"add\"}\nreads %x[a, 5], %i[3, 2], %u[3, 2]\nwrites %y[a, 5]\nreturn y = %y[a, 5]";
    step(
        scatter,
        &[
            (
                "guard a >= 3",
                "guard a >= 2",
                "read 1 (indices), axis 0: expected at most a, found 3 (a = 2)",
            ),
            (
                "%u[3, 2]\n",
                "%u[2, 3]\n",
                "read 2 (updates): expected [3, 2], found [2, 3]",
            ),
            (
                "%i[3, 2], %u[3, 2]",
                "%i[6], %u[6]",
                "read 1 (indices): expected the rank of [a, 5], found [6]",
            ),
            (
                "writes %y[a, 5]",
                "writes %y[5, a]",
                "write 0: expected [a, 5], found [5, a] (a = 3)",
            ),
        ],
    );
}

#[test]
fn caches() {
    let lines = "input donate %c: f16[capacity, 2, 4]\ninput %new: f16[n, 2, 4]\ninput %p: i64[]\nguard n <= capacity \"cache_append\"\n\
        step: cache_append {axis = 0}\nreads %new[n, 2, 4], %p[]\nwrites %c[capacity, 2, 4]\nreturn c = %c[capacity, 2, 4]";
    step(
        lines,
        &[
            (
                "guard n <= capacity \"cache_append\"\n",
                "",
                "the new rows: expected at most capacity, found n (capacity = 3, n = 64)",
            ),
            ("axis = 0", "axis = 3", "axis 3 is outside rank 3"),
            (
                "reads %new[n, 2, 4]",
                "reads %new[n, 4, 2]",
                "read 0: expected [n, 2, 4], found [n, 4, 2]",
            ),
            (
                "reads %new[n, 2, 4]",
                "reads %new[8*n]",
                "read 0: expected the rank of [capacity, 2, 4], found [8*n]",
            ),
            (
                "input %new: f16",
                "input %new: f32",
                "read 0: expected f16, found f32",
            ),
            (
                "input %p: i64[]",
                "input %p: u64[]",
                "read 1 (position): expected i64, found u64",
            ),
            (
                "reads %new[n, 2, 4]",
                "reads %c[n, 2, 4]",
                "write 0 overlaps read 0 in %c (capacity = 1, n = 1)",
            ),
        ],
    );
}

#[test]
fn copies_and_fills() {
    let convert = "input %x: q4_0[n, 64]\narena %y: f16[64*n] at [0] live 0..1\nstep: convert\nreads %x[n, 64]\nwrites %y[n, 64]\nreturn y = %y[n, 64]";
    step(
        convert,
        &[
            (
                "arena %y: f16",
                "arena %y: i8",
                "no conversion from q4_0 to i8; go through f32",
            ),
            (
                "writes %y[n, 64]",
                "writes %y[64, n]",
                "write 0: expected [n, 64], found [64, n] (n = 1)",
            ),
        ],
    );
    let copy = "input %x: f32[n]\narena %y: f32[n] at [0] live 0..1\nstep: copy\nreads %x[n]\nwrites %y[n]\nreturn y = %y[n]";
    step(
        copy,
        &[
            (
                "input %x: f32",
                "input %x: u32",
                "write 0: expected u32, found f32",
            ),
            (
                "reads %x[n]",
                "reads %x[1, n]",
                "write 0: expected [1, n], found [n]",
            ),
            (
                "reads %x[n]\n",
                "",
                "expected 1 reads and 1 writes, found 0 and 1",
            ),
        ],
    );
    let range = "arena %y: i64[n] at [0] live 0..1\nstep: range {start = 0, step = \"2*n\"}\nwrites %y[n]\nreturn y = %y[n]";
    step(
        range,
        &[
            (
                "arena %y: i64",
                "arena %y: bool",
                "write 0: expected a dtype of numbers, found bool",
            ),
            (
                "writes %y[n]",
                "writes %y[n, 1]",
                "write 0: expected rank 1, found [n, 1]",
            ),
        ],
    );
    let fill = "arena %y: i64[32*n] at [0] live 0..1\nstep: fill {value = \"inf\"}\nwrites %y[32*n]\nreturn y = %y[32*n]";
    step(
        fill,
        &[(
            "arena %y: i64",
            "arena %y: q8_0",
            "write 0: expected a plain dtype, found q8_0",
        )],
    );
}
