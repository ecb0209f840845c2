//! Building a tokenizer from the lists that a GGUF file carries. How texts are cut before the merges is in `pre`.

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::normalizer::SplitDelimiterBehavior;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer,
};

use super::pre::{PreTokenizer, known_pre_tokenizers, pre_tokenizer};
use crate::error::{CheckpointError, FieldProblem};
use crate::gguf::GgufMetadata;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// Kinds of tokens, by their numbers in the file.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// What stands for a space in sentencepiece vocabularies.
const SPACE: &str = "\u{2581}";

pub(super) fn build(metadata: &GgufMetadata) -> Result<Tokenizer, CheckpointError> {
    let vocab = Words::read(metadata)?;
    let (mut tokenizer, add_bos) = match metadata.need_string(MODEL)? {
        "gpt2" => byte_level(metadata, &vocab)?,
        "llama" => sentencepiece(metadata, &vocab)?,
        other => {
            let message = format!("is `{other}`, expected gpt2 or llama");
            return Err(CheckpointError::field(
                metadata.path(),
                MODEL,
                FieldProblem::Value(message),
            ));
        }
    };
    tokenizer
        .add_tokens(vocab.added())
        .map_err(|error| CheckpointError::tokenizer(metadata.path(), error.to_string()))?;
    add_special_ends(metadata, &mut tokenizer, &vocab, add_bos)?;
    Ok(tokenizer)
}

/// The vocabulary: token `i` has id `i`.
struct Words<'a> {
    metadata: &'a GgufMetadata,
    tokens: &'a [String],
    types: Vec<i64>,
}

impl<'a> Words<'a> {
    fn read(metadata: &'a GgufMetadata) -> Result<Self, CheckpointError> {
        let tokens = metadata.need_strings(TOKENS)?;
        let types = match metadata.integers(TYPES)? {
            Some(types) => types,
            None => vec![NORMAL; tokens.len()],
        };
        let words = Words {
            metadata,
            tokens,
            types,
        };
        words.check_length(TYPES, words.types.len())?;
        let unique: Vocab = words.vocab();
        if unique.len() != tokens.len() {
            for (id, token) in tokens.iter().enumerate() {
                if let Some(&last) = unique.get(token)
                    && last as usize != id
                {
                    let message = format!(
                        "has `{}` twice, as {id} and as {last}",
                        token.escape_debug()
                    );
                    return Err(words.wrong(TOKENS, message));
                }
            }
        }
        Ok(words)
    }

    fn wrong(&self, key: &str, message: String) -> CheckpointError {
        CheckpointError::field(self.metadata.path(), key, FieldProblem::Value(message))
    }

    fn check_length(&self, key: &str, length: usize) -> Result<(), CheckpointError> {
        if length == self.tokens.len() {
            return Ok(());
        }
        Err(self.wrong(
            key,
            format!(
                "has {length} elements, expected one for each of the {} tokens",
                self.tokens.len()
            ),
        ))
    }

    fn vocab(&self) -> Vocab {
        // A vocabulary is far below 2^32 tokens: each takes eight bytes of the file.
        self.tokens
            .iter()
            .zip(0_u32..)
            .map(|(token, id)| (token.clone(), id))
            .collect()
    }

    /// Tokens that are found in a text before it is cut into words.
    fn added(&self) -> Vec<AddedToken> {
        let kinds = self.tokens.iter().zip(&self.types);
        kinds
            .filter(|(token, _)| !token.is_empty())
            .filter_map(|(token, &kind)| match kind {
                CONTROL | UNKNOWN => Some(AddedToken::from(token.as_str(), true).normalized(false)),
                USER_DEFINED => Some(AddedToken::from(token.as_str(), false).normalized(false)),
                _ => None,
            })
            .collect()
    }

    fn token(&self, key: &str, id: usize) -> Result<&'a str, CheckpointError> {
        self.tokens.get(id).map(String::as_str).ok_or_else(|| {
            self.wrong(
                key,
                format!(
                    "is {id}, expected the id of one of the {} tokens",
                    self.tokens.len()
                ),
            )
        })
    }
}

fn byte_level(
    metadata: &GgufMetadata,
    words: &Words<'_>,
) -> Result<(Tokenizer, bool), CheckpointError> {
    let cut = pre_of(metadata)?;
    let merges = metadata
        .need_strings(MERGES)?
        .iter()
        .enumerate()
        .map(|(index, merge)| {
            split_merge(merge).ok_or_else(|| {
                words.wrong(
                    MERGES,
                    format!(
                        "[{index}] is `{}`, expected two tokens with a space between",
                        merge.escape_debug()
                    ),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let model = BPE::builder()
        .vocab_and_merges(words.vocab(), merges)
        .ignore_merges(cut.ignore_merges)
        .build()
        .map_err(|error| words.wrong(MERGES, format!("does not fit the tokens: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    for pattern in cut.patterns {
        let pattern = SplitPattern::Regex((*pattern).to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| CheckpointError::tokenizer(metadata.path(), error.to_string()))?;
        steps.push(split.into());
    }
    steps.push(ByteLevel::new(false, true, false).into());
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, false)));
    Ok((tokenizer, cut.add_bos))
}

fn pre_of(metadata: &GgufMetadata) -> Result<PreTokenizer, CheckpointError> {
    let name = metadata.string(PRE)?.unwrap_or("default");
    pre_tokenizer(name).ok_or_else(|| {
        let known: Vec<&str> = known_pre_tokenizers().collect();
        let message = format!("is `{name}`, expected one of {}", known.join(", "));
        CheckpointError::field(metadata.path(), PRE, FieldProblem::Value(message))
    })
}

/// The two halves of a merge. A half may begin with a space, so the first byte never separates.
fn split_merge(merge: &str) -> Option<(String, String)> {
    let first = merge.chars().next()?.len_utf8();
    let at = first + merge[first..].find(' ')?;
    let (left, right) = (&merge[..at], &merge[at + 1..]);
    (!right.is_empty()).then(|| (left.to_string(), right.to_string()))
}

/// Sentencepiece joins the pair whose joined piece has the best score. As merges: every way to cut a piece into two pieces, by
/// falling score.
fn sentencepiece(
    metadata: &GgufMetadata,
    words: &Words<'_>,
) -> Result<(Tokenizer, bool), CheckpointError> {
    let scores = metadata.floats(SCORES)?.ok_or_else(|| {
        CheckpointError::field(
            metadata.path(),
            SCORES,
            FieldProblem::Missing {
                expected: "an array of f32",
            },
        )
    })?;
    words.check_length(SCORES, scores.len())?;
    let vocab = words.vocab();
    let merges = merges_by_score(words, scores, &vocab);
    let unknown_id = metadata.size("tokenizer.ggml.unknown_token_id")?;
    let unknown = match (
        unknown_id,
        words.types.iter().position(|&kind| kind == UNKNOWN),
    ) {
        (Some(id), _) => Some(words.token("tokenizer.ggml.unknown_token_id", id)?),
        (None, Some(id)) => Some(words.token(TYPES, id)?),
        (None, None) => None,
    };
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(unknown.to_string());
    }
    let model = builder
        .build()
        .map_err(|error| words.wrong(TOKENS, format!("cannot be used: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    let add_prefix = metadata
        .bool("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if add_prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let normalizer: NormalizerWrapper = part(
        metadata,
        json!({"type": "Sequence", "normalizers": normalizers}),
    )?;
    let decoder: DecoderWrapper =
        part(metadata, json!({"type": "Sequence", "decoders": decoders}))?;
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| CheckpointError::tokenizer(metadata.path(), error.to_string()))?;
    tokenizer.with_decoder(Some(decoder));
    Ok((tokenizer, true))
}

fn merges_by_score(words: &Words<'_>, scores: &[f32], vocab: &Vocab) -> Vec<(String, String)> {
    struct Merge<'a> {
        score: f32,
        left: &'a str,
        right: &'a str,
    }
    let mut merges = Vec::new();
    for ((token, &kind), &score) in words.tokens.iter().zip(&words.types).zip(scores) {
        if kind != NORMAL {
            continue;
        }
        let mut cuts: Vec<(u32, u32, usize)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| Some((*vocab.get(&token[..at])?, *vocab.get(&token[at..])?, at)))
            .collect();
        cuts.sort_unstable();
        merges.extend(cuts.into_iter().map(|(_, _, at)| Merge {
            score,
            left: &token[..at],
            right: &token[at..],
        }));
    }
    // Falling score, then longer halves first; the order of the vocabulary decides the rest.
    merges.sort_by(|a, b| {
        let lengths = |it: &Merge<'_>| (it.left.chars().count(), it.right.chars().count());
        b.score
            .total_cmp(&a.score)
            .then_with(|| lengths(b).cmp(&lengths(a)))
    });
    merges
        .into_iter()
        .map(|it| (it.left.to_string(), it.right.to_string()))
        .collect()
}

/// Puts the begin and the end token around a text where the file asks for it.
fn add_special_ends(
    metadata: &GgufMetadata,
    tokenizer: &mut Tokenizer,
    words: &Words<'_>,
    add_bos: bool,
) -> Result<(), CheckpointError> {
    let end =
        |flag: &str, key: &str, default: bool| -> Result<Option<(usize, &str)>, CheckpointError> {
            let asked = metadata.bool(flag)?;
            if !asked.unwrap_or(default) {
                return Ok(None);
            }
            match metadata.size(key)? {
                Some(id) => Ok(Some((id, words.token(key, id)?))),
                // The default of a kind of tokenizer asks for nothing that the file does not have.
                None if asked.is_none() => Ok(None),
                None => Err(CheckpointError::field(
                    metadata.path(),
                    key,
                    FieldProblem::Missing {
                        expected: "the id of a token",
                    },
                )),
            }
        };
    let bos = end(
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.bos_token_id",
        add_bos,
    )?;
    let eos = end(
        "tokenizer.ggml.add_eos_token",
        "tokenizer.ggml.eos_token_id",
        false,
    )?;
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let special = |(_, token): (usize, &str)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let second = json!({"Sequence": {"id": "B", "type_id": 0}});
    let single: Vec<Value> = bos
        .map(special)
        .into_iter()
        .chain([text])
        .chain(eos.map(special))
        .collect();
    let pair: Vec<Value> = [
        single.clone(),
        bos.map(special)
            .into_iter()
            .chain([second])
            .chain(eos.map(special))
            .collect(),
    ]
    .concat();
    let mut tokens = serde_json::Map::new();
    for (id, token) in bos.into_iter().chain(eos) {
        tokens.insert(
            token.to_string(),
            json!({"id": token, "ids": [id], "tokens": [token]}),
        );
    }
    let processor: PostProcessorWrapper = part(
        metadata,
        json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}),
    )?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

/// A part of a tokenizer from the JSON that `tokenizer.json` would have.
fn part<T: serde::de::DeserializeOwned>(
    metadata: &GgufMetadata,
    value: Value,
) -> Result<T, CheckpointError> {
    serde_json::from_value(value)
        .map_err(|error| CheckpointError::tokenizer(metadata.path(), error.to_string()))
}
