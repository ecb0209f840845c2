//! Decoding ids that come one by one, without ever giving half a character. Decoding itself is the tokenizer's.

use super::Tokenizer;
use crate::error::CheckpointError;

/// Byte tokens after which a run of replacement characters is given out as it is.
const MAX_HELD: usize = 32;
/// Ids that are kept while broken text goes on: a character has at most four bytes, and an id at least one.
const MIN_KEPT: usize = 8;

/// Turns a stream of ids into pieces of text. The pieces, put together, are the text of all ids.
#[derive(Clone, Debug)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    skip_special: bool,
    /// Ids whose text depends on each other: those of the last piece, and those that are held back.
    ids: Vec<u32>,
    /// How many of `ids` belong to the last piece.
    n_context: usize,
    /// How much of the text of `ids` has been given.
    given: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        StreamDecoder {
            tokenizer,
            skip_special,
            ids: Vec::new(),
            n_context: 0,
            given: 0,
        }
    }

    /// Takes one id and gives the text that is now certain, if any.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>, CheckpointError> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        let certain = self.certain(&text);
        let piece = certain.get(self.given..).unwrap_or("").to_string();
        self.given = self.given.max(certain.len());
        if certain.len() == text.len() {
            // These ids stay as context: a decoder may treat the first token of a text in its own way.
            self.ids.drain(..self.n_context);
            self.n_context = self.ids.len();
            self.given = self.tokenizer.decode(&self.ids, self.skip_special)?.len();
        } else if !self.tokenizer.byte_fallback && self.ids.len() > 4 * MIN_KEPT {
            // The text is broken and goes on: only its end matters, and the end stays the same.
            let n_open = text.len() - self.given;
            self.ids.drain(..self.ids.len() - MIN_KEPT);
            self.n_context = 0;
            self.given = self
                .tokenizer
                .decode(&self.ids, self.skip_special)?
                .len()
                .saturating_sub(n_open);
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The part of a text that more ids cannot change. A byte-level decoder shows an unfinished character as one U+FFFD at the
    /// end. A decoder of byte tokens shows a whole run of bytes as U+FFFD until the run is a text.
    fn certain<'t>(&self, text: &'t str) -> &'t str {
        if !self.tokenizer.byte_fallback {
            return text
                .strip_suffix(char::REPLACEMENT_CHARACTER)
                .unwrap_or(text);
        }
        match self.ids.len() - self.n_context {
            0..=MAX_HELD => text.trim_end_matches(char::REPLACEMENT_CHARACTER),
            _ => text,
        }
    }

    /// Gives what is still held back: the bytes of an unfinished character, as U+FFFD.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(mut self) -> Result<Option<String>, CheckpointError> {
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        let piece = text.get(self.given..).unwrap_or("").to_string();
        self.ids.clear();
        Ok((!piece.is_empty()).then_some(piece))
    }
}
