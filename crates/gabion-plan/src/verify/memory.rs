//! Memory: what lives together lies apart, and nothing is read before it is written or after it is
//! gone.

use gabion_tensor::{Bindings, Constraint, Dim, DimError};

use super::regions::Region;
use super::sizes::{dims_of_view, with};
use super::{Check, PlanItem};
use crate::kernel::{Epilogue, Kernel};
use crate::plan::{Buffer, BufferId, Lifetime, Place, Step};
use crate::view::{Source, View};

/// Byte alignment of every buffer in the arena.
const ALIGN: i64 = 64;
/// On how many assignments of sizes regions are followed.
const REGION_SAMPLES: usize = 4;

impl Check<'_> {
    pub(super) fn memory(&mut self) {
        self.arena();
        self.destinations();
        self.lifetimes();
        self.outputs();
        for values in self
            .sizes
            .samples()
            .iter()
            .take(REGION_SAMPLES)
            .cloned()
            .collect::<Vec<_>>()
        {
            let before = self.errors.len();
            self.steps_alias(&values);
            self.reads_are_written(&values);
            // Other sizes would say the same again.
            if self.errors.len() > before {
                return;
            }
        }
    }

    /// Offsets, and buffers that live at the same time.
    fn arena(&mut self) {
        let plan = self.plan;
        let mut placed = Vec::new();
        for (i, buffer) in plan.buffers.iter().enumerate() {
            let Place::Arena { offset, live } = &buffer.place else {
                continue;
            };
            let item = PlanItem::Buffer(i);
            if live.first > live.last || live.last > plan.steps.len() {
                let Lifetime { first, last } = live;
                self.error(
                    item,
                    format!(
                        "live {first}..{last} in a plan of {} steps",
                        plan.steps.len()
                    ),
                );
            }
            self.not_negative(item, "its offset", offset);
            let aligned = Constraint::multiple_of(offset, ALIGN).map(|c| self.sizes.refute(&c));
            if let Ok(Some(values)) = aligned {
                self.error(
                    item,
                    format!("its offset, {offset}, is no multiple of {ALIGN}{values}"),
                );
            }
            let ranges: Vec<_> = self
                .sizes
                .samples()
                .iter()
                .map(|values| byte_range(buffer, values))
                .collect();
            placed.push((i, *live, ranges));
        }
        placed.sort_by_key(|(i, live, _)| (live.first, *i));
        for (n, (i, live, ranges)) in placed.iter().enumerate() {
            let together = placed[n + 1..]
                .iter()
                .take_while(|(_, other, _)| other.first <= live.last);
            for (j, other, other_ranges) in together {
                if let Some((index, bytes)) = first_overlap(ranges, other_ranges) {
                    let steps = live.first.max(other.first)..=live.last.min(other.last);
                    let name = &plan.buffers[*j].name;
                    let dims = [*i, *j].into_iter().flat_map(|b| placing(&plan.buffers[b]));
                    let at = with(&self.sizes.samples()[index], dims);
                    let message = format!(
                        "overlaps %{name}, which lives in steps {steps:?} too: {bytes}{at}"
                    );
                    self.error(PlanItem::Buffer(*i), message);
                }
            }
        }
    }

    /// Only the arena and donated inputs are written.
    fn destinations(&mut self) {
        let plan = self.plan;
        for (i, step) in plan.steps.iter().enumerate() {
            for (n, view) in step.writes.iter().enumerate() {
                let problem = match view.source {
                    Source::Weight(id) => format!("weight @{}", plan.weight(id).name),
                    Source::Buffer(id) => match &plan.buffer(id).place {
                        Place::Arena { .. } => continue,
                        Place::Input(index) if plan.inputs[*index].donated => continue,
                        Place::Input(index) => {
                            format!("input {}, which is not donated", plan.inputs[*index].name)
                        }
                        Place::Constant(_) => format!("constant %{}", plan.buffer(id).name),
                    },
                };
                self.error(PlanItem::Step(i), format!("write {n} goes into {problem}"));
            }
        }
    }

    fn lifetimes(&mut self) {
        let plan = self.plan;
        for (i, step) in plan.steps.iter().enumerate() {
            let reads = step
                .reads
                .iter()
                .enumerate()
                .map(|(n, view)| ("read", n, view));
            let writes = step
                .writes
                .iter()
                .enumerate()
                .map(|(n, view)| ("write", n, view));
            for (verb, n, view) in reads.chain(writes) {
                if let Some((name, live)) = self.lifetime(view)
                    && !(live.first..=live.last).contains(&i)
                {
                    let message = format!(
                        "{verb} {n}: %{name} lives in {}..{} only",
                        live.first, live.last
                    );
                    self.error(PlanItem::Step(i), message);
                }
            }
        }
    }

    fn lifetime(&self, view: &View) -> Option<(&str, Lifetime)> {
        let buffer = self.plan.buffer(view.buffer()?);
        match &buffer.place {
            Place::Arena { live, .. } => Some((&buffer.name, *live)),
            Place::Input(_) | Place::Constant(_) => None,
        }
    }

    fn outputs(&mut self) {
        let plan = self.plan;
        for (i, output) in plan.outputs.iter().enumerate() {
            let (item, view) = (PlanItem::Output(i), &output.view);
            let shapes = self.sizes.shapes_differ(&output.ty.shape, &view.shape);
            if plan.dtype(view) != output.ty.dtype || shapes.is_some() {
                let found = gabion_tensor::TensorType::new(plan.dtype(view), &view.shape);
                self.error(
                    item,
                    format!(
                        "expected {}, found {found}{}",
                        output.ty,
                        shapes.unwrap_or_default()
                    ),
                );
            }
            if !view.is_contiguous() {
                self.error(item, "its view is not row-major; copy it");
            }
            let place = view.buffer().map(|id| &plan.buffer(id).place);
            match place {
                Some(Place::Arena { live, .. }) if live.last < plan.steps.len() => {
                    let (name, last) =
                        (self.lifetime(view).map_or("", |(name, _)| name), live.last);
                    let message = format!(
                        "%{name} lives to step {last} only, expected {}",
                        plan.steps.len()
                    );
                    self.error(item, message);
                }
                Some(Place::Arena { .. }) => {}
                Some(Place::Input(index)) if plan.inputs[*index].donated => {}
                Some(Place::Input(_) | Place::Constant(_)) | None => {
                    self.error(
                        item,
                        "expected a view of the arena or of a donated input; copy it there",
                    );
                }
            }
        }
    }

    /// What a step writes overlaps nothing else that it touches, but for its kernel's own rule.
    fn steps_alias(&mut self, values: &Bindings) {
        let plan = self.plan;
        for (i, step) in plan.steps.iter().enumerate() {
            for (n, write) in step.writes.iter().enumerate() {
                if let (Some(region), Ok(size)) =
                    (Region::of(write, values), write.shape.numel().eval(values))
                    && region.len() < size
                {
                    let at = with(values, dims_of_view(write));
                    let message = format!(
                        "write {n} has {size} elements in {} places{at}",
                        region.len()
                    );
                    self.error(PlanItem::Step(i), message);
                }
                let reads = step
                    .reads
                    .iter()
                    .enumerate()
                    .filter(|(m, read)| !may_alias(step, *m, read, n, write));
                let reads = reads.map(|(m, read)| ("read", m, read));
                let writes = step
                    .writes
                    .iter()
                    .enumerate()
                    .take(n)
                    .map(|(m, other)| ("write", m, other));
                for (verb, m, other) in reads.chain(writes) {
                    if other.source == write.source && overlap(write, other, values) {
                        let name = write.buffer().map_or("", |id| &plan.buffer(id).name);
                        let at = with(values, dims_of_view(write).chain(dims_of_view(other)));
                        let message = format!("write {n} overlaps {verb} {m} in %{name}{at}");
                        self.error(PlanItem::Step(i), message);
                    }
                }
            }
        }
    }

    /// Every element of the arena that is read was written by an earlier step.
    fn reads_are_written(&mut self, values: &Bindings) {
        let plan = self.plan;
        // `None`: a region that could not be followed.
        let mut written = vec![Some(Region::default()); plan.buffers.len()];
        let missing = |written: &[Option<Region>], view: &View| -> Option<(BufferId, i64)> {
            let id = view
                .buffer()
                .filter(|id| matches!(plan.buffer(*id).place, Place::Arena { .. }))?;
            let done = written[id.0 as usize].as_ref()?;
            Some((id, done.first_missing(&Region::of(view, values)?)?))
        };
        for (i, step) in plan.steps.iter().enumerate() {
            for (n, read) in step.reads.iter().enumerate() {
                if let Some((id, element)) = missing(&written, read) {
                    let name = &plan.buffer(id).name;
                    let at = with(values, dims_of_view(read));
                    let message =
                        format!("read {n}: no earlier step wrote element {element} of %{name}{at}");
                    self.error(PlanItem::Step(i), message);
                }
            }
            for view in &step.writes {
                if let Some(id) = view.buffer() {
                    let done = &mut written[id.0 as usize];
                    *done = match (&*done, Region::of(view, values)) {
                        (Some(done), Some(more)) => Some(done.union(&more)),
                        _ => None,
                    };
                }
            }
        }
        for (i, output) in plan.outputs.iter().enumerate() {
            if let Some((id, element)) = missing(&written, &output.view) {
                let name = &plan.buffer(id).name;
                let at = with(values, dims_of_view(&output.view));
                self.error(
                    PlanItem::Output(i),
                    format!("no step wrote element {element} of %{name}{at}"),
                );
            }
        }
    }
}

type ByteRange = Result<(i128, i128), DimError>;

fn byte_range(buffer: &Buffer, values: &Bindings) -> ByteRange {
    let Place::Arena { offset, .. } = &buffer.place else {
        return Ok((0, 0));
    };
    let start = i128::from(offset.eval(values)?);
    let blocks =
        i128::from(buffer.elements.eval(values)?).div_euclid(buffer.dtype.block_elems() as i128);
    Ok((start, start + blocks * buffer.dtype.block_bytes() as i128))
}

/// The sizes that say where a buffer lies.
fn placing(buffer: &Buffer) -> impl Iterator<Item = &Dim> {
    let offset = match &buffer.place {
        Place::Arena { offset, .. } => Some(offset),
        Place::Input(_) | Place::Constant(_) => None,
    };
    offset.into_iter().chain([&buffer.elements])
}

/// Of ranges for several sizes: the first sizes for which they overlap or have no value.
fn first_overlap(a: &[ByteRange], b: &[ByteRange]) -> Option<(usize, String)> {
    a.iter()
        .zip(b)
        .enumerate()
        .find_map(|(index, ranges)| match ranges {
            (Ok(a), Ok(b)) if a.0 >= a.1 || b.0 >= b.1 || a.1 <= b.0 || b.1 <= a.0 => None,
            (Ok(a), Ok(b)) => Some((
                index,
                format!("bytes {}..{} and {}..{}", a.0, a.1, b.0, b.1),
            )),
            (Err(e), _) | (_, Err(e)) => Some((index, e.to_string())),
        })
}

fn overlap(a: &View, b: &View, values: &Bindings) -> bool {
    match (Region::of(a, values), Region::of(b, values)) {
        (Some(a), Some(b)) => a.overlaps(&b),
        _ => false,
    }
}

/// True if the kernel reads each element of read `m` before it writes that element of write `n`, and
/// the two are the same view.
fn may_alias(step: &Step, m: usize, read: &View, n: usize, write: &View) -> bool {
    let by_kernel = match &step.kernel {
        Kernel::Map(_) => true,
        Kernel::Scatter { .. } => m == 0,
        Kernel::Matmul(matmul) => matmul.outputs.iter().any(|output| {
            let operand = |e: &Epilogue| matches!(e, Epilogue::Binary { read, .. } if *read == m);
            let in_cache =
                matches!(output.epilogue.last(), Some(Epilogue::CacheWrite { .. })) && m > 0;
            output.write == n && (in_cache || output.epilogue.iter().any(operand))
        }),
        Kernel::BatchMatmul(_)
        | Kernel::Reduce { .. }
        | Kernel::ArgReduce { .. }
        | Kernel::TopK { .. }
        | Kernel::CumSum { .. }
        | Kernel::Softmax { .. }
        | Kernel::Norm(_)
        | Kernel::Rope { .. }
        | Kernel::Attention(_)
        | Kernel::Gather { .. }
        | Kernel::GatherElements { .. }
        | Kernel::CacheAppend { .. }
        | Kernel::Copy
        | Kernel::Convert
        | Kernel::Range { .. }
        | Kernel::Fill { .. } => false,
    };
    by_kernel && read == write
}
