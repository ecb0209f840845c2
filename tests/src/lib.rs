//! Filetests, conformance, golden numbers and end-to-end tests. Everything is in `suite/`, one test
//! binary; the cases that are data are in `filetests/`. The Rust blocks of the pages of `docs/` are
//! compiled and run from here (the README's from `gabion`).

macro_rules! pages {
    ($($module:ident = $file:literal),* $(,)?) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../docs/", $file))]
            mod $module {}
        )*
    };
}

pages! {
    adding_a_pass = "adding-a-pass.md",
    adding_an_op = "adding-an-op.md",
    architecture = "architecture.md",
    checkpoints = "checkpoints.md",
    cli = "cli.md",
    explain = "explain.md",
    getting_started = "getting-started.md",
    ir = "ir.md",
    numerics = "numerics.md",
    operators = "operators.md",
    performance = "performance.md",
    plan = "plan.md",
    report = "report.md",
    snapshots = "snapshots.md",
    viewer = "viewer.md",
}
