//! Tests of the document and its layout.

mod big;
mod export;
mod look;
mod provenance;
mod samples;
mod scene;
