//! Snapshots of graphs, plans and passes, on [insta](https://insta.rs): what a graph is, what it becomes, and what each pass
//! did to it, kept beside the test and compared when it runs again.
//!
//! ```no_run
//! use gabion_ir::Builder;
//! use gabion_testing::{Redactions, assert_graph, assert_passes, assert_plan};
//!
//! # use gabion_cpu::cpu_target as target;
//! #[test]
//! fn the_projections_are_one_product() {
//!     let b = Builder::new("qkv");
//!     let x = b.input("x", "f32[tokens, 64]".parse().unwrap());
//!     for (name, rows) in [("q", 64), ("k", 32), ("v", 32)] {
//!         let weight = b.weight(&format!("{name}_proj.weight"), format!("f32[{rows}, 64]").parse().unwrap());
//!         b.output(name, x.matmul_t(weight).named(name));
//!     }
//!     let graph = b.finish().unwrap();
//!     assert_graph!(&graph);
//!     assert_passes!("passes", &graph, &target());
//!     assert_plan!("plan", &graph, &target(), Redactions::new().weights().dims());
//! }
//! ```
//!
//! - **Stable.** The text forms depend on structure alone, never on ids or on the order in which nodes were added; a graph
//!   that differs from its snapshot in names of values, numbers or scopes alone is still equal. So are plans and passes that
//!   differ in names of values alone; scopes, which name the modules there, are compared. Names of inputs, outputs and weights
//!   always are.
//! - **Redactions** leave out what a test does not mean: names of weights, sizes ([`Redactions`]).
//! - **A failure says what changed**, above insta's diff of lines: which nodes were removed, added and changed; which weights,
//!   parts, buffers and steps of a plan; which passes and which entries of the ledger.
//! - Snapshots are insta's files, so `cargo insta review`, `INSTA_UPDATE` and `INSTA_FORCE_PASS` work on them. A snapshot is
//!   named by the test, or by the name that is given first.

#![allow(clippy::test_attr_in_doctest, reason = "the example is a test")]

mod alignment;
mod compare;
mod difference;
mod normal;
mod redact;
mod text;

pub use compare::Kind;
pub use redact::Redactions;
pub use text::{graph_text, passes_text, plan_text};

#[doc(hidden)]
pub mod macro_support {
    //! What the macros expand to.

    pub use insta;

    pub use crate::compare::asserted;
}

/// Compares a graph with its snapshot.
///
/// `assert_graph!(graph)`, `assert_graph!("name", graph)`, and either with [`Redactions`] at the end. The graph is a
/// `&Graph`.
///
/// # Panics
/// The graph is another one, or there is no snapshot yet (it is written beside the test, to be reviewed).
#[macro_export]
macro_rules! assert_graph {
    ($name:literal, $graph:expr $(,)?) => {
        $crate::assert_graph!($name, $graph, $crate::Redactions::new())
    };
    ($name:literal, $graph:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Graph, |settings| {
            let text = $crate::graph_text($graph, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!($name, text));
        })
    };
    ($graph:expr $(,)?) => {
        $crate::assert_graph!($graph, $crate::Redactions::new())
    };
    ($graph:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Graph, |settings| {
            let text = $crate::graph_text($graph, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!(text));
        })
    };
}

/// Compares the plan that a graph becomes for a target with its snapshot.
///
/// `assert_plan!(graph, target)`, `assert_plan!("name", graph, target)`, and either with [`Redactions`] at the end. The
/// graph is a `&Graph`, the target a `&Target`.
///
/// # Panics
/// The plan is another one, the graph cannot be lowered, or there is no snapshot yet.
#[macro_export]
macro_rules! assert_plan {
    ($name:literal, $graph:expr, $target:expr $(,)?) => {
        $crate::assert_plan!($name, $graph, $target, $crate::Redactions::new())
    };
    ($name:literal, $graph:expr, $target:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Plan, |settings| {
            let text = $crate::plan_text($graph, $target, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!($name, text));
        })
    };
    ($graph:expr, $target:expr $(,)?) => {
        $crate::assert_plan!($graph, $target, $crate::Redactions::new())
    };
    ($graph:expr, $target:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Plan, |settings| {
            let text = $crate::plan_text($graph, $target, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!(text));
        })
    };
}

/// Compares what each pass does to a graph with its snapshot: the graph, what every pass that rewrote something removed,
/// added and changed, and what the passes noted of every candidate.
///
/// The arguments are those of [`assert_plan!`].
///
/// # Panics
/// A pass did something else, the graph cannot be lowered, or there is no snapshot yet.
#[macro_export]
macro_rules! assert_passes {
    ($name:literal, $graph:expr, $target:expr $(,)?) => {
        $crate::assert_passes!($name, $graph, $target, $crate::Redactions::new())
    };
    ($name:literal, $graph:expr, $target:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Passes, |settings| {
            let text = $crate::passes_text($graph, $target, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!($name, text));
        })
    };
    ($graph:expr, $target:expr $(,)?) => {
        $crate::assert_passes!($graph, $target, $crate::Redactions::new())
    };
    ($graph:expr, $target:expr, $redactions:expr $(,)?) => {
        $crate::macro_support::asserted($crate::Kind::Passes, |settings| {
            let text = $crate::passes_text($graph, $target, &$redactions);
            settings.bind(|| $crate::macro_support::insta::assert_snapshot!(text));
        })
    };
}
