//! `Checkpoint`: named tensors over any number of mapped files of either format. Formats are read in `safetensors` and
//! `gguf`; configs and tokenizers belong to `folder`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gabion_tensor::{Bytes, DType, HostTensor};
use indexmap::IndexMap;
use indexmap::map::Entry;

use crate::error::{CheckpointError, FieldProblem, FileProblem, FirstBytes, TensorProblem};
use crate::gguf::{self, GgufFile, GgufMetadata, NameMap};
use crate::nearest::nearest;
use crate::safetensors::{SafetensorsHeader, ShardIndex};
use crate::stored::StoredType;
use crate::view::{RowMap, TensorView};

/// The file of a folder that holds all tensors.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The file of a folder that says which shard holds which tensor.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Named tensors over mapped files.
///
/// Opening reads the headers and checks them to the last byte; the data is read when a tensor is asked for. A file that is
/// cut short by someone else while it is open takes the process down, as with any mapped file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    root: PathBuf,
    files: Vec<CheckpointFile>,
    tensors: IndexMap<String, TensorInfo>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its format and its free data.
    pub kind: FileKind,
    bytes: Bytes,
}

/// The format of a file, with what it says beside the tensors.
#[derive(Clone, Debug)]
pub enum FileKind {
    /// safetensors, with its string pairs.
    Safetensors(IndexMap<String, String>),
    /// GGUF, with its metadata and its own tensor table.
    Gguf(Box<GgufFile>),
}

/// What is known of a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name: on the Hugging Face side for the GGUF architectures that are known here.
    pub name: String,
    /// The name in the file.
    pub stored_name: String,
    /// The element type as the file spells it.
    pub stored: StoredType,
    /// The shape, row-major.
    pub shape: Vec<usize>,
    /// The index of the file in [`Checkpoint::files`].
    pub file: usize,
    /// The order in which the stored rows are to be read, if it is not their own.
    pub row_map: Option<RowMap>,
    range: Range<usize>,
}

impl TensorInfo {
    /// The dtype, or `None` for a stored type that cannot be decoded yet.
    pub fn dtype(&self) -> Option<DType> {
        self.stored.dtype()
    }

    /// Bytes in the file.
    pub fn byte_len(&self) -> usize {
        self.range.len()
    }

    /// Where in the file the tensor's bytes lie.
    pub fn byte_range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout, a `.safetensors` file, an index file or a `.gguf` file.
    ///
    /// In a folder, `model.safetensors` wins over the index, as it does elsewhere; without either, all `*.safetensors` files
    /// are opened.
    ///
    /// # Errors
    /// Nothing there, or any lie in any header; the error names file and tensor.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let metadata =
            fs::metadata(path).map_err(|source| CheckpointError::io(path, "open", source))?;
        if metadata.is_dir() {
            return Self::open_folder(path);
        }
        if path.to_string_lossy().ends_with(".safetensors.index.json") {
            return Self::open_sharded(path);
        }
        let mut checkpoint = Self::empty(path);
        checkpoint.add_file(path)?;
        Ok(checkpoint)
    }

    /// Opens several files as one checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and two files that have a tensor of the same name.
    pub fn open_files<P: AsRef<Path>>(paths: &[P]) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self::empty(paths.first().map_or(Path::new(""), AsRef::as_ref));
        for path in paths {
            let opened = Self::open(path.as_ref())?;
            checkpoint.append(opened)?;
        }
        Ok(checkpoint)
    }

    /// A checkpoint of one file whose content is in memory; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(path: &Path, bytes: Bytes) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self::empty(path);
        checkpoint.add_bytes(path, bytes)?;
        Ok(checkpoint)
    }

    fn empty(root: &Path) -> Self {
        Checkpoint {
            root: root.to_path_buf(),
            files: Vec::new(),
            tensors: IndexMap::new(),
        }
    }

    fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let single = folder.join(SINGLE_FILE);
        if single.is_file() {
            let mut checkpoint = Self::empty(folder);
            checkpoint.add_file(&single)?;
            return Ok(checkpoint);
        }
        let index = folder.join(INDEX_FILE);
        if index.is_file() {
            let mut checkpoint = Self::open_sharded(&index)?;
            checkpoint.root = folder.to_path_buf();
            return Ok(checkpoint);
        }
        let (files, others) = list_folder(folder)?;
        if files.is_empty() {
            let hint = match others.first() {
                Some(gguf) if gguf.ends_with(".gguf") => {
                    format!("; it does hold `{gguf}`: name that file instead of the folder")
                }
                Some(pickle) => format!(
                    "; it does hold `{pickle}`, a pickle, which is not read: save the model as safetensors"
                ),
                None => String::new(),
            };
            return Err(CheckpointError::file(
                folder,
                FileProblem::NoCheckpoint { hint },
            ));
        }
        let mut checkpoint = Self::empty(folder);
        for file in files {
            checkpoint.add_file(&folder.join(file))?;
        }
        Ok(checkpoint)
    }

    /// Opens the shards of an index and checks that each tensor is where the index says, and nowhere else.
    fn open_sharded(index_path: &Path) -> Result<Self, CheckpointError> {
        let index = ShardIndex::read(index_path)?;
        let folder = index_path.parent().unwrap_or(Path::new(""));
        let mut checkpoint = Self::empty(index_path);
        for shard in index.shards() {
            let path = folder.join(shard);
            if !path.is_file() {
                let shard = shard.to_string();
                return Err(CheckpointError::file(
                    index_path,
                    FileProblem::ShardAbsent { shard },
                ));
            }
            checkpoint.add_file(&path)?;
        }
        let wrong =
            |tensor: &str, problem| Err(CheckpointError::tensor(index_path, tensor, problem));
        for (name, shard) in &index.weight_map {
            let Some(info) = checkpoint.tensors.get(name) else {
                let shard = shard.clone();
                return wrong(name, TensorProblem::NotInShard { shard });
            };
            let found = file_name(&checkpoint.files[info.file].path);
            if found != *shard {
                let expected = shard.clone();
                return wrong(name, TensorProblem::WrongShard { expected, found });
            }
        }
        for (name, info) in &checkpoint.tensors {
            if !index.weight_map.contains_key(name) {
                let shard = file_name(&checkpoint.files[info.file].path);
                return wrong(name, TensorProblem::NotInIndex { shard });
            }
        }
        Ok(checkpoint)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let bytes =
            Bytes::map_file(path).map_err(|source| CheckpointError::io(path, "open", source))?;
        self.add_bytes(path, bytes)
    }

    fn add_bytes(&mut self, path: &Path, bytes: Bytes) -> Result<(), CheckpointError> {
        let kind = match format_of(path, &bytes)? {
            Format::Safetensors => {
                let header = SafetensorsHeader::parse(path, &bytes)?;
                for (name, entry) in header.tensors {
                    self.insert(
                        TensorInfo {
                            stored_name: name.clone(),
                            name,
                            stored: StoredType::Safetensors(entry.dtype),
                            shape: entry.shape,
                            file: self.files.len(),
                            row_map: None,
                            range: entry.range,
                        },
                        path,
                    )?;
                }
                FileKind::Safetensors(header.metadata)
            }
            Format::Gguf => {
                let file = GgufFile::parse(path, &bytes)?;
                self.add_gguf_tensors(path, &file)?;
                FileKind::Gguf(Box::new(file))
            }
        };
        self.files.push(CheckpointFile {
            path: path.to_path_buf(),
            kind,
            bytes,
        });
        Ok(())
    }

    fn add_gguf_tensors(&mut self, path: &Path, file: &GgufFile) -> Result<(), CheckpointError> {
        if let Some(parts) = file
            .metadata
            .size("split.count")?
            .filter(|&parts| parts > 1)
        {
            let message = format!(
                "says that this is one of {parts} files: merge them into one with the tool that split them"
            );
            return Err(CheckpointError::field(
                path,
                "split.count",
                FieldProblem::Value(message),
            ));
        }
        let names = name_map(&file.metadata)?;
        for (stored_name, tensor) in &file.tensors {
            if names.is_some() && stored_name == gguf::ROPE_FACTORS {
                // Part of the config, not a parameter.
                continue;
            }
            let mapped = names.and_then(|names| names.from_gguf(stored_name));
            let row_map = match &mapped {
                None => None,
                Some(name) => {
                    let rows = tensor.shape.first().copied().unwrap_or(1);
                    name.row_map(rows).map_err(|expected| {
                        let found = tensor.shape.clone();
                        CheckpointError::tensor(
                            path,
                            stored_name,
                            TensorProblem::Shape { expected, found },
                        )
                    })?
                }
            };
            self.insert(
                TensorInfo {
                    name: mapped.map_or_else(|| stored_name.clone(), |it| it.name),
                    stored_name: stored_name.clone(),
                    stored: StoredType::Ggml(tensor.stored),
                    shape: tensor.shape.clone(),
                    file: self.files.len(),
                    row_map,
                    range: tensor.range.clone(),
                },
                path,
            )?;
        }
        Ok(())
    }

    /// Adds a tensor of the file that is being read, which is not in `files` yet.
    fn insert(&mut self, info: TensorInfo, path: &Path) -> Result<(), CheckpointError> {
        match self.tensors.entry(info.name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(info);
                Ok(())
            }
            Entry::Occupied(entry) => {
                let problem = match self.files.get(entry.get().file) {
                    Some(first) => TensorProblem::InTwoFiles {
                        first: first.path.clone(),
                    },
                    None => TensorProblem::Duplicate,
                };
                Err(CheckpointError::tensor(path, &info.name, problem))
            }
        }
    }

    fn append(&mut self, other: Checkpoint) -> Result<(), CheckpointError> {
        let first = self.files.len();
        for (_, mut info) in other.tensors {
            let path = other.files[info.file].path.clone();
            info.file += first;
            self.insert(info, &path)?;
        }
        self.files.extend(other.files);
        Ok(())
    }

    /// The GGUF file, if the checkpoint is one GGUF file.
    pub fn gguf(&self) -> Option<&GgufFile> {
        match self.files.as_slice() {
            [file] => match &file.kind {
                FileKind::Gguf(gguf) => Some(gguf),
                FileKind::Safetensors(_) => None,
            },
            _ => None,
        }
    }

    /// The content of the tensor by which a GGUF file divides its rotary frequencies.
    pub(crate) fn rope_factors(&self) -> Result<Option<Vec<f32>>, CheckpointError> {
        let Some((gguf, file)) = self.gguf().zip(self.files.first()) else {
            return Ok(None);
        };
        let Some(tensor) = gguf.tensors.get(gguf::ROPE_FACTORS) else {
            return Ok(None);
        };
        let fail = |problem| CheckpointError::tensor(&file.path, gguf::ROPE_FACTORS, problem);
        let unsupported = || {
            fail(TensorProblem::Unsupported {
                stored: tensor.stored.name().to_string(),
                supported: "F32".to_string(),
            })
        };
        let dtype = tensor.stored.dtype().ok_or_else(unsupported)?;
        let bytes = file
            .bytes
            .slice(tensor.range.clone())
            .map_err(|error| fail(TensorProblem::Tensor(error.to_string())))?;
        HostTensor::new(dtype, &tensor.shape, bytes)
            .and_then(|tensor| tensor.to_f32_vec())
            .map(Some)
            .map_err(|error| fail(TensorProblem::Tensor(error.to_string())))
    }

    /// What was opened: a file, a folder or an index.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The files.
    pub fn files(&self) -> &[CheckpointFile] {
        &self.files
    }

    /// What is known of each tensor, in file order.
    pub fn tensors(&self) -> &IndexMap<String, TensorInfo> {
        &self.tensors
    }

    /// The names, in file order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// What is known of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The path of the file that holds a tensor, for messages.
    pub fn path_of(&self, info: &TensorInfo) -> &Path {
        self.files
            .get(info.file)
            .map_or(&self.root, |file| &file.path)
    }

    /// A tensor as it lies in the file, with the order of its rows: never a copy.
    ///
    /// # Errors
    /// No tensor of that name (the nearest names are offered), or a stored type that cannot be decoded yet.
    pub fn view(&self, name: &str) -> Result<TensorView, CheckpointError> {
        let info = self.tensors.get(name).ok_or_else(|| {
            let nearest = nearest(name, self.names());
            CheckpointError::tensor(&self.root, name, TensorProblem::Missing { nearest })
        })?;
        let path = self.path_of(info);
        let fail = |problem| CheckpointError::tensor(path, name, problem);
        let dtype = info.dtype().ok_or_else(|| {
            fail(TensorProblem::Unsupported {
                stored: info.stored.to_string(),
                supported: info.stored.supported(),
            })
        })?;
        let bytes = self.raw_bytes(info).ok_or_else(|| {
            fail(TensorProblem::Missing {
                nearest: Vec::new(),
            })
        })?;
        let tensor = HostTensor::new(dtype, &info.shape, bytes)
            .map_err(|error| fail(TensorProblem::Tensor(error.to_string())))?;
        Ok(TensorView {
            tensor,
            row_map: info.row_map,
        })
    }

    /// A tensor: its mapped bytes, or a copy where the file has the rows in another order ([`Checkpoint::view`] never
    /// copies).
    ///
    /// # Errors
    /// As [`Checkpoint::view`].
    pub fn get(&self, name: &str) -> Result<HostTensor, CheckpointError> {
        let view = self.view(name)?;
        view.materialize()
            .map_err(|problem| CheckpointError::tensor(&self.root, name, problem))
    }

    /// The bytes of a tensor as they lie in the file, whatever their type.
    pub fn raw_bytes(&self, info: &TensorInfo) -> Option<Bytes> {
        let file = self.files.get(info.file)?;
        file.bytes.slice(info.range.clone()).ok()
    }

    /// The tensors below a prefix of whole segments: `layers.1` is not a prefix of `layers.10.weight`. An empty prefix is
    /// everything.
    pub fn prefixed(&self, prefix: &str) -> PrefixView<'_> {
        PrefixView {
            checkpoint: self,
            prefix: prefix.trim_end_matches('.').to_string(),
        }
    }
}

/// The tensors of a checkpoint below a prefix, under the rest of their names.
#[derive(Clone, Debug)]
pub struct PrefixView<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
}

impl<'a> PrefixView<'a> {
    /// The full name of a tensor of this view.
    pub fn full_name(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    /// The names, without the prefix, in file order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let prefix = self.prefix.clone();
        let checkpoint = self.checkpoint;
        checkpoint
            .names()
            .filter_map(move |name| match prefix.as_str() {
                "" => Some(name),
                prefix => name.strip_prefix(prefix)?.strip_prefix('.'),
            })
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.checkpoint.contains(&self.full_name(name))
    }

    /// What is known of a tensor.
    pub fn info(&self, name: &str) -> Option<&'a TensorInfo> {
        self.checkpoint.info(&self.full_name(name))
    }

    /// As [`Checkpoint::view`].
    ///
    /// # Errors
    /// As [`Checkpoint::view`].
    pub fn view(&self, name: &str) -> Result<TensorView, CheckpointError> {
        self.checkpoint.view(&self.full_name(name))
    }

    /// As [`Checkpoint::get`].
    ///
    /// # Errors
    /// As [`Checkpoint::get`].
    pub fn get(&self, name: &str) -> Result<HostTensor, CheckpointError> {
        self.checkpoint.get(&self.full_name(name))
    }
}

enum Format {
    Safetensors,
    Gguf,
}

/// The format of a file by its first bytes, then by its name.
fn format_of(path: &Path, bytes: &[u8]) -> Result<Format, CheckpointError> {
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or("");
    match extension {
        _ if bytes.starts_with(b"GGUF") => Ok(Format::Gguf),
        "gguf" => Ok(Format::Gguf),
        "safetensors" => Ok(Format::Safetensors),
        _ if bytes.get(8) == Some(&b'{') => Ok(Format::Safetensors),
        _ => {
            let found = FirstBytes(bytes).to_string();
            Err(CheckpointError::file(
                path,
                FileProblem::UnknownFormat { found },
            ))
        }
    }
}

/// The names of a GGUF file's architecture, or `None` for one that keeps the file's own names.
fn name_map(metadata: &GgufMetadata) -> Result<Option<NameMap>, CheckpointError> {
    let known = match metadata
        .get("general.architecture")
        .and_then(|it| it.as_str())
    {
        Some(architecture) if gguf::ARCHITECTURES.contains(&architecture) => architecture,
        _ => return Ok(None),
    };
    let (heads, kv_heads) = gguf::gguf_heads(metadata)?;
    Ok(NameMap::of(known, heads, kv_heads))
}

/// The safetensors files of a folder, and then the GGUF files and the pickles, each by name.
fn list_folder(folder: &Path) -> Result<(Vec<String>, Vec<String>), CheckpointError> {
    let error = |source| CheckpointError::io(folder, "read", source);
    let (mut safetensors, mut ggufs, mut pickles) = (Vec::new(), Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(error)? {
        let name = entry
            .map_err(error)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".safetensors") {
            safetensors.push(name);
        } else if name.ends_with(".gguf") {
            ggufs.push(name);
        } else if name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth") {
            pickles.push(name);
        }
    }
    safetensors.sort();
    ggufs.sort();
    pickles.sort();
    ggufs.extend(pickles);
    Ok((safetensors, ggufs))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
