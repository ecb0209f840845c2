//! Filetests, conformance, golden numbers and end-to-end tests. Everything is in `suite/`, one test
//! binary; the cases that are data are in `filetests/`.
