//! Lines of the ledger: filtered, and led back to what they were made from. Which box a line speaks of, and which lines
//! speak of a box, is said by [`Document::box_of`] and [`Document::entries_of`].

use gabion_lower::{Entry, Outcome};

use crate::document::{BoxId, Document, Key};

/// The numbers of the entries that match all words of a filter; `only` is `Some(true)` for those that fired and
/// `Some(false)` for those that were refused.
pub fn filtered(document: &Document, filter: &str, only: Option<bool>) -> Vec<usize> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let matches = |entry: &Entry| {
        let fired = matches!(entry.outcome, Outcome::Fired(_));
        if only.is_some_and(|only| only != fired) {
            return false;
        }
        let text = entry.to_string().to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let entries = document.ledger.entries().iter().enumerate();
    entries
        .filter(|(_, entry)| matches(entry))
        .map(|(at, _)| at)
        .collect()
}

/// The boxes of the first stage that an entry's candidate was made from, in the order of the text.
pub fn sources(document: &Document, entry: &Entry) -> Vec<BoxId> {
    let ids = entry.origins.ids().iter();
    ids.filter_map(|id| document.find(0, Key(*id))).collect()
}

/// What a source is called beside a line: its name, else its operator, and the line that made it.
pub fn source_words(document: &Document, id: BoxId) -> String {
    let it = document.get(id);
    let name = if it.name.is_empty() { &it.op } else { &it.name };
    match &it.loc {
        Some(loc) => format!("{name} {loc}"),
        None => name.to_string(),
    }
}
