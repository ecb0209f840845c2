//! One step against its kernel's contract: what the rules in `kernels`, `matmul` and `programs` use.

use gabion_tensor::{DType, Dim, Shape};

use super::{Check, PlanItem};
use crate::plan::Step;
use crate::view::View;

impl Check<'_> {
    /// Every step against its kernel's contract.
    pub(super) fn steps(&mut self) {
        for (i, step) in self.plan.steps.iter().enumerate() {
            StepCheck {
                item: PlanItem::Step(i),
                step,
                check: self,
            }
            .kernel();
        }
    }
}

/// Which dtypes a view may have.
#[derive(Clone, Copy)]
pub(super) enum Want {
    Is(DType),
    Float,
    Int,
    Number,
    Plain,
    Any,
}

impl Want {
    fn accepts(self, dtype: DType) -> bool {
        match self {
            Want::Is(wanted) => dtype == wanted,
            Want::Float => dtype.is_float(),
            Want::Int => dtype.is_int(),
            Want::Number => dtype.is_float() || dtype.is_int(),
            Want::Plain => !dtype.is_block(),
            Want::Any => true,
        }
    }

    fn describe(self) -> String {
        match self {
            Want::Is(dtype) => dtype.to_string(),
            Want::Float => "a float dtype".to_owned(),
            Want::Int => "an integer dtype".to_owned(),
            Want::Number => "a dtype of numbers".to_owned(),
            Want::Plain => "a plain dtype".to_owned(),
            Want::Any => "any dtype".to_owned(),
        }
    }
}

/// A step under verification.
pub(super) struct StepCheck<'c, 'p> {
    pub(super) check: &'c mut Check<'p>,
    pub(super) item: PlanItem,
    pub(super) step: &'c Step,
}

impl<'c> StepCheck<'c, '_> {
    pub(super) fn error(&mut self, message: impl Into<String>) {
        self.check.error(self.item, message);
    }

    /// `N` reads and `M` writes, if the step has so many.
    pub(super) fn views<const N: usize, const M: usize>(
        &mut self,
    ) -> Option<(&'c [View; N], &'c [View; M])> {
        let step = self.step;
        let views = (
            step.reads.as_slice().try_into().ok(),
            step.writes.as_slice().try_into().ok(),
        );
        if let (Some(reads), Some(writes)) = views {
            return Some((reads, writes));
        }
        self.wrong_counts(&N.to_string(), M);
        None
    }

    pub(super) fn wrong_counts(&mut self, reads: &str, writes: usize) {
        let found = (self.step.reads.len(), self.step.writes.len());
        self.error(format!(
            "expected {reads} reads and {writes} writes, found {} and {}",
            found.0, found.1
        ));
    }

    pub(super) fn dtype(&self, view: &View) -> DType {
        self.check.plan.dtype(view)
    }

    pub(super) fn expect_dtype(&mut self, what: &str, view: &View, want: Want) {
        let found = self.dtype(view);
        if !want.accepts(found) {
            self.error(format!(
                "{what}: expected {}, found {found}",
                want.describe()
            ));
        }
    }

    /// The dtype and the shape at once.
    pub(super) fn expect(&mut self, what: &str, view: &View, want: Want, shape: &[Dim]) {
        self.expect_dtype(what, view, want);
        self.expect_shape(what, view, shape);
    }

    pub(super) fn expect_shape(&mut self, what: &str, view: &View, shape: &[Dim]) {
        if let Some(values) = self.check.sizes.shapes_differ(&view.shape, shape) {
            let expected: Shape = shape.iter().cloned().collect();
            self.error(format!(
                "{what}: expected {expected}, found {}{values}",
                view.shape
            ));
        }
    }

    /// Another view of the same type.
    pub(super) fn expect_like(&mut self, what: &str, view: &View, model: &View) {
        self.expect(what, view, Want::Is(self.dtype(model)), &model.shape);
    }

    pub(super) fn expect_rank(&mut self, what: &str, view: &View, at_least: usize) -> bool {
        let enough = view.shape.rank() >= at_least;
        if !enough {
            self.error(format!(
                "{what}: expected rank {at_least} or more, found {}",
                view.shape
            ));
        }
        enough
    }

    pub(super) fn expect_axis(&mut self, axis: usize, view: &View) -> bool {
        let inside = axis < view.shape.rank();
        if !inside {
            self.error(format!("axis {axis} is outside rank {}", view.shape.rank()));
        }
        inside
    }

    pub(super) fn expect_scalar(&mut self, what: &str, view: &View) {
        self.expect(what, view, Want::Is(DType::I64), &[]);
    }

    /// `a <= b`.
    pub(super) fn expect_at_most(&mut self, what: &str, a: &Dim, b: &Dim) {
        if let Some(values) = self
            .check
            .sizes
            .refute(&gabion_tensor::Constraint::le(a, b))
        {
            self.error(format!("{what}: expected at most {b}, found {a}{values}"));
        }
    }
}
