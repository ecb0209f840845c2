//! Why a configuration was refused: every problem of one file at once, each naming the field, what
//! was expected, what was found and the way out. Graph diagnostics live in `gabion-ir`.

use std::fmt;

/// One problem of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// The file's root is not a JSON object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of JSON value found.
        found: String,
    },
    /// A field without which nothing can be built is absent (or null).
    #[error("`{field}` is missing: expected {expected}")]
    Missing {
        /// The field, with its parents (`rope_parameters.factor`).
        field: String,
        /// What it should hold.
        expected: String,
    },
    /// A field holds something else than it should.
    #[error("`{field}`: expected {expected}, found {found}")]
    Invalid {
        /// The field, with its parents.
        field: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A field that nobody reads, in a file that allows no such fields.
    #[error("`{field}` is not a field here: the fields are {}", known.join(", "))]
    Unknown {
        /// The field.
        field: String,
        /// The fields that exist.
        known: Vec<String>,
    },
    /// Fields that are fine alone and cannot be true together.
    #[error("{} contradict: {message}", quoted(fields))]
    Contradiction {
        /// The fields.
        fields: Vec<String>,
        /// What each says and which relation must hold.
        message: String,
    },
    /// A value that means something which is not built here.
    #[error("`{field}` = {found} is not supported: {message}")]
    Unsupported {
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What is supported instead, and the way out.
        message: String,
    },
}

fn quoted(fields: &[String]) -> String {
    fields
        .iter()
        .map(|f| format!("`{f}`"))
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Every problem of one configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as the caller named it.
    pub file: String,
    /// The problems, in the order of the checks; never empty.
    pub problems: Vec<ConfigProblem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.file, &self.problems)
    }
}

impl std::error::Error for ConfigErrors {}

/// `what: n problems`, then one problem a line.
pub(crate) fn list<P: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    problems: &[P],
) -> fmt::Result {
    let n = problems.len();
    write!(f, "{what}: {n} problem{}", if n == 1 { "" } else { "s" })?;
    for problem in problems {
        write!(f, "\n  {problem}")?;
    }
    Ok(())
}
