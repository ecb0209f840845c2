//! Checks of a `tokenizer.json` that the tokenizers crate leaves out and would panic over: that it is JSON at all, and that
//! its templates name only texts and tokens that there are.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{CheckpointError, FieldProblem, FileProblem};

/// The one part that is looked at; reading it reads the whole text.
#[derive(Deserialize)]
struct Checked {
    #[serde(default)]
    post_processor: Value,
}

pub(super) fn check(path: &Path, text: &str) -> Result<(), CheckpointError> {
    let checked: Checked = serde_json::from_str(text)
        .map_err(|error| CheckpointError::file(path, FileProblem::Json(error.to_string())))?;
    check_processor(path, &checked.post_processor)
}

fn check_processor(path: &Path, processor: &Value) -> Result<(), CheckpointError> {
    for inner in processor
        .get("processors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        check_processor(path, inner)?;
    }
    let wrong = |message: String| {
        CheckpointError::field(path, "post_processor", FieldProblem::Value(message))
    };
    for (template, n_texts) in [("single", 1), ("pair", 2)] {
        let pieces = processor.get(template).and_then(Value::as_array);
        for piece in pieces.into_iter().flatten() {
            if let Some(token) = piece.pointer("/SpecialToken/id").and_then(Value::as_str)
                && processor
                    .get("special_tokens")
                    .and_then(|tokens| tokens.get(token))
                    .is_none()
            {
                return Err(wrong(format!(
                    "uses the token `{token}`, which its `special_tokens` do not have"
                )));
            }
            if n_texts == 1 && piece.pointer("/Sequence/id").and_then(Value::as_str) == Some("B") {
                return Err(wrong(
                    "puts a second text into the template of one text".to_string(),
                ));
            }
        }
    }
    Ok(())
}
