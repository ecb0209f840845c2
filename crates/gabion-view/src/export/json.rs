//! All of a document as JSON.

use serde_json::{Value, json};

use crate::document::{Document, GroupId};

/// Every stage with its boxes, the groups and the ledger. Boxes that stages share stand once; stages name them by number.
pub fn json(document: &Document) -> Value {
    let boxes = document.boxes.iter().map(|it| {
        json!({
            "key": it.key.0,
            "stages": [it.stages.start, it.stages.end],
            "kind": it.kind.word(),
            "op": &*it.op,
            "name": &*it.name,
            "group": it.group.0,
            "operands": it.operands.iter().map(|operand| json!([operand.key.0, operand.result])).collect::<Vec<_>>(),
            "results": it.results.iter().map(|port| json!({"type": &*port.ty, "bytes": port.bytes})).collect::<Vec<_>>(),
            "attributes": it.attrs.iter().map(|(name, value)| json!([&**name, &**value])).collect::<Vec<_>>(),
            "flops": it.flops,
            "bytes": it.bytes,
            "origins": it.origins.iter().map(|key| key.0).collect::<Vec<_>>(),
            "location": it.loc.as_deref(),
        })
    });
    let groups = document.tree.groups.iter().enumerate().map(|(at, group)| {
        let parent = (GroupId(at as u32) != GroupId::ROOT).then_some(group.parent.0);
        json!({"name": &*group.name, "path": &*group.path, "parent": parent, "repeats": group.repeats})
    });
    let stages = document.stages.iter().map(|stage| {
        json!({"name": &*stage.name, "rewrites": stage.rewrites, "time_us": stage.time_us, "boxes": stage.boxes})
    });
    let sizes = document.sizes.bindings().iter();
    let sizes: serde_json::Map<String, Value> = sizes
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    json!({
        "title": document.title,
        "sizes": sizes,
        "boxes": boxes.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "stages": stages.collect::<Vec<_>>(),
        "ledger": document.ledger,
        "faults": document.faults.iter().map(|(id, what)| json!({"box": id, "fault": what})).collect::<Vec<_>>(),
    })
}
