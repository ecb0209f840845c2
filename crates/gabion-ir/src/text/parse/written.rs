//! Reading a graph as it is written: what is wrong with it is told beside it. A line of known words with its operator and
//! attributes is a node, whatever the type rules say of it.

use gabion_tensor::{DType, Shape, TensorType};
use rustc_hash::FxHashSet;

use super::line::Operands;
use super::{Parser, TextError, defined_later};
use crate::graph::{Graph, Node, NodeId, Value};
use crate::op::Results;
use crate::origins::Origins;
use crate::text::error::MAX_ERRORS;
use crate::text::lex::Span;
use crate::text::place::Stated;

/// More faults than this are counted and not told.
const MAX_FAULTS: usize = 1000;

/// What a fault speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAt {
    /// The graph itself, or something that it has not.
    Graph,
    /// A node.
    Node(NodeId),
    /// The output of this number.
    Output(usize),
}

/// One thing that is wrong with a graph that was read as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it speaks of.
    pub at: FaultAt,
    /// The place in the text, what was expected and what was found.
    pub error: TextError,
}

/// A graph as it is written, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The graph. With faults it is there to be looked at: it does not verify.
    pub graph: Graph,
    /// What is wrong, in the order of the text; none if the graph is what [`Graph::parse`] reads.
    pub faults: Vec<Fault>,
    /// So many faults were not told because there are too many.
    pub more: usize,
}

impl Written {
    pub(super) fn right(graph: Graph) -> Self {
        Self {
            graph,
            faults: Vec::new(),
            more: 0,
        }
    }
}

/// What is kept while a graph is read as it is written.
#[derive(Default)]
pub(super) struct AsWritten<'t> {
    /// Something is wrong that leaves no graph.
    pub(super) is_no_graph: bool,
    /// What the errors of the parser speak of, one for one.
    at: Vec<FaultAt>,
    more: usize,
    /// Operands that had no value when their line was read: user, number, name, place.
    missing: Vec<(NodeId, u32, &'t str, Span)>,
    /// Nodes whose types nobody knows.
    guessed: FxHashSet<NodeId>,
}

impl<'t> Parser<'t> {
    /// Records what is wrong with what was read: an error, unless the graph is read as it is written.
    pub(super) fn fault(
        &mut self,
        at: FaultAt,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let Some(kept) = &mut self.as_written else {
            self.error_with_help(span, message, label, help);
            return;
        };
        if self.errors.len() == MAX_FAULTS {
            kept.more += 1;
            return;
        }
        kept.at.push(at);
        let error = TextError::new(self.text, &span, message.into(), label.into(), help);
        self.errors.push(error);
    }

    /// Whether reading on tells nothing more.
    pub(super) fn gives_up(&self) -> bool {
        match &self.as_written {
            Some(kept) => kept.is_no_graph,
            None => self.errors.len() > MAX_ERRORS,
        }
    }

    /// Whether the next fault is one of those that are told.
    pub(super) fn tells_more(&self) -> bool {
        self.as_written.is_none() || self.errors.len() < MAX_FAULTS
    }

    /// Whether the value's type is not known, so that nothing can be said of it.
    pub(super) fn is_guessed(&self, value: Value) -> bool {
        let kept = self.as_written.as_ref();
        kept.is_some_and(|it| it.guessed.contains(&value.node))
    }

    pub(super) fn fault_count(&self) -> usize {
        self.as_written.as_ref().map_or(0, |it| it.at.len())
    }

    /// Faults from number `first` on were found in the line that made this.
    pub(super) fn faults_are_of(&mut self, first: usize, made: Option<Value>) {
        if let (Some(kept), Some(value)) = (&mut self.as_written, made) {
            let none = kept.at[first..]
                .iter_mut()
                .filter(|at| **at == FaultAt::Graph);
            none.for_each(|at| *at = FaultAt::Node(value.node));
        }
    }

    /// Places a node whatever is wrong with it.
    pub(super) fn place_as_written(
        &mut self,
        operands: Operands<'t>,
        stated: Stated,
        word: &Span,
        types: &Span,
    ) -> Option<Value> {
        let kept = self.as_written.as_ref()?;
        let guessed = |value: &Value| kept.guessed.contains(&value.node);
        let is_known =
            operands.missing.is_empty() && !operands.known.iter().any(|(_, v)| guessed(v));
        let again = stated.clone();
        let values: Vec<Value> = operands.known.iter().map(|(_, v)| *v).collect();
        if is_known && let Some(value) = self.place(&values, stated, word, types) {
            return Some(value);
        }
        let (results, is_stated) = self.stated_or_guessed(&again, values.first().copied(), word);
        let node = Node {
            op: again.op,
            results,
            names: again.names,
            scope: again.scope,
            loc: again.loc,
            origins: Origins::NONE,
        };
        let id = self.graph.add_node(node, &[]);
        for (number, value) in operands.known {
            self.graph.set_operand(id, number as usize, value);
        }
        let kept = self.as_written.as_mut()?;
        if !is_stated {
            kept.guessed.insert(id);
        }
        let missing = operands.missing.into_iter();
        kept.missing
            .extend(missing.map(|(number, name, at)| (id, number, name, at)));
        Some(Value::new(id, 0))
    }

    /// The types that a line states, one for each of its names; else the first operand's, which is told.
    fn stated_or_guessed(
        &mut self,
        stated: &Stated,
        first: Option<Value>,
        word: &Span,
    ) -> (Results, bool) {
        let count = stated.names.len().max(1);
        let last = stated
            .types
            .as_ref()
            .and_then(|types| types.last())
            .cloned();
        if let (Some(types), Some(last)) = (&stated.types, last) {
            let mut types = types.clone();
            let count = count.max(types.len());
            types.resize(count, last);
            return (types, true);
        }
        let shown = match first {
            Some(value) => self.graph.value_type(value).clone(),
            None => TensorType::new(DType::F32, Shape::default()),
        };
        let message = format!("the type of this value is not known: it is shown as {shown}");
        let help = "state the type at the end of the line: `: f32[n, 64]`".to_owned();
        self.fault(FaultAt::Graph, word.clone(), message, "here", Some(help));
        (smallvec::smallvec![shown; count], false)
    }

    /// The graph with its faults; none if what was read is no graph.
    pub(super) fn finish_as_written(mut self) -> Option<Written> {
        let mut kept = self.as_written.take()?;
        if kept.is_no_graph {
            return None;
        }
        for (user, number, name, _) in &kept.missing {
            if let Some(value) = self.defined.get(name).and_then(|it| it.value) {
                self.graph.set_operand(*user, *number as usize, value);
            }
        }
        for (index, name) in std::mem::take(&mut self.unknown) {
            if index >= self.errors.len() {
                break;
            }
            let defined = self.defined.get(name).map(|it| (it.value, it.at.clone()));
            let Some((value, at)) = defined else { continue };
            let mut help = defined_later(name, self.line_of(&at));
            if let (Some(value), Some(FaultAt::Node(user))) = (value, kept.at.get(index))
                && self.graph.leads_to(*user, value.node)
            {
                help.push_str(", and this one is computed from itself");
            }
            if let Some(error) = self.errors.get_mut(index) {
                error.help = Some(help);
            }
        }
        let faults = kept.at.drain(..).zip(self.errors);
        let mut faults: Vec<Fault> = faults.map(|(at, error)| Fault { at, error }).collect();
        faults.sort_by_key(|it| (it.error.line, it.error.column));
        Some(Written {
            graph: self.graph,
            faults,
            more: kept.more,
        })
    }
}
