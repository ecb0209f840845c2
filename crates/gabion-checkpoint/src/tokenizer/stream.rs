//! Decoding ids that come one by one, without ever giving half a character. Decoding itself is the tokenizer's.

use super::Tokenizer;
use crate::error::CheckpointError;

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
    /// The last ids that are not hidden are bytes.
    in_run: bool,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, skip_special: bool) -> Self {
        StreamDecoder {
            tokenizer,
            skip_special,
            ids: Vec::new(),
            n_context: 0,
            given: 0,
            in_run: false,
        }
    }

    /// Takes one id and gives the text that is now certain, if any.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<Option<String>, CheckpointError> {
        self.ids.push(id);
        // A run of bytes is text or not as a whole, which shows where it ends; what is hidden does not end it.
        self.in_run = self.tokenizer.byte_fallback
            && (self.is_byte(id) || self.in_run && self.is_hidden(id)?);
        if self.in_run {
            return Ok(None);
        }
        let text = self.tokenizer.decode(&self.ids, self.skip_special)?;
        let certain = self.certain(&text);
        let piece = certain.get(self.given..).unwrap_or("").to_string();
        self.given = self.given.max(certain.len());
        if certain.len() == text.len() {
            // These ids stay as context: a decoder may treat the first token of a text in its own way. Ids without a text
            // of their own, such as hidden special tokens, are none: the next one would be taken for the first.
            let last = self
                .tokenizer
                .decode(&self.ids[self.n_context..], self.skip_special)?;
            if !last.is_empty() {
                self.ids.drain(..self.n_context);
                self.n_context = self.ids.len();
                self.given = last.len();
            }
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
    /// end. After a token that is no byte, a decoder of byte tokens is sure of all.
    fn certain<'t>(&self, text: &'t str) -> &'t str {
        match self.tokenizer.byte_fallback {
            false => text
                .strip_suffix(char::REPLACEMENT_CHARACTER)
                .unwrap_or(text),
            true => text,
        }
    }

    fn is_hidden(&self, id: u32) -> Result<bool, CheckpointError> {
        let text = self.tokenizer.decode(&[id], self.skip_special)?;
        Ok(text.is_empty())
    }

    /// Whether the id stands for one byte: `<0x0A>`.
    fn is_byte(&self, id: u32) -> bool {
        let token = self.tokenizer.id_to_token(id);
        token.is_some_and(|token| {
            let digits = token
                .strip_prefix("<0x")
                .and_then(|it| it.strip_suffix('>'));
            digits.is_some_and(|it| it.len() == 2 && u8::from_str_radix(it, 16).is_ok())
        })
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
