//! `gabion generate` and `gabion convert` on small models, against another engine's tokens.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{fixture, gabion, names, tiny_llama};
use crate::words;

fn ids(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect()
}

fn join(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Compares a model's tokens with those in `expected`, up to the first near-tie, and the first
/// logits.
fn check(model: &Path, expected: &Path, tolerance: f64) {
    let folder = tempfile::tempdir().unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let (prompt, greedy) = (ids(&case["prompt_ids"]), ids(&case["greedy_ids"]));
        let n = greedy.len().to_string();
        let words = words![
            "generate",
            "--model",
            model,
            "--prompt-ids",
            join(&prompt),
            "--max-new-tokens",
            n,
            "--ignore-eos",
            "--top-logits",
            "8",
            "--json"
        ];
        let report = gabion(folder.path(), words).json();
        let sure = case["first_step_with_margin_below_0.01"]
            .as_u64()
            .map_or(greedy.len(), |n| n as usize);
        let found = ids(&report["output_ids"]);
        assert_eq!(found.len(), greedy.len());
        assert_eq!(
            found[..sure],
            greedy[..sure],
            "{} after {prompt:?}",
            model.display()
        );
        assert_eq!(ids(&report["prompt_ids"]), prompt);
        for (i, expected) in case["first_top8_logits"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let found = report["first_logits"][i][1].as_f64().unwrap();
            assert!(
                (found - expected.as_f64().unwrap()).abs() < tolerance,
                "logit {i}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn every_small_model_gives_the_other_engines_tokens() {
    let mut n = 0;
    for group in ["tiny_models", "tiny_models_more"] {
        for model in fs::read_dir(fixture(group)).unwrap() {
            let model = model.unwrap().path();
            let cast = model.join("expected_f32_frequencies.json");
            let expected = if cast.exists() {
                cast
            } else {
                model.join("expected.json")
            };
            check(&model, &expected, 1e-3);
            n += 1;
        }
    }
    assert!(n >= 9, "only {n} models");
}

#[test]
fn converted_models_give_the_same_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let convert = |from: &Path, to: &str, more: &[&str]| {
        let words = words!["convert", from, to]
            .into_iter()
            .chain(more.iter().map(Into::into));
        let report = gabion(at, words.chain(words!["--json"])).json();
        assert_eq!(report["out"], to);
        assert!(report["tensors"].as_u64().unwrap() > 0);
    };
    let expected = tiny_llama().join("expected.json");
    convert(&tiny_llama(), "fused", &["--fuse"]);
    check(&at.join("fused"), &expected, 1e-3);
    convert(&at.join("fused"), "back", &["--unfuse"]);
    check(&at.join("back"), &expected, 1e-3);
    convert(&tiny_llama(), "model.gguf", &[]);
    check(&at.join("model.gguf"), &expected, 1e-3);
    convert(&at.join("model.gguf"), "from_gguf", &[]);
    check(&at.join("from_gguf"), &expected, 1e-3);
    convert(
        &fixture("tiny_models/phi3_fused"),
        "separate",
        &["--unfuse"],
    );
    check(
        &at.join("separate"),
        &fixture("tiny_models/phi3_fused/expected.json"),
        1e-3,
    );
    // Qwen2 has biases, which Phi-3's layout lacks: its config stays, its tensors are stacked.
    convert(&fixture("tiny_models/qwen2"), "qwen2_fused", &["--fuse"]);
    check(
        &at.join("qwen2_fused"),
        &fixture("tiny_models/qwen2/expected.json"),
        1e-3,
    );
    convert(&tiny_llama(), "q8.gguf", &["--quantize", "q8_0"]);
    // Eight bits are other numbers, and the same ones whether they are decoded before or while running.
    convert(&at.join("q8.gguf"), "decoded", &[]);
    let run = |model: &str| {
        let words = words![
            "generate",
            "--model",
            model,
            "--prompt-ids",
            "5,6",
            "--top-logits",
            "4",
            "--ignore-eos",
            "--json"
        ];
        gabion(at, words).json()
    };
    let (blocks, floats) = (run("q8.gguf"), run("decoded"));
    assert_eq!(blocks["output_ids"], floats["output_ids"]);
    let bytes = |report: &Value| report["memory"]["packed_weight_bytes"].as_u64().unwrap();
    assert!(
        bytes(&blocks) * 3 < bytes(&floats),
        "blocks are kept as blocks"
    );
    for i in 0..4 {
        let logit = |report: &Value| report["first_logits"][i][1].as_f64().unwrap();
        assert!((logit(&blocks) - logit(&floats)).abs() < 1e-3);
    }
    gabion(at, words!["convert", tiny_llama(), "fused"]).refused(&[
        "fused",
        "not empty",
        "nothing is overwritten",
    ]);
    gabion(at, words!["convert", tiny_llama(), "no/x"]).refused(&["no/x", "cannot create"]);
    gabion(
        at,
        words!["convert", tiny_llama(), "x", "--quantize", "q8_0"],
    )
    .refused(&["x:", "`.gguf`"]);
    gabion(at, words!["convert", tiny_llama(), "x", "--dtype", "i8"])
        .refused(&["cannot be converted to i8"]);
    gabion(
        at,
        words!["convert", tiny_llama(), "x.gguf", "--quantize", "q9"],
    )
    .misused(&["q4_0"]);
    assert!(
        !names(at)
            .iter()
            .any(|name| name.starts_with('x') || name.starts_with('.'))
    );
}

#[test]
fn the_json_is_the_contracts() {
    let folder = tempfile::tempdir().unwrap();
    let words = words![
        "generate",
        "--model",
        tiny_llama(),
        "--prompt-ids",
        "5,6,7",
        "--max-new-tokens",
        "4",
        "--json",
        "--threads",
        "1"
    ];
    let report = gabion(folder.path(), words).json();
    assert_eq!(report["target"], "cpu");
    assert_eq!(report["threads"], 1);
    assert_eq!(report["numerics"], "exact");
    assert_eq!(report["text"], "");
    for field in [
        "load_s",
        "compile_s",
        "first_token_s",
        "prefill_tok_s",
        "decode_tok_s",
    ] {
        assert!(report["timings"][field].as_f64().unwrap() > 0.0, "{field}");
    }
    for field in ["packed_weight_bytes", "arena_bytes", "cache_bytes"] {
        assert!(report["memory"][field].as_u64().unwrap() > 0, "{field}");
    }
    let peak = report["memory"]["peak_rss_bytes"].as_u64().unwrap();
    assert!(!cfg!(target_os = "linux") || peak > 1 << 20, "{peak}");
    assert!(report.get("first_logits").is_none());
}

#[test]
fn threads_and_instruction_sets_do_not_change_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let run = |threads: &str, isa: Option<&str>| {
        let mut command = super::command(folder.path());
        command.args(words![
            "generate",
            "--model",
            tiny_llama(),
            "--prompt-ids",
            "5,6,7",
            "--json",
            "--top-logits",
            "320",
            "--threads",
            threads
        ]);
        if let Some(isa) = isa {
            command.env("GABION_ISA", isa);
        }
        let report = super::Ran::of(command.output().unwrap()).json();
        (report["output_ids"].clone(), report["first_logits"].clone())
    };
    let one = run("1", None);
    assert_eq!(one, run("2", None), "every bit");
    assert_eq!(one, run("3", None), "every bit");
    assert_eq!(one.0, run("2", Some("portable")).0);
}

#[test]
fn end_tokens_end_a_text_unless_they_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    super::copy_folder(&tiny_llama(), &model);
    let generate = |more: &[&str]| {
        let words = words![
            "generate",
            "--model",
            &model,
            "--prompt-ids",
            "318",
            "--max-new-tokens",
            "9",
            "--json"
        ];
        ids(&gabion(
            folder.path(),
            words.into_iter().chain(more.iter().map(Into::into)),
        )
        .json()["output_ids"])
    };
    let whole = generate(&["--ignore-eos"]);
    assert_eq!(whole.len(), 9);
    super::edit_config(&model, |config| {
        config.insert("eos_token_id".to_owned(), serde_json::json!([1, whole[2]]));
    });
    assert_eq!(
        generate(&[]),
        whole[..3],
        "the end token is one of the output"
    );
    assert_eq!(generate(&["--ignore-eos"]), whole);
}

#[test]
fn the_same_seed_draws_the_same_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |seed: &str, more: &[&str]| {
        let words = words![
            "generate",
            "--model",
            tiny_llama(),
            "--prompt-ids",
            "318",
            "--max-new-tokens",
            "20",
            "--json",
            "--ignore-eos",
            "--temperature",
            "1.5",
            "--seed",
            seed
        ];
        ids(&gabion(
            folder.path(),
            words.into_iter().chain(more.iter().map(Into::into)),
        )
        .json()["output_ids"])
    };
    assert_eq!(draw("1", &[]), draw("1", &[]));
    assert_ne!(draw("1", &[]), draw("2", &[]));
    let greedy = &words![
        "generate",
        "--model",
        tiny_llama(),
        "--prompt-ids",
        "318",
        "--max-new-tokens",
        "20",
        "--json",
        "--ignore-eos"
    ];
    let greedy = ids(&gabion(folder.path(), greedy).json()["output_ids"]);
    assert_eq!(draw("1", &["--top-k", "1"]), greedy);
    assert_eq!(draw("1", &["--top-p", "0.000001"]), greedy);
}

/// A tokenizer whose tokens are words, so that a text can go all the way.
#[test]
fn text_goes_in_and_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    super::copy_folder(&tiny_llama(), &model);
    let mut vocab = serde_json::Map::new();
    for id in 0..320 {
        vocab.insert(format!("w{id}"), id.into());
    }
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    fs::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let base = words![
        "generate",
        "--model",
        &model,
        "w318",
        "--max-new-tokens",
        "3",
        "--ignore-eos"
    ];
    assert_eq!(gabion(folder.path(), &base).ok(), "w315 w56 w242\n");
    let report = gabion(folder.path(), base.iter().cloned().chain(words!["--json"])).json();
    assert_eq!(report["text"], "w315 w56 w242");
    assert_eq!(ids(&report["prompt_ids"]), [318]);
    // The chat template puts words around the message.
    let chat = || {
        gabion(
            folder.path(),
            base.iter().cloned().chain(words!["--chat", "--json"]),
        )
    };
    chat().refused(&["model: the model has no chat template", "leave out --chat"]);
    fs::write(model.join("chat_template.jinja"), "{% for m in messages %}w1 {{ m.role | replace('user', 'w2') }} {{ m.content }}{% endfor %}{% if add_generation_prompt %} w3{% endif %}").unwrap();
    assert_eq!(ids(&chat().json()["prompt_ids"]), [1, 2, 318, 3]);
    fs::write(
        model.join("chat_template.jinja"),
        "{{ raise_exception('no users here') }}",
    )
    .unwrap();
    chat().refused(&["chat template", "line 1", "no users here"]);
}
