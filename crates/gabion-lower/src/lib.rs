//! Lowering: from the graph that was built to the plan that runs.
//!
//! A pass is a function in `passes/<verb_noun>.rs`, listed in [`passes::PASSES`]; [`run::lower`]
//! runs the list, times and verifies each pass, and keeps the ledger of what fired and what was
//! refused and why. [`select::select`] then turns the graph into a plan for a target.

#![deny(clippy::wildcard_enum_match_arm)]

mod class;
pub mod elementwise;
pub mod ledger;
pub mod passes;
pub mod patch;
pub mod recipe;
pub mod rewriter;
pub mod run;
pub mod select;
pub mod sources;
mod watch;
pub mod weight_only;

pub use ledger::{Entry, Ledger, Outcome, TensorRows};
pub use passes::{PASSES, Pass};
pub use patch::Patch;
pub use run::{
    LowerError, LowerOptions, Lowered, PassRecord, Snapshot, lower, lower_graph, run_pass,
};
pub use select::{PlanOrigins, SelectError, select, select_with_origins};
pub use sources::{SourceValue, Sources};
pub use watch::{Ahead, Watch};
