//! Where steps need a barrier between them.
//!
//! All workers walk the whole list of steps. Two steps may overlap in time unless one writes what
//! the other reads or writes; before a step that conflicts with one since the last barrier, there
//! is a barrier. Steps that one worker runs alone are in order anyway.

use std::ops::Range;

use crate::access::Placed;

/// A memory in which addresses can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    /// Never written: weights and constants.
    Fixed,
    /// The arena.
    Arena,
    /// Input number so, or the state that stands for it.
    Input(usize),
    /// The copy of output number so.
    Output(usize),
    /// Scratch memory that workers share.
    Scratch,
}

/// For each base that views name: its space, and where in it the base is, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryMap {
    pub(crate) places: Vec<(Space, usize)>,
}

/// Bytes of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    space: Space,
    bytes: Range<usize>,
}

impl Extent {
    /// Bytes of a space.
    pub(crate) fn new(space: Space, bytes: Range<usize>) -> Extent {
        Extent { space, bytes }
    }

    fn overlaps(&self, other: &Extent) -> bool {
        self.space == other.space
            && self.space != Space::Fixed
            && self.bytes.start < other.bytes.end
            && other.bytes.start < self.bytes.end
    }
}

impl MemoryMap {
    /// The bytes between a view's first and last element.
    pub(crate) fn extent(&self, placed: &Placed) -> Extent {
        let (space, start) = self.places[placed.base];
        let units = placed.unit_range();
        let at = |unit: isize| start + unit.max(0) as usize * placed.unit;
        Extent::new(space, at(units.start)..at(units.end))
    }

    /// Whether two views have bytes between their ends in common.
    pub(crate) fn may_overlap(&self, a: &Placed, b: &Placed) -> bool {
        let (a, b) = (self.extent(a), self.extent(b));
        a.space == b.space && a.bytes.start < b.bytes.end && b.bytes.start < a.bytes.end
    }
}

/// What one step touches.
pub(crate) struct Touch {
    pub(crate) reads: Vec<Extent>,
    pub(crate) writes: Vec<Extent>,
    /// Run by one worker, always the same.
    pub(crate) alone: bool,
}

/// For each step, whether a barrier is needed before it.
pub(crate) fn barriers(steps: &[Touch]) -> Vec<bool> {
    let mut since = 0;
    let mut out = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let conflict = steps[since..index].iter().any(|before| {
            let any =
                |a: &[Extent], b: &[Extent]| a.iter().any(|a| b.iter().any(|b| a.overlaps(b)));
            let conflict = any(&before.writes, &step.reads)
                || any(&before.writes, &step.writes)
                || any(&before.reads, &step.writes);
            conflict && !(before.alone && step.alone)
        });
        if conflict {
            since = index;
        }
        out.push(conflict);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(reads: &[(usize, usize)], writes: &[(usize, usize)], alone: bool) -> Touch {
        let extents = |list: &[(usize, usize)]| {
            list.iter()
                .map(|&(start, end)| Extent::new(Space::Arena, start..end))
                .collect()
        };
        Touch {
            reads: extents(reads),
            writes: extents(writes),
            alone,
        }
    }

    #[test]
    fn a_barrier_stands_before_each_true_dependency_only() {
        let steps = [
            touch(&[], &[(0, 10)], false),
            touch(&[(20, 30)], &[(30, 40)], false),
            // Reads what the first wrote.
            touch(&[(5, 6)], &[(40, 50)], false),
            // Independent of the one before; the first lies behind a barrier.
            touch(&[(0, 10)], &[(50, 60)], false),
            // Overwrites what the one before read.
            touch(&[], &[(9, 12)], false),
            // Overwrites what was just written.
            touch(&[], &[(11, 12)], false),
        ];
        assert_eq!(barriers(&steps), [false, false, true, false, true, true]);
    }

    #[test]
    fn steps_of_one_worker_are_in_order_without_barriers() {
        let steps = [
            touch(&[], &[(0, 10)], true),
            touch(&[(0, 10)], &[(10, 20)], true),
            touch(&[(10, 20)], &[(20, 30)], false),
            touch(&[(20, 30)], &[(30, 40)], true),
        ];
        assert_eq!(barriers(&steps), [false, false, true, true]);
    }

    #[test]
    fn fixed_memory_never_conflicts_and_spaces_are_apart() {
        let fixed = Extent::new(Space::Fixed, 0..10);
        assert!(!fixed.overlaps(&fixed.clone()));
        assert!(
            !Extent::new(Space::Input(0), 0..10).overlaps(&Extent::new(Space::Input(1), 0..10))
        );
        assert!(!Extent::new(Space::Arena, 0..10).overlaps(&Extent::new(Space::Arena, 10..20)));
    }
}
