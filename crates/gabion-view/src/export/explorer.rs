//! The JSON that Google's Model Explorer reads: a graph for each stage, namespaces for groups. The fields are those of its
//! page "Develop adapter extension": `graphs[].nodes[]` with `id`, `label`, `namespace`, `attrs`, `incomingEdges`,
//! `outputsMetadata`.

use serde_json::{Value, json};

use crate::document::{BoxId, Document, GroupId};

/// Every stage as a graph.
pub fn model_explorer(document: &Document) -> Value {
    let graphs = (0..document.stages.len()).map(|stage| graph(document, stage));
    json!({"label": document.title, "graphs": graphs.collect::<Vec<_>>()})
}

fn graph(document: &Document, stage: usize) -> Value {
    let at = &document.stages[stage];
    let nodes = at.boxes.iter().map(|id| node(document, stage, *id));
    json!({"id": &*at.name, "nodes": nodes.collect::<Vec<_>>()})
}

fn node(document: &Document, stage: usize, id: BoxId) -> Value {
    let it = document.get(id);
    let number = |id: BoxId| document.get(id).key.0.to_string();
    let mut groups: Vec<String> = document
        .tree
        .ancestors(it.group)
        .filter(|group| *group != GroupId::ROOT)
        // Slashes part namespaces.
        .map(|group| document.tree.get(group).name.replace('/', "∕"))
        .collect();
    groups.reverse();
    let edges = document
        .operands(stage, id)
        .enumerate()
        .map(|(at, (operand, result))| {
            json!({
                "sourceNodeId": number(operand),
                "sourceNodeOutputId": result.to_string(),
                "targetNodeInputId": at.to_string(),
            })
        });
    let attr = |key: &str, value: String| json!({"key": key, "value": value});
    let mut attrs: Vec<Value> = it
        .attrs
        .iter()
        .map(|(name, value)| attr(name, value.to_string()))
        .collect();
    if !it.name.is_empty() {
        attrs.insert(0, attr("name", it.name.to_string()));
    }
    attrs.push(attr("kind", it.kind.word().to_owned()));
    attrs.push(attr("operations", it.flops.to_string()));
    attrs.push(attr("bytes", it.bytes.to_string()));
    let outputs = it.results.iter().enumerate().map(|(at, port)| {
        json!({"id": at.to_string(), "attrs": [attr("tensor_shape", port.ty.to_string())]})
    });
    json!({
        "id": number(id),
        "label": &*it.op,
        "namespace": groups.join("/"),
        "attrs": attrs,
        "incomingEdges": edges.collect::<Vec<_>>(),
        "outputsMetadata": outputs.collect::<Vec<_>>(),
    })
}
