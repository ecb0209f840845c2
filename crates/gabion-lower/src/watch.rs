//! Somebody who is told what lowering is about to do, and may call it off.

use std::fmt;
use std::sync::Arc;

/// What lowering is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The pass that runs next; after the last, `plan`.
    pub name: &'static str,
    /// How many are done.
    pub done: usize,
    /// How many there are.
    pub all: usize,
}

/// A function that is called before each pass and before the plan is selected, and says whether to go on. If it says no,
/// lowering ends with [`LowerError::Cancelled`](crate::LowerError::Cancelled). It changes nothing else.
///
/// ```
/// use gabion_lower::{LowerOptions, Watch};
///
/// let options = LowerOptions {
///     watch: Some(Watch::new(|ahead| {
///         println!("{} of {}: {}", ahead.done, ahead.all, ahead.name);
///         true
///     })),
///     ..LowerOptions::default()
/// };
/// ```
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(Ahead) -> bool + Send + Sync>);

impl Watch {
    /// Calls this function.
    pub fn new(goes_on: impl Fn(Ahead) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(goes_on))
    }

    /// Tells, and asks whether to go on.
    pub fn goes_on(&self, ahead: Ahead) -> bool {
        (self.0)(ahead)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use gabion_ir::Graph;
    use gabion_plan::Target;

    use super::*;
    use crate::{LowerError, LowerOptions, PASSES, lower};

    fn target() -> Target {
        Target {
            name: "cpu".to_owned(),
            tile_formats: Vec::new(),
            epilogue_maps: Vec::new(),
            norm_prologue: false,
            pair_granularity: 0,
            cache_epilogue: false,
            composites: Vec::new(),
            max_map_instrs: 64,
        }
    }

    fn graph() -> Graph {
        let text = "graph @g(%x: f32[n, 8]) -> (f32[n, 8]) {\n  %y = relu %x : f32[n, 8]\n  return %y\n}\n";
        Graph::parse(text).expect("a graph")
    }

    /// Lowers, and goes on until something with this name comes.
    fn told_until(
        stop: &'static str,
        options: LowerOptions,
    ) -> (Vec<Ahead>, Result<(), LowerError>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let watch = Watch::new(move |ahead| {
            hears.lock().expect("nobody panics").push(ahead);
            ahead.name != stop
        });
        let options = LowerOptions {
            watch: Some(watch),
            ..options
        };
        let lowered = lower(&graph(), &target(), &options).map(drop);
        let told = told.lock().expect("nobody panics").clone();
        (told, lowered)
    }

    #[test]
    fn every_pass_and_the_plan_are_told_in_order() {
        let (told, lowered) = told_until("nothing", LowerOptions::default());
        assert!(lowered.is_ok(), "{lowered:?}");
        let names: Vec<&str> = told.iter().map(|it| it.name).collect();
        let passes = PASSES.iter().map(|it| it.name);
        assert_eq!(names, passes.chain(["plan"]).collect::<Vec<_>>());
        for (at, ahead) in told.iter().enumerate() {
            assert_eq!((ahead.done, ahead.all), (at, PASSES.len() + 1));
        }
    }

    #[test]
    fn nothing_follows_a_no() {
        let third = PASSES[2].name;
        let (told, lowered) = told_until(third, LowerOptions::default());
        assert_eq!(told.last().map(|it| it.name), Some(third));
        assert_eq!(told.len(), 3);
        assert!(
            matches!(lowered, Err(LowerError::Cancelled { before }) if before == third),
            "{lowered:?}"
        );
        let (told, lowered) = told_until("plan", LowerOptions::default());
        assert_eq!(told.len(), PASSES.len() + 1);
        assert!(matches!(
            lowered,
            Err(LowerError::Cancelled { before: "plan" })
        ));
    }

    #[test]
    fn passes_that_do_not_run_are_not_counted() {
        let options = LowerOptions {
            stop_after: Some(3),
            skip: vec![PASSES[1].name.to_owned()],
            ..LowerOptions::default()
        };
        let (told, lowered) = told_until("plan", options);
        assert!(lowered.is_ok(), "no plan is selected: {lowered:?}");
        let said: Vec<_> = told.iter().map(|it| (it.name, it.done, it.all)).collect();
        assert_eq!(said, [(PASSES[0].name, 0, 2), (PASSES[2].name, 1, 2)]);
    }
}
