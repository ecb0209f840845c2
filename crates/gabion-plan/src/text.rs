//! The text form of a plan: what [`Plan::to_text`] prints and [`Plan::parse`] reads.
//!
//! ```text
//! plan    = "plan" "@" name "target" name "{" {line} "}"
//! line    = "input" ["donate"] "%" decl ":" type                      an input and the buffer of its name
//!         | "input" ["donate"] name ":" type "in" "%" ref             an input in a buffer declared elsewhere
//!         | "require" constraint                                      to the end of the line
//!         | "guard" constraint string
//!         | "weight" "@" decl ":" type layout ["{" {rows | segment} "}"]
//!         | "arena" "%" decl ":" size "at" "[" dim "]" "live" range
//!         | "const" "%" decl [":" size] "=" literal
//!         | "buffer" "%" decl ":" size "of" "input" digits
//!         | "step" [digits] [string] ":" kernel ["reads" views] ["writes" views]
//!         | "return" name [":" type] "=" view
//! rows    = "rows" range "of" (string | literal) ":" type {"then" variant}
//! segment = "segment" range variant
//! kernel  = word ["@" ref] [attrs]
//! variant = word [attrs]
//! views   = view {"," view}
//! view    = ("%" | "@") ref "[" [dim {"," dim}] "]" ["at" "[" dim "]"] ["strides" "[" [dim {"," dim}] "]"]
//! type    = dtype "[" [dim {"," dim}] "]"
//! size    = dtype "[" dim "]"                                         how many elements
//! literal = dtype "[" [digits {"," digits}] "]" ("fill" number | "[" [number {"," number}] "]" | "hex" "[" {hex} "]")
//! attrs   = "{" [key "=" json {"," key "=" json}] "}"
//! json    = number | string | "true" | "false" | "null" | "[" [json {"," json}] "]" | attrs
//! range   = digits ".." digits
//! decl    = name ["#" digits]
//! ref     = name ["#" digits] | "#" digits
//! name    = (letter | digit | "_") {letter | digit | "_" | "." | "-"} | string
//! ```
//!
//! White space is free and `//` opens a comment, except between the brackets of sizes and in a
//! constraint, where `//` divides. Buffers and weights are numbered in the order of their lines;
//! `#` and that number tell apart those that share a name. Without `at` a view begins at element 0,
//! without `strides` it is row-major. Steps are numbered from 0; a number that is written must be
//! the right one, since lifetimes are ranges of step numbers.
//!
//! For every plan whose sizes have not overflowed, `parse(print(p)) == p`, and printing what was
//! parsed is idempotent. Whether the plan makes sense is [`verify`](crate::verify())'s to say.
//!
//! Attributes are the serde form of kernels, so nothing here knows any kernel but `matmul`, whose
//! weight is printed by name.

mod attrs;
mod cursor;
mod error;
mod literal;
mod parse;
mod print;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::plan::Plan;

pub use error::{PlanTextError, PlanTextErrors};

impl Plan {
    /// The canonical text.
    pub fn to_text(&self) -> String {
        print::plan_text(self)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// Every statement that could not be read, with line, column, what was expected and what was
    /// found.
    pub fn parse(text: &str) -> Result<Plan, PlanTextErrors> {
        parse::plan_of_text(text)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl FromStr for Plan {
    type Err = PlanTextErrors;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Plan::parse(text)
    }
}
