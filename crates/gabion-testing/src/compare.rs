//! When a snapshot is equal, and what is said when it is not.

use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use gabion_ir::Graph;
use gabion_ir::diff::diff;
use insta::comparator::Comparator;
use insta::internals::SnapshotContents;
use insta::{Settings, Snapshot};

use crate::difference::difference;
use crate::normal::is_redacted;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A graph: equal if the structure is.
    Graph,
    /// A plan: equal if the text is, names of values aside.
    Plan,
    /// What passes did: equal if the text is, names of values aside.
    Passes,
}

/// Compares by structure, and keeps what differs.
#[derive(Clone)]
struct ByStructure {
    kind: Kind,
    /// Where the test asserts.
    place: String,
    failure: Arc<Mutex<Option<String>>>,
}

impl ByStructure {
    /// Says what differs, once, before insta shows the lines.
    #[allow(
        clippy::print_stdout,
        reason = "where insta prints, so that it stands above"
    )]
    fn fails(&self, difference: &str) {
        let text = failure_text(self.kind, &self.place, difference);
        let mut kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() != Some(&text) {
            println!("{text}");
            *kept = Some(text);
        }
    }
}

impl Comparator for ByStructure {
    fn matches(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        if reference.contents() == test.contents() {
            return true;
        }
        let (Some(old), Some(new)) = (text_of(reference), text_of(test)) else {
            return false;
        };
        let difference = difference_of(self.kind, &old, &new);
        if let Some(difference) = &difference {
            self.fails(difference);
        }
        difference.is_none()
    }

    fn dyn_clone(&self) -> Box<dyn Comparator> {
        Box::new(self.clone())
    }
}

/// What a failure says.
fn failure_text(kind: Kind, place: &str, difference: &str) -> String {
    let (what, is) = match kind {
        Kind::Graph => ("graph", "is another one"),
        Kind::Plan => ("plan", "is another one"),
        Kind::Passes => ("passes", "did something else"),
    };
    format!("{place}: the {what} {is}; by structure:\n{difference}")
}

/// What differs by structure, if anything does.
pub(crate) fn difference_of(kind: Kind, old: &str, new: &str) -> Option<String> {
    let difference = difference(kind, old, new)?;
    if kind != Kind::Graph {
        return Some(difference);
    }
    // Sizes that are left out may not be read as a graph's; everything else is. What is left out is numbered: one weight
    // more changes every node after it.
    let redacted = is_redacted(old) || is_redacted(new);
    match (Graph::parse(old), Graph::parse(new)) {
        (Ok(old), Ok(new)) => {
            let by_nodes = diff(&old, &new);
            let equal = by_nodes.is_equal() && interface(&old) == interface(&new);
            let said = || match redacted {
                true => difference,
                false => by_nodes.to_string(),
            };
            (!equal).then(said)
        }
        _ => Some(difference),
    }
}

/// What callers see of a graph.
fn interface(graph: &Graph) -> (Vec<&str>, Vec<&str>) {
    let inputs = graph.inputs().iter().map(|it| &*it.name).collect();
    let outputs = graph.outputs().iter().map(|it| &*it.name).collect();
    (inputs, outputs)
}

fn text_of(snapshot: &Snapshot) -> Option<String> {
    match snapshot.contents() {
        SnapshotContents::Text(text) => Some(text.to_string()),
        SnapshotContents::Binary(_) => None,
    }
}

/// Runs one comparison; a failure says first what differs by structure.
#[doc(hidden)]
#[track_caller]
pub fn asserted(kind: Kind, compare: impl FnOnce(&Settings)) {
    let comparator = ByStructure {
        kind,
        place: Location::caller().to_string(),
        failure: Arc::new(Mutex::new(None)),
    };
    let mut settings = Settings::clone_current();
    settings.set_comparator(Box::new(comparator.clone()));
    settings.set_omit_expression(true);
    let Err(failure) = catch_unwind(AssertUnwindSafe(|| compare(&settings))) else {
        return;
    };
    let mut kept = comparator
        .failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match kept.take() {
        // It is printed: who catches the failure gets the same text.
        Some(text) => resume_unwind(Box::new(text)),
        None => resume_unwind(failure),
    }
}
