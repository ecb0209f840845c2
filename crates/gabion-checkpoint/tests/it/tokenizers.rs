//! Tokenizers built from small GGUF vocabularies, and decoding piece by piece.

use std::path::Path;

use gabion_checkpoint::{GgufArray, GgufMetadata, GgufValue, Tokenizer, known_pre_tokenizers};
use proptest::prelude::*;

use crate::sample::{llama_metadata, text};

fn metadata(changes: &[(&str, Option<GgufValue>)]) -> GgufMetadata {
    with_changes(llama_metadata(Path::new("m.gguf")), changes)
}

fn with_changes(metadata: GgufMetadata, changes: &[(&str, Option<GgufValue>)]) -> GgufMetadata {
    let mut values = metadata.values().clone();
    for (key, value) in changes {
        match value {
            Some(value) => values.insert((*key).to_string(), value.clone()),
            None => values.shift_remove(*key),
        };
    }
    GgufMetadata::new(metadata.path(), values)
}

fn tokenizer(changes: &[(&str, Option<GgufValue>)]) -> Tokenizer {
    Tokenizer::from_gguf(&metadata(changes)).unwrap()
}

fn strings(list: &[&str]) -> Option<GgufValue> {
    Some(GgufValue::Array(GgufArray::String(
        list.iter().map(|it| it.to_string()).collect(),
    )))
}

#[test]
fn merges_digits_and_special_tokens() {
    let tokenizer = tokenizer(&[]);
    let ids = |text: &str| tokenizer.encode(text, true).unwrap();
    // The vocabulary: <|end|> <user> a b c Ġ 1 2 ab Ġab é Ã ©
    assert_eq!(ids("ab ab cab"), [8, 9, 5, 4, 8]);
    assert_eq!(ids("12"), [6, 7], "digits stand alone");
    assert_eq!(
        ids("a<|end|>b<user>ab"),
        [2, 0, 3, 1, 8],
        "special tokens are found in the text"
    );
    assert_eq!(ids("é"), [10]);
    assert_eq!(ids(""), [] as [u32; 0]);
    assert_eq!(
        tokenizer.decode(&[8, 9, 0, 1, 10], false).unwrap(),
        "ab ab<|end|><user>é"
    );
    assert_eq!(
        tokenizer.decode(&[8, 9, 0, 1, 10], true).unwrap(),
        "ab ab<user>é",
        "only control tokens are special"
    );
    assert_eq!(tokenizer.token_to_id("<user>"), Some(1));
    assert_eq!(tokenizer.vocab_size(), 13);
}

#[test]
fn begin_and_end_tokens_follow_the_flags() {
    let flags = |bos: bool, eos: bool| {
        tokenizer(&[
            ("tokenizer.ggml.add_bos_token", Some(GgufValue::Bool(bos))),
            ("tokenizer.ggml.add_eos_token", Some(GgufValue::Bool(eos))),
            ("tokenizer.ggml.bos_token_id", Some(GgufValue::U32(1))),
        ])
    };
    assert_eq!(flags(true, false).encode("a", true).unwrap(), [1, 2]);
    assert_eq!(flags(true, false).encode("a", false).unwrap(), [2]);
    assert_eq!(flags(true, true).encode("a", true).unwrap(), [1, 2, 0]);
    assert_eq!(flags(false, true).encode("", true).unwrap(), [0]);
    let cut = flags(true, true).encode_truncated("abcabc", 4).unwrap();
    assert_eq!((cut.ids.as_slice(), cut.dropped), (&[1, 8, 4, 0][..], 2));
    let whole = flags(true, true).encode_truncated("abc", 4).unwrap();
    assert_eq!((whole.ids.len(), whole.dropped), (4, 0));
    let error = flags(true, true)
        .encode_truncated("abc", 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a length of 1 has no room for its 2 special tokens"),
        "{error}"
    );
}

#[test]
fn metadata_that_is_no_tokenizer_says_why() {
    let integers = |list: &[i32]| Some(GgufValue::Array(GgufArray::I32(list.to_vec())));
    let cases: &[(&str, Option<GgufValue>, &str)] = &[
        (
            "tokenizer.ggml.model",
            Some(text("bert")),
            "`tokenizer.ggml.model` is `bert`, expected gpt2 or llama",
        ),
        (
            "tokenizer.ggml.model",
            None,
            "`tokenizer.ggml.model` is missing",
        ),
        (
            "tokenizer.ggml.pre",
            Some(text("wild")),
            "`tokenizer.ggml.pre` is `wild`, expected one of default, gpt-2,",
        ),
        (
            "tokenizer.ggml.tokens",
            None,
            "`tokenizer.ggml.tokens` is missing, expected an array of strings",
        ),
        (
            "tokenizer.ggml.tokens",
            Some(text("a")),
            "`tokenizer.ggml.tokens` is the string `a`, expected an array of strings",
        ),
        (
            "tokenizer.ggml.token_type",
            integers(&[1]),
            "has 1 elements, expected one for each of the 13 tokens",
        ),
        (
            "tokenizer.ggml.merges",
            strings(&["ab"]),
            "[0] is `ab`, expected two tokens with a space between",
        ),
        (
            "tokenizer.ggml.merges",
            strings(&["a b", "x y"]),
            "`tokenizer.ggml.merges` does not fit the tokens",
        ),
        (
            "tokenizer.ggml.merges",
            None,
            "`tokenizer.ggml.merges` is missing",
        ),
        (
            "tokenizer.ggml.tokens",
            strings(&[
                "a", "b", "c", "d", "e", "f", "a", "g", "h", "i", "j", "k", "l",
            ]),
            "has `a` twice, as 0 and as 6",
        ),
    ];
    for (key, value, expected) in cases {
        let error = Tokenizer::from_gguf(&metadata(&[(key, value.clone())]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("m.gguf: ") && error.contains(expected),
            "expected `{expected}` in: {error}"
        );
    }
    let error = Tokenizer::from_gguf(&metadata(&[
        ("tokenizer.ggml.add_bos_token", Some(GgufValue::Bool(true))),
        ("tokenizer.ggml.bos_token_id", Some(GgufValue::U32(99))),
    ]));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("is 99, expected the id of one of the 13 tokens")
    );
}

#[test]
fn every_known_pre_tokenizer_can_be_built_and_loses_no_text() {
    // All bytes as tokens, without merges: what is encoded must come back.
    let alphabet = byte_alphabet();
    let refs: Vec<&str> = alphabet.iter().map(String::as_str).collect();
    for name in known_pre_tokenizers() {
        let tokenizer = tokenizer(&[
            ("tokenizer.ggml.pre", Some(text(name))),
            ("tokenizer.ggml.tokens", strings(&refs)),
            ("tokenizer.ggml.token_type", None),
            ("tokenizer.ggml.merges", strings(&[])),
            ("tokenizer.ggml.add_bos_token", Some(GgufValue::Bool(false))),
        ]);
        let text = "It's 12345, déjà-vu!\r\n\n  日本 x\t🙂 == don'T STOP  ";
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids.len(), text.len(), "{name}");
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text, "{name}");
    }
}

/// The characters that stand for the bytes 0 to 255 in byte-level vocabularies.
fn byte_alphabet() -> Vec<String> {
    let mut next = 256;
    (0..=255_u32)
        .map(|byte| {
            let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let code = if printable {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap().to_string()
        })
        .collect()
}

fn byte_tokenizer() -> Tokenizer {
    let alphabet = byte_alphabet();
    let refs: Vec<&str> = alphabet.iter().map(String::as_str).collect();
    tokenizer(&[
        ("tokenizer.ggml.tokens", strings(&refs)),
        ("tokenizer.ggml.token_type", None),
        ("tokenizer.ggml.merges", strings(&[])),
        ("tokenizer.ggml.eos_token_id", None),
    ])
}

/// A sentencepiece vocabulary with bytes: the pieces, their scores and kinds.
fn sentencepiece(changes: &[(&str, Option<GgufValue>)]) -> Tokenizer {
    let mut pieces: Vec<(String, f32, i32)> = vec![
        ("<unk>".into(), 0.0, 2),
        ("<s>".into(), 0.0, 3),
        ("</s>".into(), 0.0, 3),
    ];
    pieces.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    for (at, piece) in [
        "\u{2581}t",
        "he",
        "\u{2581}the",
        "er",
        "\u{2581}",
        "t",
        "h",
        "e",
        "r",
    ]
    .iter()
    .enumerate()
    {
        pieces.push((piece.to_string(), -(at as f32), 1));
    }
    let tokens: Vec<&str> = pieces.iter().map(|it| it.0.as_str()).collect();
    let base = metadata(&[
        ("tokenizer.ggml.model", Some(text("llama"))),
        ("tokenizer.ggml.pre", None),
        ("tokenizer.ggml.merges", None),
        ("tokenizer.ggml.tokens", strings(&tokens)),
        (
            "tokenizer.ggml.scores",
            Some(GgufValue::Array(GgufArray::F32(
                pieces.iter().map(|it| it.1).collect(),
            ))),
        ),
        (
            "tokenizer.ggml.token_type",
            Some(GgufValue::Array(GgufArray::I32(
                pieces.iter().map(|it| it.2).collect(),
            ))),
        ),
        ("tokenizer.ggml.bos_token_id", Some(GgufValue::U32(1))),
        ("tokenizer.ggml.eos_token_id", Some(GgufValue::U32(2))),
    ]);
    Tokenizer::from_gguf(&with_changes(base, changes)).unwrap()
}

#[test]
fn sentencepiece_joins_by_score_and_falls_back_to_bytes() {
    let tokenizer = sentencepiece(&[]);
    let spelled = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text, true).unwrap();
        ids.iter()
            .map(|&id| tokenizer.id_to_token(id).unwrap())
            .collect()
    };
    assert_eq!(
        spelled("the her"),
        ["<s>", "\u{2581}the", "\u{2581}", "he", "r"],
        "`he` has a better score than `er`"
    );
    assert_eq!(spelled("é"), ["<s>", "\u{2581}", "<0xC3>", "<0xA9>"]);
    let ids = tokenizer.encode("the é her", true).unwrap();
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "the é her");
    let bare = sentencepiece(&[(
        "tokenizer.ggml.add_space_prefix",
        Some(GgufValue::Bool(false)),
    )]);
    assert_eq!(bare.encode("he", false).unwrap().len(), 1);
    let missing = with_changes(
        metadata(&[("tokenizer.ggml.model", Some(text("llama")))]),
        &[],
    );
    let error = Tokenizer::from_gguf(&missing).unwrap_err().to_string();
    assert!(
        error.contains("`tokenizer.ggml.scores` is missing, expected an array of f32"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_survives_tokenizer_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let spm = sentencepiece(&[]);
    for (tokenizer, text) in [(tokenizer(&[]), "ab ab1<user>é"), (spm, "the her é")] {
        std::fs::write(&path, tokenizer.to_json().unwrap()).unwrap();
        let read = Tokenizer::from_file(&path).unwrap();
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(read.encode(text, true).unwrap(), ids);
        assert_eq!(
            read.decode(&ids, true).unwrap(),
            tokenizer.decode(&ids, true).unwrap()
        );
    }
    std::fs::write(&path, "{}").unwrap();
    let error = Tokenizer::from_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer.json: tokenizer: not a `tokenizer.json`"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_json_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let good = tokenizer(&[("tokenizer.ggml.add_bos_token", Some(GgufValue::Bool(true)))])
        .to_json()
        .unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&good).unwrap();
    let refused = |text: &str, expected: &str| {
        std::fs::write(&path, text).unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "expected `{expected}` in: {error}"
        );
    };
    refused(&good[..good.len() / 2], "tokenizer.json: not valid JSON");
    json["post_processor"]["special_tokens"] = serde_json::json!({});
    refused(
        &json.to_string(),
        "`post_processor` uses the token `<|end|>`, which its `special_tokens` do not have",
    );
    json["post_processor"]["single"] = serde_json::json!([{"Sequence": {"id": "B", "type_id": 0}}]);
    refused(
        &json.to_string(),
        "`post_processor` puts a second text into the template of one text",
    );
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, String) {
    let mut stream = tokenizer.stream(false);
    let pieces: Vec<String> = ids
        .iter()
        .filter_map(|&id| stream.push(id).unwrap())
        .collect();
    let rest = stream.finish().unwrap().unwrap_or_default();
    (pieces, rest)
}

#[test]
fn a_stream_waits_for_whole_characters() {
    let tokenizer = byte_tokenizer();
    let ids = tokenizer.encode("a🙂é", false).unwrap();
    assert_eq!(ids.len(), 7);
    assert_eq!(
        streamed(&tokenizer, &ids),
        (vec!["a".into(), "🙂".into(), "é".into()], String::new())
    );
    let (pieces, rest) = streamed(&tokenizer, &ids[..3]);
    assert_eq!((pieces, rest.as_str()), (vec!["a".to_string()], "\u{fffd}"));
    // Sixteen bytes that are no text are not held back for ever.
    let (pieces, _) = streamed(&tokenizer, &[0xff; 16]);
    assert!(!pieces.is_empty());
    // Replacement characters that the text really has, before a character that comes in four pieces.
    let text = "\u{fffd}\u{fffd}\u{fffd}🙂";
    for tokenizer in [byte_tokenizer(), sentencepiece(&[])] {
        let ids = tokenizer.encode(text, false).unwrap();
        let (pieces, rest) = streamed(&tokenizer, &ids);
        assert_eq!(pieces.concat() + &rest, text);
    }
    let spm = sentencepiece(&[]);
    let ids = spm.encode("the é her", false).unwrap();
    let (pieces, rest) = streamed(&spm, &ids);
    assert_eq!(pieces.concat() + &rest, "the é her");
}

/// A byte-level tokenizer and one of sentencepiece, built once.
fn both_kinds() -> &'static [Tokenizer; 2] {
    static BOTH: std::sync::OnceLock<[Tokenizer; 2]> = std::sync::OnceLock::new();
    BOTH.get_or_init(|| [byte_tokenizer(), sentencepiece(&[])])
}

proptest! {
    #[test]
    fn a_stream_gives_the_whole_text(text in "\\PC{0,12}") {
        for tokenizer in both_kinds() {
            let ids = tokenizer.encode(&text, false).unwrap();
            let (pieces, rest) = streamed(tokenizer, &ids);
            prop_assert_eq!(pieces.concat() + &rest, tokenizer.decode(&ids, false).unwrap());
            for piece in pieces {
                let broken = char::REPLACEMENT_CHARACTER;
                prop_assert!(!piece.contains(broken) || text.contains(broken), "{}", piece);
            }
        }
    }

    #[test]
    fn any_ids_can_be_streamed(
        // Special tokens, bytes that are no text, and pieces, often beside each other.
        ids in prop::collection::vec(prop_oneof![0_u32..300, 0_u32..3, 255_u32..270, 0x80_u32..0x90], 0..60),
        skip in any::<bool>(),
    ) {
        for tokenizer in both_kinds() {
            let ids: Vec<u32> = ids.iter().map(|id| id % tokenizer.vocab_size() as u32).collect();
            let mut stream = tokenizer.stream(skip);
            let mut text = String::new();
            for id in &ids {
                text += &stream.push(*id).unwrap().unwrap_or_default();
            }
            text += &stream.finish().unwrap().unwrap_or_default();
            prop_assert_eq!(text, tokenizer.decode(&ids, skip).unwrap());
        }
    }
}

/// A run of bytes that stops being text changes what was before in it, and hidden tokens begin no text.
#[test]
fn runs_of_bytes_and_hidden_tokens_lose_nothing() {
    let tokenizer = sentencepiece(&[]);
    let (byte, piece) = (|byte: u32| 3 + byte, |at: u32| 259 + at);
    for ids in [
        vec![byte(0x0a), byte(0xf0), byte(0x9f), piece(5)],
        vec![byte(0x41), byte(0xaa), piece(5), piece(6)],
        vec![piece(5), 2, piece(0), piece(5)],
        vec![1, 2, 1, piece(0), 2, piece(0)],
    ] {
        let mut stream = tokenizer.stream(true);
        let pieces = ids
            .iter()
            .map(|id| stream.push(*id).unwrap().unwrap_or_default());
        let text = pieces.collect::<String>() + &stream.finish().unwrap().unwrap_or_default();
        assert_eq!(text, tokenizer.decode(&ids, true).unwrap(), "{ids:?}");
    }
}
