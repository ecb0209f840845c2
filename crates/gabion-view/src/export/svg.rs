//! What is visible, as it is drawn, in SVG 1.1.

use std::fmt::Write as _;

use crate::look::dress::{Dress, WireDress};
use crate::look::palette::{Rgb, Theme, mix};
use crate::look::{Look, Pane, item_name};
use crate::place::{Direction, HEADER, Item, Placed, PlacedWire, SWING, curve};

/// The drawing of a pane. Colours, directions, what is open and what is lit up are as in the window.
pub fn svg(look: &mut Look<'_>, pane: Pane) -> Option<String> {
    let dresses = look.dresses(pane)?;
    let (theme, direction) = (look.theme, look.direction());
    let placement = &dresses.placement;
    let (w, h) = placement.size;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" font-family=\"ui-sans-serif, system-ui, sans-serif\">\n"
    );
    let title = escaped(&look.document().title);
    let ground = hex(theme.ground());
    // Writing to a string cannot fail; the results say nothing.
    let _ = writeln!(
        out,
        "<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>"
    );
    let items = || placement.items.iter().zip(&dresses.items);
    for (placed, dress) in items().filter(|(placed, _)| placed.open) {
        ground_of(&mut out, theme, placed, dress);
    }
    for (wire, dress) in placement.wires.iter().zip(&dresses.wires) {
        wire_of(&mut out, theme, direction, wire, dress);
    }
    for (placed, dress) in items() {
        let name = item_name(look.document(), placed.item);
        item(&mut out, &name, placed, dress);
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text for XML. Control characters cannot stand in XML 1.0 at all.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn ground_of(out: &mut String, theme: Theme, placed: &Placed, dress: &Dress) {
    let r = placed.rect;
    let quiet = mix(theme.wire(), theme.ground(), 0.35);
    let stroke = hex(if dress.stroke > 1.0 {
        dress.paint.stroke
    } else {
        quiet
    });
    let fill = hex(theme.group_ground(placed.depth + 1));
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"9\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{:.1}\"/>",
        r.x, r.y, r.w, r.h, dress.stroke
    );
}

fn wire_of(
    out: &mut String,
    theme: Theme,
    direction: Direction,
    wire: &PlacedWire,
    dress: &WireDress,
) {
    let (Some(first), Some(last)) = (wire.points.first(), wire.points.last()) else {
        return;
    };
    let mut path = format!("M{:.1} {:.1}", first.0, first.1);
    let size = 4.0 + dress.width;
    for (at, pair) in wire.points.windows(2).enumerate() {
        let before = (at > 0).then(|| wire.points[at - 1]);
        let controls = curve(before, pair[0], pair[1], direction, SWING);
        // The head of the arrow begins where the line ends.
        let back = if at + 2 == wire.points.len() {
            size * 0.8
        } else {
            0.0
        };
        let shorter = |(x, y): (f32, f32)| match direction {
            Direction::Down => (x, y - back),
            Direction::Right => (x - back, y),
        };
        let to = shorter(pair[1]);
        let _ = match controls {
            None => write!(path, "L{:.1} {:.1}", to.0, to.1),
            Some([a, b]) => {
                let b = shorter(b);
                write!(
                    path,
                    "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
                    a.0, a.1, b.0, b.1, to.0, to.1
                )
            }
        };
    }
    let (color, ty) = (hex(dress.color), escaped(&dress.label));
    let _ = writeln!(
        out,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{:.1}\" opacity=\"{:.2}\"><title>{ty}</title></path>",
        dress.width, dress.strength
    );
    let half = size / 2.0;
    let head = match direction {
        Direction::Down => format!(
            "{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
            last.0,
            last.1,
            last.0 - half,
            last.1 - size,
            last.0 + half,
            last.1 - size
        ),
        Direction::Right => format!(
            "{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
            last.0,
            last.1,
            last.0 - size,
            last.1 - half,
            last.0 - size,
            last.1 + half
        ),
    };
    let _ = writeln!(
        out,
        "<polygon points=\"{head}\" fill=\"{color}\" opacity=\"{:.2}\"/>",
        dress.strength
    );
    if let Some(place) = dress.place {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\" font-family=\"ui-monospace, monospace\" fill=\"{}\" opacity=\"{:.2}\">{ty}</text>",
            place.x,
            place.y + place.h - 3.0,
            hex(theme.weak_text()),
            dress.strength
        );
    }
}

fn item(out: &mut String, name: &str, placed: &Placed, dress: &Dress) {
    let r = placed.rect;
    let _ = write!(
        out,
        "<g opacity=\"{:.2}\"><title>{}</title>",
        dress.strength.sqrt(),
        escaped(name)
    );
    if placed.open {
        let mut words = escaped(&dress.first);
        if !dress.note.is_empty() {
            let _ = write!(
                words,
                "  <tspan fill=\"{}\">{}</tspan>",
                hex(dress.paint.stroke),
                escaped(&dress.note)
            );
        }
        let y = r.y + HEADER * 0.7;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"13\" fill=\"{}\">{words}</text></g>",
            r.x + 8.0,
            hex(dress.paint.text)
        );
        return;
    }
    let radius = if dress.round {
        (r.h / 2.0).min(14.0)
    } else {
        5.0
    };
    let (fill, stroke) = (hex(dress.paint.fill), hex(dress.paint.stroke));
    if matches!(placed.item, Item::Group(_)) {
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"5\" fill=\"{stroke}\" opacity=\"0.45\"/>",
            r.x + 3.0,
            r.y + 3.0,
            r.w,
            r.h
        );
    }
    let _ = write!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{radius:.1}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{:.1}\"/>",
        r.x, r.y, r.w, r.h, dress.stroke
    );
    if let Some(ring) = dress.ring {
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{:.1}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>",
            r.x - 4.0,
            r.y - 4.0,
            r.w + 8.0,
            r.h + 8.0,
            radius + 4.0,
            hex(ring)
        );
    }
    let (x, y) = r.center();
    let first = if dress.second.is_empty() {
        y + 4.5
    } else {
        y - 2.5
    };
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{first:.1}\" text-anchor=\"middle\" font-size=\"13\" fill=\"{}\">{}</text>",
        hex(dress.paint.text),
        escaped(&dress.first)
    );
    if !dress.second.is_empty() {
        let _ = write!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"{}\">{}</text>",
            y + 12.0,
            hex(dress.weak),
            escaped(&dress.second)
        );
    }
    out.push_str("</g>\n");
}
