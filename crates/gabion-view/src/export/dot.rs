//! The DOT language of Graphviz: what is visible, with open groups as clusters.

use std::fmt::Write as _;

use crate::look::{Look, Pane};
use crate::place::{Direction, Item, Placed};

/// The graph of a pane: what is open is a cluster, what is closed a node.
pub fn dot(look: &mut Look<'_>, pane: Pane) -> Option<String> {
    let dresses = look.dresses(pane)?;
    let placement = &dresses.placement;
    let rank = match look.direction() {
        Direction::Down => "TB",
        Direction::Right => "LR",
    };
    let mut out = format!(
        "digraph {} {{\n  rankdir={rank};\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
        quoted(&look.document().title)
    );
    let mut depth = 0;
    for (at, (placed, dress)) in placement.items.iter().zip(&dresses.items).enumerate() {
        close_to(&mut out, &mut depth, placed.depth);
        let label = match dress.second.is_empty() || placed.open {
            true => dress.first.to_string(),
            false => format!("{}\n{}", dress.first, dress.second),
        };
        let [r, g, b] = dress.paint.fill;
        let indent = "  ".repeat(depth as usize + 1);
        // Writing to a string cannot fail.
        let _ = match placed.open {
            true => writeln!(
                out,
                "{indent}subgraph cluster_{at} {{\n{indent}  label={};",
                quoted(&label)
            ),
            false => writeln!(
                out,
                "{indent}n{at} [label={}, fillcolor=\"#{r:02x}{g:02x}{b:02x}\"{}];",
                quoted(&label),
                double(placed)
            ),
        };
        depth = placed.depth + u32::from(placed.open);
    }
    close_to(&mut out, &mut depth, 0);
    for wire in &placement.wires {
        let _ = writeln!(
            out,
            "  n{} -> n{} [label={}];",
            wire.from,
            wire.to,
            quoted(&wire.ty)
        );
    }
    out.push_str("}\n");
    Some(out)
}

/// Closed groups have two lines around them.
fn double(placed: &Placed) -> &'static str {
    match placed.item {
        Item::Group(_) => ", peripheries=2",
        Item::Box(_) => "",
    }
}

fn close_to(out: &mut String, depth: &mut u32, to: u32) {
    while *depth > to {
        *depth -= 1;
        let _ = writeln!(out, "{}}}", "  ".repeat(*depth as usize + 1));
    }
}

fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
