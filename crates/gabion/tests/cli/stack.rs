//! `gabion stack` against another engine's numbers, and what it refuses.

use std::fs;
use std::path::Path;

use gabion::tensor::HostTensor;

use super::{apart, f32s, fixture, gabion, names, tensors, write_tensors};
use crate::words;

fn stack(folder: &Path, case: &Path, more: &[&str]) -> super::Ran {
    let mut words = words![
        "stack",
        case.join("config.json"),
        "--weights",
        case.join("weights.safetensors")
    ]
    .to_vec();
    words.extend(words![
        "--inputs",
        case.join("inputs.safetensors"),
        "--outputs",
        "out.safetensors"
    ]);
    words.extend(more.iter().map(Into::into));
    gabion(folder, words)
}

#[test]
fn every_case_of_the_other_engine_is_reproduced() {
    let mut n = 0;
    for case in fs::read_dir(fixture("stack_f32")).unwrap() {
        let case = case.unwrap().path();
        let folder = tempfile::tempdir().unwrap();
        let report = stack(folder.path(), &case, &["--json"]).json();
        assert_eq!(report["outputs_file"], "out.safetensors");
        let (expected, found) = (
            tensors(&case.join("expected.safetensors")),
            tensors(&folder.path().join("out.safetensors")),
        );
        for (name, expected) in &expected {
            let error = apart(expected, &found[name]);
            assert!(error <= 1e-5, "{}: {name} is {error} apart", case.display());
        }
        assert!(found.contains_key("y") && found.contains_key("stacked_weight"));
        assert_eq!(found.len(), report["outputs"].as_array().unwrap().len());
        n += 1;
    }
    assert!(n >= 10, "only {n} cases");
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let case = fixture("stack_f32/wide");
    let outputs = ["1", "2", "3"].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        stack(folder.path(), &case, &["--threads", threads]).ok();
        fs::read(folder.path().join("out.safetensors")).unwrap()
    });
    assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2]);
}

#[test]
fn the_graph_has_the_concat_and_the_plan_has_one_product_and_none() {
    let folder = tempfile::tempdir().unwrap();
    let case = fixture("stack_f32/gqa_bias");
    let graph = stack(folder.path(), &case, &["--print", "graph"]).ok();
    assert!(
        graph.contains("concat") && graph.contains("q_proj.weight"),
        "{graph}"
    );
    let plan = stack(folder.path(), &case, &["--print", "plan"]).ok();
    assert_eq!(plan.matches(": matmul ").count(), 1, "{plan}");
    assert_eq!(plan.matches("\n  step ").count(), 1, "{plan}");
    assert!(!plan.contains("concat"), "{plan}");
    // Printing needs no input, and writes nothing.
    let empty = tempfile::tempdir().unwrap();
    let words = words![
        "stack",
        case.join("config.json"),
        "--weights",
        case.join("weights.safetensors"),
        "--print",
        "plan",
        "--json"
    ];
    assert!(
        gabion(empty.path(), words).json()["plan"]
            .as_str()
            .unwrap()
            .starts_with("plan @qkv_proj")
    );
    assert!(names(empty.path()).is_empty());
}

/// A parent module in a whole checkpoint, in bf16, with neighbours.
#[test]
fn a_prefix_and_stored_dtypes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let half = |t: HostTensor| t.cast(gabion::tensor::DType::BF16).unwrap();
    write_tensors(
        &at.join("w.safetensors"),
        &[
            ("layers.1.attn.q.weight", half(f32s(&[1, 2], &[1.0, 2.0]))),
            (
                "layers.1.attn.k.weight",
                f32s(&[2, 2], &[3.0, 4.0, 5.0, 6.0]),
            ),
            ("layers.1.attn.o.weight", f32s(&[1], &[0.0])),
            ("layers.10.attn.q.weight", f32s(&[1], &[0.0])),
        ],
    );
    write_tensors(
        &at.join("x.safetensors"),
        &[("x", f32s(&[2], &[10.0, 1.0]))],
    );
    fs::write(
        at.join("c.json"),
        r#"{"in_dim": 2, "out_dims": [1, 2], "names": ["q", "k"]}"#,
    )
    .unwrap();
    let words = [
        "stack",
        "c.json",
        "--weights",
        "w.safetensors",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
    ];
    let ran = gabion(
        at,
        words.iter().copied().chain(["--prefix", "layers.1.attn"]),
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "y: f32[3]\nstacked_weight: f32[3, 2]\n")
    );
    assert_eq!(
        ran.stderr,
        "warning: w.safetensors: under `layers.1.attn` the layer does not read layers.1.attn.o.weight (the nearest name that it reads is layers.1.attn.q.weight)\n"
    );
    let found = tensors(&at.join("y.safetensors"));
    assert_eq!(found["y"].to_f32_vec().unwrap(), [12.0, 34.0, 56.0]);
    assert_eq!(
        found["stacked_weight"].to_f32_vec().unwrap(),
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    );
    gabion(at, words).refused(&[
        "w.safetensors",
        "2 missing",
        "q.weight [1, 2]",
        "behind the prefix `layers.1.attn.`",
    ]);
}

#[test]
fn ranks_from_one_to_four_run_and_a_scalar_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_tensors(
        &at.join("w.safetensors"),
        &[("a.weight", f32s(&[1, 2], &[1.0, -1.0]))],
    );
    fs::write(
        at.join("c.json"),
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "clip_weight": [0.5]}"#,
    )
    .unwrap();
    let words = [
        "stack",
        "c.json",
        "--weights",
        "w.safetensors",
        "--inputs",
        "x.safetensors",
        "--outputs",
        "y.safetensors",
    ];
    for shape in [&[2][..], &[3, 2], &[1, 3, 2], &[1, 2, 3, 2]] {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| (i * i) as f32).collect();
        write_tensors(&at.join("x.safetensors"), &[("x", f32s(shape, &values))]);
        gabion(at, words).ok();
        let y = tensors(&at.join("y.safetensors"))["y"].clone();
        assert_eq!(y.shape(), [&shape[..shape.len() - 1], &[1]].concat());
        let expected: Vec<f32> = values.chunks(2).map(|x| 0.5 * x[0] - 0.5 * x[1]).collect();
        assert_eq!(y.to_f32_vec().unwrap(), expected);
    }
    write_tensors(&at.join("x.safetensors"), &[("x", f32s(&[], &[1.0]))]);
    gabion(at, words)
        .refused(&["x.safetensors: input `x`: expected f32[.., 2] of rank 1 or more, found f32[]"]);
}

#[test]
fn tensors_that_do_not_fit_are_reported_all_at_once_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |weights: &str, parts: &[&str]| {
        let case = fixture("stack_f32/gqa");
        let words = words![
            "stack",
            case.join("config.json"),
            "--weights",
            fixture(weights),
            "--inputs",
            case.join("inputs.safetensors"),
            "--outputs",
            "out.safetensors"
        ];
        gabion(folder.path(), words).refused(parts);
        assert!(names(folder.path()).is_empty());
    };
    refused(
        "stack_f32/gqa_bias/weights.safetensors",
        &["3 unexpected", "k_proj.bias [32]", "nothing was loaded"],
    );
    refused(
        "stack_f32/stacked/weights.safetensors",
        &[
            "3 missing, 1 unexpected",
            "q_proj.weight [64, 64] of f32",
            "hint: `qkv_proj.weight` [128, 64] is there",
            "convert --unfuse",
        ],
    );
    refused(
        "stack_f32/rank3/weights.safetensors",
        &[
            "3 of another shape",
            "q_proj.weight: expected [64, 64], found [32, 32] in ",
        ],
    );
    let case = fixture("stack_f32/stacked");
    let words = words![
        "stack",
        case.join("config.json"),
        "--weights",
        fixture("stack_f32/gqa/weights.safetensors"),
        "--print",
        "plan"
    ];
    gabion(folder.path(), words).refused(&[
        "1 missing, 3 unexpected",
        "qkv_proj.weight [128, 64]",
        "hint: ",
    ]);
}

#[test]
fn a_stated_dtype_must_be_the_stored_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_tensors(
        &at.join("w.safetensors"),
        &[("a.weight", f32s(&[1, 2], &[1.0, -1.0]))],
    );
    fs::write(
        at.join("c.json"),
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "dtype": "bf16"}"#,
    )
    .unwrap();
    let words = [
        "stack",
        "c.json",
        "--weights",
        "w.safetensors",
        "--print",
        "plan",
    ];
    gabion(at, words).refused(&[
        "1 of another dtype",
        "a.weight: expected bf16",
        "F32",
        "w.safetensors",
    ]);
}

#[test]
fn arguments_that_contradict_are_reported_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_tensors(
        &at.join("w.safetensors"),
        &[("a.weight", f32s(&[1], &[1.0]))],
    );
    let refused = |config: &str, parts: &[&str]| {
        fs::write(at.join("c.json"), config).unwrap();
        gabion(
            at,
            [
                "stack",
                "c.json",
                "--weights",
                "w.safetensors",
                "--print",
                "graph",
            ],
        )
        .refused(parts);
    };
    refused("{", &["c.json: EOF while parsing"]);
    refused(
        r#"{"in_dim": "4"}"#,
        &[
            "c.json",
            "`in_dim`",
            "`out_dims` is missing",
            "`names` is missing",
        ],
    );
    refused(
        r#"{"in_dim": 0, "out_dims": [1, 2], "names": ["a", "a.b", "a"]}"#,
        &[
            "c.json",
            "`in_dim`",
            "names[1]",
            "`names[2]` is \"a\" again, as `names[0]`",
            "out_dims",
            "4 problems",
        ],
    );
    refused(
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "colour": 1}"#,
        &["`colour` is not a field here"],
    );
    refused(
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"],
            "in_dim": 4}"#,
        &["c.json: the key `in_dim` appears twice", "at line 2"],
    );
    refused(
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "device": "cuda:1"}"#,
        &[
            "c.json: `device` is cuda:1: the CUDA executor is not built yet; leave `device` out or set it to cpu",
        ],
    );
    refused(
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "device": "tpu"}"#,
        &[
            "c.json",
            "`device`: expected cpu, cuda or cuda:N, found \"tpu\"",
        ],
    );
    refused(
        r#"{"in_dim": 2, "out_dims": [1], "names": ["a"], "format": "fp8_static"}"#,
        &["c.json", "format", "not supported"],
    );
}

/// Both modes say the same of what they leave: an error for tensors of their own projections, a
/// warning for other modules of the parent.
#[test]
fn tensors_that_are_left_are_reported_alike_in_both_modes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let words = [
        "stack",
        "c.json",
        "--weights",
        "w.safetensors",
        "--print",
        "graph",
    ];
    for (stacked, own) in [(false, "q_proj"), (true, "qkv_proj")] {
        let config = format!(
            r#"{{"in_dim": 2, "out_dims": [1], "names": ["q_proj"], "stacked": {stacked}}}"#
        );
        fs::write(at.join("c.json"), config).unwrap();
        let weight = (format!("{own}.weight"), f32s(&[1, 2], &[1.0, -1.0]));
        let write = |others: &[&str]| {
            let mut all = vec![(weight.0.as_str(), weight.1.clone())];
            all.extend(others.iter().map(|name| (*name, f32s(&[1], &[0.0]))));
            write_tensors(&at.join("w.safetensors"), &all);
        };
        write(&[]);
        gabion(at, words).ok();
        write(&["o_proj.bias", "deep.er.bias"]);
        let ran = gabion(at, words);
        assert_eq!(ran.code, 0, "{ran:?}");
        let said = format!(
            "warning: w.safetensors: under the root the layer does not read o_proj.bias (the nearest name that it reads is {own}.weight)\n"
        );
        assert_eq!(ran.stderr, said);
        let many: Vec<String> = (10..20).map(|i| format!("m{i}.bias")).collect();
        write(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let said = gabion(at, words).stderr;
        assert!(
            said.contains(" m17.bias (") && said.ends_with("), and 2 more\n"),
            "{said}"
        );
        for other in ["q_proj.scale", "qkv_proj.scale"] {
            write(&[other]);
            let said = format!("{other} [1] of F32");
            gabion(at, words).refused(&["w.safetensors", "0 missing, 1 unexpected", &said]);
        }
    }
}

/// What is no file is written to and stays.
#[cfg(unix)]
#[test]
fn outputs_may_go_to_a_device() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let case = fixture("stack_f32/gqa");
    for (device, full) in [("/dev/null", false), ("/dev/full", true)] {
        if !Path::new(device).exists() {
            continue;
        }
        let link = folder.path().join("out.safetensors");
        symlink(device, &link).unwrap();
        let ran = stack(folder.path(), &case, &[]);
        if full {
            ran.refused(&["out.safetensors: cannot write: ", "No space left"]);
        } else {
            ran.ok();
        }
        assert!(link.is_symlink());
        let kind = fs::metadata(&link).unwrap().file_type();
        assert!(kind.is_char_device(), "{device}");
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn what_is_not_built_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let case = fixture("stack_f32/gqa");
    stack(folder.path(), &case, &["--policy", "requant_max"]).refused(&[
        "--policy requant_max",
        "not built yet",
        "--policy exact",
    ]);
    stack(
        folder.path(),
        &case,
        &["--shards", "2", "--strategy", "rows"],
    )
    .refused(&["--shards 2 --strategy rows is not built yet"]);
    stack(folder.path(), &case, &["--shards", "0"]).refused(&["--shards 0"]);
    stack(folder.path(), &case, &["--policy", "loud"]).misused(&[
        "--policy",
        "exact",
        "requant_max",
    ]);
    assert!(names(folder.path()).is_empty());
    let report = stack(
        folder.path(),
        &case,
        &["--activations", "none", "--shards", "1", "--json"],
    )
    .json();
    assert_eq!(report["activations"], "none");
}
