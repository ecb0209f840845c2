//! From a plan and the sizes of one run to prepared steps: views get numbers and are checked to
//! lie inside their memories, steps are prepared, barriers are placed.
//!
//! This is done once for each set of sizes; a run with known sizes only looks it up.

use std::sync::Arc;

use gabion_plan::{Buffer, Kernel, Place, Plan, PlanOutput, RunError, Source, Step, View};
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
    /// The values of the symbols.
    pub(crate) sizes: Bindings,
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
                Some(LoadedWeight::Tiles(_)) | None => return Ok(None),
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
        let placed = self.numbers(base, view, &wrong)?;
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

    /// A view's numbers, in blocks where its dtype has them.
    fn numbers(
        &self,
        base: usize,
        view: &View,
        wrong: &dyn Fn(String) -> RunError,
    ) -> Result<Placed, RunError> {
        let dtype = self.model.plan.dtype(view);
        let mut shape = Sizes::new();
        let mut strides = Strides::new();
        for (dim, stride) in view.shape.iter().zip(&view.strides) {
            shape.push(size(dim, self.bindings)?);
            strides.push(stride.eval(self.bindings)? as isize);
        }
        let mut placed = Placed {
            base,
            dtype,
            unit: dtype.block_bytes(),
            offset: view.offset.eval(self.bindings)? as isize,
            shape,
            strides,
        };
        if dtype.block_elems() > 1 {
            in_blocks(&mut placed).map_err(wrong)?;
        }
        Ok(placed)
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

/// Shape, strides and offset of elements as those of blocks, which lie along the last axis and are
/// never cut; else what is wrong.
fn in_blocks(placed: &mut Placed) -> Result<(), String> {
    let block = placed.dtype.block_elems();
    let (shape, strides, offset) = (&mut placed.shape, &mut placed.strides, &mut placed.offset);
    let last = shape
        .len()
        .checked_sub(1)
        .ok_or_else(|| format!("a scalar of {}", placed.dtype))?;
    let whole = |x: isize| x % block as isize == 0;
    if !whole(shape[last] as isize)
        || strides[last] != 1
        || !whole(*offset)
        || !strides[..last].iter().all(|&s| whole(s))
    {
        return Err(format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} cut blocks of {block}"
        ));
    }
    shape[last] /= block;
    strides[..last]
        .iter_mut()
        .for_each(|s| *s /= block as isize);
    *offset /= block as isize;
    Ok(())
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
    let bases = Bases::of(plan, bindings)?;
    let mut assembly = Assembly {
        resolver: Resolver {
            model,
            bindings,
            base_bytes: bases.bytes,
        },
        memory: bases.memory,
        resolved: Resolved {
            key,
            sizes: bindings.clone(),
            arena_bytes: bases.arena_bytes,
            arena_offsets: bases.arena_offsets,
            steps: Vec::with_capacity(plan.steps.len()),
            outputs: Vec::with_capacity(plan.outputs.len()),
            scratch: 0,
            shared_scratch: 0,
            matmul_rows: 0,
        },
        touches: Vec::with_capacity(plan.steps.len()),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        assembly.step(index, step)?;
    }
    for (index, output) in plan.outputs.iter().enumerate() {
        assembly.output(index, output)?;
    }
    let Assembly {
        mut resolved,
        touches,
        ..
    } = assembly;
    for (ready, barrier) in resolved.steps.iter_mut().zip(barriers(&touches)) {
        ready.barrier = barrier;
    }
    Ok(resolved)
}

/// Where the memories of a plan are, and how large.
#[derive(Default)]
struct Bases {
    memory: MemoryMap,
    bytes: Vec<usize>,
    arena_bytes: usize,
    arena_offsets: Vec<Option<usize>>,
}

impl Bases {
    /// Buffers, then weights, then copies of outputs, which are as large as need be.
    fn of(plan: &Plan, bindings: &Bindings) -> Result<Bases, RunError> {
        let mut bases = Bases::default();
        for buffer in &plan.buffers {
            bases.buffer(buffer, bindings)?;
        }
        for weight in &plan.weights {
            let shape = weight.ty.shape.as_fixed();
            let bytes = shape.and_then(|shape| weight.ty.dtype.bytes_for(&shape));
            bases.push(Space::Fixed, 0, bytes.unwrap_or(0));
        }
        for index in 0..plan.outputs.len() {
            bases.push(Space::Output(index), 0, usize::MAX);
        }
        Ok(bases)
    }

    fn push(&mut self, space: Space, offset: usize, bytes: usize) {
        self.memory.places.push((space, offset));
        self.bytes.push(bytes);
    }

    fn buffer(&mut self, buffer: &Buffer, bindings: &Bindings) -> Result<(), RunError> {
        let elements = size(&buffer.elements, bindings)?;
        let too_large = || {
            RunError::Executor(format!(
                "buffer `{}` of {elements} {} is too large",
                buffer.name, buffer.dtype
            ))
        };
        let bytes = bytes_of(buffer.dtype, elements).ok_or_else(too_large)?;
        let mut arena_offset = None;
        match &buffer.place {
            Place::Input(input) => self.push(Space::Input(*input), 0, bytes),
            Place::Constant(data) => {
                self.push(Space::Fixed, 0, bytes.min(data.0.bytes().len()));
            }
            Place::Arena { offset, .. } => {
                let offset = size(offset, bindings)?;
                if offset % 64 != 0 {
                    return Err(RunError::Executor(format!(
                        "buffer `{}` starts at byte {offset}, no multiple of 64",
                        buffer.name
                    )));
                }
                let end = offset.checked_add(bytes).ok_or_else(too_large)?;
                self.arena_bytes = self.arena_bytes.max(end);
                arena_offset = Some(offset);
                self.push(Space::Arena, offset, bytes);
            }
        }
        self.arena_offsets.push(arena_offset);
        Ok(())
    }
}

/// A plan whose steps are being prepared.
struct Assembly<'a> {
    resolver: Resolver<'a>,
    memory: MemoryMap,
    resolved: Resolved,
    /// What each step touches.
    touches: Vec<Touch>,
}

impl Assembly<'_> {
    /// A write's numbers: it is in memory that may be written.
    fn place_write(&self, index: usize, step: &Step, view: &View) -> Result<Placed, RunError> {
        self.resolver
            .place(view)?
            .filter(|placed| self.memory.places[placed.base].0 != Space::Fixed)
            .ok_or_else(|| {
                RunError::Executor(format!(
                    "step {index} `{}` writes {:?}",
                    step.kernel.name(),
                    view.source
                ))
            })
    }

    fn step(&mut self, index: usize, plan_step: &Step) -> Result<(), RunError> {
        let reads: Vec<Option<Placed>> = plan_step
            .reads
            .iter()
            .map(|view| self.resolver.place(view))
            .collect::<Result<_, _>>()?;
        let writes: Vec<Placed> = plan_step
            .writes
            .iter()
            .map(|view| self.place_write(index, plan_step, view))
            .collect::<Result<_, _>>()?;
        let scope = if plan_step.scope.is_empty() {
            String::new()
        } else {
            format!(" ({})", plan_step.scope)
        };
        let name: Arc<str> = format!("step {index} `{}`{scope}", plan_step.kernel.name()).into();
        let model = self.resolver.model;
        let prepared = step::prepare(&Prepare {
            memory: &self.memory,
            weights: &model.weights,
            bindings: self.resolver.bindings,
            threads: model.team.threads(),
            step: plan_step,
            reads: &reads,
            writes: &writes,
            name: &name,
        })?;
        if let Kernel::Matmul(_) = &plan_step.kernel
            && let Some(Some(x)) = reads.first()
        {
            let rows = x.shape[..x.shape.len() - 1].iter().product();
            self.resolved.matmul_rows = self.resolved.matmul_rows.max(rows);
        }
        let extent = |placed: &Placed| self.memory.extent(placed);
        let touch = Touch {
            reads: reads.iter().flatten().map(extent).collect(),
            writes: writes.iter().map(extent).collect(),
            alone: false,
        };
        self.push(prepared, touch);
        Ok(())
    }

    fn push(&mut self, step: Box<dyn PreparedStep>, mut touch: Touch) {
        let resolved = &mut self.resolved;
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
        });
        self.touches.push(touch);
    }

    /// An output: in place if its bytes are row-major and stay after the run, else copied by a last
    /// step.
    fn output(&mut self, index: usize, output: &PlanOutput) -> Result<(), RunError> {
        let plan = &self.resolver.model.plan;
        let (placed, mut ready) = self.output_in_place(index, output)?;
        let callers = matches!(
            self.memory.places[placed.base].0,
            Space::Input(input) if !plan.inputs[input].donated
        );
        ready.copied = callers || !placed.is_contiguous();
        if ready.copied {
            let base = output_base(plan, index);
            let target = row_major_at(base, &placed);
            (ready.base, ready.start) = (base, 0);
            let touch = Touch {
                reads: vec![self.memory.extent(&placed)],
                writes: vec![self.memory.extent(&target)],
                alone: false,
            };
            self.push(Box::new(CopyStep::new(&placed, &target)), touch);
        }
        self.resolved.outputs.push(ready);
        Ok(())
    }

    /// An output where its view is.
    fn output_in_place(
        &self,
        index: usize,
        output: &PlanOutput,
    ) -> Result<(Placed, ReadyOutput), RunError> {
        let wrong = |problem: String| RunError::Output { index, problem };
        let placed = self
            .resolver
            .place(&output.view)?
            .ok_or_else(|| wrong("it is a weight in tiles".to_owned()))?;
        let bindings = self.resolver.bindings;
        let shape = output
            .ty
            .shape
            .eval(bindings)
            .map_err(|e| wrong(e.to_string()))?;
        let dims = output.view.shape.iter();
        let seen: Vec<usize> = dims
            .map(|dim| size(dim, bindings))
            .collect::<Result<_, _>>()?;
        let fits = shape[..] == seen[..] && placed.dtype == output.ty.dtype;
        let bytes = output.ty.dtype.bytes_for(&shape).filter(|_| fits);
        let bytes = bytes.ok_or_else(|| {
            wrong(format!(
                "{} is expected, the view is {}{seen:?}",
                output.ty, placed.dtype
            ))
        })?;
        let ready = ReadyOutput {
            dtype: output.ty.dtype,
            shape,
            bytes,
            base: placed.base,
            start: placed.offset.max(0) as usize * placed.unit,
            copied: false,
        };
        Ok((placed, ready))
    }
}

/// The same elements row-major from the start of `base`.
fn row_major_at(base: usize, placed: &Placed) -> Placed {
    let mut strides = Strides::from_elem(1, placed.shape.len());
    for axis in (1..placed.shape.len()).rev() {
        strides[axis - 1] = strides[axis] * placed.shape[axis] as isize;
    }
    Placed {
        base,
        offset: 0,
        strides,
        ..placed.clone()
    }
}
