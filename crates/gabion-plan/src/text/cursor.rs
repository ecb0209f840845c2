//! A place in the text and the small things read there: words, names, numbers, strings, sizes.
//! What they mean together is in `parse`.

use std::ops::Range;

use gabion_tensor::{DType, Dim, Shape, TensorType};

use super::error::Fault;

pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte where the next token begins.
    pub(super) fn at(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    pub(super) fn move_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        loop {
            self.skip_blank();
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn skip_blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// A fault here.
    pub(super) fn fault(&mut self, expected: impl Into<String>) -> Fault {
        let at = self.at();
        Fault {
            at,
            expected: expected.into(),
            found: self.describe(),
        }
    }

    /// What stands here, for errors.
    fn describe(&self) -> String {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return "the end of the text".to_owned();
        };
        let len = match first {
            '"' => string_len(rest).unwrap_or_else(|| line_len(rest)),
            _ => rest
                .find(|c: char| !is_name_char(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8()),
        };
        match rest[..len].char_indices().nth(40) {
            Some((end, _)) => format!("`{}..`", &rest[..end]),
            None => format!("`{}`", &rest[..len]),
        }
    }

    pub(super) fn peek(&mut self, punct: &str) -> bool {
        self.skip_space();
        self.rest().starts_with(punct)
    }

    pub(super) fn eat(&mut self, punct: &str) -> bool {
        let found = self.peek(punct);
        if found {
            self.at += punct.len();
        }
        found
    }

    pub(super) fn expect(&mut self, punct: &str) -> Result<(), Fault> {
        if self.eat(punct) {
            Ok(())
        } else {
            Err(self.fault(format!("`{punct}`")))
        }
    }

    /// The word here, left in place.
    pub(super) fn peek_word(&mut self) -> Option<&'t str> {
        self.skip_space();
        let rest = self.rest();
        let len = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        let word = &rest[..len];
        is_word(word).then_some(word)
    }

    pub(super) fn word(&mut self, expected: &str) -> Result<&'t str, Fault> {
        match self.peek_word() {
            Some(word) => {
                self.at += word.len();
                Ok(word)
            }
            None => Err(self.fault(expected)),
        }
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word() == Some(word);
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Fault> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.fault(format!("`{word}`")))
        }
    }

    /// A bare or quoted name.
    pub(super) fn name(&mut self, expected: &str) -> Result<String, Fault> {
        if self.peek("\"") {
            return self.string();
        }
        let rest = self.rest();
        let len = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        if !is_bare_name(&rest[..len]) {
            return Err(self.fault(expected));
        }
        self.at += len;
        Ok(rest[..len].to_owned())
    }

    /// `"..."`, as JSON writes it.
    pub(super) fn string(&mut self) -> Result<String, Fault> {
        if !self.peek("\"") {
            return Err(self.fault("a string in quotes"));
        }
        let rest = self.rest();
        let Some(len) = string_len(rest) else {
            return Err(self.fault("a string that is closed on its line"));
        };
        match serde_json::from_str(&rest[..len]) {
            Ok(text) => {
                self.at += len;
                Ok(text)
            }
            Err(_) => Err(self.fault("a string with the escapes of JSON")),
        }
    }

    pub(super) fn peek_digit(&mut self) -> bool {
        self.skip_space();
        self.rest().starts_with(|c: char| c.is_ascii_digit())
    }

    pub(super) fn digits<T: std::str::FromStr>(&mut self, expected: &str) -> Result<T, Fault> {
        self.skip_space();
        let rest = self.rest();
        let len = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        match rest[..len].parse() {
            Ok(number) => {
                self.at += len;
                Ok(number)
            }
            Err(_) => Err(self.fault(expected)),
        }
    }

    /// A number as JSON writes it, or one of the words `nan`, `inf`, `-inf`; not yet checked.
    pub(super) fn number_token(&mut self) -> &'t str {
        self.skip_space();
        let rest = self.rest();
        let number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let len = rest.find(|c: char| !number(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// `0..576`.
    pub(super) fn range(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.digits("a range such as `0..4`")?;
        self.expect("..")?;
        let end = self.digits("the end of the range")?;
        Ok(start..end)
    }

    pub(super) fn dtype(&mut self) -> Result<DType, Fault> {
        let at = self.at();
        let word = self.word("a dtype such as `f32`")?;
        word.parse()
            .map_err(|e: gabion_tensor::UnknownDType| Fault {
                at,
                expected: "a dtype".to_owned(),
                found: e.to_string(),
            })
    }

    /// `f32[tokens, 64]`.
    pub(super) fn tensor_type(&mut self) -> Result<TensorType, Fault> {
        let dtype = self.dtype()?;
        Ok(TensorType::new(dtype, self.shape()?))
    }

    pub(super) fn shape(&mut self) -> Result<Shape, Fault> {
        Ok(self.dims()?.into_iter().collect())
    }

    /// `[tokens, 64]`.
    pub(super) fn dims(&mut self) -> Result<Vec<Dim>, Fault> {
        self.expect("[")?;
        self.skip_blank();
        let start = self.at;
        let end = start + self.formula_len(&[']']);
        if !self.text[end..].starts_with(']') {
            let (expected, found) = (
                "`]` on the same line".to_owned(),
                "the end of the line".to_owned(),
            );
            return Err(Fault {
                at: end,
                expected,
                found,
            });
        }
        let mut dims = Vec::new();
        if !self.text[start..end].trim().is_empty() {
            let mut from = start;
            for part in split_outside_parens(&self.text[start..end]) {
                self.at = from;
                self.skip_blank();
                dims.push(self.dim(part.trim())?);
                from += part.len() + 1;
            }
        }
        self.at = end + 1;
        Ok(dims)
    }

    /// `[2304*tokens]`.
    pub(super) fn single_dim(&mut self) -> Result<Dim, Fault> {
        let at = self.at();
        let mut dims = self.dims()?;
        match (dims.pop(), dims.is_empty()) {
            (Some(dim), true) => Ok(dim),
            _ => {
                self.at = at;
                Err(self.fault("one size in brackets"))
            }
        }
    }

    fn dim(&mut self, text: &str) -> Result<Dim, Fault> {
        text.parse().map_err(|e: gabion_tensor::DimError| Fault {
            at: self.at,
            expected: "a size such as `4*tokens + 1`".to_owned(),
            found: if text.is_empty() {
                self.describe()
            } else {
                format!("`{}`: {e}", clip(text))
            },
        })
    }

    /// A constraint as written, up to one of `stops` or the end of the line.
    pub(super) fn constraint(
        &mut self,
        stops: &[char],
    ) -> Result<gabion_tensor::Constraint, Fault> {
        let at = self.at();
        let text = self.rest()[..self.formula_len(stops)].trim_end();
        let constraint = text.parse().map_err(|e| Fault {
            at,
            expected: "a constraint such as `tokens % 16 == 0`".to_owned(),
            found: if text.is_empty() {
                self.describe()
            } else {
                format!("`{}`: {e}", clip(text))
            },
        })?;
        self.at += text.len();
        Ok(constraint)
    }

    /// Bytes until one of `stops` or the end of the line.
    fn formula_len(&self, stops: &[char]) -> usize {
        self.rest()
            .find(|c: char| c == '\n' || stops.contains(&c))
            .unwrap_or(self.rest().len())
    }

    /// Goes to the first line after byte `at` that begins with one of these words, or to the end of
    /// the text.
    pub(super) fn recover(&mut self, at: usize, words: &[&str]) {
        self.at = at;
        loop {
            match self.rest().find('\n') {
                Some(next) => self.at += next + 1,
                None => {
                    self.at = self.text.len();
                    return;
                }
            }
            let line = &self.rest()[..line_len(self.rest())];
            if line
                .split_whitespace()
                .next()
                .is_some_and(|word| words.contains(&word))
            {
                return;
            }
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// True for keywords and keys: a letter or `_`, then letters, digits and `_`.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// True if the name needs no quotes.
pub(super) fn is_bare_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(is_name_char)
}

fn split_outside_parens(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

fn string_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate().skip(1) {
        match b {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}

fn line_len(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}
