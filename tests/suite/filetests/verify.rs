//! The `verify` sub-test. The parser lets no broken graph through, so the file holds a good one and
//! says how to break it:
//!
//! ```text
//! // set-operand: %y 0 = %z       operand 0 of the node of %y
//! // set-type: %y = f32[4]        the stored type
//! // set-name: %y = x             the stored name, past the name table
//! // add-output: name = %y
//! // add-input: name = %y
//! ```
//!
//! An error with a node is expected on the node's line, an error of the graph on its header.

use std::collections::BTreeMap;

use gabion_ir::verify::verify;
use gabion_ir::{Graph, Value};

use super::Case;
use super::errors::{compare, expected};

fn named_values(graph: &Graph) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for id in graph.node_ids() {
        for (result, name) in graph.node(id).names.iter().enumerate() {
            if let Some(name) = name {
                values.insert(name.to_string(), Value::new(id, result as u32));
            }
        }
    }
    values
}

/// Applies one edit; false if the line is none.
fn edit(graph: &mut Graph, values: &BTreeMap<String, Value>, line: &str) -> Result<bool, String> {
    let Some((word, rest)) = line.strip_prefix("// ").and_then(|l| l.split_once(": ")) else {
        return Ok(false);
    };
    let Some((left, right)) = rest.split_once(" = ") else {
        return Ok(false);
    };
    let value = |name: &str| {
        let name = name.trim().trim_start_matches('%');
        values
            .get(name)
            .copied()
            .ok_or_else(|| format!("no value %{name}"))
    };
    match word {
        "set-operand" => {
            let (node, operand) = left.split_once(' ').ok_or("expected `%node operand`")?;
            let operand: usize = operand
                .parse()
                .map_err(|_| format!("`{operand}` is no operand number"))?;
            let (right, result) = right.split_once('#').unwrap_or((right, "0"));
            let mut source = value(right)?;
            source.result += result.parse::<u32>().map_err(|e| e.to_string())?;
            graph.set_operand(value(node)?.node, operand, source);
        }
        "set-type" => {
            let value = value(left)?;
            let ty = right.parse().map_err(|e| format!("{right}: {e}"))?;
            graph.node_mut(value.node).results[value.result as usize] = ty;
        }
        "set-name" => {
            let value = value(left)?;
            graph.node_mut(value.node).names[value.result as usize] = Some(right.into());
        }
        "add-output" => graph.push_output(left, value(right)?),
        "add-input" => graph.push_input(left, value(right)?.node),
        _ => return Ok(false),
    }
    Ok(true)
}

/// The broken graph is refused for the reasons that the file states.
pub(super) fn run(case: &Case) -> Result<(), String> {
    let mut graph = case.parse()?;
    verify(&graph).map_err(|e| format!("{}: before the edits: {e}", case.name))?;
    let values = named_values(&graph);
    let mut edits = 0;
    for line in case.text.lines() {
        let done =
            edit(&mut graph, &values, line).map_err(|e| format!("{}: {line}: {e}", case.name))?;
        edits += usize::from(done);
    }
    if edits == 0 {
        return Err(format!("{}: no edit", case.name));
    }
    let line_of = |start: &str| {
        case.text
            .lines()
            .position(|l| l.trim_start().starts_with(start))
            .map_or(0, |i| i + 1)
    };
    let found: Vec<(usize, String)> = match verify(&graph) {
        Ok(()) => Vec::new(),
        Err(errors) => {
            let line = |e: &gabion_ir::verify::VerifyError| match &e.node {
                Some(node) => match line_of(&format!("{node} =")) {
                    0 => line_of("graph @"),
                    line => line,
                },
                None => line_of("graph @"),
            };
            errors
                .items
                .iter()
                .map(|e| (line(e), e.to_string()))
                .collect()
        }
    };
    compare(&case.name, &expected(&case.text), &found)
}
