//! Cuts text into tokens, one at a time, and lifts out the two spans that have a grammar of their
//! own: types and constraints. What the tokens mean is in the parser.

use std::ops::Range;

use crate::builder::is_identifier;

/// Bytes of the text that a token covers.
pub(super) type Span = Range<usize>;

/// A longer name is a mistake, and would make errors unreadable.
const MAX_NAME: usize = 512;
/// Bytes of one type or one constraint. (Nesting within it is limited by the parser of dims.)
const MAX_FORMULA: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// `%name`, without the `%`: an identifier or digits.
    Value(&'t str),
    /// A name, keyword or operator.
    Word(&'t str),
    /// A number as JSON writes it, not yet checked.
    Number(&'t str),
    /// A string with its quotes, not yet unescaped.
    Text(&'t str),
    /// One of `( ) { } [ ] , : = @`.
    Punct(char),
    /// `->`.
    Arrow,
    /// Something that is no token; the message says why.
    Wrong(&'static str),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// How an error names the token.
    pub(super) fn describe(self) -> String {
        match self {
            Token::Value(name) => format!("`%{name}`"),
            Token::Word(text) | Token::Number(text) => format!("`{}`", clip(text)),
            Token::Text(text) => format!("the string {}", clip(text)),
            Token::Punct(c) => format!("`{c}`"),
            Token::Arrow => "`->`".to_owned(),
            Token::Wrong(why) => why.to_owned(),
            Token::End => "the end of the text".to_owned(),
        }
    }
}

/// At most 40 characters of a text, for messages.
pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    peeked: Option<(Token<'t>, Span)>,
    last_end: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            peeked: None,
            last_end: 0,
        }
    }

    /// The next token, left in place.
    pub(super) fn peek(&mut self) -> (Token<'t>, Span) {
        if let Some(peeked) = &self.peeked {
            return peeked.clone();
        }
        self.at = self.after_trivia(self.at);
        let (token, end) = self.token(self.at);
        let peeked = (token, self.at..end);
        self.peeked = Some(peeked.clone());
        peeked
    }

    /// The next token, taken.
    pub(super) fn next(&mut self) -> (Token<'t>, Span) {
        let (token, span) = self.peek();
        self.move_to(span.end);
        (token, span)
    }

    /// The token after the next.
    pub(super) fn peek_second(&mut self) -> Token<'t> {
        let (_, span) = self.peek();
        self.token(self.after_trivia(span.end)).0
    }

    /// Where the last taken token ended.
    pub(super) fn last_end(&self) -> usize {
        self.last_end
    }

    /// Goes on from `at`.
    pub(super) fn move_to(&mut self, at: usize) {
        self.at = at;
        self.last_end = at;
        self.peeked = None;
    }

    fn after_trivia(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at..];
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return at;
            }
            at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&self, at: usize) -> (Token<'t>, usize) {
        let rest = &self.text[at..];
        let Some(first) = rest.chars().next() else {
            return (Token::End, at);
        };
        let wrong = |why, len| (Token::Wrong(why), at + len);
        match first {
            '%' => {
                let name = name_prefix(&rest[1..], true);
                match name {
                    "" => wrong("`%` without a name", 1),
                    _ if name.len() > MAX_NAME => {
                        wrong("a name of more than 512 bytes", 1 + name.len())
                    }
                    _ if is_identifier(name) || name.bytes().all(|b| b.is_ascii_digit()) => {
                        (Token::Value(name), at + 1 + name.len())
                    }
                    _ => wrong("a name that starts with a digit", 1 + name.len()),
                }
            }
            'A'..='Z' | 'a'..='z' | '_' => {
                let word = name_prefix(rest, false);
                if word.len() > MAX_NAME {
                    return wrong("a name of more than 512 bytes", word.len());
                }
                (Token::Word(word), at + word.len())
            }
            '-' if rest.starts_with("->") => (Token::Arrow, at + 2),
            '-' | '0'..='9' => {
                let number = number_prefix(rest);
                (Token::Number(number), at + number.len())
            }
            '"' => match string_len(rest) {
                Some(len) => (Token::Text(&rest[..len]), at + len),
                None => wrong("a string that is not closed on its line", line_len(rest)),
            },
            '(' | ')' | '{' | '}' | '[' | ']' | ',' | ':' | '=' | '@' => {
                (Token::Punct(first), at + 1)
            }
            _ => wrong("a character that has no meaning here", first.len_utf8()),
        }
    }

    /// A type, `dtype[..]`, as written; the error is a message and its place. Nothing is taken if
    /// the text does not go on with a word and `[`.
    pub(super) fn type_text(&mut self) -> Result<(&'t str, Span), (String, Span)> {
        let (token, span) = self.peek();
        let Token::Word(_) = token else {
            return Err((
                format!(
                    "expected a type such as `f32[n, 64]`, found {}",
                    token.describe()
                ),
                span,
            ));
        };
        if !self.text[span.end..].starts_with('[') {
            let message = format!(
                "expected a type such as `f32[n, 64]`, found {} without `[..]`",
                token.describe()
            );
            return Err((message, span));
        }
        let open = span.end;
        for (i, c) in self.text[open..].char_indices() {
            let end = open + i + c.len_utf8();
            match c {
                ']' => {
                    self.move_to(end);
                    return Ok((&self.text[span.start..end], span.start..end));
                }
                '\n' => break,
                _ => {}
            }
            if i > MAX_FORMULA {
                self.move_to(end);
                return Err((too_long(), span.start..end));
            }
        }
        self.move_to(open);
        Err((
            "the `[` of this type is not closed on its line".to_owned(),
            span.start..open + 1,
        ))
    }

    /// A constraint as written, up to (not including) one of `stops` outside parentheses.
    pub(super) fn constraint_text(
        &mut self,
        stops: &[char],
    ) -> Result<(&'t str, Span), (String, Span)> {
        let (_, first) = self.peek();
        let start = first.start;
        let mut parens = 0usize;
        let mut end = self.text.len();
        for (i, c) in self.text[start..].char_indices() {
            match c {
                '(' => parens += 1,
                ')' => parens = parens.saturating_sub(1),
                _ if stops.contains(&c) && (parens == 0 || c == '\n') => {
                    end = start + i;
                    break;
                }
                _ => {}
            }
            if i > MAX_FORMULA {
                self.move_to(start + i);
                return Err((too_long(), start..start + i + c.len_utf8()));
            }
        }
        let text = self.text[start..end].trim_end();
        let span = start..start + text.len();
        self.move_to(span.end);
        if text.is_empty() {
            let message = "expected a constraint such as `tokens % 16 == 0`".to_owned();
            return Err((message, first));
        }
        Ok((text, span))
    }
}

fn too_long() -> String {
    format!("more than {MAX_FORMULA} bytes in one type or constraint")
}

fn name_prefix(text: &str, digit_first: bool) -> &str {
    let end = text
        .bytes()
        .enumerate()
        .position(|(i, b)| {
            !(b.is_ascii_alphanumeric()
                || b == b'_'
                || ((i > 0 || digit_first) && matches!(b, b'.' | b'-')))
        })
        .unwrap_or(text.len());
    &text[..end]
}

fn number_prefix(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut end = 1;
    while let Some(&b) = bytes.get(end) {
        let sign_of_exponent = matches!(b, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
        if !(b.is_ascii_alphanumeric() || b == b'.' || sign_of_exponent) {
            break;
        }
        end += 1;
    }
    &text[..end]
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
