//! Where a writer's caller puts the bytes of one tensor: it counts them, so that a header never lies about what follows.

use std::io::{self, Write};
use std::path::Path;

use crate::error::{CheckpointError, FileProblem};

/// What a file is to say of one tensor: `T` is the element type of the file format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorDecl<T> {
    /// The name in the file.
    pub name: String,
    /// The element type in the file.
    pub stored: T,
    /// The shape, row-major.
    pub shape: Vec<usize>,
}

/// Takes the bytes of one tensor, in order, in as many pieces as the caller likes.
pub struct TensorSink<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl<'a> TensorSink<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        TensorSink { out, written: 0 }
    }

    /// Fails unless exactly `expected` bytes came.
    pub(crate) fn finish(
        self,
        path: &Path,
        name: &str,
        expected: u64,
    ) -> Result<(), CheckpointError> {
        if self.written == expected {
            return Ok(());
        }
        Err(CheckpointError::file(
            path,
            FileProblem::Write(format!(
                "tensor `{name}` was declared with {expected} bytes and {} were given",
                self.written
            )),
        ))
    }
}

impl Write for TensorSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.out.write(bytes)?;
        self.written += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
