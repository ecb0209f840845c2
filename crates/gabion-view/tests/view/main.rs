//! Tests of the document and its layout.

mod big;
mod export;
#[path = "../graphs/mod.rs"]
mod graphs;
mod look;
mod provenance;
mod samples;
mod scene;
mod wires;
