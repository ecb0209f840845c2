//! Lines of the ledger: filtered, and led back to the boxes that they speak of.

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

/// The box that an entry speaks of, with its stage: after the pass if it is there still, else before it.
pub fn box_of(document: &Document, entry: &Entry) -> Option<(usize, BoxId)> {
    let after = document
        .stages
        .iter()
        .position(|stage| *stage.name == *entry.pass)?;
    let words: Vec<&str> = entry
        .candidate
        .split([' ', ','])
        .filter(|it| !it.is_empty())
        .collect();
    let stages = [Some(after), after.checked_sub(1)];
    stages.into_iter().flatten().find_map(|stage| {
        let boxes = document.stages[stage].boxes.iter().copied();
        let fits = |id: &BoxId| {
            let it = document.get(*id);
            let in_scope = entry.scope.is_empty() || is_path_of(document, *id, &entry.scope);
            let named = words
                .iter()
                .any(|word| !it.name.is_empty() && is_name(&it.name, word));
            in_scope && named
        };
        let by_op = |id: &BoxId| {
            let it = document.get(*id);
            !entry.scope.is_empty()
                && is_path_of(document, *id, &entry.scope)
                && words.contains(&&*it.op)
        };
        let found = boxes
            .clone()
            .find(fits)
            .or_else(|| boxes.clone().find(by_op))?;
        Some((stage, found))
    })
}

/// The numbers of the entries that speak of a box: those whose candidate was made from something that the box was made from.
pub fn entries_of(document: &Document, id: BoxId) -> Vec<usize> {
    let of_box = &document.get(id).origins;
    let speaks = |entry: &Entry| {
        let mut ids = entry.origins.ids().iter();
        ids.any(|id| of_box.binary_search(&Key(*id)).is_ok())
    };
    let entries = document.ledger.entries().iter().enumerate();
    entries
        .filter(|(_, entry)| speaks(entry))
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

fn is_path_of(document: &Document, id: BoxId, scope: &str) -> bool {
    &*document.tree.get(document.get(id).group).path == scope
}

/// A box's name may be several: `%q, %k`.
fn is_name(names: &str, word: &str) -> bool {
    let bare = |it: &str| {
        it.trim()
            .trim_start_matches('%')
            .trim_matches(['`', '"'])
            .to_owned()
    };
    let word = bare(word);
    !word.is_empty() && names.split(',').any(|name| bare(name) == word)
}
