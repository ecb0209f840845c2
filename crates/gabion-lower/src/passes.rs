//! **The** list of passes, in the order in which they run. A pass is a function in
//! `passes/<name>.rs`; its name is also its filetest folder and its word on the command line.

mod decompose_composites;
mod fold_constants;
mod fuse_elementwise;
mod fuse_epilogue;
mod fuse_prologue;
mod hoist_decode;
mod hoist_slices;
mod merge_equal;
mod remove_dead;
mod simplify_views;
mod split_sinks;
mod stack_siblings;
mod stack_weights;
mod unstack_rows;

use gabion_ir::Graph;

use crate::rewriter::PassCx;
use crate::run::LowerError;

/// A pass: its name and its function, which returns how many rewrites it made.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The verb and noun.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut Graph, &mut PassCx<'_>) -> Result<usize, LowerError>,
}

// Makes the table from the list. The modules are private, so a pass that the list misses is dead
// code, which the compiler reports.
macro_rules! passes {
    ($($name:ident),* $(,)?) => {
        /// The pipeline.
        pub const PASSES: &[Pass] = &[$(Pass {
            name: stringify!($name),
            run: $name::run,
        }),*];
    };
}

passes! {
    // What no output needs goes.
    remove_dead,
    // Composite operators that the target has no kernel for become smaller ones.
    decompose_composites,
    // Equal operators on equal operands become one.
    merge_equal,
    // Operators on constants alone are computed, within a size budget.
    fold_constants,
    // Reshapes, transposes, casts and cuts that undo or repeat each other go.
    simplify_views,
    // A table is decoded at load time instead of after each look-up.
    hoist_decode,
    // A cut of rows moves up to before the work on the rows that it drops.
    hoist_slices,
    // A product with a weight, or a concat of weights, becomes a stack.
    stack_weights,
    // Stacks of the same activation become one.
    stack_siblings,
    // Cuts of a stack's result become results of the stack.
    split_sinks,
    // Rows of a stack that nobody uses are dropped.
    unstack_rows,
    // Bias, activation, gate, residual, rotary embedding and cache write move into the stack.
    fuse_epilogue,
    // A norm that only a stack reads moves into the stack.
    fuse_prologue,
    // Chains of elementwise operators become one program.
    fuse_elementwise,
}

impl Pass {
    /// The pass of this name.
    pub fn by_name(name: &str) -> Option<&'static Pass> {
        PASSES.iter().find(|p| p.name == name)
    }
}
