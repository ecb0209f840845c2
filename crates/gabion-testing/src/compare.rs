//! When a snapshot is equal, and what is said when it is not.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use gabion_ir::Graph;
use gabion_ir::diff::diff;
use insta::comparator::Comparator;
use insta::internals::SnapshotContents;
use insta::{Settings, Snapshot};

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A graph: equal if the structure is.
    Graph,
    /// A plan: equal if the text is.
    Plan,
    /// What passes did: equal if the text is.
    Passes,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Graph => "graph",
            Kind::Plan => "plan",
            Kind::Passes => "passes",
        }
    }
}

/// Compares graphs by structure, and keeps what differs.
#[derive(Clone)]
struct ByStructure {
    kind: Kind,
    difference: Arc<Mutex<Option<String>>>,
}

impl ByStructure {
    fn keep(&self, text: Option<String>) {
        *self
            .difference
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Comparator for ByStructure {
    fn matches(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        self.keep(None);
        if reference.contents() == test.contents() {
            return true;
        }
        let texts = (text_of(reference), text_of(test));
        let graph = |text: Option<String>| text.and_then(|it| Graph::parse(&it).ok());
        match (self.kind, graph(texts.0), graph(texts.1)) {
            (Kind::Graph, Some(old), Some(new)) => {
                let difference = diff(&old, &new);
                let interface = interface(&old) == interface(&new);
                if difference.is_equal() && interface {
                    return true;
                }
                self.keep(Some(format!("by structure:\n{difference}")));
                false
            }
            _ => false,
        }
    }

    fn dyn_clone(&self) -> Box<dyn Comparator> {
        Box::new(self.clone())
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

/// Runs one comparison; a failure also says what differs by structure.
#[doc(hidden)]
#[track_caller]
pub fn asserted(kind: Kind, compare: impl FnOnce(&Settings)) {
    let comparator = ByStructure {
        kind,
        difference: Arc::new(Mutex::new(None)),
    };
    let mut settings = Settings::clone_current();
    settings.set_comparator(Box::new(comparator.clone()));
    settings.set_omit_expression(true);
    let failure = match catch_unwind(AssertUnwindSafe(|| compare(&settings))) {
        Ok(()) => return,
        Err(failure) => failure,
    };
    let kept = comparator
        .difference
        .lock()
        .map_or(None, |mut it| it.take());
    match kept {
        Some(difference) => panic!(
            "the {} is another one ({}); {difference}",
            kind.word(),
            message(&*failure)
        ),
        None => resume_unwind(failure),
    }
}

fn message(failure: &(dyn Any + Send)) -> &str {
    let text = failure.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| failure.downcast_ref::<&str>().copied())
        .unwrap_or("the snapshot differs")
}
