//! The text form of a graph: what [`Graph::to_text`] prints and [`Graph::parse`] reads.
//!
//! ```text
//! graph   = "graph" "@" name "(" [input {"," input}] ")" "->" "(" [type {"," type}] ")"
//!           ["where" constraint {"," constraint}] "{" {line} return "}"
//! input   = ["donate"] [name "="] value ":" type
//! line    = "guard" constraint string
//!         | value {"," value} "=" op [value {"," value}] ["{" attrs "}"] [":" type {"," type}] ["in" string]
//! return  = "return" [name "="] value {"," [name "="] value}
//! attrs   = [key "=" json {"," key "=" json}]
//! json    = number | string | "true" | "false" | "null" | "[" [json {"," json}] "]" | "{" attrs "}"
//! value   = "%" name | "%" digits
//! type    = dtype "[" [dim {"," dim}] "]"
//! name    = (letter | "_") {letter | digit | "_" | "." | "-"}
//! ```
//!
//! White space is free and `//` opens a comment, except between the brackets of a type and in a
//! constraint, where `//` divides. A value of digits alone is unnamed: it is numbered afresh when
//! printed. An input or output without `name =` bears the name of its value.
//!
//! For every verified graph `parse(print(g)) == g`, and printing what was parsed is idempotent.
//!
//! Here live the printer ([`mod@print`]), the parser and its errors. The attributes of an operator are
//! its serde form, so nothing here knows any operator but `input`, `weight` and the leaves' need of
//! a stated type.

mod attrs;
mod error;
mod lex;
mod nearest;
mod parse;
mod place;
pub mod print;

use std::fmt;
use std::str::FromStr;

use crate::graph::Graph;

pub use error::{TextError, TextErrors};
pub use parse::{Fault, FaultAt, Written};
pub use print::Names;

pub(crate) use nearest::nearest;
pub(crate) use place::{Stated, place};

/// A name in a message: in backticks, which would show nothing of an empty one.
pub(crate) fn quoted(name: &str) -> String {
    if name.is_empty() {
        "\"\"".to_owned()
    } else {
        format!("`{name}`")
    }
}

impl Graph {
    /// The canonical text form; it depends on structure alone, never on ids or history.
    pub fn to_text(&self) -> String {
        print::graph_text(self)
    }

    /// Reads the text form. Every type is inferred again and compared with the one that is stated;
    /// guards that the type rules need are added.
    ///
    /// # Errors
    /// Every line that is wrong (the first 20), each with its place, what was expected and what was
    /// found. [`TextErrors::with_file`] names the file.
    ///
    /// ```
    /// use gabion_ir::Graph;
    /// let text = "graph @id(%x: f32[n]) -> (f32[n]) {\n  return y = %x\n}\n";
    /// assert_eq!(Graph::parse(text).unwrap().to_text(), text);
    /// ```
    pub fn parse(text: &str) -> Result<Self, TextErrors> {
        parse::parse(text, None)
    }

    /// Reads the text of a file: each node is said to come from its line ([`crate::graph::Node::loc`]), and errors name the file.
    ///
    /// # Errors
    /// As [`Graph::parse`].
    pub fn parse_file(text: &str, file: &str) -> Result<Self, TextErrors> {
        parse::parse(text, Some(file))
    }

    /// Reads the text of a file to look at it: where it states a graph that does not verify, the graph as it is written, with what is
    /// wrong beside it. Types are those that the lines state; where a line states none, that of its first operand is taken
    /// and a fault says so. Operands that are defined later are joined, so that there may be cycles. A value whose name is taken has none.
    ///
    /// # Errors
    /// As [`Graph::parse_file`], for a text that states no graph: words out of place, operators and types that nobody knows.
    ///
    /// ```
    /// use gabion_ir::Graph;
    /// let text = "graph @g(%x: f32[n]) -> (i32[n]) {\n  %y = neg %x : i32[n]\n  return %y\n}\n";
    /// let written = Graph::parse_as_written(text, "g.gir").unwrap();
    /// assert_eq!(written.graph.len(), 2);
    /// assert_eq!(written.faults[0].error.line, 2);
    /// ```
    pub fn parse_as_written(text: &str, file: &str) -> Result<Written, TextErrors> {
        parse::parse_as_written(text, file)
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl FromStr for Graph {
    type Err = TextErrors;

    fn from_str(text: &str) -> Result<Self, TextErrors> {
        Self::parse(text)
    }
}
