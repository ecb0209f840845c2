//! Applies local rules until none fires: the one place that walks a graph while changing it.

use gabion_ir::{Graph, NodeId, Op, Origins};

use crate::ledger::{Entry, Ledger, Outcome, TensorRows};
use crate::patch::Patch;
use crate::run::LowerError;

/// What a rule says of one node.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a verdict is made and consumed at once, never stored"
)]
pub enum Verdict {
    /// The node is no candidate.
    Skip,
    /// It is a candidate, and this is why it stays.
    Refuse(String),
    /// As `Refuse`, for each of several reasons, which are about rows of stored tensors alone (about all of it, if none are
    /// named).
    RefuseRows(Vec<(String, Vec<TensorRows>)>),
    /// It is replaced.
    Apply(Patch),
}

/// A local rule.
pub type Rule<'a> = &'a dyn Fn(&Graph, NodeId, &Op) -> Result<Verdict, LowerError>;

/// Rounds after which a pass that still fires is taken for a loop.
const MAX_ROUNDS: usize = 64;

/// The context of one pass run.
#[derive(Debug)]
pub struct PassCx<'a> {
    /// The pass's name.
    pub pass: &'static str,
    /// What the executor can do.
    pub target: &'a gabion_plan::Target,
    /// Where candidates are noted.
    pub ledger: &'a mut Ledger,
}

impl PassCx<'_> {
    /// Notes a candidate.
    pub fn note(&mut self, graph: &Graph, node: NodeId, outcome: Outcome) {
        let origins = graph.node(node).origins.clone();
        self.note_from(graph, node, outcome, origins);
    }

    /// Notes a candidate of which only some rows are concerned; all of it, if there are none.
    pub fn note_rows(
        &mut self,
        graph: &Graph,
        node: NodeId,
        outcome: Outcome,
        origins: Origins,
        rows: Vec<TensorRows>,
    ) {
        let entry = Entry {
            pass: self.pass,
            scope: graph
                .node(node)
                .scope
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            candidate: describe(graph, node),
            outcome,
            origins,
            rows,
        };
        self.ledger.record(entry);
    }

    /// Notes a candidate that is more than one node: `node` stands for it, `origins` are those of all.
    pub fn note_from(&mut self, graph: &Graph, node: NodeId, outcome: Outcome, origins: Origins) {
        self.note_rows(graph, node, outcome, origins, Vec::new());
    }

    /// Notes a candidate that was left as it is.
    pub fn refuse(&mut self, graph: &Graph, node: NodeId, why: impl Into<String>) {
        self.note(graph, node, Outcome::Refused(why.into()));
    }
}

/// `matmul %qkv`, or `matmul f32[tokens, 960]` where the value has no name.
pub fn describe(graph: &Graph, node: NodeId) -> String {
    let n = graph.node(node);
    match n.names.first() {
        Some(Some(name)) => format!("{} %{name}", n.op.name()),
        _ => match n.results.first() {
            Some(ty) => format!("{} {ty}", n.op.name()),
            None => n.op.name().to_owned(),
        },
    }
}

/// Applies `rule` to every node in canonical order, again until nothing fires. Dead nodes are
/// removed between rounds.
///
/// # Errors
/// A rule that fails, or a pass that does not come to rest.
pub fn rewrite(
    graph: &mut Graph,
    cx: &mut PassCx<'_>,
    rule: Rule<'_>,
) -> Result<usize, LowerError> {
    let mut fired = 0;
    for _ in 0..MAX_ROUNDS {
        let mut fired_now = 0;
        for id in graph.canonical_order() {
            if !graph.contains(id) {
                continue;
            }
            let op = graph.op(id).clone();
            match rule(graph, id, &op)? {
                Verdict::Skip => {}
                Verdict::Refuse(why) => cx.refuse(graph, id, why),
                Verdict::RefuseRows(reasons) => {
                    for (why, rows) in reasons {
                        let origins = graph.node(id).origins.clone();
                        cx.note_rows(graph, id, Outcome::Refused(why), origins, rows);
                    }
                }
                Verdict::Apply(patch) => {
                    if !patch.keeps_types(graph) {
                        // Sizes that are equal only by a guard are written in other terms.
                        let why = format!("{}: the types are not the same as written", patch.label);
                        cx.refuse(graph, id, why);
                        continue;
                    }
                    let origins = patch.origins(graph).union(&graph.node(id).origins);
                    let fired = Outcome::Fired(patch.label.clone());
                    cx.note_rows(graph, id, fired, origins, patch.rows.clone());
                    patch.apply(graph, id);
                    graph.sweep(id);
                    fired_now += 1;
                }
            }
        }
        graph.remove_dead();
        fired += fired_now;
        if fired_now == 0 {
            return Ok(fired);
        }
    }
    Err(LowerError::NoFixpoint {
        pass: cx.pass,
        rounds: MAX_ROUNDS,
    })
}
