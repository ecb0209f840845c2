//! Layers and models against numbers that other engines made, and what bad configurations are told.

#![allow(
    clippy::unwrap_used,
    reason = "a test without its fixture fails where it reads it"
)]

mod bert;
mod config;
mod scope;
mod stack;
mod stack_fixtures;
mod support;
mod tiny_models;
