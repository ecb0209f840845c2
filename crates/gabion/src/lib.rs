//! The facade (prelude, Engine) and the gabion program.
