//! The header: name, inputs, result types, relations.

use super::written::FaultAt;
use super::{Parser, Stop, is_numeric};
use crate::ops::Input;
use crate::text::lex::Token;
use crate::text::place::Stated;

impl<'t> Parser<'t> {
    pub(super) fn header(&mut self) -> Result<(), Stop> {
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
            let (_, start) = p.lex.peek();
            let ty = p.ty();
            // A wrong type counts, so that the number of outputs is not called wrong as well.
            p.returns.push(match &ty {
                Ok((ty, span)) => (Some(ty.clone()), span.clone()),
                Err(Stop) => (None, start),
            });
            ty.map(|_| ())
        })?;
        if self.take(Token::Word("where")) {
            loop {
                if let Ok((constraint, span)) = self.constraint(&[',', '{'])
                    && let Err(error) = self.graph.relations_mut().declare(constraint)
                {
                    let message = error.to_string();
                    self.fault(FaultAt::Graph, span, message, "declared here", None);
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
            let message = format!("input `{name}` is declared twice");
            self.fault(FaultAt::Graph, at.clone(), message, "the second", None);
        }
        // One name, one message.
        let again = taken && self.defined.contains_key(printed);
        let ty = self
            .expect(':', "`:` and the input's type")
            .and_then(|_| self.ty());
        let (value, outcome) = match ty {
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
                    loc: self.place_of(&at),
                };
                (self.place(&[], stated, &at, &at), Ok(()))
            }
            Ok(_) => (None, Ok(())),
            Err(Stop) => (None, Err(Stop)),
        };
        if let Some(value) = value {
            self.graph.push_input(name, value.node);
        }
        if !again {
            self.define(printed, value, &at);
        }
        outcome
    }
}
