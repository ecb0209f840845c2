//! Errors of the text form: collected, each with the line it speaks of and a caret under the place.

use std::fmt;

/// More errors than this are not collected.
pub(super) const MAX_ERRORS: usize = 20;
/// Characters of the line that are shown before and after the place.
const SHOWN: usize = 60;

/// Something unexpected at byte `at`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) expected: String,
    pub(super) found: String,
}

/// One wrong place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What would have been right.
    pub expected: String,
    /// What stands there.
    pub found: String,
    shown: String,
    caret: usize,
}

impl PlanTextError {
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        let at = text.floor_char_boundary(fault.at);
        let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
        let before: Vec<char> = text[start..at].chars().collect();
        let after = text[at..].lines().next().unwrap_or("").chars().take(SHOWN);
        let near = &before[before.len().saturating_sub(SHOWN)..];
        Self {
            line: text[..start].bytes().filter(|&b| b == b'\n').count() + 1,
            column: before.len() + 1,
            expected: fault.expected,
            found: fault.found,
            shown: near
                .iter()
                .copied()
                .chain(after)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
            caret: near.len(),
        }
    }
}

impl fmt::Display for PlanTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            expected,
            found,
            shown,
            caret,
        } = self;
        writeln!(
            f,
            "line {line}, column {column}: expected {expected}, found {found}"
        )?;
        writeln!(f, "  | {shown}")?;
        write!(f, "  | {:caret$}^", "")
    }
}

impl std::error::Error for PlanTextError {}

/// Every error of one text, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTextErrors {
    items: Vec<PlanTextError>,
    more: bool,
}

impl PlanTextErrors {
    pub(super) fn new(text: &str, mut faults: Vec<Fault>) -> Self {
        let more = faults.len() > MAX_ERRORS;
        faults.sort_by_key(|fault| fault.at);
        faults.truncate(MAX_ERRORS);
        Self {
            items: faults
                .into_iter()
                .map(|fault| PlanTextError::new(text, fault))
                .collect(),
            more,
        }
    }

    /// The errors.
    pub fn items(&self) -> &[PlanTextError] {
        &self.items
    }
}

impl fmt::Display for PlanTextErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.items.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{item}")?;
        }
        if self.more {
            write!(f, "\nonly the first {MAX_ERRORS} errors are shown")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanTextErrors {}
