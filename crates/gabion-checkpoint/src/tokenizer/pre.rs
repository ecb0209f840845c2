//! The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`: how a text is cut before the merges. One table.

/// How a text is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    /// Regular expressions, applied one after the other; each match is a word of its own.
    pub(super) patterns: &'static [&'static str],
    /// Whether a word that is in the vocabulary is taken whole, without looking at the merges.
    pub(super) ignore_merges: bool,
    /// Whether a begin token is added where the file does not say it.
    pub(super) add_bos: bool,
}

/// GPT-2's words: contractions, letters, digits and other signs with a space before them, spaces.
pub(crate) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3's words: as GPT-2's, with any case of contractions, up to three digits, and line ends of their own.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's words: as Llama 3's, with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Each digit by itself.
pub(crate) const DIGIT: &str = r"\p{N}";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";

const fn plain(patterns: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer {
        patterns,
        ignore_merges: false,
        add_bos: false,
    }
}

const GPT2_WORDS: PreTokenizer = plain(&[GPT2]);
const DIGITS_THEN_GPT2: PreTokenizer = plain(&[DIGIT, GPT2]);
const QWEN2_WORDS: PreTokenizer = plain(&[QWEN2]);
const LLAMA3_WORDS: PreTokenizer = plain(&[LLAMA3]);
const LLAMA3_WHOLE_WORDS: PreTokenizer = PreTokenizer {
    patterns: &[LLAMA3],
    ignore_merges: true,
    add_bos: true,
};

/// Name in the file, and how it cuts. Names that share a row in other programs have rows of their own here.
const TABLE: &[(&str, PreTokenizer)] = &[
    (
        "default",
        plain(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", THREE_DIGITS]),
    ),
    ("gpt-2", GPT2_WORDS),
    ("mpt", GPT2_WORDS),
    ("olmo", GPT2_WORDS),
    ("jais", GPT2_WORDS),
    ("phi-2", GPT2_WORDS),
    ("trillion", GPT2_WORDS),
    ("exaone4", GPT2_WORDS),
    ("granite-docling", GPT2_WORDS),
    ("smollm", DIGITS_THEN_GPT2),
    ("starcoder", DIGITS_THEN_GPT2),
    ("refact", DIGITS_THEN_GPT2),
    ("command-r", DIGITS_THEN_GPT2),
    ("codeshell", DIGITS_THEN_GPT2),
    ("exaone", DIGITS_THEN_GPT2),
    ("minerva-7b", DIGITS_THEN_GPT2),
    ("llama3", LLAMA3_WHOLE_WORDS),
    ("llama-v3", LLAMA3_WHOLE_WORDS),
    ("llama-bpe", LLAMA3_WHOLE_WORDS),
    ("falcon3", LLAMA3_WHOLE_WORDS),
    ("falcon-h1", LLAMA3_WHOLE_WORDS),
    ("pixtral", LLAMA3_WHOLE_WORDS),
    ("midm-2.0", LLAMA3_WHOLE_WORDS),
    ("lfm2", LLAMA3_WHOLE_WORDS),
    ("dbrx", LLAMA3_WORDS),
    ("smaug-bpe", LLAMA3_WORDS),
    ("glm4", LLAMA3_WORDS),
    ("chatglm-bpe", LLAMA3_WORDS),
    ("qwen2", QWEN2_WORDS),
    ("stablelm2", QWEN2_WORDS),
    ("deepseek-r1-qwen", QWEN2_WORDS),
    ("hunyuan", QWEN2_WORDS),
    ("megrez", QWEN2_WORDS),
    ("grok-2", QWEN2_WORDS),
    ("seed-coder", plain(&[SEED_CODER])),
    (
        "falcon",
        plain(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, THREE_DIGITS]),
    ),
    (
        "deepseek-coder",
        plain(&[
            r"[\r\n]",
            r"\s?\p{L}+",
            r"\s?\p{P}+",
            "[一-龥ࠀ-一가-퟿]+",
            DIGIT,
        ]),
    ),
    (
        "deepseek-v3",
        plain(&[
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ]),
    ),
    (
        "tekken",
        PreTokenizer {
            patterns: &[TEKKEN],
            ignore_merges: true,
            add_bos: true,
        },
    ),
    ("gpt-4o", plain(&[GPT4O])),
    ("minimax-m2", plain(&[GPT4O])),
    ("bloom", plain(&[r" ?[^(\s|.,!?…。，、।۔،)]+"])),
    ("poro-chat", plain(&[r" ?[^(\s|.,!?…。，、।۔،)]+"])),
    ("gpt3-finnish", plain(&[r" ?[^(\s|.,!?…。，、।۔،)]+"])),
    ("viking", plain(&[r" ?[^(\s|.,!?…。，、।۔،)]+", DIGIT])),
];

pub(super) fn pre_tokenizer(name: &str) -> Option<PreTokenizer> {
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, it)| *it)
}

/// The first name whose patterns these are.
pub(crate) fn name_of_patterns(patterns: &[&str], ignore_merges: bool) -> Option<&'static str> {
    let same = |it: &PreTokenizer| it.patterns == patterns && it.ignore_merges == ignore_merges;
    TABLE.iter().find(|(_, it)| same(it)).map(|(name, _)| *name)
}

/// The names of all pre-tokenizers of GGUF that are known here.
pub fn known_pre_tokenizers() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}
