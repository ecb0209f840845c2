//! Filetests, conformance, golden numbers and end-to-end tests.
