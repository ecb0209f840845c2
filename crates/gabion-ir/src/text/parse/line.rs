//! The lines of a graph's body: guards, nodes, and `return`.

use std::sync::Arc;

use gabion_tensor::Guard;
use smallvec::SmallVec;

use super::written::FaultAt;
use super::{Parser, Stop, is_numeric};
use crate::graph::Value;
use crate::op::{Attrs, Results};
use crate::ops::Op;
use crate::text::error::MAX_ERRORS;
use crate::text::lex::{Span, Token, clip};
use crate::text::nearest::nearest;
use crate::text::place::{PlaceError, Stated, place};

/// Operands as they are read: the known ones with their numbers.
#[derive(Default)]
pub(super) struct Operands<'t> {
    pub(super) known: SmallVec<[(u32, Value); 4]>,
    /// Those without a value: number, name, place.
    pub(super) missing: Vec<(u32, &'t str, Span)>,
}

impl<'t> Parser<'t> {
    pub(super) fn guard(&mut self) -> Result<(), Stop> {
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

    pub(super) fn node(&mut self) -> Result<(), Stop> {
        let mut names: SmallVec<[(&'t str, Span); 1]> = SmallVec::new();
        let faults = self.fault_count();
        let outcome = self.node_line(&mut names);
        let made = *outcome.as_ref().unwrap_or(&None);
        self.faults_are_of(faults, made);
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
            // `define` reports it.
            if again && self.as_written.is_none() {
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
                return Err(
                    self.unexpected("operands, attributes, `:` and types, or the next line")
                );
            }
            _ => return Err(self.unexpected("`,` and a type, `in` and a scope, or the next line")),
        }
        let stated = Stated {
            op,
            names: self.free_names(names),
            types,
            scope,
            loc: self.place_of(&word_span),
        };
        if self.as_written.is_some() {
            return Ok(self.place_as_written(operands, stated, &word_span, &types_span));
        }
        // An operand whose line was wrong is told there.
        if !operands.missing.is_empty() {
            return Ok(None);
        }
        let operands: SmallVec<[Value; 4]> = operands.known.iter().map(|(_, v)| *v).collect();
        Ok(self.place(&operands, stated, &word_span, &types_span))
    }

    fn operands(&mut self) -> Result<Operands<'t>, Stop> {
        let mut operands = Operands::default();
        if !matches!(self.lex.peek().0, Token::Value(_))
            || self.lex.peek_second() == Token::Punct('=')
        {
            return Ok(operands);
        }
        for number in 0.. {
            let (token, at) = self.lex.peek();
            match (self.operand()?, token) {
                (Some(value), _) => operands.known.push((number, value)),
                (None, Token::Value(name)) => operands.missing.push((number, name, at)),
                (None, _) => {}
            }
            if !self.take(Token::Punct(',')) {
                break;
            }
        }
        Ok(operands)
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
        // Looking through all names is for those that are read.
        let near = (self.errors.len() <= MAX_ERRORS)
            .then(|| nearest(name, self.defined.keys().copied()))
            .flatten()
            .map(|n| format!("the nearest name is `%{n}`"));
        self.unknown.push((self.errors.len(), name));
        let message = format!("`%{name}` is not defined");
        let label = "expected a value defined above";
        self.fault(FaultAt::Graph, span, message, label, near);
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
    pub(super) fn place(
        &mut self,
        operands: &[Value],
        stated: Stated,
        word: &Span,
        types: &Span,
    ) -> Option<Value> {
        let name = stated.op.name();
        match place(&mut self.graph, &mut self.weights, operands, stated) {
            Ok(id) => Some(Value::new(id, 0)),
            Err(error) => {
                self.refused(name, error, word, types);
                None
            }
        }
    }

    fn refused(&mut self, name: &str, error: PlaceError, word: &Span, types: &Span) {
        let (at, message, label, help) = match error {
            PlaceError::Mismatch {
                result,
                inferred,
                stated,
            } => {
                let message = format!(
                    "type of result {result} of `{name}`: expected {inferred}, found {stated}"
                );
                (types, message, format!("expected `{inferred}`"), None)
            }
            error @ PlaceError::Count { .. } => {
                let message = format!("{name}: {error}");
                (types, message, "results".to_owned(), None)
            }
            PlaceError::Weight {
                name: weight,
                known,
            } => {
                let text = self.graph.node(known.node).names.first().cloned().flatten();
                let help = text.map(|t| format!("use `%{t}`"));
                let message = format!("weight `{weight}` is declared twice");
                (word, message, "the second".to_owned(), help)
            }
            error @ PlaceError::Type { .. } => {
                let label = "does not accept these operands";
                (word, format!("{name}: {error}"), label.to_owned(), None)
            }
        };
        self.fault(FaultAt::Graph, at.clone(), message, label, help);
    }

    pub(super) fn returns_line(&mut self, keyword: &Span) -> Result<(), Stop> {
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
            let label = format!("expected {stated} outputs");
            self.fault(FaultAt::Graph, keyword.clone(), message, label, None);
        }
        Ok(())
    }

    fn returned(&mut self, index: usize, name: &str, value: Option<Value>, at: &Span) {
        if self.graph.outputs().iter().any(|o| &*o.name == name) {
            let message = format!("output `{name}` is declared twice");
            self.fault(FaultAt::Graph, at.clone(), message, "the second", None);
            return;
        }
        let Some(value) = value else { return };
        let found = self.graph.value_type(value).clone();
        if let Some((Some(stated), span)) = self.returns.get(index).cloned()
            && stated != found
            && !self.is_guessed(value)
        {
            let message = format!(
                "result type {index}: expected {found}, the type of output `{name}`, found {stated}"
            );
            let output = FaultAt::Output(self.graph.outputs().len());
            let label = format!("expected `{found}`");
            self.fault(output, span, message, label, None);
        }
        self.graph.push_output(name, value);
    }
}
