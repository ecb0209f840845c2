//! Tests of the window: what buttons, keys and clicks do, by the labels of widgets and the state behind them, and a few
//! pictures. Nothing is shown anywhere: pictures are painted by the crate's own rasteriser, which needs no graphics card
//! and gives the same pixels on every machine.

mod exports;
#[path = "../graphs/mod.rs"]
mod graphs;
mod interactions;
mod loading;
mod pictures;
mod raster;
mod support;
