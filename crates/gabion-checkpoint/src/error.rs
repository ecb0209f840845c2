//! The errors of reading and writing checkpoints: each names the file, the tensor or field, what was expected and what was
//! found. Load reports (many problems at once) live in `report`, not here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a checkpoint, a model folder or a tokenizer could not be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "cannot `read`".
        action: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// The file as a whole is wrong.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// One tensor of the file is wrong.
    #[error("{}: tensor `{tensor}`: {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        problem: TensorProblem,
    },
    /// One field of a JSON file or one key of a file's metadata is wrong.
    #[error("{}: `{field}` {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field's path (`rope_scaling.factor`) or the metadata key.
        field: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// A tokenizer could not be built or used.
    #[error("{}: tokenizer: {message}", path.display())]
    Tokenizer {
        /// The file that the tokenizer came from.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// What was asked for cannot be done with this model.
    #[error("{}: {message}", path.display())]
    Unsupported {
        /// The model's file or folder.
        path: PathBuf,
        /// What cannot be done, why, and the way out.
        message: String,
    },
}

/// What is wrong with a whole file.
#[derive(Debug, Error)]
pub enum FileProblem {
    /// The file ends too early.
    #[error("truncated: {what} needs {needed} bytes and the file has {found}")]
    Truncated {
        /// What was being read.
        what: String,
        /// Bytes that must be there, counted from the start of the file.
        needed: u64,
        /// The file's length.
        found: u64,
    },
    /// The header's length is beyond any header that is meant.
    #[error(
        "the header claims {found} bytes, the limit is {limit}: this is not a safetensors file, or it is damaged"
    )]
    HeaderTooLong {
        /// The claimed length.
        found: u64,
        /// The format's limit.
        limit: u64,
    },
    /// The header is not the JSON that the format asks for.
    #[error("the header is not valid: {0}")]
    Header(String),
    /// Bytes that no tensor owns.
    #[error("bytes {begin}..{end} of the data belong to no tensor: the format allows no holes")]
    Hole {
        /// First byte of the hole, from the start of the data.
        begin: u64,
        /// One past its last byte.
        end: u64,
    },
    /// Not a file of the expected format.
    #[error("not a {format} file: it begins with {found} where {expected} is expected")]
    Magic {
        /// The format's name.
        format: &'static str,
        /// The mark that the format begins with.
        expected: &'static str,
        /// The bytes found.
        found: String,
    },
    /// A version of the format that is not read.
    #[error("{format} version {found} is not read, expected {expected}")]
    Version {
        /// The format's name.
        format: &'static str,
        /// The versions that are read.
        expected: &'static str,
        /// The file's version.
        found: u32,
    },
    /// The file was written for the other byte order.
    #[error(
        "big-endian {format} file: only little-endian files are read; convert it with the tool that wrote it"
    )]
    BigEndian {
        /// The format's name.
        format: &'static str,
    },
    /// A count that the rest of the file cannot hold.
    #[error("{what} claims {found} entries of at least {each} bytes, and {left} bytes are left")]
    Count {
        /// What is counted.
        what: String,
        /// The claim.
        found: u64,
        /// The least size of one entry, in bytes.
        each: u64,
        /// Bytes up to the end of the file.
        left: u64,
    },
    /// A string that is not UTF-8.
    #[error("{what} is not UTF-8")]
    Utf8 {
        /// Which string.
        what: String,
    },
    /// An id that the format does not define.
    #[error("{what} has the unknown type {found}, expected {expected}")]
    UnknownType {
        /// What has that type.
        what: String,
        /// The ids that are defined.
        expected: &'static str,
        /// The id found.
        found: u64,
    },
    /// Arrays inside arrays, too deep.
    #[error("{what} nests arrays deeper than {limit}")]
    TooDeep {
        /// Which value.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The index of a sharded checkpoint names a file that is not there.
    #[error("lists the shard `{shard}`, which is not in that folder")]
    ShardAbsent {
        /// The shard's file name.
        shard: String,
    },
    /// The index names something that is no plain file name.
    #[error("lists the shard `{shard}`: a shard is a file name in the same folder")]
    ShardName {
        /// The shard as listed.
        shard: String,
    },
    /// A folder without any checkpoint.
    #[error(
        "holds no checkpoint: expected `model.safetensors`, `model.safetensors.index.json` or other `*.safetensors` files{hint}"
    )]
    NoCheckpoint {
        /// A way out, or nothing.
        hint: String,
    },
    /// Neither safetensors nor GGUF by its name and its first bytes.
    #[error("neither a safetensors nor a GGUF file: it begins with {found}")]
    UnknownFormat {
        /// The first bytes.
        found: String,
    },
    /// The same metadata key twice.
    #[error("metadata key `{key}` appears twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A JSON file that does not parse.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// The file was asked to hold something it cannot.
    #[error("cannot be written: {0}")]
    Write(String),
}

/// What is wrong with one tensor.
#[derive(Debug, Error)]
pub enum TensorProblem {
    /// Two tensors of one file have the same name.
    #[error("the name appears twice in the file")]
    Duplicate,
    /// Two files have a tensor of the same name.
    #[error("is also in {}: one of the two must go", first.display())]
    InTwoFiles {
        /// The file that had it first.
        first: PathBuf,
    },
    /// The index lists the tensor in another file than the one that has it.
    #[error("the index expects it in `{expected}`, found in `{found}`")]
    WrongShard {
        /// The shard that the index names.
        expected: String,
        /// The shard that has it.
        found: String,
    },
    /// A shard has a tensor that the index does not list.
    #[error("is in the shard `{shard}` but the index does not list it")]
    NotInIndex {
        /// The shard that has it.
        shard: String,
    },
    /// The index lists a tensor that no shard has.
    #[error("the index expects it in `{shard}`, which does not have it")]
    NotInShard {
        /// The shard that should have it.
        shard: String,
    },
    /// A dtype that the format does not define.
    #[error("unknown dtype `{found}`, expected one of {expected}")]
    UnknownDType {
        /// The dtypes that are defined.
        expected: String,
        /// The word found.
        found: String,
    },
    /// The tensor ends before it begins.
    #[error("data offsets [{begin}, {end}]: the end is before the begin")]
    Reversed {
        /// First byte, from the start of the data.
        begin: u64,
        /// One past its last byte.
        end: u64,
    },
    /// The tensor's bytes are not all in the file.
    #[error("bytes {begin}..{end} of the data leave the file, which has {found} bytes of data")]
    OutOfFile {
        /// First byte, from the start of the data.
        begin: u64,
        /// One past its last byte.
        end: u64,
        /// The data that the file has.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "bytes {begin}..{end} of the data overlap those of `{other}`, which end at {other_end}"
    )]
    Overlap {
        /// First byte, from the start of the data.
        begin: u64,
        /// One past its last byte.
        end: u64,
        /// The other tensor.
        other: String,
        /// One past the other's last byte.
        other_end: u64,
    },
    /// The byte range disagrees with dtype and shape.
    #[error("{dtype}{shape:?} is {expected} bytes, the offsets span {found}")]
    Size {
        /// The dtype's word in the file.
        dtype: String,
        /// The shape, row-major.
        shape: Vec<usize>,
        /// Bytes by dtype and shape.
        expected: u64,
        /// Bytes by the offsets.
        found: u64,
    },
    /// The number of bytes does not fit 64 bits.
    #[error("the size of {dtype}{shape:?} overflows")]
    Overflow {
        /// The dtype's word in the file.
        dtype: String,
        /// The shape, row-major.
        shape: Vec<u64>,
    },
    /// A row is not a whole number of blocks.
    #[error("{dtype}{shape:?}: the last dim must be a multiple of {block}")]
    PartialBlock {
        /// The dtype's word in the file.
        dtype: String,
        /// The shape, row-major.
        shape: Vec<usize>,
        /// Elements in a block.
        block: usize,
    },
    /// The tensor begins at an offset that the format forbids.
    #[error("offset {found} is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// The offset in the data.
        found: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// More dims than the format allows.
    #[error("has {found} dims, at most {limit} are allowed")]
    Rank {
        /// Dims found.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Known to the format, but not to this program.
    #[error(
        "is stored as {stored}, which cannot be decoded yet: convert the checkpoint to one of {supported}"
    )]
    Unsupported {
        /// The dtype's word in the file.
        stored: String,
        /// The dtypes that can be decoded.
        supported: String,
    },
    /// No tensor of that name.
    #[error("is not in the checkpoint{}", did_you_mean(nearest))]
    Missing {
        /// The nearest names that are there.
        nearest: Vec<String>,
    },
    /// The shape is not the one that the operation needs.
    #[error("has shape {found:?}, expected {expected}")]
    Shape {
        /// What the operation needs.
        expected: String,
        /// The tensor's shape.
        found: Vec<usize>,
    },
    /// The tensor library refused the bytes.
    #[error("{0}")]
    Tensor(String),
}

/// What is wrong with one field of a JSON file or one metadata key.
#[derive(Debug, Error)]
pub enum FieldProblem {
    /// It is not there.
    #[error("is missing, expected {expected}")]
    Missing {
        /// What it must hold.
        expected: &'static str,
    },
    /// It holds a value of another type.
    #[error("is {found}, expected {expected}")]
    Type {
        /// What it must hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// It holds a value that is not understood or contradicts another.
    #[error("{0}")]
    Value(String),
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    format!("; the nearest names are {}", quoted.join(", "))
}

/// The first bytes of a file as they are shown in errors.
pub(crate) struct FirstBytes<'a>(pub(crate) &'a [u8]);

impl fmt::Display for FirstBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.0[..self.0.len().min(4)];
        if first.is_empty() {
            return f.write_str("nothing");
        }
        write!(f, "`{}`", first.escape_ascii())
    }
}

impl CheckpointError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        CheckpointError::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// The error with the path that it will have: what was made at `from` was to appear at `to`.
    pub(crate) fn moved(mut self, from: &Path, to: &Path) -> Self {
        let (CheckpointError::Io { path, .. }
        | CheckpointError::File { path, .. }
        | CheckpointError::Tensor { path, .. }
        | CheckpointError::Field { path, .. }
        | CheckpointError::Tokenizer { path, .. }
        | CheckpointError::Unsupported { path, .. }) = &mut self;
        match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => *path = to.to_path_buf(),
            Ok(rest) => *path = to.join(rest),
            Err(_) => {}
        }
        self
    }

    pub(crate) fn file(path: &Path, problem: FileProblem) -> Self {
        CheckpointError::File {
            path: path.to_path_buf(),
            problem,
        }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, problem: TensorProblem) -> Self {
        CheckpointError::Tensor {
            path: path.to_path_buf(),
            tensor: tensor.to_string(),
            problem,
        }
    }

    pub(crate) fn field(path: &Path, field: impl Into<String>, problem: FieldProblem) -> Self {
        CheckpointError::Field {
            path: path.to_path_buf(),
            field: field.into(),
            problem,
        }
    }

    pub(crate) fn unsupported(path: &Path, message: impl Into<String>) -> Self {
        CheckpointError::Unsupported {
            path: path.to_path_buf(),
            message: message.into(),
        }
    }

    pub(crate) fn tokenizer(path: &Path, message: impl Into<String>) -> Self {
        CheckpointError::Tokenizer {
            path: path.to_path_buf(),
            message: message.into(),
        }
    }
}
