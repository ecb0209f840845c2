//! `model.safetensors.index.json`: which shard holds which tensor. The shards themselves are read by `header`.

use std::path::{Component, Path};

use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};

use crate::error::{CheckpointError, FieldProblem, FileProblem};
use crate::json;

/// The index of a sharded checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardIndex {
    /// Free data, such as `total_size`.
    pub metadata: Map<String, Value>,
    /// Tensor name to the file name of its shard, in file order.
    pub weight_map: IndexMap<String, String>,
}

impl ShardIndex {
    /// Reads an index file.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON (a name that appears twice counts), has no `weight_map` of strings, or names a
    /// shard outside its own folder.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::parse(path, &json::read_text(path)?)
    }

    /// Reads an index from its text; `path` is for the errors only.
    ///
    /// # Errors
    /// As [`ShardIndex::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, CheckpointError> {
        let Value::Object(mut root) = json::parse_strict(path, text)? else {
            return Err(CheckpointError::field(
                path,
                "weight_map",
                FieldProblem::Missing {
                    expected: "an object of tensor names and shard file names",
                },
            ));
        };
        let metadata = match root.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        let expected = "an object of tensor names and shard file names";
        let weight_map = match root.remove("weight_map") {
            None => {
                return Err(CheckpointError::field(
                    path,
                    "weight_map",
                    FieldProblem::Missing { expected },
                ));
            }
            Some(Value::Object(map)) => map,
            Some(other) => {
                return Err(CheckpointError::field(
                    path,
                    "weight_map",
                    FieldProblem::Type {
                        expected,
                        found: json::kind(&other).to_string(),
                    },
                ));
            }
        };
        let mut names = IndexMap::with_capacity(weight_map.len());
        for (name, shard) in weight_map {
            let Value::String(shard) = shard else {
                return Err(CheckpointError::field(
                    path,
                    format!("weight_map.{name}"),
                    FieldProblem::Type {
                        expected: "a shard's file name",
                        found: json::kind(&shard).to_string(),
                    },
                ));
            };
            if !is_file_name(&shard) {
                return Err(CheckpointError::file(
                    path,
                    FileProblem::ShardName { shard },
                ));
            }
            names.insert(name, shard);
        }
        Ok(ShardIndex {
            metadata,
            weight_map: names,
        })
    }

    /// The shards' file names, each once, in the order in which the index first names them.
    pub fn shards(&self) -> IndexSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// A name that cannot lead out of its folder.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == name)
        && components.next().is_none()
}
