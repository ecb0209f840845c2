//! A valid plan passes; one mutation for each check gives its message.

use crate::plan::Plan;
use crate::sample::attention_plan_text;

use super::verify;
use gabion_tensor::Dim;

pub(super) fn errors(text: &str) -> Vec<String> {
    let plan = Plan::parse(text).unwrap_or_else(|e| panic!("{e}"));
    match verify(&plan) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.items().iter().map(ToString::to_string).collect(),
    }
}

/// Replaces `from` by `to` in a valid plan, and compares the errors.
#[track_caller]
pub(super) fn mutate(text: &str, mutations: &[(&str, &str, &[&str])]) {
    assert_eq!(errors(text), [""; 0]);
    let mut wrong = Vec::new();
    for (from, to, expected) in mutations {
        assert!(text.contains(from), "{from}");
        let found = errors(&text.replacen(from, to, 1));
        if found != *expected {
            wrong.push((from, to, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same for a plan of these lines.
#[track_caller]
pub(super) fn mutate_lines(lines: &str, mutations: &[(&str, &str, &[&str])]) {
    mutate(&format!("plan @p target cpu {{\n{lines}\n}}\n"), mutations);
}

#[test]
fn a_valid_plan_passes() {
    assert_eq!(errors(&attention_plan_text()), [""; 0]);
}

#[test]
fn references_and_types() {
    mutate(
        &attention_plan_text(),
        &[
            (
                "reads %q[",
                "reads %#99[",
                &["step 1 \"layers.0.self_attn\" attention: read 0: buffer 99 does not exist"],
            ),
            (
                "@layers.0.norm[64]",
                "@#9[64]",
                &["step 0 \"layers.0.self_attn\" matmul: read 1: weight 9 does not exist"],
            ),
            (
                "matmul @layers.0.o",
                "matmul @#9",
                &["step 2 \"layers.0.self_attn\" matmul: weight 9 does not exist"],
            ),
            (
                "input %cos: f32[tokens, 8]",
                "input cos: f32[tokens, 8] in %#99\n  buffer %cos: f32[8*tokens] of input 1",
                &[
                    "input cos: buffer 99 does not exist",
                    "buffer %cos: input 1 does not lie in it",
                ],
            ),
            (
                "input %cos: f32[tokens, 8]",
                "input cos: f32[tokens, 8] in %x\n  buffer %cos: f32[8*tokens] of input 1",
                &[
                    "input cos: its buffer %x is not declared as its own",
                    "buffer %cos: input 1 does not lie in it",
                ],
            ),
            (
                "input %cos: f32[tokens, 8]",
                "input cos: f32[tokens, 9] in %cos\n  buffer %cos: f32[8*tokens] of input 1",
                &[
                    "input cos: expected a buffer for f32[tokens, 9], found f32[8*tokens] (tokens = 2)",
                ],
            ),
            (
                "input %cos: f32[tokens, 8]",
                "input x: f32[tokens, 8] in %cos\n  buffer %cos: f32[8*tokens] of input 1",
                &["input x: another input has this name"],
            ),
            (
                "return y =",
                "return k_cache.0 =",
                &["output k_cache.0: another output has this name"],
            ),
            (
                "const %scale = f32[2] [0.5, 1.0]",
                "const %scale: f32[2] = f32[3] fill 1",
                &["buffer %scale: expected a buffer for f32[3], found f32[2]"],
            ),
            (
                "const %scale = f32[2] [0.5, 1.0]",
                "const %scale: f32[2] = i32[2] fill 1",
                &["buffer %scale: expected a buffer for i32[2], found f32[2]"],
            ),
            (
                "arena %q: f32[64*tokens]",
                "arena %q: f32[64*tokens - 128]",
                &[
                    "buffer %q: its element count, 64*tokens - 128, can be negative (tokens = 0)",
                    "step 0 \"layers.0.self_attn\" matmul: write 0: elements 0..=127 of %q, which has 0 (tokens = 2)",
                    "step 1 \"layers.0.self_attn\" attention: read 0: elements 0..=127 of %q, which has 0 (tokens = 2)",
                ],
            ),
            // No run passes these guards, so nothing can be shown to be wrong.
            ("guard tokens <= capacity", "guard capacity % 16 == 3", &[]),
        ],
    );
}

#[test]
fn sizes_are_found_that_guards_allow() {
    let lines = "input %x: f32[n, m]\nguard 3*n == 21 \"a\"\nguard m % 640 == 0 \"b\"\nguard m >= 1 \"c\"\n\
        arena %y: f32[7*m] at [0] live 0..1\nstep 0: copy\nreads %x[n, m]\nwrites %y[7, m]\nreturn y = %y[7, m]";
    mutate_lines(
        lines,
        &[
            (
                "3*n == 21",
                "3*n == 24",
                &["step 0 copy: write 0: expected [n, m], found [7, m]"],
            ),
            (
                "at [0]",
                "at [m - 641]",
                &[
                    "buffer %y: its offset, m - 641, can be negative (m = 640)",
                    "buffer %y: its offset, m - 641, is no multiple of 64",
                ],
            ),
        ],
    );
}

#[test]
fn inputs_have_no_negative_sizes() {
    let lines = "input %x: f32[n - 3]\narena %y: f32[n - 3] at [0] live 0..1\nstep 0: copy\nreads %x[n - 3]\nwrites %y[n - 3]\nreturn y = %y[n - 3]";
    let expected = "buffer %y: its element count, n - 4, can be negative (n = 3)";
    let others = ["step 0 copy: write 0", "output y: its view"]
        .map(|what| format!("{what}: elements 0..=1 of %y, which has 1 (n = 5)"));
    mutate_lines(
        lines,
        &[(
            "arena %y: f32[n - 3]",
            "arena %y: f32[n - 4]",
            &[expected, &others[0], &others[1]],
        )],
    );
}

#[test]
fn poisoned_sizes() {
    let mut plan = Plan::parse(&attention_plan_text()).unwrap();
    plan.steps[1].reads[0].offset = Dim::fixed(i64::MAX) + 1;
    assert_eq!(
        verify(&plan).unwrap_err().to_string(),
        "step 1 \"layers.0.self_attn\" attention: size overflows 64 bits"
    );
}

#[test]
fn weights() {
    let qkv = "weight @layers.0.qkv:";
    let o = "rows 0..64 of \"model.layers.0.self_attn.o_proj.weight\": f16[64, 64] then cast {dtype = \"f32\"}";
    let part = |recipe: &str| o.replace("then cast {dtype = \"f32\"}", recipe);
    let at = |problem: &str| {
        format!("weight @layers.0.o: part 0, \"model.layers.0.self_attn.o_proj.weight\": {problem}")
    };
    let recipe = |recipe: &str, problem: &str| (part(recipe), at(problem));
    for (to, expected) in [
        recipe("", "the recipe gives f16[64, 64], whose rows are not those of f32[64, 64]"),
        recipe("then cast {dtype = \"f32\"} then reshape {shape = [32, 128]}", "the recipe gives f32[32, 128], whose rows are not those of f32[64, 64]"),
        recipe("then cast {dtype = \"f32\"} then reshape {shape = [64, 63]}", "f32[64, 64] has not as many elements as f32[64, 63]"),
        recipe("then clamp {min = 1, max = -1} then cast {dtype = \"f32\"}", "clamp from 1 to -1"),
        recipe("then cast {dtype = \"q4_0\"} then clamp {min = 1} then cast {dtype = \"f32\"}", "q4_0[64, 64] cannot be clamped; cast it first"),
        recipe("then cast {dtype = \"q4_0\"} then transpose then cast {dtype = \"f32\"}", "only matrices of a plain dtype are transposed, found q4_0[64, 64]"),
        recipe("then cast {dtype = \"q4_0\"} then cast {dtype = \"q8_0\"}", "q4_0[64, 64] cannot be cast to q8_0; go through f32"),
        recipe("then reshape {shape = [256, 16]} then cast {dtype = \"q4_0\"}", "q4_0[256, 16]: the last axis has to be a multiple of 32, the block of q4_0"),
        (o.replace("[64, 64]", "[63, 64]"), at("rows 0..64 of f32[63, 64]")),
        (o.replace("f16[64, 64]", "f16[64, n]"), at("expected a stored type of fixed sizes, found f16[64, n]")),
        (o.replace("\"model.layers.0.self_attn.o_proj.weight\"", "f32[64, 64] fill 0"), "weight @layers.0.o: part 0, a constant: expected f16[64, 64], found data of f32[64, 64]".to_owned()),
    ] {
        mutate(&attention_plan_text(), &[(o, &to, &[&expected])]);
    }
    mutate(
        &attention_plan_text(),
        &[
            (
                "rows 0..64 of \"model.layers.0.self_attn.q",
                "rows 0..63 of \"model.layers.0.self_attn.q",
                &["weight @layers.0.qkv: expected 128 rows, found 127 in its parts"],
            ),
            (
                "f32[128, 64] tiles",
                "f32[rows, 64] tiles",
                &["weight @layers.0.qkv: expected a type of fixed sizes, found f32[rows, 64]"],
            ),
            (
                "segment 64..96 halves {block = 16}\n",
                "segment 64..96 halves {block = 15}\n",
                &[
                    "weight @layers.0.qkv: segment 64..96: halves of 15 rows have to be even and divide 32",
                ],
            ),
            (
                "segment 64..96 halves {block = 16}\n",
                "segment 64..96 halves {block = 0}\n",
                &[
                    "weight @layers.0.qkv: segment 64..96: halves of 0 rows have to be even and divide 32",
                ],
            ),
            (
                "segment 64..96",
                "segment 65..96",
                &["weight @layers.0.qkv: segment 65..96: expected rows from 64, at least one"],
            ),
            (
                "segment 64..96",
                "segment 64..64",
                &["weight @layers.0.qkv: segment 64..64: expected rows from 64, at least one"],
            ),
            (
                "segment 96..128 plain",
                "segment 96..127 plain",
                &["weight @layers.0.qkv: expected segments for 128 rows, found 127"],
            ),
            (
                "f32[64] dense {",
                "f32[64] dense {\n segment 0..64 plain",
                &["weight @layers.0.norm: a dense weight has no segments, found 1"],
            ),
            (
                "f32[64] dense {",
                "f32[64] tiles {\n segment 0..64 plain",
                &[
                    "weight @layers.0.norm: expected f32[rows, K] for tiles, found f32[64]",
                    "step 0 \"layers.0.self_attn\" matmul: read 1: @layers.0.norm is in tiles; tiles are read by matmul, and whole by gather along axis 0",
                ],
            ),
            (
                qkv,
                "weight @layers.0.t: f32[2, 2] tiles {\n rows 0..2 of \"t\": f32[2, 2]\n segment 0..2 plain\n}\nweight @layers.0.qkv:",
                &[],
            ),
        ],
    );
}

#[test]
fn views() {
    mutate(
        &attention_plan_text(),
        &[
            (
                "reads %q[tokens, 4, 16]",
                "reads %q[tokens, 4, 16] strides [64, 16]",
                &["step 1 \"layers.0.self_attn\" attention: read 0: 2 strides for rank 3"],
            ),
            (
                "reads %q[tokens, 4, 16]",
                "reads %q[tokens, 4, 16] at [1]",
                &[
                    "step 1 \"layers.0.self_attn\" attention: read 0: elements 1..=128 of %q, which has 128 (tokens = 2)",
                ],
            ),
            (
                "reads %q[tokens, 4, 16]",
                "reads %q[tokens, 4, 16] strides [64, 16, -1]",
                &[
                    "step 1 \"layers.0.self_attn\" attention: read 0: elements -15..=112 of %q, which has 128 (tokens = 2)",
                ],
            ),
            (
                "reads %q[tokens, 4, 16]",
                "reads %q[tokens - 2, 4, 16]",
                &[
                    "step 1 \"layers.0.self_attn\" attention: read 0: size `tokens - 2` is -2; sizes are not negative (tokens = 0)",
                ],
            ),
            (
                "@layers.0.norm[64]",
                "@layers.0.norm[65]",
                &[
                    "step 0 \"layers.0.self_attn\" matmul: read 1: elements 0..=64 of @layers.0.norm, which has 64",
                ],
            ),
        ],
    );
}

#[test]
fn memory() {
    let step1 = "step 1 \"layers.0.self_attn\" attention";
    mutate(
        &attention_plan_text(),
        &[
            (
                "at [256*tokens]",
                "at [256*tokens - 64]",
                &[
                    "buffer %attended: its offset, 256*tokens - 64, can be negative (tokens = 0)",
                    "buffer %q: overlaps %attended, which lives in steps 1..=1 too: bytes 0..512 and 448..960 (tokens = 2)",
                    "buffer %attended: overlaps %y, which lives in steps 2..=2 too: bytes 448..960 and 0..512 (tokens = 2)",
                ],
            ),
            (
                "at [256*tokens] live 1..2",
                "at [4*tokens] live 1..2",
                &[
                    "buffer %attended: its offset, 4*tokens, is no multiple of 64 (tokens = 2)",
                    "buffer %q: overlaps %attended, which lives in steps 1..=1 too: bytes 0..512 and 8..520 (tokens = 2)",
                    "buffer %attended: overlaps %y, which lives in steps 2..=2 too: bytes 8..520 and 0..512 (tokens = 2)",
                ],
            ),
            (
                "at [512*tokens] live 3..4",
                "at [512*tokens - 2048] live 3..4",
                &[
                    "buffer %scaled: its offset, 512*tokens - 2048, can be negative (tokens = 2)",
                    "buffer %y: overlaps %scaled, which lives in steps 3..=4 too: bytes 0..1792 and 1536..3328 (tokens = 7)",
                ],
            ),
            (
                "live 0..1",
                "live 1..0",
                &[
                    "buffer %q: live 1..0 in a plan of 4 steps",
                    "step 0 \"layers.0.self_attn\" matmul: write 0: %q lives in 1..0 only",
                    "step 1 \"layers.0.self_attn\" attention: read 0: %q lives in 1..0 only",
                ],
            ),
            (
                "live 3..4",
                "live 3..5",
                &["buffer %scaled: live 3..5 in a plan of 4 steps"],
            ),
            (
                "live 0..1",
                "live 0..0",
                &[&format!("{step1}: read 0: %q lives in 0..0 only")],
            ),
            (
                "live 3..4",
                "live 3..3",
                &["output y: %scaled lives to step 3 only, expected 4"],
            ),
            (
                "input donate %k_cache.0",
                "input %k_cache.0",
                &[
                    "step 0 \"layers.0.self_attn\" matmul: write 1 goes into input k_cache.0, which is not donated",
                    "output k_cache.0: expected a view of the arena or of a donated input; copy it there",
                ],
            ),
            (
                "writes %attended[",
                "writes %x[",
                &[
                    &format!("{step1}: write 0 goes into input x, which is not donated"),
                    "step 2 \"layers.0.self_attn\" matmul: read 0: no earlier step wrote element 0 of %attended (tokens = 2)",
                ],
            ),
            (
                "const %scale = f32[2] [0.5, 1.0]",
                "const %scale = f32[2] [0.5, 1.0]\n const %c = f32[64] fill 0",
                &[],
            ),
            (
                "return y = %scaled[tokens, 64]",
                "return y = %scaled[64, tokens] strides [1, 64]",
                &["output y: its view is not row-major; copy it"],
            ),
            (
                "return y = %scaled",
                "return y: f32[tokens, 63] = %scaled",
                &["output y: expected f32[tokens, 63], found f32[tokens, 64]"],
            ),
            (
                "return y = %scaled",
                "return y: f16[tokens, 64] = %scaled",
                &["output y: expected f16[tokens, 64], found f32[tokens, 64]"],
            ),
            (
                "return y = %scaled[tokens, 64]",
                "return y = %x[tokens, 64]",
                &["output y: expected a view of the arena or of a donated input; copy it there"],
            ),
            (
                "return y = %scaled[tokens, 64]",
                "return y = @layers.0.norm[64]",
                &["output y: expected a view of the arena or of a donated input; copy it there"],
            ),
            (
                "writes %scaled[tokens, 32, 2]",
                "writes %scaled[tokens, 32, 2] strides [64, 2, 0]",
                &[
                    "step 3 map: write 0 has 128 elements in 64 places (tokens = 2)",
                    "output y: no step wrote element 1 of %scaled (tokens = 2)",
                ],
            ),
        ],
    );
}

#[test]
fn writes_into_fixed_data() {
    let lines = "input %x: f32[4]\nconst %c = f32[4] fill 1\nweight @w: f32[4] dense {\nrows 0..4 of \"w\": f32[4]\n}\narena %y: f32[4] at [0] live 0..1\nstep 0: copy\nreads %x[4]\nwrites %y[4]\nreturn y = %y[4]";
    mutate_lines(
        lines,
        &[
            (
                "writes %y",
                "writes %c",
                &[
                    "step 0 copy: write 0 goes into constant %c",
                    "output y: no step wrote element 0 of %y",
                ],
            ),
            (
                "writes %y",
                "writes @w",
                &[
                    "step 0 copy: write 0 goes into weight @w",
                    "output y: no step wrote element 0 of %y",
                ],
            ),
        ],
    );
}

#[test]
fn reads_of_what_no_step_wrote() {
    let concat = "input %a: f32[n, 2]\ninput %b: f32[n, 3]\narena %y: f32[5*n] at [0] live 0..2\nstep 0: copy\nreads %a[n, 2]\nwrites %y[n, 2] strides [5, 1]\nstep 1: copy\nreads %b[n, 3]\nwrites %y[n, 3] at [2] strides [5, 1]\nreturn y = %y[n, 5]";
    mutate_lines(
        concat,
        &[
            (
                "writes %y[n, 3] at [2]",
                "writes %y[n, 3] at [1]",
                &["output y: no step wrote element 4 of %y (n = 1)"],
            ),
            (
                "reads %b[n, 3]\nwrites %y[n, 3] at [2]",
                "reads %y[n, 3] at [2] strides [5, 1]\nwrites %y[n, 3] at [2]",
                &[
                    "step 1 copy: write 0 overlaps read 0 in %y (n = 1)",
                    "step 1 copy: read 0: no earlier step wrote element 2 of %y (n = 1)",
                ],
            ),
        ],
    );
}

#[test]
fn aliases_within_a_step() {
    let sample = attention_plan_text();
    // In place: the map reads an element before it writes it, the matmul's operand likewise.
    let in_place = sample
        .replace(
            "  arena %scaled: f32[64*tokens] at [512*tokens] live 3..4\n",
            "",
        )
        .replace("%scaled[", "%y[")
        .replace(
            "reads %attended[tokens, 64], %x[tokens, 64]\n    writes %y",
            "reads %attended[tokens, 64], %q[tokens, 64]\n    writes %q",
        )
        .replace("%y[", "%q[")
        .replace("  arena %y: f32[64*tokens] at [0] live 2..4\n", "")
        .replace("live 0..1", "live 0..4");
    mutate(
        &in_place,
        &[
            (
                "reads %attended[tokens, 64], %q[tokens, 64]",
                "reads %q[tokens, 64], %q[tokens, 64]",
                &[
                    "step 2 \"layers.0.self_attn\" matmul: write 0 overlaps read 0 in %q (tokens = 2)",
                ],
            ),
            (
                "reads %q[tokens, 32, 2], %scale",
                "reads %q[tokens, 32, 2] strides [64, 1, 32], %scale",
                &["step 3 map: write 0 overlaps read 0 in %q (tokens = 2)"],
            ),
            (
                "writes %q[tokens, 64], %k_cache.0[capacity, 32], %v_cache.0[capacity, 32]",
                "writes %q[tokens, 64], %k_cache.0[capacity, 32], %k_cache.0[capacity, 32]",
                &[
                    "step 0 \"layers.0.self_attn\" matmul: write 2 overlaps write 1 in %k_cache.0 (capacity = 16)",
                ],
            ),
        ],
    );
}
