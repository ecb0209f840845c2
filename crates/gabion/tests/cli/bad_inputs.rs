//! Prompts and settings that cannot be used.

use super::{gabion, tiny_llama};
use crate::words;

#[test]
fn prompts_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |more: &[&str], parts: &[&str]| {
        let words = words!["generate", "--model", tiny_llama()]
            .into_iter()
            .chain(more.iter().map(Into::into));
        gabion(folder.path(), words).refused(parts);
    };
    refused(&[""], &["the prompt is empty"]);
    refused(&["--prompt-ids", ""], &["the prompt is empty"]);
    refused(
        &["--prompt-ids", "5,320"],
        &["token id 320 at 1 is outside the vocabulary 0..320"],
    );
    refused(
        &["--prompt-ids", "5,6", "--max-new-tokens", "127"],
        &["2 prompt tokens and 127 new ones need 129 positions, the model has 128"],
    );
    refused(
        &[
            "--prompt-ids",
            "5",
            "--max-new-tokens",
            &usize::MAX.to_string(),
        ],
        &[
            "1 prompt tokens and 18446744073709551615 new ones",
            "the model has 128",
        ],
    );
    let long = vec!["5"; 129].join(",");
    refused(
        &["--prompt-ids", &long],
        &["129 prompt tokens", "the model has 128"],
    );
    let full = vec!["5"; 128].join(",");
    refused(
        &["--prompt-ids", &full],
        &["128 prompt tokens and 1 new ones"],
    );
    refused(&["a text"], &["tokenizer.json", "cannot read"]);
}

#[test]
fn a_prompt_that_leaves_little_room_gets_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let most = vec!["5"; 126].join(",");
    let words = words![
        "generate",
        "--model",
        tiny_llama(),
        "--prompt-ids",
        most,
        "--ignore-eos",
        "--json"
    ];
    assert_eq!(
        gabion(folder.path(), words).json()["output_ids"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[cfg(unix)]
#[test]
fn words_that_are_no_text_are_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"caf\xe9 au lait");
    gabion(
        folder.path(),
        words!["generate", "--model", tiny_llama(), bytes],
    )
    .refused(&["the prompt is not UTF-8: byte 0xe9 at 3"]);
    let model = super::fixture("tiny_bert");
    gabion(
        folder.path(),
        words!["embed", "--model", model, "good", bytes],
    )
    .refused(&["text 1 is not UTF-8: byte 0xe9 at 3"]);
    gabion(folder.path(), words!["generate", "--model", bytes, "hi"])
        .refused(&["there is no model"]);
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let llama = tiny_llama();
    let stack = super::fixture("stack_f32/gqa");
    for words in [
        words![
            "generate",
            "--model",
            &llama,
            "--prompt-ids",
            "5",
            "--threads",
            "0"
        ]
        .to_vec(),
        words![
            "embed",
            "--model",
            super::fixture("tiny_bert"),
            "--token-ids",
            "5",
            "--threads",
            "0"
        ]
        .to_vec(),
        words![
            "stack",
            stack.join("config.json"),
            "--weights",
            stack.join("weights.safetensors"),
            "--print",
            "plan",
            "--threads",
            "0"
        ]
        .to_vec(),
        words!["run", "x", "--outputs", "y", "--threads", "0"].to_vec(),
        words!["verify", &llama, "--threads", "0"].to_vec(),
        words!["report", &llama, "-o", "r.html", "--threads", "0"].to_vec(),
        words!["bench", "limits", "--threads", "0"].to_vec(),
        words!["bench", "model", "--model", &llama, "--threads", "0"].to_vec(),
    ] {
        gabion(folder.path(), words).refused(&["--threads 0: expected at least 1 thread"]);
    }
    let refused = |more: &[&str], parts: &[&str]| {
        let words = words!["generate", "--model", &llama, "--prompt-ids", "5"]
            .into_iter()
            .chain(more.iter().map(Into::into));
        gabion(folder.path(), words).refused(parts);
    };
    refused(
        &["--temperature=-1"],
        &["temperature must be finite and at least 0, found -1"],
    );
    refused(&["--temperature", "nan"], &["temperature must be finite"]);
    refused(
        &["--top-p", "0"],
        &["top-p must be above 0 and at most 1, found 0"],
    );
    refused(
        &["--target", "cuda:1"],
        &["--target cuda:1", "not built yet", "--target cpu"],
    );
    refused(&["--threads", "100000"], &["100000"]);
}

#[test]
fn an_instruction_set_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = super::command(folder.path());
    command
        .args(words![
            "generate",
            "--model",
            tiny_llama(),
            "--prompt-ids",
            "5"
        ])
        .env("GABION_ISA", "mmx");
    super::Ran::of(command.output().unwrap()).refused(&["mmx", "avx2"]);
}
