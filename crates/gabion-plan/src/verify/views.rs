//! Views: what they point to exists, and they stay inside it.

use gabion_tensor::{Bindings, Dim, DimError};

use super::sizes::{dims_of_view, with};
use super::{Check, PlanItem};
use crate::kernel::Kernel;
use crate::view::{Source, View};
use crate::weight::Layout;

impl Check<'_> {
    pub(super) fn views(&mut self) {
        let plan = self.plan;
        for (i, step) in plan.steps.iter().enumerate() {
            let item = PlanItem::Step(i);
            for (n, view) in step.reads.iter().enumerate() {
                self.view(item, &format!("read {n}"), view);
                let gathered = n == 0 && step.kernel == Kernel::Gather { axis: 0 };
                self.tiles_are_read_by_their_kernels(item, n, view, gathered);
            }
            for (n, view) in step.writes.iter().enumerate() {
                self.view(item, &format!("write {n}"), view);
            }
        }
        for (i, output) in plan.outputs.iter().enumerate() {
            self.view(PlanItem::Output(i), "its view", &output.view);
        }
    }

    fn view(&mut self, item: PlanItem, what: &str, view: &View) {
        let plan = self.plan;
        let (name, elements) = match view.source {
            Source::Buffer(id) => match plan.buffers.get(id.0 as usize) {
                Some(buffer) => (format!("%{}", buffer.name), buffer.elements.clone()),
                None => return self.error(item, format!("{what}: buffer {} does not exist", id.0)),
            },
            Source::Weight(id) => match plan.weights.get(id.0 as usize) {
                Some(weight) => (format!("@{}", weight.name), weight.ty.shape.numel()),
                None => return self.error(item, format!("{what}: weight {} does not exist", id.0)),
            },
        };
        if view.strides.len() != view.shape.rank() {
            let (strides, rank) = (view.strides.len(), view.shape.rank());
            return self.error(item, format!("{what}: {strides} strides for rank {rank}"));
        }
        // The usual case, decided without trying sizes.
        let whole =
            view.offset == Dim::ZERO && view.is_contiguous() && view.shape.numel() == elements;
        if whole
            && view
                .shape
                .iter()
                .all(|dim| dim.range().0.is_some_and(|low| low >= 0))
        {
            return;
        }
        let problem = self.sizes.samples().iter().find_map(|values| {
            let problem = match bounds(view, values) {
                Ok(None) => return None,
                Ok(Some((low, high))) => {
                    let size = elements.eval(values).map_or(0, i128::from);
                    if low >= 0 && high < size {
                        return None;
                    }
                    format!("elements {low}..={high} of {name}, which has {size}")
                }
                Err(e) => e.to_string(),
            };
            Some(format!(
                "{what}: {problem}{}",
                with(values, dims_of_view(view).chain([&elements]))
            ))
        });
        if let Some(problem) = problem {
            self.error(item, problem);
        }
    }

    fn tiles_are_read_by_their_kernels(
        &mut self,
        item: PlanItem,
        n: usize,
        view: &View,
        gathered: bool,
    ) {
        let weight = view
            .weight()
            .and_then(|id| self.plan.weights.get(id.0 as usize));
        let Some(weight) = weight.filter(|weight| weight.layout == Layout::Tiles) else {
            return;
        };
        let whole = *view == View::contiguous(view.source, weight.ty.shape.clone());
        if !gathered || !whole {
            let name = &weight.name;
            let expected = "tiles are read by matmul, and whole by gather along axis 0";
            self.error(item, format!("read {n}: @{name} is in tiles; {expected}"));
        }
    }
}

/// The first and the last element that a view touches, if any.
fn bounds(view: &View, values: &Bindings) -> Result<Option<(i128, i128)>, DimError> {
    let mut low = i128::from(view.offset.eval(values)?);
    let mut high = low;
    let mut empty = false;
    for (dim, stride) in view.shape.iter().zip(&view.strides) {
        let (size, stride) = (dim.eval(values)?, i128::from(stride.eval(values)?));
        if size < 0 {
            return Err(DimError::NegativeSize {
                dim: dim.to_string(),
                value: size,
            });
        }
        empty |= size == 0;
        let reach = i128::from(size - 1) * stride;
        low += reach.min(0);
        high += reach.max(0);
    }
    Ok(if empty { None } else { Some((low, high)) })
}
