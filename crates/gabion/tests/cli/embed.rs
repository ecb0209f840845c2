//! `gabion embed` on a small encoder, against another engine's vectors.

use std::fs;

use super::{fixture, gabion, tensors};
use crate::words;

/// The token ids of each row, without padding.
fn rows() -> Vec<Vec<i64>> {
    let expected = tensors(&fixture("tiny_bert/expected.safetensors"));
    let (ids, mask) = (
        expected["ids"].to_i64_vec().unwrap(),
        expected["mask"].to_i64_vec().unwrap(),
    );
    let columns = expected["ids"].shape()[1];
    let row = |(ids, mask): (&[i64], &[i64])| {
        ids.iter()
            .zip(mask)
            .filter(|(_, m)| **m == 1)
            .map(|(id, _)| *id)
            .collect()
    };
    ids.chunks(columns)
        .zip(mask.chunks(columns))
        .map(row)
        .collect()
}

fn word(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

fn vectors(report: &serde_json::Value) -> Vec<Vec<f64>> {
    let vector = |v: &serde_json::Value| {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    report["embeddings"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect()
}

/// Rows whose mask has a hole or whose second segment differs cannot be given as token ids; the
/// fixture's expected means are of `token_type_ids` too, so alone and batched are compared here, and
/// the encoder itself in the tests of its crate.
#[test]
fn a_batch_gives_what_each_gives_alone() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let mut words = words!["embed", "--model", fixture("tiny_bert"), "--json"].to_vec();
    for row in &rows {
        words.extend(words!["--token-ids", word(row)]);
    }
    let report = gabion(folder.path(), words).json();
    let batch = vectors(&report);
    assert_eq!(batch.len(), rows.len());
    for (row, expected) in rows.iter().zip(&batch) {
        let words = words![
            "embed",
            "--model",
            fixture("tiny_bert"),
            "--json",
            "--token-ids",
            word(row)
        ];
        let alone = vectors(&gabion(folder.path(), words).json());
        let apart = alone[0]
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(apart < 1e-6, "{apart}");
        let norm: f64 = expected.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    assert_eq!(report["token_ids"][0], serde_json::json!(rows[0]));
    for field in ["load_s", "compile_s", "embed_s"] {
        assert!(report["timings"][field].as_f64().unwrap() > 0.0, "{field}");
    }
}

#[test]
fn a_text_over_the_length_is_cut_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    super::copy_folder(&fixture("tiny_bert"), &model);
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..120).map(|id| (format!("w{id}"), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    fs::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let long = vec!["w7"; 30].join(" ");
    let ran = gabion(
        folder.path(),
        words!["embed", "--model", &model, "--json", "w5 w6", &long],
    );
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            0,
            "warning: text 1 has 30 tokens and was cut to the model's 20\n"
        )
    );
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        report["cut"],
        serde_json::json!([{"text": 1, "tokens": 30, "kept": 20}])
    );
    assert_eq!(report["token_ids"][0], serde_json::json!([5, 6]));
    let text = gabion(
        folder.path(),
        words!["embed", "--model", &model, "w5 w6", "w7"],
    )
    .ok();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(
        serde_json::from_str::<Vec<f64>>(text.lines().next().unwrap()).unwrap(),
        vectors(&report)[0]
    );
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        |words: &[std::ffi::OsString], parts: &[&str]| gabion(folder.path(), words).refused(parts);
    refused(
        &words!["embed", "--model", fixture("tiny_bert"), "hi"],
        &["tiny_bert", "there is no tokenizer"],
    );
    refused(
        &words!["embed", "--model", super::tiny_llama(), "hi"],
        &["config.json", "`llama`", "gabion generate"],
    );
    refused(
        &words!["embed", "--model", fixture("tiny_bert"), "--token-ids", ""],
        &["empty"],
    );
    refused(
        &words![
            "embed",
            "--model",
            fixture("tiny_bert"),
            "--token-ids",
            "5,120"
        ],
        &["token id 120 at 1", "0..120"],
    );
    let long = vec!["5"; 21].join(",");
    refused(
        &words![
            "embed",
            "--model",
            fixture("tiny_bert"),
            "--token-ids",
            long
        ],
        &["21", "the model has 20"],
    );
    gabion(folder.path(), ["embed"]).misused(&["TEXT"]);
}
