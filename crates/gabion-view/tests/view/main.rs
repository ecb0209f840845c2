//! Tests of the document and its layout.

mod big;
mod export;
mod faults;
#[path = "../graphs/mod.rs"]
mod graphs;
mod layers;
mod look;
mod provenance;
#[path = "../graphs/random.rs"]
mod random;
mod reasons;
mod samples;
mod scene;
mod search;
mod wires;
