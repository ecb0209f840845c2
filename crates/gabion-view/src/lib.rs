//! Graphs, passes and plans to look at.
//!
//! [`Document`] is what is looked at: a graph after every pass and its plan, as boxes in a tree of groups, with what changed
//! from stage to stage. [`order`] and [`place`] lay out what is open. All of it is pure; windows and pages draw it.

pub mod document;
pub mod export;
mod histogram;
pub mod loading;
pub mod look;
pub mod order;
pub mod place;
pub mod report;
mod timings;
#[cfg(feature = "window")]
pub mod window;

pub use document::{Document, Sizes};
pub use histogram::{Histogram, Taken};
pub use look::Look;
pub use timings::{OtherSteps, Timings};
