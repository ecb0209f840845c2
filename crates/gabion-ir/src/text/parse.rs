//! Parses a graph: the parser's state and errors, and the loop over lines. The header is in
//! `header`, the three kinds of line in `line`.
//!
//! Errors are collected line by line: a wrong line gives values without a type,
//! whose uses are passed over in silence, and the next line is read as if nothing had happened.
//! Reading a graph as it is written (`written`) keeps wrong lines, so long as they say what they state.

mod header;
mod line;
mod written;

use std::sync::Arc;

use gabion_tensor::{Constraint, TensorType};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::error::{MAX_ERRORS, TextError, TextErrors};
use super::lex::{Lexer, Span, Token, clip};
use crate::graph::{Graph, SourceLoc, Value};
use written::AsWritten;

pub use written::{Fault, FaultAt, Written};

/// A text is at most this long (1 GiB).
const MAX_TEXT: usize = 1 << 30;

/// What is being read is given up; the error is recorded.
pub(super) struct Stop;

/// A name that was defined: its value, unless its line was wrong.
struct Defined {
    value: Option<Value>,
    at: Span,
}

pub(super) struct Parser<'t> {
    pub(super) lex: Lexer<'t>,
    text: &'t str,
    /// What nodes are said to come from, and how far its lines are counted: (bytes, line).
    file: Option<Arc<str>>,
    counted: (usize, u32),
    errors: Vec<TextError>,
    /// Uses of names that are not defined yet: (index into `errors`, the name).
    unknown: Vec<(usize, &'t str)>,
    graph: Graph,
    defined: FxHashMap<&'t str, Defined>,
    weights: FxHashMap<Arc<str>, Value>,
    types: FxHashMap<&'t str, TensorType>,
    /// The result types that the header states, with their places.
    returns: Vec<(Option<TensorType>, Span)>,
    /// What is kept of wrong lines; none if they are left out.
    as_written: Option<AsWritten<'t>>,
}

pub(super) fn parse(text: &str, file: Option<&str>) -> Result<Graph, TextErrors> {
    let parsed = Parser::read(text, file, None).finish();
    parsed.map_err(|errors| match file {
        Some(file) => errors.with_file(file),
        None => errors,
    })
}

/// What [`Graph::parse_as_written`] says.
pub(super) fn parse_as_written(text: &str, file: &str) -> Result<Written, TextErrors> {
    match parse(text, Some(file)) {
        Ok(graph) => Ok(Written::right(graph)),
        Err(errors) => {
            let parser = Parser::read(text, Some(file), Some(AsWritten::default()));
            parser.finish_as_written().ok_or(errors)
        }
    }
}

impl<'t> Parser<'t> {
    fn read(text: &'t str, file: Option<&str>, as_written: Option<AsWritten<'t>>) -> Self {
        let mut parser = Parser {
            lex: Lexer::new(text),
            text,
            file: file.map(Arc::from),
            counted: (0, 1),
            errors: Vec::new(),
            unknown: Vec::new(),
            graph: Graph::new(""),
            defined: FxHashMap::default(),
            weights: FxHashMap::default(),
            types: FxHashMap::default(),
            returns: Vec::new(),
            as_written,
        };
        if text.len() > MAX_TEXT {
            let found = text.len();
            let message = format!("the text has {found} bytes; at most {MAX_TEXT} are read");
            parser.error(0..0, message, "here");
        } else {
            parser.graph();
        }
        parser
    }

    /// Records an error. The answer says: give up what you are reading.
    pub(super) fn error(
        &mut self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Stop {
        self.error_with_help(span, message, label, None)
    }

    fn error_with_help(
        &mut self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Stop {
        if let Some(kept) = &mut self.as_written {
            kept.is_no_graph = true;
        } else if self.errors.len() <= MAX_ERRORS {
            self.errors.push(TextError::new(
                self.text,
                &span,
                message.into(),
                label.into(),
                help,
            ));
        }
        Stop
    }

    /// Expected this, found the next token.
    pub(super) fn unexpected(&mut self, expected: &str) -> Stop {
        let (token, span) = self.lex.peek();
        self.error(
            span,
            format!("expected {expected}, found {}", token.describe()),
            format!("expected {expected}"),
        )
    }

    pub(super) fn at_punct(&mut self, c: char) -> bool {
        self.lex.peek().0 == Token::Punct(c)
    }

    /// Takes a punctuation mark; `name` is how an error calls it.
    pub(super) fn expect(&mut self, c: char, name: &str) -> Result<Span, Stop> {
        if self.at_punct(c) {
            Ok(self.lex.next().1)
        } else {
            Err(self.unexpected(name))
        }
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let found = self.lex.peek().0 == token;
        if found {
            self.lex.next();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Stop> {
        if self.take(Token::Word(word)) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{word}`")))
        }
    }

    fn finish(mut self) -> Result<Graph, TextErrors> {
        for (index, name) in std::mem::take(&mut self.unknown) {
            if let Some(defined) = self.defined.get(name) {
                let line = self.line_of(&defined.at);
                if let Some(error) = self.errors.get_mut(index) {
                    error.help = Some(defined_later(name, line));
                }
            }
        }
        if self.errors.is_empty() {
            return Ok(self.graph);
        }
        let more = self.errors.len() > MAX_ERRORS;
        self.errors.truncate(MAX_ERRORS);
        Err(TextErrors::new(self.errors, more))
    }

    fn graph(&mut self) {
        if self.header().is_err() || self.body().is_err() {
            return;
        }
        if self.lex.peek().0 != Token::End {
            self.unexpected("the end of the text: a file holds one graph");
        }
    }

    /// `name =`, if it is there.
    fn optional_name(&mut self) -> Result<Option<&'t str>, Stop> {
        let (Token::Word(name), _) = self.lex.peek() else {
            return Ok(None);
        };
        self.lex.next();
        self.expect('=', "`=` after the name")?;
        Ok(Some(name))
    }

    fn body(&mut self) -> Result<(), Stop> {
        let mut returned = false;
        loop {
            let (token, span) = self.lex.peek();
            if self.gives_up() {
                return Err(Stop);
            }
            let outcome = match token {
                Token::Punct('}') => break,
                Token::End => return Err(self.unexpected("a line, or the closing `}`")),
                _ if returned => Err(self.unexpected("`}` after `return`")),
                Token::Word("return") => {
                    returned = true;
                    self.lex.next();
                    self.returns_line(&span)
                }
                Token::Word("guard") => self.guard(),
                Token::Value(_) => self.node(),
                _ => Err(self.unexpected("a line: `%name = op ..`, `guard ..` or `return ..`")),
            };
            if outcome.is_err() {
                self.skip_line(span.start);
            }
        }
        let (_, close) = self.lex.next();
        if !returned {
            self.fault(
                FaultAt::Graph,
                close,
                "the graph has no `return`",
                "expected `return %value` before this",
                None,
            );
        }
        Ok(())
    }

    /// Goes to the next line that can begin a statement.
    fn skip_line(&mut self, started: usize) {
        let mut at = self.lex.last_end();
        if at <= started {
            self.lex.next();
            at = self.lex.last_end();
        }
        loop {
            let Some(newline) = self.text[at..].find('\n') else {
                self.lex.move_to(self.text.len());
                return;
            };
            at += newline + 1;
            let line = self.text[at..].trim_start_matches([' ', '\t', '\r']);
            let word = |w: &str| {
                line.strip_prefix(w)
                    .is_some_and(|rest| rest.starts_with(char::is_whitespace))
            };
            if line.starts_with(['%', '}']) || word("guard") || word("return") {
                self.lex.move_to(at);
                return;
            }
        }
    }

    fn constraint(&mut self, stops: &[char]) -> Result<(Constraint, Span), Stop> {
        let (raw, span) = match self.lex.constraint_text(stops) {
            Ok(found) => found,
            Err((message, span)) => return Err(self.error(span, message, "here")),
        };
        match raw.replace(['\n', '\r'], " ").parse() {
            Ok(constraint) => Ok((constraint, span)),
            Err(error) => {
                let error: &dyn std::fmt::Display = &error;
                Err(self.error(
                    span,
                    format!("`{}` is no constraint: {error}", clip(raw)),
                    "expected such as `n % 16 == 0`",
                ))
            }
        }
    }

    fn ty(&mut self) -> Result<(TensorType, Span), Stop> {
        let (raw, span) = match self.lex.type_text() {
            Ok(found) => found,
            Err((message, span)) => return Err(self.error(span, message, "expected a type")),
        };
        if let Some(known) = self.types.get(raw) {
            return Ok((known.clone(), span));
        }
        match raw.parse::<TensorType>() {
            Ok(ty) => {
                self.types.insert(raw, ty.clone());
                Ok((ty, span))
            }
            Err(error) => {
                let message = format!("`{}` is no type: {error}", clip(raw));
                Err(self.error(span, message, "expected such as `f32[n, 64]`"))
            }
        }
    }

    /// The line of the file, for what is read in the order of the text.
    fn place_of(&mut self, at: &Span) -> Option<SourceLoc> {
        let file = self.file.clone()?;
        let (bytes, line) = self.counted;
        let new = self.text.as_bytes().get(bytes..at.start).unwrap_or(&[]);
        let line = line + new.iter().filter(|&&b| b == b'\n').count() as u32;
        self.counted = (bytes.max(at.start), line);
        Some(SourceLoc { file, line })
    }

    /// Lines count from 1.
    fn line_of(&self, at: &Span) -> usize {
        let before = self.text[..at.start].bytes();
        before.filter(|&b| b == b'\n').count() + 1
    }

    /// Printed names as a node's names: digits alone are no name, and what another value is called is none of this one's.
    fn free_names(&self, names: &[(&'t str, Span)]) -> SmallVec<[Option<Arc<str>>; 1]> {
        names
            .iter()
            .map(|(name, _)| {
                let free = !is_numeric(name) && !self.defined.contains_key(name);
                free.then(|| Arc::from(*name))
            })
            .collect()
    }

    fn define(&mut self, name: &'t str, value: Option<Value>, at: &Span) {
        if let Some(first) = self.defined.get(name) {
            // The text is not looked through for what is not told.
            let line = if self.tells_more() {
                self.line_of(&first.at)
            } else {
                0
            };
            let message = format!("`%{name}` is defined twice, first in line {line}");
            let node = value.map_or(FaultAt::Graph, |value| FaultAt::Node(value.node));
            self.fault(node, at.clone(), message, "the second", None);
            return;
        }
        self.defined.insert(
            name,
            Defined {
                value,
                at: at.clone(),
            },
        );
    }
}

fn defined_later(name: &str, line: usize) -> String {
    format!("`%{name}` is defined later, in line {line}; a value is defined before it is used")
}

fn is_numeric(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
}
