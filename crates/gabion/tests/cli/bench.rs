//! The shapes of `gabion bench`'s reports, on problems so small that they take no time.

use serde_json::Value;

use super::{fixture, gabion, tiny_llama};
use crate::words;

fn positive(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(
            value[field]
                .as_f64()
                .is_some_and(|x| x > 0.0 && x.is_finite()),
            "{field} in {value}"
        );
    }
}

fn check_limits(report: &Value) {
    let limits = &report["limits"];
    positive(limits, &["f32_gflops", "dram_gbs", "l3_gbs", "threads"]);
    for field in ["bf16_gflops", "int8_gops"] {
        assert!(
            limits.get(field).is_some(),
            "{field}: null where there is no instruction"
        );
    }
}

#[test]
fn linear_measures_each_number_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["f32", "bf16", "q4_1"] {
        let words = [
            "bench",
            "linear",
            "--in-dim",
            "64",
            "--out-dims",
            "64,32",
            "--m",
            "1,5",
            "--format",
            format,
            "--json",
            "--threads",
            "1",
        ];
        let report = gabion(folder.path(), words).json();
        check_limits(&report);
        let rows = report["rows"].as_array().unwrap();
        assert_eq!(
            rows.iter()
                .map(|row| row["m"].as_u64().unwrap())
                .collect::<Vec<_>>(),
            [1, 5]
        );
        for row in rows {
            assert_eq!(
                (&row["k"], &row["n"], &row["format"]),
                (&64.into(), &96.into(), &format.into())
            );
            positive(
                row,
                &[
                    "median_us",
                    "min_us",
                    "gflops",
                    "limit_us",
                    "fraction_of_limit",
                ],
            );
            assert!(row["min_us"].as_f64() <= row["median_us"].as_f64());
        }
    }
    gabion(
        folder.path(),
        [
            "bench",
            "linear",
            "--in-dim",
            "33",
            "--out-dims",
            "4",
            "--format",
            "q4_1",
        ],
    )
    .refused(&["`dtype` is q4_1, whose blocks hold 32 values: in_dim 33 is no multiple of 32"]);
    gabion(
        folder.path(),
        ["bench", "linear", "--in-dim", "4", "--out-dims", "0"],
    )
    .refused(&["`out_dims[0]` is 0: sizes are positive"]);
    gabion(
        folder.path(),
        [
            "bench",
            "linear",
            "--in-dim",
            "4",
            "--out-dims",
            "4",
            "--m",
            "0",
        ],
    )
    .refused(&["--m: expected at least 1 row"]);
}

#[test]
fn models_encoders_and_compilation_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let words = words![
        "bench",
        "model",
        "--model",
        tiny_llama(),
        "--prefill",
        "16",
        "--decode",
        "8",
        "--json"
    ];
    let report = gabion(folder.path(), words).json();
    check_limits(&report);
    positive(
        &report,
        &[
            "load_s",
            "compile_s",
            "prefill_tok_s",
            "decode_tok_s",
            "decode_limit_tok_s",
            "bytes_per_token",
        ],
    );
    let share = report["sync_share"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{share}");
    assert!(report["peak_rss_bytes"].is_u64());
    let words = words![
        "bench",
        "model",
        "--model",
        tiny_llama(),
        "--prefill",
        "129"
    ];
    gabion(folder.path(), words).refused(&["129 prompt tokens", "the model has 128"]);

    let words = words![
        "bench",
        "encoder",
        "--model",
        fixture("tiny_bert"),
        "--batch",
        "1,3",
        "--tokens",
        "8",
        "--json"
    ];
    let report = gabion(folder.path(), words).json();
    check_limits(&report);
    assert_eq!(report["rows"].as_array().unwrap().len(), 2);
    for row in report["rows"].as_array().unwrap() {
        positive(row, &["batch", "tokens", "median_ms", "limit_ms"]);
    }
    let words = words![
        "bench",
        "encoder",
        "--model",
        fixture("tiny_bert"),
        "--tokens",
        "21"
    ];
    gabion(folder.path(), words).refused(&["--tokens 21", "20 positions"]);

    for model in [tiny_llama(), fixture("tiny_bert")] {
        let report = gabion(
            folder.path(),
            words!["bench", "compile", "--model", model, "--json"],
        )
        .json();
        positive(&report, &["nodes", "build_ms", "lower_ms", "load_ms"]);
        assert!(report["peak_alloc_bytes"].is_u64());
    }
    let report = gabion(
        folder.path(),
        [
            "bench",
            "compile",
            "--in-dim",
            "64",
            "--out-dims",
            "64,32",
            "--json",
        ],
    )
    .json();
    positive(&report, &["nodes", "steps", "build_ms", "lower_ms"]);
}

#[test]
fn sizes_that_nobody_means_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let most = usize::MAX.to_string();
    let model = words!["bench", "model", "--model", tiny_llama(), "--past", &most];
    gabion(folder.path(), model).refused(&[
        "18446744073709551615 prompt tokens and 96 new ones",
        "the model has 128",
    ]);
    for (option, value, said) in [
        (
            "--batch",
            "1,0",
            "--batch and --tokens: expected at least 1",
        ),
        ("--tokens", "0", "--batch and --tokens: expected at least 1"),
        (
            "--batch",
            most.as_str(),
            "--batch 18446744073709551615 of --tokens 20: expected at most 1048576 tokens at once",
        ),
    ] {
        let mut words = words![
            "bench",
            "encoder",
            "--model",
            fixture("tiny_bert"),
            option,
            value
        ]
        .to_vec();
        if option != "--tokens" {
            words.extend(words!["--tokens", "20"]);
        }
        gabion(folder.path(), words).refused(&[said]);
    }
    for option in ["--prefill", "--decode", "--past"] {
        let words = words!["bench", "model", "--model", tiny_llama(), option, "0"];
        gabion(folder.path(), words)
            .refused(&["--prefill, --decode and --past: expected at least 1"]);
    }
}

#[test]
fn limits_are_measured_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    check_limits(
        &gabion(
            folder.path(),
            ["bench", "limits", "--json", "--threads", "1"],
        )
        .json(),
    );
    let text = gabion(folder.path(), ["bench", "limits", "--threads", "1"]).ok();
    assert!(
        text.starts_with("limits of 1 threads: f32 ") && text.contains("DRAM"),
        "{text}"
    );
}
