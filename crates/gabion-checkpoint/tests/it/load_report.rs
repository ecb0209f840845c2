//! The load report: all problems at once, with nearest names and hints.

use std::path::Path;

use gabion_checkpoint::{Checkpoint, Expected, LoadReport, is_stale_buffer};
use gabion_tensor::DType;

use crate::sample::safetensors;

/// A checkpoint of zeros with these tensors.
fn checkpoint(tensors: &[(&str, &str, &[usize])]) -> Checkpoint {
    let mut at = 0;
    let entries: Vec<String> = tensors
        .iter()
        .map(|(name, dtype, shape)| {
            let width = if *dtype == "F32" { 4 } else { 1 };
            let begin = at;
            at += width * shape.iter().product::<usize>();
            format!(
                r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{at}]}}"#
            )
        })
        .collect();
    let bytes = safetensors(&format!("{{{}}}", entries.join(",")), &vec![0; at]);
    Checkpoint::from_bytes(Path::new("m.safetensors"), bytes.into()).unwrap()
}

fn expected(name: &str, shape: &[usize]) -> Expected {
    Expected {
        name: name.to_string(),
        dtypes: vec![DType::F32],
        shape: shape.to_vec(),
    }
}

fn report(checkpoint: &Checkpoint, expected: &[Expected]) -> LoadReport {
    *checkpoint.check(expected, &[]).unwrap_err()
}

#[test]
fn a_checkpoint_that_fits_is_fine_and_ignorable_extras_do_not_matter() {
    let checkpoint = checkpoint(&[
        ("a.weight", "F32", &[2, 3]),
        ("layers.0.rotary_emb.inv_freq", "F32", &[4]),
        ("lm_head.weight", "F32", &[2]),
    ]);
    let wants = [expected("a.weight", &[2, 3])];
    checkpoint
        .check(
            &wants,
            &[&is_stale_buffer, &|name| name == "lm_head.weight"],
        )
        .unwrap();
    let report = *checkpoint.check(&wants, &[&is_stale_buffer]).unwrap_err();
    assert_eq!(report.unexpected.len(), 1);
    assert!(!is_stale_buffer("x.my_position_ids") && is_stale_buffer("position_ids"));
}

#[test]
fn everything_is_reported_at_once() {
    let checkpoint = checkpoint(&[
        ("model.norms.weight", "F32", &[4]),
        ("shape.weight", "F32", &[2, 3]),
        ("type.weight", "U8", &[2]),
        ("both.weight", "F8_E4M3", &[3]),
        ("extra", "U8", &[1]),
    ]);
    let report = report(
        &checkpoint,
        &[
            expected("model.norm.weight", &[4]),
            expected("shape.weight", &[3, 2]),
            expected("type.weight", &[2]),
            expected("both.weight", &[2]),
            expected("nothing.like.it.at.all", &[]),
        ],
    );
    assert_eq!(
        report.to_string(),
        "m.safetensors does not fit the model: 2 missing, 2 unexpected, 2 of another shape, 2 of another dtype; nothing was loaded
  missing:
    model.norm.weight [4] of f32 (nearest: model.norms.weight)
    nothing.like.it.at.all [] of f32
  unexpected:
    model.norms.weight [4] of F32
    extra [1] of U8
  of another shape:
    shape.weight: expected [3, 2], found [2, 3] in m.safetensors
    both.weight: expected [2], found [3] in m.safetensors
  of another dtype:
    type.weight: expected f32, found U8 in m.safetensors
    both.weight: F8_E4M3 in m.safetensors cannot be decoded yet, expected one of BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64"
    );
}

#[test]
fn long_lists_are_cut_with_a_count() {
    let wants: Vec<Expected> = (0..100)
        .map(|at| expected(&format!("w{at}"), &[1]))
        .collect();
    let report = report(&checkpoint(&[]), &wants);
    assert_eq!(report.missing.len(), 100);
    assert!(
        report
            .to_string()
            .ends_with("w11 [1] of f32\n    and 88 more"),
        "{report}"
    );
}

const SPLIT: [(&str, usize); 3] = [("q_proj", 960), ("k_proj", 192), ("v_proj", 192)];

fn layer(layer: usize, name: &str) -> String {
    format!("model.layers.{layer}.self_attn.{name}.weight")
}

#[test]
fn a_fused_file_for_an_unfused_model() {
    let names: Vec<String> = (0..3).map(|at| layer(at, "qkv_proj")).collect();
    let tensors: Vec<(&str, &str, &[usize])> = names
        .iter()
        .map(|name| (name.as_str(), "U8", &[1344, 8][..]))
        .collect();
    let wants: Vec<Expected> = (0..3)
        .flat_map(|at| SPLIT.map(|(name, rows)| expected(&layer(at, name), &[rows, 8])))
        .collect();
    let report = report(&checkpoint(&tensors), &wants);
    assert_eq!(
        report.hints,
        [
            "`model.layers.0.self_attn.qkv_proj.weight` [1344, 8] is there and has the 960+192+192 rows of q_proj, k_proj, v_proj: \
          build the model with stacked layers, or run `gabion convert --unfuse` (2 more like it)"
        ]
    );
}

#[test]
fn an_unfused_file_for_a_fused_model() {
    // In the file's order, which is alphabetical: the known names put the parts into the order of the rows.
    let names = [layer(0, "k_proj"), layer(0, "q_proj"), layer(0, "v_proj")];
    let checkpoint = checkpoint(&[
        (&names[0], "U8", &[192, 8]),
        (&names[1], "U8", &[960, 8]),
        (&names[2], "U8", &[192, 8]),
    ]);
    let report = report(&checkpoint, &[expected(&layer(0, "qkv_proj"), &[1344, 8])]);
    assert_eq!(
        report.hints,
        [
            "q_proj, k_proj, v_proj of `model.layers.0.self_attn` are there and have the 960+192+192 rows of \
          qkv_proj.weight [1344, 8], which the model expects: build the model with separate projections, or run `gabion convert --fuse`"
        ]
    );
}

#[test]
fn stacks_are_found_by_their_rows_under_any_name() {
    let checkpoint = checkpoint(&[("m.everything.weight", "U8", &[30, 8])]);
    let wants = [("a", 4), ("b", 10), ("c", 20), ("d", 7)]
        .map(|(name, rows)| expected(&format!("m.{name}.weight"), &[rows, 8]));
    let report = report(&checkpoint, &wants);
    assert!(
        report.hints[0].contains("has the 10+20 rows of b, c: build"),
        "{report}"
    );
}

#[test]
fn known_names_of_other_sizes_and_transposed_stacks_say_so() {
    let wants = SPLIT.map(|(name, rows)| expected(&layer(0, name), &[rows, 8]));
    let name = layer(0, "Wqkv");
    let report_of =
        |name: &str, shape: &[usize]| report(&checkpoint(&[(name, "U8", shape)]), &wants);
    let other = report_of(&name, &[100, 8]);
    assert!(
        other.hints[0].contains("it does not have their 960+192+192 rows"),
        "{other}"
    );
    let transposed = report_of(&layer(0, "c_attn"), &[8, 1344]);
    assert!(
        transposed.hints[0].contains("holds q_proj, k_proj, v_proj transposed"),
        "{transposed}"
    );
}

#[test]
fn prefixes_and_tied_heads_have_hints() {
    let file = checkpoint(&[
        ("bert.a.weight", "F32", &[1]),
        ("bert.b.weight", "F32", &[1]),
    ]);
    let wants = [expected("a.weight", &[1]), expected("b.weight", &[1])];
    assert!(report(&file, &wants).hints[0].contains("behind the prefix `bert.`"));
    let file = checkpoint(&[("a.weight", "F32", &[1])]);
    assert!(
        report(&file, &[expected("bert.a.weight", &[1])]).hints[0]
            .contains("without the prefix `bert.`")
    );
    let file = checkpoint(&[("model.embed_tokens.weight", "F32", &[1])]);
    let wants = [
        expected("model.embed_tokens.weight", &[1]),
        expected("lm_head.weight", &[1]),
    ];
    assert!(report(&file, &wants).hints[0].contains("`tie_word_embeddings: true`"));
}
