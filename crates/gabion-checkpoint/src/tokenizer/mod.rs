//! Text to token ids and back: a tokenizer from `tokenizer.json` or from GGUF metadata, and a streaming decoder. Chat
//! templates and the ids of special tokens belong to `folder`.

mod from_gguf;
mod pre;
mod stream;
mod template;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{PostProcessor, Tokenizer as Inner};

use crate::error::CheckpointError;
use crate::gguf::GgufMetadata;
use crate::json;

pub use pre::known_pre_tokenizers;
pub(crate) use pre::{DIGIT as DIGIT_WORDS, GPT2 as BYTE_LEVEL_WORDS, name_of_patterns};
pub use stream::StreamDecoder;

/// A tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    path: PathBuf,
    /// Whether the decoder puts byte tokens together.
    byte_fallback: bool,
}

/// The ids of a text that had to fit a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruncatedIds {
    /// The ids, special tokens included.
    pub ids: Vec<u32>,
    /// Ids of the text that did not fit: 0 for a text that did.
    pub dropped: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Truncation and padding that the file asks for are not applied: lengths are the caller's
    /// business.
    ///
    /// # Errors
    /// The file cannot be read or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, CheckpointError> {
        let text = json::read_text(path)?;
        template::check(path, &text)?;
        let inner = guarded(path, || text.parse::<Inner>())?.map_err(|error| {
            CheckpointError::tokenizer(path, format!("not a `tokenizer.json`: {error}"))
        })?;
        Self::new(path, inner)
    }

    /// Builds the tokenizer that GGUF metadata describes: `tokenizer.ggml.model` `gpt2` (byte-level BPE) or `llama`
    /// (sentencepiece with scores).
    ///
    /// # Errors
    /// A key that is missing or of another type, a model or a pre-tokenizer that is not known, lists that do not fit.
    pub fn from_gguf(metadata: &GgufMetadata) -> Result<Self, CheckpointError> {
        let inner = guarded(metadata.path(), || from_gguf::build(metadata))??;
        Self::new(metadata.path(), inner)
    }

    fn new(path: &Path, mut inner: Inner) -> Result<Self, CheckpointError> {
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| CheckpointError::tokenizer(path, error.to_string()))?;
        let decoder = serde_json::to_string(&inner.get_decoder())
            .map_err(|error| CheckpointError::tokenizer(path, error.to_string()))?;
        Ok(Tokenizer {
            byte_fallback: decoder.contains("ByteFallback"),
            inner,
            path: path.to_path_buf(),
        })
    }

    /// A call of the tokenizers crate: its errors and its panics are errors here.
    fn guarded<T>(
        &self,
        call: impl FnOnce() -> tokenizers::Result<T>,
    ) -> Result<T, CheckpointError> {
        guarded(&self.path, call)?.map_err(|error| self.fail(&error))
    }

    fn fail(&self, error: &dyn std::fmt::Display) -> CheckpointError {
        CheckpointError::tokenizer(&self.path, error.to_string())
    }

    /// The ids of a text; `add_special` adds what the tokenizer puts around a text, such as a begin token or `[CLS]`.
    /// Special tokens that are written out in the text are recognised either way.
    ///
    /// # Errors
    /// The text has something that the vocabulary cannot express.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, CheckpointError> {
        let encoding = self.guarded(|| self.inner.encode_fast(text, add_special))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text with its special tokens, cut so that all of them together are at most `max_len`: the text loses its
    /// end, the special tokens stay.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], or `max_len` is too small for the special tokens alone.
    pub fn encode_truncated(
        &self,
        text: &str,
        max_len: usize,
    ) -> Result<TruncatedIds, CheckpointError> {
        let mut encoding = self.guarded(|| self.inner.encode_fast(text, false))?;
        let n_special = self
            .inner
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false));
        let room = max_len.checked_sub(n_special).ok_or_else(|| {
            self.fail(&format!(
                "a length of {max_len} has no room for its {n_special} special tokens"
            ))
        })?;
        let length = encoding.get_ids().len();
        encoding.truncate(room, 0, TruncationDirection::Right);
        let whole = self.guarded(|| self.inner.post_process(encoding, None, true))?;
        Ok(TruncatedIds {
            ids: whole.get_ids().to_vec(),
            dropped: length.saturating_sub(room),
        })
    }

    /// The text of ids; special tokens are left out if `skip_special`. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// The decoder refuses.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, CheckpointError> {
        self.guarded(|| self.inner.decode(ids, skip_special))
    }

    /// Starts decoding ids that come one by one.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder<'_> {
        StreamDecoder::new(self, skip_special)
    }

    /// The id of a token, special or not.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Tokens in the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The tokenizer as the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, CheckpointError> {
        self.inner
            .to_string(true)
            .map_err(|error| self.fail(&error))
    }

    /// Where the tokenizer came from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The tokenizers crate takes some files at their word and panics later. `template` refuses what is known to do so; this makes
/// an error of the rest.
fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, CheckpointError> {
    // After a panic nothing of the call is used again: it only reads the tokenizer, whose caches are locks of their own.
    panic::catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
        CheckpointError::tokenizer(
            path,
            "contradicts itself, and the text could not be processed",
        )
    })
}
