//! Layers and models against numbers that other engines made, and what bad configurations are told.

mod bert;
mod config;
mod stack;
mod stack_fixtures;
mod support;
mod tiny_models;
