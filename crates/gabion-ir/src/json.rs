//! A graph as JSON: one compact, versioned document, through serde. Reading infers every type
//! again, compares, and verifies; for every verified graph, reading what was written gives it back.
//!
//! ```json
//! {"version": 1, "name": "id",
//!  "inputs": [{"name": "x", "value": "%x", "type": "f32[n]"}],
//!  "nodes": [{"op": "relu", "operands": ["%x"], "results": ["%y"], "types": ["f32[n]"]}],
//!  "outputs": [{"name": "y", "value": "%y"}]}
//! ```
//!
//! Values are named as in the text form; `%` and digits is an unnamed value. `attrs` and `scope` of
//! nodes, `donated` of inputs, `relations` and `guards` are left out where they are empty.

use std::sync::Arc;

use gabion_tensor::{Constraint, Guard, TensorType};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::graph::{Graph, Value};
use crate::op::{Attrs, Results};
use crate::ops::{Input, Op};
use crate::text::print::sorted_guards;
use crate::text::{Names, Stated, place};
use crate::verify::verify;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    relations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    guards: Vec<GuardEntry>,
    inputs: Vec<InputEntry>,
    nodes: Vec<NodeEntry>,
    outputs: Vec<OutputEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardEntry {
    constraint: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    name: String,
    value: String,
    #[serde(rename = "type")]
    ty: TensorType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    donated: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    op: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operands: Vec<String>,
    #[serde(default, skip_serializing_if = "Attrs::is_empty")]
    attrs: Attrs,
    results: Vec<String>,
    types: Vec<TensorType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputEntry {
    name: String,
    value: String,
}

/// A JSON document that is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct JsonError {
    /// Where: `node 3 (%y)`, `input x`.
    pub place: String,
    /// What was expected and what was found.
    pub problem: String,
}

fn wrong(place: impl Into<String>, problem: impl ToString) -> JsonError {
    JsonError {
        place: place.into(),
        problem: problem.to_string(),
    }
}

impl Document {
    fn of(graph: &Graph) -> Self {
        let names = Names::new(graph);
        let value = |value: Value| format!("%{}", names.get(value));
        let declared: Vec<_> = graph.inputs().iter().map(|i| i.node).collect();
        let inputs = graph.inputs().iter().map(|input| InputEntry {
            name: input.name.to_string(),
            value: value(Value::new(input.node, 0)),
            ty: graph.node(input.node).results[0].clone(),
            donated: matches!(graph.op(input.node), Op::Input(op) if op.donated),
        });
        let nodes = names
            .order()
            .iter()
            .filter(|id| !declared.contains(id))
            .map(|&id| {
                let node = graph.node(id);
                NodeEntry {
                    op: node.op.name().to_owned(),
                    operands: graph.operands(id).iter().map(|v| value(*v)).collect(),
                    attrs: node.op.attrs(),
                    results: (0..node.results.len())
                        .map(|r| value(Value::new(id, r as u32)))
                        .collect(),
                    types: node.results.to_vec(),
                    scope: node.scope.as_deref().map(str::to_owned),
                }
            });
        let outputs = graph.outputs().iter().map(|o| OutputEntry {
            name: o.name.to_string(),
            value: value(o.value),
        });
        let guards = sorted_guards(graph).into_iter();
        Self {
            version: VERSION,
            name: graph.name.to_string(),
            relations: graph.relations().iter().map(ToString::to_string).collect(),
            guards: guards
                .map(|g| GuardEntry {
                    constraint: g.constraint.to_string(),
                    why: g.why.clone(),
                })
                .collect(),
            inputs: inputs.collect(),
            nodes: nodes.collect(),
            outputs: outputs.collect(),
        }
    }

    fn graph(self) -> Result<Graph, JsonError> {
        if self.version != VERSION {
            return Err(wrong(
                "version",
                format!("expected {VERSION}, found {}", self.version),
            ));
        }
        let mut reader = Reader {
            graph: Graph::new(self.name),
            values: FxHashMap::default(),
            weights: FxHashMap::default(),
        };
        for text in self.relations {
            let place = || format!("relation `{text}`");
            let constraint: Constraint = text.parse().map_err(|e| wrong(place(), e))?;
            reader
                .graph
                .relations_mut()
                .declare(constraint)
                .map_err(|e| wrong(place(), e))?;
        }
        for GuardEntry { constraint, why } in self.guards {
            let parsed = constraint
                .parse()
                .map_err(|e| wrong(format!("guard `{constraint}`"), e))?;
            reader.graph.add_guard(Guard {
                constraint: parsed,
                why,
            });
        }
        for entry in self.inputs {
            reader.input(entry)?;
        }
        for (index, entry) in self.nodes.into_iter().enumerate() {
            reader.node(index, entry)?;
        }
        for entry in self.outputs {
            let value = reader
                .value(&entry.value)
                .map_err(|e| wrong(format!("output `{}`", entry.name), e))?;
            reader.graph.push_output(entry.name, value);
        }
        verify(&reader.graph).map_err(|e| wrong("graph", e))?;
        Ok(reader.graph)
    }
}

struct Reader {
    graph: Graph,
    values: FxHashMap<String, Value>,
    weights: FxHashMap<Arc<str>, Value>,
}

impl Reader {
    fn value(&self, name: &str) -> Result<Value, String> {
        self.values
            .get(name)
            .copied()
            .ok_or_else(|| format!("`{name}` is not defined before this"))
    }

    /// Puts a node; its results get their names.
    fn place(
        &mut self,
        operands: &[Value],
        op: Op,
        results: &[String],
        types: Results,
        scope: Option<String>,
    ) -> Result<Value, String> {
        let mut names: SmallVec<[Option<Arc<str>>; 1]> = SmallVec::new();
        for (i, result) in results.iter().enumerate() {
            let name = result
                .strip_prefix('%')
                .ok_or_else(|| format!("expected `%{result}`, found `{result}`"))?;
            let again = results[..i].contains(result);
            if again || self.values.contains_key(result) {
                return Err(format!("`{result}` is defined twice"));
            }
            let numbered = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
            names.push((!numbered).then(|| name.into()));
        }
        let stated = Stated {
            op,
            names,
            types: Some(types),
            scope: scope.map(Into::into),
            loc: None,
        };
        let id = place(&mut self.graph, &mut self.weights, operands, stated)
            .map_err(|e| e.to_string())?;
        for (i, result) in results.iter().enumerate() {
            self.values.insert(result.clone(), Value::new(id, i as u32));
        }
        Ok(Value::new(id, 0))
    }

    fn input(&mut self, entry: InputEntry) -> Result<(), JsonError> {
        let place = format!("input `{}`", entry.name);
        let op = Input {
            name: entry.name.as_str().into(),
            donated: entry.donated,
        }
        .into();
        let types = smallvec::smallvec![entry.ty];
        let value = self
            .place(&[], op, &[entry.value], types, None)
            .map_err(|e| wrong(place, e))?;
        self.graph.push_input(entry.name, value.node);
        Ok(())
    }

    fn node(&mut self, index: usize, entry: NodeEntry) -> Result<(), JsonError> {
        let place = format!("node {index} ({} = {})", entry.results.join(", "), entry.op);
        let inner = || {
            let op = match Op::from_word(&entry.op, entry.attrs) {
                Some(op) => op.map_err(|e| format!("attributes: {e}"))?,
                None => return Err(format!("`{}` is no operator", entry.op)),
            };
            let operands: Vec<Value> = entry
                .operands
                .iter()
                .map(|o| self.value(o))
                .collect::<Result<_, _>>()?;
            self.place(
                &operands,
                op,
                &entry.results,
                entry.types.into(),
                entry.scope,
            )
        };
        inner().map(|_| ()).map_err(|e: String| wrong(place, e))
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Document::deserialize(deserializer)?
            .graph()
            .map_err(serde::de::Error::custom)
    }
}

impl Graph {
    /// The graph as one JSON document.
    pub fn to_json(&self) -> serde_json::Value {
        // The document is made of strings, numbers and lists, which JSON can hold.
        serde_json::to_value(Document::of(self)).unwrap_or_default()
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    /// What is no such document, or no valid graph, with the place.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, JsonError> {
        let document = Document::deserialize(json).map_err(|e| wrong("document", e))?;
        document.graph()
    }
}
