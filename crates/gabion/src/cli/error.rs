//! What can go wrong in the program itself; the crates below have errors of their own.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the program: each names the file or word, what was expected and found, and the way
/// out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Whoever read standard output has stopped reading.
    #[error("standard output was closed")]
    BrokenPipe,
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {0}")]
    Stdout(io::Error),
    /// No threads.
    #[error(
        "--threads 0: expected at least 1 thread; leave the option out for all {available} that this process may use"
    )]
    NoThreads {
        /// What this process may use.
        available: usize,
    },
    /// An executor that is not there yet.
    #[error("{what}: the CUDA executor is not built yet; {instead}")]
    NoCuda {
        /// The words that ask for it.
        what: String,
        /// The way out.
        instead: &'static str,
    },
    /// More passes than there are.
    #[error("--stop-after {asked}: there are {passes} passes, so at most {passes}")]
    StopAfter {
        /// What was asked for.
        asked: usize,
        /// How many there are.
        passes: usize,
    },
    /// Something that the command knows of and that is not built.
    #[error("{what} is not built yet; {instead}")]
    NotBuilt {
        /// What was asked for.
        what: String,
        /// The way out.
        instead: &'static str,
    },
    /// Bytes that are no text.
    #[error("{what} is not UTF-8: byte {byte:#04x} at {at} begins no character")]
    NotUtf8 {
        /// The argument or file.
        what: String,
        /// Where.
        at: usize,
        /// The byte there.
        byte: u8,
    },
    /// A model that is nowhere.
    #[error(
        "there is no model `{name}`: it is no preset (the presets are {presets}), and no file or folder of that name exists"
    )]
    NoModel {
        /// What was asked for.
        name: String,
        /// The list.
        presets: String,
    },
    /// A file that cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("{}: cannot write: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A model of a kind that the command cannot use.
    #[error("{}: model_type is `{found}`: {expected}", path.display())]
    ModelKind {
        /// The config file.
        path: PathBuf,
        /// What the config says.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A model without a chat template.
    #[error("{}: the model has no chat template (chat_template.jinja, tokenizer_config.json or tokenizer.chat_template): leave out --chat", .0.display())]
    NoTemplate(PathBuf),
    /// A chat template that fails.
    #[error("{}: chat template: {message}", path.display())]
    Template {
        /// The model.
        path: PathBuf,
        /// What the template engine, or the template, said.
        message: String,
    },
    /// Something wrong in a file, in the words of who found it.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something wrong in a file.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// A graph that cannot be evaluated on its samples.
    #[error(
        "graph @{graph} on random inputs: {source} (the integer inputs were {shown}; --range NAME=LO..HI gives others)"
    )]
    Samples {
        /// The graph.
        graph: String,
        /// The integer inputs with their values.
        shown: String,
        /// What failed.
        source: Box<gabion::ir::EvalError>,
    },
    /// Options that cannot be true together.
    #[error("{0}")]
    Options(String),
}

impl CliError {
    /// The same error, of this file.
    pub(crate) fn in_file(
        path: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::InFile {
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// A problem of a file.
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
