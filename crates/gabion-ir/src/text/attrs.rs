//! Attributes in the text form: JSON values, with `key = value` in place of `"key": value`.
//! Printing and parsing, side by side.

use std::fmt::Write;

use serde_json::Value as Json;

use super::lex::{Span, Token};
use super::parse::{Parser, Stop};
use crate::op::Attrs;

/// Brackets within brackets of one attribute.
const MAX_DEPTH: usize = 32;

/// `{key = value, ..}`.
pub(super) fn write_attrs(out: &mut String, attrs: &Attrs) {
    out.push('{');
    for (i, (key, value)) in attrs.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if crate::builder::is_identifier(key) {
            out.push_str(key);
        } else {
            // A JSON string prints as itself.
            let _ = write!(out, "{}", Json::String(key.clone()));
        }
        out.push_str(" = ");
        write_json(out, value);
    }
    out.push('}');
}

fn write_json(out: &mut String, value: &Json) {
    match value {
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_json(out, item);
            }
            out.push(']');
        }
        Json::Object(attrs) => write_attrs(out, attrs),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "{value}");
        }
    }
}

impl<'t> Parser<'t> {
    /// `{key = value, ..}`, from the brace on; with the span of the whole.
    pub(super) fn attrs(&mut self, depth: usize) -> Result<(Attrs, Span), Stop> {
        let open = self.expect('{', "`{`")?;
        let mut attrs = Attrs::new();
        while !self.at_punct('}') {
            let (token, span) = self.lex.peek();
            let key = match token {
                Token::Word(key) => key.to_owned(),
                Token::Text(raw) => self.unescape(raw, &span)?,
                _ => return Err(self.unexpected("an attribute, `key = value`, or `}`")),
            };
            self.lex.next();
            self.expect('=', "`=` after the attribute's name")?;
            let value = self.json(depth)?;
            if attrs.insert(key.clone(), value).is_some() {
                return Err(self.error(
                    span,
                    format!("attribute `{key}` is given twice"),
                    "the second",
                ));
            }
            if !self.at_punct(',') {
                break;
            }
            self.lex.next();
        }
        let close = self.expect('}', "`,` or `}`")?;
        Ok((attrs, open.start..close.end))
    }

    fn json(&mut self, depth: usize) -> Result<Json, Stop> {
        let (token, span) = self.lex.peek();
        if depth >= MAX_DEPTH {
            return Err(self.error(
                span,
                format!("more than {MAX_DEPTH} nested lists"),
                "too deep",
            ));
        }
        let value = match token {
            Token::Punct('{') => return Ok(Json::Object(self.attrs(depth + 1)?.0)),
            Token::Punct('[') => return self.json_list(depth),
            Token::Word("true") => Json::Bool(true),
            Token::Word("false") => Json::Bool(false),
            Token::Word("null") => Json::Null,
            Token::Text(raw) => Json::String(self.unescape(raw, &span)?),
            Token::Number(digits) => match serde_json::from_str(digits) {
                Ok(number) => Json::Number(number),
                Err(_) => {
                    let message = format!("{} is no number, or out of range", token.describe());
                    return Err(self.error(
                        span,
                        message,
                        "expected a number such as `-1` or `1e-5`",
                    ));
                }
            },
            _ => {
                return Err(self.unexpected(
                    "a value: a number, string, `true`, `false`, `null`, `[..]` or `{..}`",
                ));
            }
        };
        self.lex.next();
        Ok(value)
    }

    fn json_list(&mut self, depth: usize) -> Result<Json, Stop> {
        self.expect('[', "`[`")?;
        let mut items = Vec::new();
        while !self.at_punct(']') {
            items.push(self.json(depth + 1)?);
            if !self.at_punct(',') {
                break;
            }
            self.lex.next();
        }
        self.expect(']', "`,` or `]`")?;
        Ok(Json::Array(items))
    }

    /// The meaning of a string token.
    pub(super) fn unescape(&mut self, raw: &str, span: &Span) -> Result<String, Stop> {
        serde_json::from_str(raw).map_err(|_| {
            let message = "a string with an escape that JSON lacks, or a control character";
            self.error(
                span.clone(),
                message,
                "write `\\n`, `\\\"`, `\\\\`, `\\u0041`",
            )
        })
    }
}
