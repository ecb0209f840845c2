//! From a plan and the sizes of one run to prepared steps: views get numbers and are checked to
//! lie inside their memories, steps are prepared, barriers are placed.
//!
//! This is done once for each set of sizes; a run with known sizes only looks it up.

use std::sync::Arc;

use gabion_plan::{Place, Plan, RunError, Source, View};
use gabion_tensor::{Bindings, DType, Dim};
use smallvec::SmallVec;

use crate::access::{Placed, Sizes, Strides};
use crate::load::{LoadedWeight, Model};
use crate::schedule::{Extent, MemoryMap, Space, Touch, barriers};
use crate::step::{self, CopyStep, Prepare, PreparedStep, SMALL};

/// A step in its place.
pub(crate) struct Ready {
    pub(crate) step: Box<dyn PreparedStep>,
    /// All workers meet before it.
    pub(crate) barrier: bool,
    /// Worker 0 runs it alone.
    pub(crate) alone: bool,
    pub(crate) name: Arc<str>,
}

/// Where an output is.
pub(crate) struct ReadyOutput {
    pub(crate) dtype: DType,
    pub(crate) shape: SmallVec<[usize; 4]>,
    pub(crate) bytes: usize,
    /// The base and the byte in it where its row-major bytes start.
    pub(crate) base: usize,
    pub(crate) start: usize,
    /// It is copied into memory of its own, which is `base`.
    pub(crate) copied: bool,
}

/// A plan for one set of sizes.
pub(crate) struct Resolved {
    /// Ranks and sizes of all inputs.
    pub(crate) key: Vec<usize>,
    pub(crate) arena_bytes: usize,
    /// For each base in the arena: its offset.
    pub(crate) arena_offsets: Vec<Option<usize>>,
    pub(crate) steps: Vec<Ready>,
    pub(crate) outputs: Vec<ReadyOutput>,
    /// Bytes of scratch for each worker, and for all together.
    pub(crate) scratch: usize,
    pub(crate) shared_scratch: usize,
    /// The most rows of a matrix product.
    pub(crate) matmul_rows: usize,
}

/// The number of a base: buffers first, then weights, then copies of outputs.
pub(crate) fn weight_base(plan: &Plan, weight: usize) -> usize {
    plan.buffers.len() + weight
}

/// See [`weight_base`].
pub(crate) fn output_base(plan: &Plan, output: usize) -> usize {
    plan.buffers.len() + plan.weights.len() + output
}

fn size(dim: &Dim, bindings: &Bindings) -> Result<usize, RunError> {
    let value = dim.eval(bindings)?;
    usize::try_from(value)
        .map_err(|_| RunError::Executor(format!("`{dim}` is {value}, a size is expected")))
}

/// Bytes of `elements` elements of a dtype.
fn bytes_of(dtype: DType, elements: usize) -> Option<usize> {
    elements
        .div_ceil(dtype.block_elems())
        .checked_mul(dtype.block_bytes())
}

struct Resolver<'a> {
    model: &'a Model,
    bindings: &'a Bindings,
    /// Bytes of each base; unlimited for copies of outputs.
    base_bytes: Vec<usize>,
}

impl Resolver<'_> {
    /// A view's numbers; `None` for a weight in tiles.
    fn place(&self, view: &View) -> Result<Option<Placed>, RunError> {
        let plan = &self.model.plan;
        let base = match view.source {
            Source::Buffer(id) => id.0 as usize,
            Source::Weight(id) => match self.model.weights.get(id.0 as usize) {
                Some(LoadedWeight::Dense(_)) => weight_base(plan, id.0 as usize),
                _ => return Ok(None),
            },
        };
        let wrong = |problem: String| {
            RunError::Executor(format!("a view of `{}`: {problem}", self.base_name(base)))
        };
        if base >= self.base_bytes.len() || view.strides.len() != view.shape.rank() {
            return Err(RunError::Executor(format!(
                "a view of memory {base} that is not there"
            )));
        }
        let dtype = plan.dtype(view);
        let block = dtype.block_elems();
        let mut shape = Sizes::new();
        let mut strides = Strides::new();
        for (dim, stride) in view.shape.iter().zip(&view.strides) {
            shape.push(size(dim, self.bindings)?);
            strides.push(stride.eval(self.bindings)? as isize);
        }
        let mut offset = view.offset.eval(self.bindings)? as isize;
        if block > 1 {
            // In blocks: they lie along the last axis and are never cut.
            let last = shape
                .len()
                .checked_sub(1)
                .ok_or_else(|| wrong(format!("a scalar of {dtype}")))?;
            let whole = |x: isize| x % block as isize == 0;
            if !whole(shape[last] as isize)
                || strides[last] != 1
                || !whole(offset)
                || !strides[..last].iter().all(|&s| whole(s))
            {
                return Err(wrong(format!(
                    "shape {shape:?}, strides {strides:?} and offset {offset} cut blocks of {block}"
                )));
            }
            shape[last] /= block;
            strides[..last]
                .iter_mut()
                .for_each(|s| *s /= block as isize);
            offset /= block as isize;
        }
        let placed = Placed {
            base,
            dtype,
            unit: dtype.block_bytes(),
            offset,
            shape,
            strides,
        };
        let range = placed.unit_range();
        let units = self.base_bytes[base] / placed.unit.max(1);
        if !range.is_empty() && (range.start < 0 || range.end as usize > units) {
            return Err(wrong(format!(
                "elements {}..{} of {units}",
                range.start, range.end
            )));
        }
        Ok(Some(placed))
    }

    fn base_name(&self, base: usize) -> &str {
        let plan = &self.model.plan;
        match plan.buffers.get(base) {
            Some(buffer) => &buffer.name,
            None => plan
                .weights
                .get(base - plan.buffers.len())
                .map_or("(output)", |w| &w.name),
        }
    }
}

/// Resolves a plan.
///
/// # Errors
/// A symbol without a value, or a plan that breaks its own rules.
pub(crate) fn resolve(
    model: &Model,
    bindings: &Bindings,
    key: Vec<usize>,
) -> Result<Resolved, RunError> {
    let plan = &model.plan;
    let mut arena_bytes = 0;
    let mut arena_offsets = vec![None; plan.buffers.len()];
    let mut memory = MemoryMap::default();
    let mut base_bytes = Vec::new();
    for (index, buffer) in plan.buffers.iter().enumerate() {
        let elements = size(&buffer.elements, bindings)?;
        let too_large = || {
            RunError::Executor(format!(
                "buffer `{}` of {elements} {} is too large",
                buffer.name, buffer.dtype
            ))
        };
        let bytes = bytes_of(buffer.dtype, elements).ok_or_else(too_large)?;
        base_bytes.push(bytes);
        memory.places.push(match &buffer.place {
            Place::Input(input) => (Space::Input(*input), 0),
            Place::Constant(data) => {
                base_bytes[index] = bytes.min(data.0.bytes().len());
                (Space::Fixed, 0)
            }
            Place::Arena { offset, .. } => {
                let offset = size(offset, bindings)?;
                if offset % 64 != 0 {
                    return Err(RunError::Executor(format!(
                        "buffer `{}` starts at byte {offset}, no multiple of 64",
                        buffer.name
                    )));
                }
                arena_bytes = arena_bytes.max(offset.checked_add(bytes).ok_or_else(too_large)?);
                arena_offsets[index] = Some(offset);
                (Space::Arena, offset)
            }
        });
    }
    for weight in &plan.weights {
        memory.places.push((Space::Fixed, 0));
        let shape = weight.ty.shape.as_fixed();
        base_bytes.push(
            shape
                .and_then(|shape| weight.ty.dtype.bytes_for(&shape))
                .unwrap_or(0),
        );
    }
    for index in 0..plan.outputs.len() {
        memory.places.push((Space::Output(index), 0));
        base_bytes.push(usize::MAX);
    }
    let resolver = Resolver {
        model,
        bindings,
        base_bytes,
    };
    let mut resolved = Resolved {
        key,
        arena_bytes,
        arena_offsets,
        steps: Vec::with_capacity(plan.steps.len()),
        outputs: Vec::with_capacity(plan.outputs.len()),
        scratch: 0,
        shared_scratch: 0,
        matmul_rows: 0,
    };
    let mut touches = Vec::with_capacity(plan.steps.len());
    for (index, plan_step) in plan.steps.iter().enumerate() {
        let reads: Vec<Option<Placed>> = plan_step
            .reads
            .iter()
            .map(|view| resolver.place(view))
            .collect::<Result<_, _>>()?;
        let writes = plan_step
            .writes
            .iter()
            .map(|view| {
                resolver
                    .place(view)?
                    .filter(|placed| memory.places[placed.base].0 != Space::Fixed)
                    .ok_or_else(|| {
                        RunError::Executor(format!(
                            "step {index} `{}` writes {:?}",
                            plan_step.kernel.name(),
                            view.source
                        ))
                    })
            })
            .collect::<Result<Vec<Placed>, _>>()?;
        let scope = if plan_step.scope.is_empty() {
            String::new()
        } else {
            format!(" ({})", plan_step.scope)
        };
        let name: Arc<str> = format!("step {index} `{}`{scope}", plan_step.kernel.name()).into();
        let prepared = step::prepare(&Prepare {
            memory: &memory,
            weights: &model.weights,
            bindings,
            threads: model.team.threads(),
            step: plan_step,
            reads: &reads,
            writes: &writes,
            name: &name,
        })?;
        if let gabion_plan::Kernel::Matmul(_) = &plan_step.kernel
            && let Some(Some(x)) = reads.first()
        {
            let rows = x.shape[..x.shape.len() - 1].iter().product();
            resolved.matmul_rows = resolved.matmul_rows.max(rows);
        }
        let extents = |list: &[&Placed]| list.iter().map(|placed| memory.extent(placed)).collect();
        let touch = Touch {
            reads: extents(&reads.iter().flatten().collect::<Vec<_>>()),
            writes: extents(&writes.iter().collect::<Vec<_>>()),
            alone: false,
        };
        push(&mut resolved, &mut touches, prepared, touch, name);
    }
    for (index, output) in plan.outputs.iter().enumerate() {
        push_output(
            &mut resolved,
            &mut touches,
            &resolver,
            &memory,
            index,
            output,
        )?;
    }
    for (ready, barrier) in resolved.steps.iter_mut().zip(barriers(&touches)) {
        ready.barrier = barrier;
    }
    Ok(resolved)
}

fn push(
    resolved: &mut Resolved,
    touches: &mut Vec<Touch>,
    step: Box<dyn PreparedStep>,
    mut touch: Touch,
    name: Arc<str>,
) {
    let shared = step.shared_scratch();
    if shared > 0 {
        touch.writes.push(Extent::new(Space::Scratch, 0..shared));
    }
    touch.alone = step.cost() < SMALL && !step.has_barriers();
    resolved.scratch = resolved.scratch.max(step.scratch());
    resolved.shared_scratch = resolved.shared_scratch.max(shared);
    resolved.steps.push(Ready {
        step,
        barrier: false,
        alone: touch.alone,
        name,
    });
    touches.push(touch);
}

/// An output: in place if its bytes are row-major and stay after the run, else copied by a last
/// step.
fn push_output(
    resolved: &mut Resolved,
    touches: &mut Vec<Touch>,
    resolver: &Resolver<'_>,
    memory: &MemoryMap,
    index: usize,
    output: &gabion_plan::PlanOutput,
) -> Result<(), RunError> {
    let plan = &resolver.model.plan;
    let placed = resolver
        .place(&output.view)?
        .ok_or_else(|| RunError::Output {
            index,
            problem: "it is a weight in tiles".to_owned(),
        })?;
    let shape = output
        .ty
        .shape
        .eval(resolver.bindings)
        .map_err(|e| RunError::Output {
            index,
            problem: e.to_string(),
        })?;
    let seen: Vec<usize> = output
        .view
        .shape
        .iter()
        .map(|dim| size(dim, resolver.bindings))
        .collect::<Result<_, _>>()?;
    let bytes = output.ty.dtype.bytes_for(&shape);
    let bytes = bytes
        .filter(|_| shape[..] == seen[..] && placed.dtype == output.ty.dtype)
        .ok_or_else(|| RunError::Output {
            index,
            problem: format!(
                "{} is expected, the view is {}{seen:?}",
                output.ty, placed.dtype
            ),
        })?;
    let callers =
        matches!(memory.places[placed.base].0, Space::Input(input) if !plan.inputs[input].donated);
    let copied = callers || !placed.is_contiguous();
    let mut ready = ReadyOutput {
        dtype: output.ty.dtype,
        shape,
        bytes,
        base: placed.base,
        start: placed.offset.max(0) as usize * placed.unit,
        copied,
    };
    if copied {
        let base = output_base(plan, index);
        let mut strides = Strides::from_elem(1, placed.shape.len());
        for axis in (1..placed.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * placed.shape[axis] as isize;
        }
        let target = Placed {
            base,
            offset: 0,
            strides,
            ..placed.clone()
        };
        (ready.base, ready.start) = (base, 0);
        let touch = Touch {
            reads: vec![memory.extent(&placed)],
            writes: vec![memory.extent(&target)],
            alone: false,
        };
        let name: Arc<str> = format!("copy of output `{}`", output.name).into();
        push(
            resolved,
            touches,
            Box::new(CopyStep::new(&placed, &target)),
            touch,
            name,
        );
    }
    resolved.outputs.push(ready);
    Ok(())
}
