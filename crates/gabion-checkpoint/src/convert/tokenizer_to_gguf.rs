//! A byte-level BPE tokenizer as the lists that GGUF keeps. The reverse is in `tokenizer`.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use crate::error::{CheckpointError, FieldProblem};
use crate::folder::ModelFiles;
use crate::gguf::{GgufArray, GgufValue};
use crate::json;
use crate::tokenizer::{BYTE_LEVEL_WORDS, DIGIT_WORDS, name_of_patterns};

/// Kinds of tokens, by their numbers in the file.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// Adds the ids of special tokens, and the tokenizer of a folder if it has one, padded to the rows of the embedding.
pub(super) fn insert(
    model: &ModelFiles,
    vocab_size: usize,
    values: &mut IndexMap<String, GgufValue>,
) -> Result<(), CheckpointError> {
    let ids = model.generation_ids()?;
    if ids.eos.len() > 3 {
        let message = format!(
            "{} tokens end a text (eos_token_id), and a GGUF file has keys for 3: convert to a folder, or remove some",
            ids.eos.len()
        );
        return Err(CheckpointError::unsupported(model.path(), message));
    }
    let end = |at: usize| ids.eos.get(at).copied();
    let special = [
        ("bos_token_id", ids.bos),
        ("eos_token_id", end(0)),
        ("eot_token_id", end(1)),
        ("eom_token_id", end(2)),
        ("padding_token_id", ids.pad),
    ];
    for (key, id) in special {
        if let Some(id) = id {
            values.insert(format!("tokenizer.ggml.{key}"), GgufValue::U32(id));
        }
    }
    if !model.has_tokenizer() {
        return Ok(());
    }
    let tokenizer = model.tokenizer()?;
    let path = tokenizer.path();
    let source = json::read(path)?;
    let lists = Lists::read(path, &source, vocab_size)?;
    let mut put = |key: &str, value: GgufValue| {
        values.insert(format!("tokenizer.{key}"), value);
    };
    put("ggml.model", GgufValue::String("gpt2".into()));
    put("ggml.pre", GgufValue::String(pre_of(path, &source)?.into()));
    put(
        "ggml.tokens",
        GgufValue::Array(GgufArray::String(lists.tokens)),
    );
    put(
        "ggml.token_type",
        GgufValue::Array(GgufArray::I32(lists.types)),
    );
    put(
        "ggml.merges",
        GgufValue::Array(GgufArray::String(merges_of(path, &source)?)),
    );
    let around = tokenizer.encode("", true)?;
    let (add_bos, add_eos) = match around.as_slice() {
        [] => (false, false),
        [one] if Some(*one) == ids.bos => (true, false),
        [one] if ids.eos.contains(one) => (false, true),
        [first, last] if Some(*first) == ids.bos && ids.eos.contains(last) => (true, true),
        _ => {
            let message =
                "puts tokens around a text that are not the model's begin and end".to_string();
            return Err(CheckpointError::field(
                path,
                "post_processor",
                FieldProblem::Value(message),
            ));
        }
    };
    put("ggml.add_bos_token", GgufValue::Bool(add_bos));
    put("ggml.add_eos_token", GgufValue::Bool(add_eos));
    if let Some(template) = model.chat_template()? {
        put("chat_template", GgufValue::String(template.template));
    }
    Ok(())
}

fn wrong(path: &Path, field: &str, message: impl Into<String>) -> CheckpointError {
    CheckpointError::field(path, field, FieldProblem::Value(message.into()))
}

/// Tokens and their kinds, by id.
struct Lists {
    tokens: Vec<String>,
    types: Vec<i32>,
}

impl Lists {
    fn read(path: &Path, source: &Value, vocab_size: usize) -> Result<Self, CheckpointError> {
        let model = source.get("model").unwrap_or(&Value::Null);
        let is_bpe = model.get("merges").is_some_and(Value::is_array);
        let byte_fallback = model
            .get("byte_fallback")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let vocab = model
            .get("vocab")
            .and_then(Value::as_object)
            .filter(|_| is_bpe && !byte_fallback);
        let vocab = vocab.ok_or_else(|| {
            wrong(
                path,
                "model",
                "is no byte-level BPE, and other tokenizers are not written to GGUF files",
            )
        })?;
        let mut slots: Vec<Option<(String, i32)>> = vec![None; vocab_size];
        let mut put = |token: &str, id: Option<u64>, kind: i32| {
            let slot = id
                .and_then(|id| usize::try_from(id).ok())
                .and_then(|id| slots.get_mut(id));
            match slot {
                Some(slot) => {
                    *slot = Some((token.to_string(), kind));
                    Ok(())
                }
                None => Err(wrong(
                    path,
                    "model.vocab",
                    format!(
                        "gives `{}` no id below the {vocab_size} rows of the embedding",
                        token.escape_debug()
                    ),
                )),
            }
        };
        for (token, id) in vocab {
            put(token, id.as_u64(), NORMAL)?;
        }
        let added = source.get("added_tokens").and_then(Value::as_array);
        for token in added.into_iter().flatten() {
            let content = token.get("content").and_then(Value::as_str).unwrap_or("");
            let special = token
                .get("special")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            put(
                content,
                token.get("id").and_then(Value::as_u64),
                if special { CONTROL } else { USER_DEFINED },
            )?;
        }
        let filled = slots
            .into_iter()
            .enumerate()
            .map(|(id, slot)| slot.unwrap_or_else(|| (format!("[PAD{id}]"), UNUSED)));
        let (tokens, types) = filled.unzip();
        Ok(Lists { tokens, types })
    }
}

/// Each merge as two tokens with a space between; files have them so, or as pairs.
fn merges_of(path: &Path, source: &Value) -> Result<Vec<String>, CheckpointError> {
    let merges = source.pointer("/model/merges").and_then(Value::as_array);
    let text = |merge: &Value| match merge {
        Value::String(merge) => Some(merge.clone()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
            _ => None,
        },
        _ => None,
    };
    let merges = merges
        .into_iter()
        .flatten()
        .map(text)
        .collect::<Option<Vec<_>>>();
    merges.ok_or_else(|| {
        wrong(
            path,
            "model.merges",
            "holds something that is no pair of tokens",
        )
    })
}

/// GGUF's name for how the tokenizer cuts a text into words.
fn pre_of(path: &Path, source: &Value) -> Result<&'static str, CheckpointError> {
    let unknown = || {
        wrong(
            path,
            "pre_tokenizer",
            "cuts texts in a way that has no name in GGUF, so the tokenizer cannot be written there",
        )
    };
    let normalizer = source.pointer("/normalizer/type").and_then(Value::as_str);
    if !matches!(normalizer, None | Some("NFC")) {
        return Err(wrong(
            path,
            "normalizer",
            "changes texts in a way that GGUF cannot say",
        ));
    }
    let root = source.get("pre_tokenizer").unwrap_or(&Value::Null);
    let steps = match root.get("pretokenizers").and_then(Value::as_array) {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(root),
    };
    let mut patterns: Vec<&str> = Vec::new();
    let mut byte_level = false;
    for step in steps {
        let flag = |field: &str, default: bool| {
            step.get(field).and_then(Value::as_bool).unwrap_or(default)
        };
        match step.get("type").and_then(Value::as_str) {
            Some("Split") if !flag("invert", false) => {
                patterns.push(
                    step.pointer("/pattern/Regex")
                        .and_then(Value::as_str)
                        .ok_or_else(unknown)?,
                );
            }
            Some("Digits") if flag("individual_digits", false) => patterns.push(DIGIT_WORDS),
            Some("ByteLevel") if !flag("add_prefix_space", true) => {
                byte_level = true;
                if flag("use_regex", true) {
                    patterns.push(BYTE_LEVEL_WORDS);
                }
            }
            _ => return Err(unknown()),
        }
    }
    let ignore_merges = source
        .pointer("/model/ignore_merges")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    name_of_patterns(&patterns, ignore_merges)
        .filter(|_| byte_level)
        .ok_or_else(unknown)
}
