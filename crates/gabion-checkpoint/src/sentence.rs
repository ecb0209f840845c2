//! How a sentence transformer makes one vector of a text, as its folder says: `modules.json`, the pooling's `config.json`,
//! `sentence_bert_config.json`. The layouts are those of the sentence-transformers package, versions 2 to 5.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{CheckpointError, FieldProblem};
use crate::folder::is_inside;
use crate::json::{self, Fields};

/// How the vectors of the tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the tokens of the text.
    Mean,
    /// The first token's vector.
    Cls,
    /// The largest value of each dim.
    Max,
    /// The sum divided by the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, ..
    WeightedMean,
    /// The last token's vector.
    LastToken,
}

/// What happens to a text before and after the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentenceConfig {
    /// How the vectors of the tokens become one.
    pub pooling: Pooling,
    /// Whether the vector is divided by its length.
    pub normalize: bool,
    /// Tokens, special ones included, that a text is cut to; `None` if the folder does not say.
    pub max_seq_length: Option<usize>,
    /// Whether the text is put into lower case before the tokenizer sees it.
    pub do_lower_case: bool,
}

const MODULES: &str = "modules.json";

/// The files that may hold the length, by the encoder's kind.
const LENGTH_FILES: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The pooling's switches, and the word of newer files.
const POOLINGS: &[(&str, &str, Pooling)] = &[
    ("pooling_mode_cls_token", "cls", Pooling::Cls),
    ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
    ("pooling_mode_max_tokens", "max", Pooling::Max),
    (
        "pooling_mode_mean_sqrt_len_tokens",
        "mean_sqrt_len_tokens",
        Pooling::MeanSqrtLen,
    ),
    (
        "pooling_mode_weightedmean_tokens",
        "weightedmean",
        Pooling::WeightedMean,
    ),
    ("pooling_mode_lasttoken", "lasttoken", Pooling::LastToken),
];

/// A module of `modules.json`: the last segment of its type, and its folder.
struct Module {
    kind: String,
    folder: String,
}

fn modules(folder: &Path) -> Result<Option<Vec<Module>>, CheckpointError> {
    let path = folder.join(MODULES);
    let Some(value) = json::read_optional(&path)? else {
        return Ok(None);
    };
    let Value::Array(list) = value else {
        let found = json::describe(&value);
        let problem = FieldProblem::Type {
            expected: "a list of modules",
            found,
        };
        return Err(CheckpointError::field(&path, "modules", problem));
    };
    list.iter()
        .map(|module| {
            let fields = Fields::of(&path, module)?;
            let kind = fields.need_string("type")?;
            let folder = fields.string("path")?.unwrap_or("");
            if !is_inside(folder) {
                let message = format!("is `{folder}`, expected a folder inside the model's");
                return Err(CheckpointError::field(
                    &path,
                    "path",
                    FieldProblem::Value(message),
                ));
            }
            Ok(Module {
                kind: kind.rsplit('.').next().unwrap_or(kind).to_string(),
                folder: folder.to_string(),
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// The folder of the encoder inside the model's folder; `None` without `modules.json`.
pub(crate) fn transformer_path(folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let modules = modules(folder)?.unwrap_or_default();
    let transformer = modules.into_iter().find(|it| it.kind == "Transformer");
    Ok(transformer.map(|it| PathBuf::from(it.folder)))
}

/// Reads what a folder says; `None` without `modules.json`.
pub(crate) fn read(folder: &Path) -> Result<Option<SentenceConfig>, CheckpointError> {
    let Some(modules) = modules(folder)? else {
        return Ok(None);
    };
    let path = folder.join(MODULES);
    let mut pooling = None;
    let mut config = SentenceConfig {
        pooling: Pooling::Mean,
        normalize: false,
        max_seq_length: None,
        do_lower_case: false,
    };
    for module in &modules {
        match module.kind.as_str() {
            "Transformer" => read_lengths(&folder.join(&module.folder), &mut config)?,
            "Pooling" => {
                if pooling
                    .replace(read_pooling(&folder.join(&module.folder))?)
                    .is_some()
                {
                    return Err(wrong(
                        &path,
                        "type",
                        "lists two poolings, expected one".to_string(),
                    ));
                }
            }
            "Normalize" => config.normalize = true,
            other => {
                let message = format!("is `{other}`, expected Transformer, Pooling or Normalize");
                return Err(wrong(&path, "type", message));
            }
        }
    }
    config.pooling = pooling
        .ok_or_else(|| wrong(&path, "type", "lists no pooling, expected one".to_string()))?;
    Ok(Some(config))
}

fn wrong(path: &Path, field: &str, message: String) -> CheckpointError {
    CheckpointError::field(path, field, FieldProblem::Value(message))
}

fn read_lengths(folder: &Path, config: &mut SentenceConfig) -> Result<(), CheckpointError> {
    for name in LENGTH_FILES {
        let path = folder.join(name);
        let Some(value) = json::read_optional(&path)? else {
            continue;
        };
        let fields = Fields::of(&path, &value)?;
        config.max_seq_length = fields.size("max_seq_length")?;
        if config.max_seq_length == Some(0) {
            return Err(wrong(
                &path,
                "max_seq_length",
                "is 0, expected at least 1".to_string(),
            ));
        }
        config.do_lower_case = fields.bool("do_lower_case")?.unwrap_or(false);
        return Ok(());
    }
    Ok(())
}

fn read_pooling(folder: &Path) -> Result<Pooling, CheckpointError> {
    let path = folder.join("config.json");
    let value = json::read(&path)?;
    let fields = Fields::of(&path, &value)?;
    if let Some(word) = fields.string("pooling_mode")? {
        let known = POOLINGS.iter().find(|(_, known, _)| *known == word);
        return known.map(|(_, _, pooling)| *pooling).ok_or_else(|| {
            let words: Vec<&str> = POOLINGS.iter().map(|(_, word, _)| *word).collect();
            wrong(
                &path,
                "pooling_mode",
                format!("is `{word}`, expected one of {}", words.join(", ")),
            )
        });
    }
    let mut chosen = Vec::new();
    for (switch, _, pooling) in POOLINGS {
        if fields.bool(switch)?.unwrap_or(false) {
            chosen.push((*switch, *pooling));
        }
    }
    match chosen.as_slice() {
        [(_, pooling)] => Ok(*pooling),
        [] => Err(wrong(
            &path,
            "pooling_mode_mean_tokens",
            "and all other poolings are off, expected one".to_string(),
        )),
        [_, (second, _), ..] => Err(wrong(
            &path,
            second,
            "is on beside another pooling, expected one".to_string(),
        )),
    }
}
