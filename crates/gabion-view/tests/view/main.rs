//! Tests of the document and its layout.

mod big;
mod samples;
mod scene;
