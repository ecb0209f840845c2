//! Building a graph in code: a [`Builder`] shared by `&`, and [`TensorValue`]s that read like the
//! maths. A wrong call is recorded with the caller's line and yields a poisoned value, so that
//! errors do not interrupt the building and all come out of [`Builder::finish`] together.
//!
//! The methods that make one operator live beside that operator, in `ops/`.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use gabion_tensor::{Constraint, DType, HostTensor, Shape, TensorType};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::graph::{Graph, Node, NodeId, SourceLoc, Value};
use crate::op::InferCx;
use crate::ops::{Constant, Input, Op, Weight};
use crate::origins::Origins;
use crate::text::quoted;

/// The node id of a value that a wrong call made.
const POISON: NodeId = NodeId(u32::MAX);

struct State {
    graph: Graph,
    weights: FxHashMap<Arc<str>, Value>,
    scopes: Vec<String>,
    diagnostics: Vec<Diagnostic>,
}

/// Builds one graph.
pub struct Builder {
    state: RefCell<State>,
}

/// A value of the graph under construction: small, `Copy`, tied to its builder.
#[derive(Clone, Copy)]
pub struct TensorValue<'g> {
    builder: &'g Builder,
    value: Value,
}

impl fmt::Debug for TensorValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ty() {
            Some(ty) => write!(f, "{:?}.{}: {ty}", self.value.node, self.value.result),
            None => write!(f, "poisoned"),
        }
    }
}

/// Closes its scope when dropped; see [`Builder::scope`].
pub struct ScopeGuard<'g> {
    builder: &'g Builder,
}

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        self.builder.state.borrow_mut().scopes.pop();
    }
}

impl Builder {
    /// A builder for a graph of this name.
    pub fn new(name: &str) -> Self {
        Self::extending(Graph::new(name))
    }

    /// A builder that goes on from a graph (passes build their patches so).
    pub fn extending(graph: Graph) -> Self {
        let mut weights = FxHashMap::default();
        for (name, _, node) in graph.weights() {
            weights.insert(name, Value::new(node, 0));
        }
        let state = State {
            graph,
            weights,
            scopes: Vec::new(),
            diagnostics: Vec::new(),
        };
        Self {
            state: RefCell::new(state),
        }
    }

    /// The value of the graph under construction.
    pub fn value(&self, value: Value) -> TensorValue<'_> {
        TensorValue {
            builder: self,
            value,
        }
    }

    /// Opens a module path component (`layers.3`); nodes made until the guard drops carry it.
    #[must_use = "the scope closes when the guard is dropped"]
    pub fn scope(&self, name: &str) -> ScopeGuard<'_> {
        let mut state = self.state.borrow_mut();
        let path = match state.scopes.last() {
            Some(parent) if !name.is_empty() => format!("{parent}.{name}"),
            Some(parent) => parent.clone(),
            None => name.to_owned(),
        };
        state.scopes.push(path);
        ScopeGuard { builder: self }
    }

    /// A graph input that callers bind by name.
    #[track_caller]
    pub fn input(&self, name: &str, ty: TensorType) -> TensorValue<'_> {
        self.add_input(name, ty, false)
    }

    /// A graph input that the caller gives away: an output may be written in its place (caches).
    #[track_caller]
    pub fn donated_input(&self, name: &str, ty: TensorType) -> TensorValue<'_> {
        self.add_input(name, ty, true)
    }

    #[track_caller]
    fn add_input(&self, name: &str, ty: TensorType, donated: bool) -> TensorValue<'_> {
        if !is_identifier(name) {
            return self.poison(
                "input",
                format!(
                    "{} is no name: use letters, digits, `_`, `.`, `-`, not starting with a digit",
                    quoted(name)
                ),
            );
        }
        if self
            .state
            .borrow()
            .graph
            .inputs()
            .iter()
            .any(|i| &*i.name == name)
        {
            return self.poison("input", format!("`{name}` is declared twice"));
        }
        let made = self.add(
            Input {
                name: name.into(),
                donated,
            }
            .into(),
            &[],
            Some(&[ty]),
        );
        if let Some(value) = made.first() {
            let mut state = self.state.borrow_mut();
            state.graph.set_name(value.value, name);
            state.graph.push_input(name, value.value.node);
        }
        self.first(made)
    }

    /// A weight that the checkpoint holds under `name`. Asking again for the same name and type
    /// gives the same value; another type is an error.
    #[track_caller]
    pub fn weight(&self, name: &str, ty: TensorType) -> TensorValue<'_> {
        let known = self.state.borrow().weights.get(name).copied();
        if let Some(value) = known {
            let found = self.state.borrow().graph.value_type(value).clone();
            if found == ty {
                return self.value(value);
            }
            return self.poison("weight", format!("`{name}` is used as {found} and as {ty}"));
        }
        if name.is_empty() {
            return self.poison("weight", "a weight needs a name".to_owned());
        }
        let made = self.add(Weight { name: name.into() }.into(), &[], Some(&[ty]));
        if let Some(value) = made.first() {
            self.state
                .borrow_mut()
                .weights
                .insert(name.into(), value.value);
        }
        self.first(made)
    }

    /// A constant, stored in the graph.
    #[track_caller]
    pub fn constant(&self, tensor: HostTensor) -> TensorValue<'_> {
        self.first(self.add(Constant::new(tensor).into(), &[], None))
    }

    /// A scalar constant of `dtype`; an error if the dtype cannot hold the value exactly enough
    /// (a fraction in an integer, a magnitude out of range).
    #[track_caller]
    pub fn scalar(&self, dtype: DType, value: f64) -> TensorValue<'_> {
        match Constant::scalar(dtype, value) {
            Ok(constant) => self.first(self.add(constant.into(), &[], None)),
            Err(message) => self.poison("scalar", message),
        }
    }

    /// Declares a relation between symbols (`tokens % 16 == 0`) that the caller promises.
    #[track_caller]
    pub fn declare(&self, relation: &str) {
        let loc = Location::caller();
        let parsed: Result<Constraint, _> = relation.parse();
        let outcome = match parsed {
            Ok(constraint) => self
                .state
                .borrow_mut()
                .graph
                .relations_mut()
                .declare(constraint)
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(message) = outcome {
            self.record(loc, "declare", message);
        }
    }

    /// Declares the next output under `name`.
    #[track_caller]
    pub fn output(&self, name: &str, value: TensorValue<'_>) {
        let loc = Location::caller();
        if value.is_poisoned() {
            return;
        }
        let problem = {
            let state = self.state.borrow();
            if !std::ptr::eq(value.builder, self) {
                Some("the value belongs to another graph".to_owned())
            } else if !is_identifier(name) {
                Some(format!("{} is no name", quoted(name)))
            } else if state.graph.outputs().iter().any(|o| &*o.name == name) {
                Some(format!("`{name}` is declared twice"))
            } else {
                None
            }
        };
        if let Some(message) = problem {
            self.record(loc, "output", message);
            return;
        }
        let mut state = self.state.borrow_mut();
        if state.graph.node(value.value.node).names[value.value.result as usize].is_none() {
            state.graph.set_name(value.value, name);
        }
        state.graph.push_output(name, value.value);
    }

    /// Applies an operator; one value per result. A wrong call records a diagnostic and yields
    /// poisoned values.
    #[track_caller]
    pub fn apply<'g>(
        &'g self,
        op: impl Into<Op>,
        args: &[TensorValue<'g>],
    ) -> SmallVec<[TensorValue<'g>; 1]> {
        let made = self.add(op.into(), args, None);
        if made.is_empty() {
            smallvec::smallvec![self.value(Value::new(POISON, 0))]
        } else {
            made
        }
    }

    /// Applies an operator that has one result.
    #[track_caller]
    pub fn apply1<'g>(&'g self, op: impl Into<Op>, args: &[TensorValue<'g>]) -> TensorValue<'g> {
        self.first(self.add(op.into(), args, None))
    }

    fn first<'g>(&'g self, made: SmallVec<[TensorValue<'g>; 1]>) -> TensorValue<'g> {
        made.first().copied().unwrap_or(TensorValue {
            builder: self,
            value: Value::new(POISON, 0),
        })
    }

    #[track_caller]
    fn add<'g>(
        &'g self,
        op: Op,
        args: &[TensorValue<'g>],
        declared: Option<&[TensorType]>,
    ) -> SmallVec<[TensorValue<'g>; 1]> {
        let loc = Location::caller();
        if args.iter().any(TensorValue::is_poisoned) {
            return SmallVec::new();
        }
        if args.iter().any(|a| !std::ptr::eq(a.builder, self)) {
            self.record(
                loc,
                op.name(),
                "an operand belongs to another graph".to_owned(),
            );
            return SmallVec::new();
        }
        let mut state = self.state.borrow_mut();
        let types: SmallVec<[TensorType; 4]> = args
            .iter()
            .map(|a| state.graph.value_type(a.value).clone())
            .collect();
        let relations = state.graph.relations().clone();
        let mut cx = InferCx::new(&relations, declared);
        match op.infer(&types, &mut cx) {
            Ok(results) => {
                for guard in cx.into_guards() {
                    state.graph.add_guard(guard);
                }
                let operands: SmallVec<[Value; 4]> = args.iter().map(|a| a.value).collect();
                let node = Node {
                    op,
                    results,
                    names: SmallVec::new(),
                    scope: state.scopes.last().map(|s| s.as_str().into()),
                    loc: Some(SourceLoc {
                        file: loc.file().into(),
                        line: loc.line(),
                    }),
                    origins: Origins::NONE,
                };
                let n = node.results.len() as u32;
                let id = state.graph.add_node(node, &operands);
                (0..n)
                    .map(|r| TensorValue {
                        builder: self,
                        value: Value::new(id, r),
                    })
                    .collect()
            }
            Err(error) => {
                drop(state);
                let operands: Vec<String> = types.iter().map(ToString::to_string).collect();
                let message = format!("{error} (operands: {})", operands.join(", "));
                self.record(loc, op.name(), message);
                SmallVec::new()
            }
        }
    }

    fn record(&self, loc: &Location<'_>, what: &str, message: String) {
        let mut state = self.state.borrow_mut();
        let scope = state.scopes.last().cloned();
        let loc = SourceLoc {
            file: loc.file().into(),
            line: loc.line(),
        };
        state.diagnostics.push(Diagnostic {
            loc,
            scope,
            what: what.to_owned(),
            message,
        });
    }

    /// Records a wrong call at the caller's line and yields a poisoned value.
    #[track_caller]
    pub fn poison(&self, what: &str, message: String) -> TensorValue<'_> {
        self.record(Location::caller(), what, message);
        TensorValue {
            builder: self,
            value: Value::new(POISON, 0),
        }
    }

    /// The finished graph.
    ///
    /// # Errors
    /// Every wrong call, with its line.
    pub fn finish(self) -> Result<Graph, Diagnostics> {
        let mut state = self.state.into_inner();
        if state.graph.outputs().is_empty() && state.diagnostics.is_empty() {
            state.diagnostics.push(Diagnostic {
                loc: SourceLoc {
                    file: "graph".into(),
                    line: 0,
                },
                scope: None,
                what: "finish".to_owned(),
                message: "the graph has no output: call `output(name, value)`".to_owned(),
            });
        }
        if state.diagnostics.is_empty() {
            Ok(state.graph)
        } else {
            Err(Diagnostics {
                graph: state.graph.name.to_string(),
                items: state.diagnostics,
            })
        }
    }
}

impl<'g> TensorValue<'g> {
    /// The builder that the value belongs to.
    pub fn builder(&self) -> &'g Builder {
        self.builder
    }

    /// The value's id in the graph.
    pub fn id(&self) -> Value {
        self.value
    }

    /// True if a wrong call made it.
    pub fn is_poisoned(&self) -> bool {
        self.value.node == POISON
    }

    /// Its type; `None` if poisoned.
    pub fn ty(&self) -> Option<TensorType> {
        (!self.is_poisoned()).then(|| {
            self.builder
                .state
                .borrow()
                .graph
                .value_type(self.value)
                .clone()
        })
    }

    /// Its shape; empty if poisoned.
    pub fn shape(&self) -> Shape {
        self.ty().map(|t| t.shape).unwrap_or_default()
    }

    /// Its dtype; f32 if poisoned.
    pub fn dtype(&self) -> DType {
        self.ty().map_or(DType::F32, |t| t.dtype)
    }

    /// Its rank; 0 if poisoned.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// The same value under a printed name.
    pub fn named(self, name: &str) -> Self {
        if !self.is_poisoned() && is_identifier(name) {
            self.builder
                .state
                .borrow_mut()
                .graph
                .set_name(self.value, name);
        }
        self
    }
}

/// Names of values, inputs and outputs: letters, digits, `_`, `.`, `-`; no digit first.
pub fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
