//! The project's automation, in Rust and without dependencies. What the words do is in `main`.

pub mod checkout;
pub mod tidy;
