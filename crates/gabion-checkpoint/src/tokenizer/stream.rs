//! Decoding ids that come one by one, without ever giving half a character. Decoding itself is the tokenizer's.

use super::Tokenizer;
use crate::error::CheckpointError;

/// Tokens after which a run of replacement characters is given out as it is: a character has at most four bytes, and a token at
/// least one, so a longer run is no character in the making.
const MAX_HELD: usize = 8;

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
        let n_held = self.ids.len() - self.n_context;
        let certain = match text.trim_end_matches('\u{fffd}') {
            trimmed if n_held <= MAX_HELD => trimmed,
            _ => &text,
        };
        let whole = certain.len() == text.len();
        let piece = certain.get(self.given..).unwrap_or("").to_string();
        self.given = self.given.max(certain.len());
        if whole {
            self.forget()?;
        }
        Ok((!piece.is_empty()).then_some(piece))
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

    /// Keeps only the ids of this piece: the next ones are decoded behind them, because a decoder may treat the first token of
    /// a text in its own way.
    fn forget(&mut self) -> Result<(), CheckpointError> {
        self.ids.drain(..self.n_context);
        self.n_context = self.ids.len();
        self.given = self.tokenizer.decode(&self.ids, self.skip_special)?.len();
        Ok(())
    }
}
