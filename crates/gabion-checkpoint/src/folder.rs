//! A model on disk: a folder in the Hugging Face layout or a GGUF file. Its config, checkpoint, tokenizer, chat template, stop
//! tokens. What the config's fields mean to a model is not known here.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::error::{CheckpointError, FieldProblem};
use crate::gguf::{GgufFile, gguf_config};
use crate::json::{self, Fields};
use crate::sentence::{self, SentenceConfig};
use crate::tokenizer::Tokenizer;

/// A model: its config and its checkpoint are open, the rest is read when it is asked for.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    path: PathBuf,
    root: PathBuf,
    config_path: PathBuf,
    config: Value,
    checkpoint: Checkpoint,
}

/// A chat template with the texts of the special tokens that templates refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The template, in Jinja.
    pub template: String,
    /// Text of the begin token.
    pub bos_token: Option<String>,
    /// Text of the end token.
    pub eos_token: Option<String>,
    /// Text of the padding token.
    pub pad_token: Option<String>,
    /// Text of the unknown token.
    pub unk_token: Option<String>,
}

/// Ids that matter when text is generated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationIds {
    /// The token that begins a text.
    pub bos: Option<u32>,
    /// The tokens that end a text: none if the model says none.
    pub eos: Vec<u32>,
    /// The token that fills rows.
    pub pad: Option<u32>,
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
const GENERATION_CONFIG: &str = "generation_config.json";

impl ModelFiles {
    /// Opens a folder in the Hugging Face layout or a GGUF file.
    ///
    /// # Errors
    /// No config or no checkpoint, or one that lies; GGUF metadata that is no config.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        let checkpoint = Checkpoint::open(path)?;
        let Some(file) = checkpoint.gguf() else {
            return Err(CheckpointError::unsupported(
                path,
                "a safetensors file has no config: name the folder that holds it and `config.json`",
            ));
        };
        let config = gguf_config(file, checkpoint.rope_factors()?.as_deref())?;
        Ok(ModelFiles {
            path: path.to_path_buf(),
            root: path.to_path_buf(),
            config_path: path.to_path_buf(),
            config,
            checkpoint,
        })
    }

    fn open_folder(path: &Path) -> Result<Self, CheckpointError> {
        let root = match path.join(CONFIG).is_file() {
            true => path.to_path_buf(),
            // Sentence transformers may keep the model in a folder of its own.
            false => path.join(sentence::transformer_path(path)?.unwrap_or_default()),
        };
        let config_path = root.join(CONFIG);
        let config = json::read(&config_path)?;
        Fields::of(&config_path, &config)?;
        Ok(ModelFiles {
            path: path.to_path_buf(),
            checkpoint: Checkpoint::open(&root)?,
            root,
            config_path,
            config,
        })
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the model itself, which for a sentence transformer may lie inside [`ModelFiles::path`].
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The config, in Hugging Face's words.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The file that the config came from, for messages.
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// The tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn gguf(&self) -> Option<&GgufFile> {
        self.checkpoint.gguf().filter(|_| !self.path.is_dir())
    }

    /// Whether there is a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        match self.gguf() {
            Some(gguf) => gguf.metadata.get("tokenizer.ggml.model").is_some(),
            None => self.root.join(TOKENIZER).is_file(),
        }
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// There is none, or it is not understood.
    pub fn tokenizer(&self) -> Result<Tokenizer, CheckpointError> {
        match self.gguf() {
            Some(gguf) => Tokenizer::from_gguf(&gguf.metadata),
            None => Tokenizer::from_file(&self.root.join(TOKENIZER)),
        }
    }

    /// Reads the chat template: `chat_template.jinja`, else the one in `tokenizer_config.json` (the one named `default` of
    /// several), else the one in GGUF metadata.
    ///
    /// # Errors
    /// A file that is not JSON, or a field of another type.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, CheckpointError> {
        match self.gguf() {
            Some(gguf) => gguf_template(gguf),
            None => folder_template(&self.root),
        }
    }

    /// Reads the ids of special tokens: `generation_config.json` wins over `config.json`.
    ///
    /// # Errors
    /// A file that is not JSON, or an id that is no id.
    pub fn generation_ids(&self) -> Result<GenerationIds, CheckpointError> {
        let path = self.root.join(GENERATION_CONFIG);
        let generation = match self.gguf() {
            Some(_) => None,
            None => json::read_optional(&path)?,
        };
        let mut sources = vec![(self.config_path.as_path(), &self.config)];
        if let Some(generation) = &generation {
            sources.insert(0, (&path, generation));
        }
        let ids = |field: &str| -> Result<Vec<u32>, CheckpointError> {
            for (path, source) in &sources {
                if let Some(value) = Fields::of(path, source)?.get(field) {
                    return ids_of(path, field, value);
                }
            }
            Ok(Vec::new())
        };
        let mut eos = ids("eos_token_id")?;
        if let Some(gguf) = self.gguf() {
            // The ends of a turn and of a message, where they are not the end of the text.
            for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
                let end = gguf.metadata.size(key)?;
                let end = end.and_then(|id| u32::try_from(id).ok());
                eos.extend(end.filter(|id| !eos.contains(id)));
            }
        }
        Ok(GenerationIds {
            bos: ids("bos_token_id")?.first().copied(),
            eos,
            pad: ids("pad_token_id")?.first().copied(),
        })
    }

    /// Reads how a sentence transformer makes one vector of a text; `None` for a folder without `modules.json`.
    ///
    /// # Errors
    /// A module that is not known, or files that lack or contradict fields.
    pub fn sentence_config(&self) -> Result<Option<SentenceConfig>, CheckpointError> {
        match self.gguf() {
            Some(_) => Ok(None),
            None => sentence::read(&self.path),
        }
    }
}

/// One id or a list of ids.
fn ids_of(path: &Path, field: &str, value: &Value) -> Result<Vec<u32>, CheckpointError> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value {
        Value::Array(list) => list.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.ok_or_else(|| {
        CheckpointError::field(
            path,
            field,
            FieldProblem::Type {
                expected: "a token id or a list of token ids",
                found: json::describe(value),
            },
        )
    })
}

fn gguf_template(gguf: &GgufFile) -> Result<Option<ChatTemplate>, CheckpointError> {
    let metadata = &gguf.metadata;
    let Some(template) = metadata.string("tokenizer.chat_template")? else {
        return Ok(None);
    };
    let tokens = metadata.strings("tokenizer.ggml.tokens")?.unwrap_or(&[]);
    let token = |key: &str| -> Result<Option<String>, CheckpointError> {
        Ok(metadata.size(key)?.and_then(|id| tokens.get(id)).cloned())
    };
    Ok(Some(ChatTemplate {
        template: template.to_string(),
        bos_token: token("tokenizer.ggml.bos_token_id")?,
        eos_token: token("tokenizer.ggml.eos_token_id")?,
        pad_token: token("tokenizer.ggml.padding_token_id")?,
        unk_token: token("tokenizer.ggml.unknown_token_id")?,
    }))
}

fn folder_template(root: &Path) -> Result<Option<ChatTemplate>, CheckpointError> {
    let path = root.join(TOKENIZER_CONFIG);
    let config =
        json::read_optional(&path)?.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let fields = Fields::of(&path, &config)?;
    let file = root.join(CHAT_TEMPLATE);
    let template = if file.is_file() {
        json::read_text(&file)?
    } else {
        match fields.get("chat_template") {
            None => return Ok(None),
            Some(value) => template_of(&path, value)?,
        }
    };
    Ok(Some(ChatTemplate {
        template,
        bos_token: token_text(&path, &fields, "bos_token")?,
        eos_token: token_text(&path, &fields, "eos_token")?,
        pad_token: token_text(&path, &fields, "pad_token")?,
        unk_token: token_text(&path, &fields, "unk_token")?,
    }))
}

/// A template, or the one named `default` of a list of named ones.
fn template_of(path: &Path, value: &Value) -> Result<String, CheckpointError> {
    let named = |it: &Value| it.get("name").and_then(Value::as_str) == Some("default");
    let template = match value {
        Value::Array(list) => list
            .iter()
            .find(|it| named(it))
            .and_then(|it| it.get("template")),
        other => Some(other),
    };
    template
        .and_then(Value::as_str)
        .map(str::to_string)
        .ok_or_else(|| {
            CheckpointError::field(
                path,
                "chat_template",
                FieldProblem::Type {
                    expected: "a template, or a list with one named `default`",
                    found: json::describe(value),
                },
            )
        })
}

/// The text of a special token, which may be given as an object with a `content`.
fn token_text(
    path: &Path,
    fields: &Fields<'_>,
    field: &str,
) -> Result<Option<String>, CheckpointError> {
    let Some(value) = fields.get(field) else {
        return Ok(None);
    };
    let text = match value {
        Value::Object(token) => token.get("content").and_then(Value::as_str),
        other => other.as_str(),
    };
    text.map(|text| Some(text.to_string())).ok_or_else(|| {
        CheckpointError::field(
            path,
            field,
            FieldProblem::Type {
                expected: "a token",
                found: json::describe(value),
            },
        )
    })
}

/// A path that stays below the folder that names it.
pub(crate) fn is_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
