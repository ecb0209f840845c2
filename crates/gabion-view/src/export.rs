//! Drawings and graphs for other programs: SVG of what is visible, DOT, JSON, and the JSON that Google's Model Explorer
//! reads. Everything is text, made in memory; nothing here writes files.

mod dot;
mod explorer;
mod json;
mod svg;

pub use dot::dot;
pub use explorer::model_explorer;
pub use json::json;
pub use svg::svg;
