//! Parses a graph. Errors are collected line by line: a wrong line gives values without a type,
//! whose uses are passed over in silence, and the next line is read as if nothing had happened.

use std::sync::Arc;

use gabion_tensor::{Constraint, Guard, TensorType};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::error::{MAX_ERRORS, TextError, TextErrors};
use super::lex::{Lexer, Span, Token, clip};
use super::nearest::nearest;
use super::place::{PlaceError, Stated, place};
use crate::graph::{Graph, Value};
use crate::op::{Attrs, Results};
use crate::ops::{Input, Op};

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
    errors: Vec<TextError>,
    /// Uses of names that are not defined yet: (index into `errors`, the name).
    unknown: Vec<(usize, &'t str)>,
    graph: Graph,
    defined: FxHashMap<&'t str, Defined>,
    weights: FxHashMap<Arc<str>, Value>,
    types: FxHashMap<&'t str, TensorType>,
    /// The result types that the header states, with their places.
    returns: Vec<(Option<TensorType>, Span)>,
}

pub(super) fn parse(text: &str) -> Result<Graph, TextErrors> {
    let mut parser = Parser {
        lex: Lexer::new(text),
        text,
        errors: Vec::new(),
        unknown: Vec::new(),
        graph: Graph::new(""),
        defined: FxHashMap::default(),
        weights: FxHashMap::default(),
        types: FxHashMap::default(),
        returns: Vec::new(),
    };
    if text.len() > MAX_TEXT {
        parser.error(
            0..0,
            format!(
                "the text has {} bytes; at most {MAX_TEXT} are read",
                text.len()
            ),
            "here",
        );
    } else {
        parser.graph();
    }
    parser.finish()
}

impl<'t> Parser<'t> {
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
        if self.errors.len() <= MAX_ERRORS {
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
            if let (Some(error), Some(defined)) =
                (self.errors.get_mut(index), self.defined.get(name))
            {
                let line = self.text[..defined.at.start]
                    .bytes()
                    .filter(|&b| b == b'\n')
                    .count()
                    + 1;
                error.help = Some(format!(
                    "`%{name}` is defined later, in line {line}; a value is defined before it is used"
                ));
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

    fn header(&mut self) -> Result<(), Stop> {
        self.expect_word("graph")?;
        self.expect('@', "`@` and the graph's name")?;
        let (token, span) = self.lex.peek();
        let name = match token {
            Token::Word(name) => name.to_owned(),
            Token::Text(raw) => self.unescape(raw, &span)?,
            _ => return Err(self.unexpected("the graph's name")),
        };
        self.lex.next();
        self.graph.name = name.into();
        self.expect('(', "`(` and the inputs")?;
        self.comma_separated(')', Self::input)?;
        if !self.take(Token::Arrow) {
            return Err(self.unexpected("`->` and the result types"));
        }
        self.expect('(', "`(` and the result types")?;
        self.comma_separated(')', |p| {
            let (ty, span) = p.ty()?;
            p.returns.push((Some(ty), span));
            Ok(())
        })?;
        if self.take(Token::Word("where")) {
            loop {
                if let Ok((constraint, span)) = self.constraint(&[',', '{'])
                    && let Err(error) = self.graph.relations_mut().declare(constraint)
                {
                    self.error(span, error.to_string(), "declared here");
                }
                if !self.take(Token::Punct(',')) {
                    break;
                }
            }
        }
        self.expect('{', "`{`, or `where` and relations")?;
        Ok(())
    }

    /// Items up to `close`. A wrong item is passed over up to the next comma on its line.
    fn comma_separated(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        while !self.at_punct(close) {
            if item(self).is_err() {
                self.skip_item(close)?;
            }
            if !self.take(Token::Punct(',')) {
                break;
            }
        }
        self.expect(close, &format!("`,` or `{close}`")).map(|_| ())
    }

    /// Goes to the next comma or `close` outside brackets; stops at `{`, `}` and the end.
    fn skip_item(&mut self, close: char) -> Result<(), Stop> {
        let mut depth = 0usize;
        loop {
            match self.lex.peek().0 {
                Token::Punct(',') if depth == 0 => return Ok(()),
                Token::Punct(c) if depth == 0 && c == close => return Ok(()),
                Token::Punct('(' | '[') => depth += 1,
                Token::Punct(')' | ']') => depth = depth.saturating_sub(1),
                Token::Punct('{' | '}') | Token::End => return Err(Stop),
                _ => {}
            }
            self.lex.next();
        }
    }

    fn input(&mut self) -> Result<(), Stop> {
        let is_keyword = self.lex.peek().0 == Token::Word("donate")
            && self.lex.peek_second() != Token::Punct('=');
        let donated = is_keyword && self.take(Token::Word("donate"));
        let given = self.optional_name()?;
        let (token, at) = self.lex.peek();
        let Token::Value(printed) = token else {
            return Err(self.unexpected("an input, `%name: type`"));
        };
        self.lex.next();
        let name = match given {
            Some(name) => name,
            None if is_numeric(printed) => {
                let message = format!("an input needs a name, found `%{printed}`");
                let help = format!("write `name = %{printed}: ..`, or `%name: ..`");
                return Err(self.error_with_help(at, message, "unnamed", Some(help)));
            }
            None => printed,
        };
        let taken = self.graph.inputs().iter().any(|i| &*i.name == name);
        if taken {
            self.error(
                at.clone(),
                format!("input `{name}` is declared twice"),
                "the second",
            );
        }
        let ty = self
            .expect(':', "`:` and the input's type")
            .and_then(|_| self.ty());
        let value = match ty {
            Ok((ty, _)) if !taken => {
                let op = Input {
                    name: name.into(),
                    donated,
                }
                .into();
                let types = Some(smallvec::smallvec![ty]);
                let stated = Stated {
                    op,
                    names: self.free_names(&[(printed, at.clone())]),
                    types,
                    scope: None,
                };
                self.place(&[], stated, &at, &at)
            }
            Ok(_) => None,
            Err(Stop) => {
                self.define(printed, None, &at);
                return Err(Stop);
            }
        };
        if let Some(value) = value {
            self.graph.push_input(name, value.node);
        }
        self.define(printed, value, &at);
        Ok(())
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
            if self.errors.len() > MAX_ERRORS {
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
            self.error(
                close,
                "the graph has no `return`",
                "expected `return %value` before this",
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

    fn guard(&mut self) -> Result<(), Stop> {
        self.lex.next();
        let (constraint, _) = self.constraint(&['"', '\n'])?;
        let (token, span) = self.lex.peek();
        let Token::Text(raw) = token else {
            return Err(self.unexpected("the guard's reason, a string"));
        };
        let why = self.unescape(raw, &span)?;
        self.lex.next();
        self.graph.add_guard(Guard { constraint, why });
        Ok(())
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

    /// Printed names as a node's names: digits alone are no name.
    fn free_names(&self, names: &[(&'t str, Span)]) -> SmallVec<[Option<Arc<str>>; 1]> {
        names
            .iter()
            .map(|(name, _)| (!is_numeric(name)).then(|| Arc::from(*name)))
            .collect()
    }

    fn define(&mut self, name: &'t str, value: Option<Value>, at: &Span) {
        if let Some(first) = self.defined.get(name) {
            let line = self.text[..first.at.start]
                .bytes()
                .filter(|&b| b == b'\n')
                .count()
                + 1;
            let message = format!("`%{name}` is defined twice, first in line {line}");
            self.error(at.clone(), message, "the second");
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

    fn node(&mut self) -> Result<(), Stop> {
        let mut names: SmallVec<[(&'t str, Span); 1]> = SmallVec::new();
        let outcome = self.node_line(&mut names);
        let made = *outcome.as_ref().unwrap_or(&None);
        for (result, (name, at)) in names.iter().enumerate() {
            let value = made.map(|first| Value::new(first.node, result as u32));
            self.define(name, value, at);
        }
        outcome.map(|_| ())
    }

    /// The first result, or none if an operand's line was wrong.
    fn node_line(
        &mut self,
        names: &mut SmallVec<[(&'t str, Span); 1]>,
    ) -> Result<Option<Value>, Stop> {
        loop {
            let (token, span) = self.lex.peek();
            let Token::Value(name) = token else {
                return Err(self.unexpected("a result, `%name`"));
            };
            self.lex.next();
            let again = names.iter().any(|(n, _)| *n == name) || self.defined.contains_key(name);
            names.push((name, span));
            if again {
                // `define` reports it.
                return Err(Stop);
            }
            if !self.take(Token::Punct(',')) {
                break;
            }
        }
        self.expect('=', "`,` or `=` after the result")?;
        let (token, word_span) = self.lex.peek();
        let Token::Word(word) = token else {
            return Err(self.unexpected("an operator"));
        };
        self.lex.next();
        let operands = self.operands()?;
        let (attrs, attrs_span) = if self.at_punct('{') {
            self.attrs(0)?
        } else {
            (Attrs::new(), word_span.clone())
        };
        let op = self.op(word, &word_span, attrs, attrs_span)?;
        let (types, types_span) = self.stated_types(&word_span)?;
        let scope = self.scope()?;
        match self.lex.peek().0 {
            Token::Value(_) | Token::Word("guard" | "return") | Token::Punct('}') | Token::End => {}
            _ if types.is_none() => {
                return Err(self.unexpected("operands, attributes, `:` and types, or the next line"));
            }
            _ => return Err(self.unexpected("`,` and a type, `in` and a scope, or the next line")),
        }
        let Some(operands) = operands else {
            return Ok(None);
        };
        let stated = Stated {
            op,
            names: self.free_names(names),
            types,
            scope,
        };
        Ok(self.place(&operands, stated, &word_span, &types_span))
    }

    /// The operands; none if one of them has no value because its line was wrong.
    fn operands(&mut self) -> Result<Option<SmallVec<[Value; 4]>>, Stop> {
        let mut operands = Some(SmallVec::new());
        if !matches!(self.lex.peek().0, Token::Value(_))
            || self.lex.peek_second() == Token::Punct('=')
        {
            return Ok(operands);
        }
        loop {
            let value = self.operand()?;
            match (value, operands.as_mut()) {
                (Some(value), Some(list)) => list.push(value),
                _ => operands = None,
            }
            if !self.take(Token::Punct(',')) {
                return Ok(operands);
            }
        }
    }

    fn operand(&mut self) -> Result<Option<Value>, Stop> {
        let (token, span) = self.lex.peek();
        let Token::Value(name) = token else {
            return Err(self.unexpected("an operand, `%name`"));
        };
        self.lex.next();
        if let Some(defined) = self.defined.get(name) {
            return Ok(defined.value);
        }
        let near = nearest(name, self.defined.keys().copied())
            .map(|n| format!("the nearest name is `%{n}`"));
        self.unknown.push((self.errors.len(), name));
        self.error_with_help(
            span,
            format!("`%{name}` is not defined"),
            "expected a value defined above",
            near,
        );
        Ok(None)
    }

    fn op(
        &mut self,
        word: &str,
        word_span: &Span,
        attrs: Attrs,
        attrs_span: Span,
    ) -> Result<Op, Stop> {
        match Op::from_word(word, attrs) {
            Some(Ok(Op::Input(_))) => {
                let message = "an input is declared in the graph's header, not as a line";
                Err(self.error(word_span.clone(), message, "expected another operator"))
            }
            Some(Ok(op)) => Ok(op),
            Some(Err(error)) => Err(self.error(
                attrs_span,
                format!("attributes of `{word}`: {error}"),
                "these attributes",
            )),
            None => {
                let help =
                    nearest(word, Op::words()).map(|n| format!("the nearest operator is `{n}`"));
                let message = format!("`{}` is no operator", clip(word));
                Err(self.error_with_help(word_span.clone(), message, "expected an operator", help))
            }
        }
    }

    fn stated_types(&mut self, word_span: &Span) -> Result<(Option<Results>, Span), Stop> {
        if !self.take(Token::Punct(':')) {
            return Ok((None, word_span.clone()));
        }
        let (first, mut span) = self.ty()?;
        let mut types: Results = smallvec::smallvec![first];
        while self.take(Token::Punct(',')) {
            let (ty, at) = self.ty()?;
            types.push(ty);
            span.end = at.end;
        }
        Ok((Some(types), span))
    }

    fn scope(&mut self) -> Result<Option<Arc<str>>, Stop> {
        if !self.take(Token::Word("in")) {
            return Ok(None);
        }
        let (token, span) = self.lex.peek();
        let Token::Text(raw) = token else {
            return Err(self.unexpected("the scope, a string"));
        };
        let scope = self.unescape(raw, &span)?;
        self.lex.next();
        Ok(Some(scope.into()))
    }

    /// Places a node; an error is recorded and gives none.
    fn place(
        &mut self,
        operands: &[Value],
        stated: Stated,
        word: &Span,
        types: &Span,
    ) -> Option<Value> {
        let name = stated.op.name();
        match place(&mut self.graph, &mut self.weights, operands, stated) {
            Ok(id) => return Some(Value::new(id, 0)),
            Err(PlaceError::Mismatch {
                result,
                inferred,
                stated,
            }) => {
                let message = format!(
                    "type of result {result} of `{name}`: expected {inferred}, found {stated}"
                );
                self.error(types.clone(), message, format!("expected `{inferred}`"));
            }
            Err(error @ PlaceError::Count { .. }) => {
                self.error(types.clone(), format!("{name}: {error}"), "results");
            }
            Err(PlaceError::Weight {
                name: weight,
                known,
            }) => {
                let text = self.graph.node(known.node).names.first().cloned().flatten();
                let help = text.map(|t| format!("use `%{t}`"));
                let message = format!("weight `{weight}` is declared twice");
                self.error_with_help(word.clone(), message, "the second", help);
            }
            Err(error @ PlaceError::Type { .. }) => {
                self.error(
                    word.clone(),
                    format!("{name}: {error}"),
                    "does not accept these operands",
                );
            }
        }
        None
    }

    fn returns_line(&mut self, keyword: &Span) -> Result<(), Stop> {
        let mut count = 0;
        while !self.at_punct('}') {
            let (_, at) = self.lex.peek();
            let given = self.optional_name()?;
            let (token, _) = self.lex.peek();
            let value = self.operand()?;
            let name = match (given, token) {
                (Some(name), _) => name,
                (None, Token::Value(name)) if !is_numeric(name) => name,
                _ => {
                    let message = format!("an output needs a name, found {}", token.describe());
                    let help = format!(
                        "write `return name = {}`",
                        token.describe().trim_matches('`')
                    );
                    return Err(self.error_with_help(at, message, "unnamed", Some(help)));
                }
            };
            self.returned(count, name, value, &at);
            count += 1;
            if !self.take(Token::Punct(',')) {
                break;
            }
        }
        if count == 0 {
            return Err(self.unexpected("an output, `%value` or `name = %value`"));
        }
        if count != self.returns.len() {
            let stated = self.returns.len();
            let message = format!("the header states {stated} result types, found {count} outputs");
            self.error(
                keyword.clone(),
                message,
                format!("expected {stated} outputs"),
            );
        }
        Ok(())
    }

    fn returned(&mut self, index: usize, name: &str, value: Option<Value>, at: &Span) {
        if self.graph.outputs().iter().any(|o| &*o.name == name) {
            self.error(
                at.clone(),
                format!("output `{name}` is declared twice"),
                "the second",
            );
            return;
        }
        let Some(value) = value else { return };
        let found = self.graph.value_type(value).clone();
        if let Some((Some(stated), span)) = self.returns.get(index).cloned()
            && stated != found
        {
            let message = format!(
                "result type {index}: expected {found}, the type of output `{name}`, found {stated}"
            );
            self.error(span, message, format!("expected `{found}`"));
        }
        self.graph.push_output(name, value);
    }
}

fn is_numeric(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
}
