//! A line of the ledger, as it is shown wherever it is.

use egui::{Label, RichText, TextWrapMode, Ui};
use gabion_lower::{Entry, Outcome};

use super::paint::{color, link};
use crate::document::{BoxId, Change};
use crate::look::panel::Link;
use crate::look::{Look, ledger};

/// What became of the candidate, the pass, the candidate, why, and the lines of the source; where a click on it leads.
pub(super) fn entry_line(ui: &mut Ui, look: &Look<'_>, at: usize) -> Option<Link> {
    let entry = look.document().ledger.entries().get(at)?;
    let mut followed = None;
    ui.horizontal(|ui| {
        let (fired, why) = match &entry.outcome {
            Outcome::Fired(what) => (true, what),
            Outcome::Refused(why) => (false, why),
        };
        let (word, sign) = match fired {
            true => ("fired", Change::Added),
            false => ("refused", Change::Removed),
        };
        let rgb = look.theme.change(sign).unwrap_or(look.theme.text());
        ui.label(RichText::new(word).color(color(rgb)));
        ui.label(RichText::new(entry.pass).strong());
        let subject = format!("{} {}", entry.scope, entry.candidate);
        if jump(ui, look, subject.trim().to_owned()) {
            followed = Some(Link::Ledger(at));
        }
        let why = RichText::new(why.as_str()).color(color(look.theme.weak_text()));
        ui.add(Label::new(why).wrap_mode(TextWrapMode::Extend));
        if let Some(id) = source_links(ui, look, entry) {
            followed = Some(Link::Stage(0, id));
        }
    });
    followed
}

/// Words that lead somewhere; whether they were clicked.
fn jump(ui: &mut Ui, look: &Look<'_>, words: String) -> bool {
    let label = Label::new(RichText::new(words).color(color(link(look.theme))));
    let label = label
        .sense(egui::Sense::click())
        .wrap_mode(TextWrapMode::Extend);
    let shown = ui.add(label);
    shown
        .on_hover_cursor(egui::CursorIcon::PointingHand)
        .clicked()
}

/// More sources than this are counted.
const MOST_SOURCES: usize = 6;

/// What of the graph as it was built a line of the ledger is about: the one that was clicked.
fn source_links(ui: &mut Ui, look: &Look<'_>, entry: &Entry) -> Option<BoxId> {
    let document = look.document();
    let sources = ledger::sources(document, entry);
    let mut clicked = None;
    for (at, id) in sources.iter().take(MOST_SOURCES).enumerate() {
        let words = ledger::source_words(document, *id);
        let words = match at {
            0 => format!("from {words}"),
            _ => words,
        };
        if jump(ui, look, words) {
            clicked = Some(*id);
        }
    }
    if let more @ 1.. = sources.len().saturating_sub(MOST_SOURCES) {
        ui.label(format!("and {more} more"));
    }
    clicked
}
