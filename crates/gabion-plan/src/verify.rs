//! What makes a plan fit to run. [`verify`] checks, and reports all that is wrong at once:
//!
//! *Names and numbers*
//! - every buffer, weight, input, read and write that is referred to exists;
//! - names of inputs, and of outputs, differ; an input and its buffer refer to each other and hold
//!   the same type; a constant is of its buffer's type;
//! - no size has overflowed, none is negative.
//!
//! *Weights*
//! - all dims are fixed; recipes are possible (casts between dtypes that have one, transposes of
//!   matrices, reshapes that keep the element count) and give the weight's dtype and row shape;
//! - the rows taken exist, and those of all parts sum to the weight's;
//! - the segments of tiles follow each other and cover all rows, their halves are even and divide
//!   them; dense weights have none; tiles are `f32[rows, K]`.
//!
//! *Views*
//! - one stride per axis, and every element inside the buffer or weight;
//! - tiles are read only by `matmul` and, whole and along axis 0, by `gather`.
//!
//! *Steps*
//! - each kernel has the reads and writes that it documents, of the right dtypes and shapes;
//! - registers of elementwise programs are defined before use, functions accept their dtypes.
//!
//! *Memory*
//! - arena offsets are multiples of 64 and not negative;
//! - buffers that live at the same time do not overlap;
//! - reads and writes are inside lifetimes, and every element read was written before;
//! - only the arena and donated inputs are written: no weight, no constant, no other input;
//! - the elements of a write lie in different places;
//! - within a step, what is written overlaps neither another write nor a read, except where the
//!   kernel reads each element before it writes that very element (`map`, the operand of a matmul's
//!   binary epilogue, the data of `scatter`, the cache that a matmul writes to);
//! - outputs are row-major, in the arena or a donated input, and alive after the last step.
//!
//! A claim about sizes is first proved from their form and the plan's relations and guards. Where
//! that decides nothing it is tried for several values of the symbols, which relations and guards
//! allow; the values that refute it are part of the message. Where no values are found that they
//! allow, only what is proved false is an error.
//!
//! Not checked: values (indices, positions and masks are checked by executors while they run), and
//! whether a step that reads a cache after it was written meant the old rows: a plan has no names
//! for the two.

#[cfg(test)]
mod kernel_tests;
mod kernels;
mod matmul;
mod memory;
mod programs;
mod regions;
mod sizes;
mod steps;
#[cfg(test)]
mod tests;
mod views;
mod weights;

use std::collections::BTreeSet;
use std::fmt;

use gabion_tensor::{Dim, TensorType};

use crate::plan::{Place, Plan};
use sizes::Sizes;

/// Checks a plan; see [the module](self) for what.
///
/// # Errors
/// Everything that is wrong. If a reference leads nowhere, what it refers to is not checked further.
pub fn verify(plan: &Plan) -> Result<(), PlanErrors> {
    let mut check = Check {
        plan,
        sizes: Sizes::of(plan),
        errors: Vec::new(),
    };
    check.sizes_are_sound();
    if check.errors.is_empty() {
        check.inputs_and_constants();
        check.weights();
        check.views();
    }
    // Kernels and memory look into what views point to.
    if check.errors.is_empty() {
        check.steps();
        check.memory();
    }
    if check.errors.is_empty() {
        Ok(())
    } else {
        Err(PlanErrors {
            items: check.errors,
        })
    }
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanItem {
    /// The relations and guards.
    Relations,
    /// An input, by its place in [`Plan::inputs`].
    Input(usize),
    /// A weight, by its place in [`Plan::weights`].
    Weight(usize),
    /// A buffer, by its place in [`Plan::buffers`].
    Buffer(usize),
    /// A step, by its place in [`Plan::steps`].
    Step(usize),
    /// An output, by its place in [`Plan::outputs`].
    Output(usize),
}

/// One thing that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// What it is about.
    pub item: PlanItem,
    /// The item's words in the text form: `step 3 "layers.0" matmul`.
    pub place: String,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// All that is wrong with a plan; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanErrors {
    items: Vec<PlanError>,
}

impl PlanErrors {
    /// The errors.
    pub fn items(&self) -> &[PlanError] {
        &self.items
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.items.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanErrors {}

/// A verification under way. The checks are methods, each group in its own file.
struct Check<'p> {
    plan: &'p Plan,
    sizes: Sizes,
    errors: Vec<PlanError>,
}

impl<'p> Check<'p> {
    fn error(&mut self, item: PlanItem, message: impl Into<String>) {
        let place = self.place(item);
        self.errors.push(PlanError {
            item,
            place,
            message: message.into(),
        });
    }

    fn place(&self, item: PlanItem) -> String {
        let plan = self.plan;
        match item {
            PlanItem::Relations => "relations".to_owned(),
            PlanItem::Input(i) => format!("input {}", plan.inputs[i].name),
            PlanItem::Weight(i) => format!("weight @{}", plan.weights[i].name),
            PlanItem::Buffer(i) => format!("buffer %{}", plan.buffers[i].name),
            PlanItem::Output(i) => format!("output {}", plan.outputs[i].name),
            PlanItem::Step(i) => {
                let step = &plan.steps[i];
                let scope = if step.scope.is_empty() {
                    String::new()
                } else {
                    format!(" {:?}", step.scope)
                };
                format!("step {i}{scope} {}", step.kernel.name())
            }
        }
    }

    /// Sizes that carry an error would poison every later check.
    fn sizes_are_sound(&mut self) {
        for (item, dim) in sizes::all_dims(self.plan) {
            if let Err(e) = dim.check() {
                self.error(item, e.to_string());
            }
        }
    }

    fn inputs_and_constants(&mut self) {
        let plan = self.plan;
        let mut names = BTreeSet::new();
        for (i, input) in plan.inputs.iter().enumerate() {
            let item = PlanItem::Input(i);
            if !names.insert(&input.name) {
                self.error(item, "another input has this name");
            }
            self.check_type(item, &input.ty);
            match plan.buffers.get(input.buffer.0 as usize) {
                None => self.error(item, format!("buffer {} does not exist", input.buffer.0)),
                Some(buffer) if buffer.place != Place::Input(i) => {
                    self.error(
                        item,
                        format!("its buffer %{} is not declared as its own", buffer.name),
                    );
                }
                Some(buffer) => {
                    self.same_content(
                        item,
                        &input.ty,
                        &TensorType::new(buffer.dtype, [buffer.elements.clone()]),
                    );
                }
            }
        }
        for (i, buffer) in plan.buffers.iter().enumerate() {
            let item = PlanItem::Buffer(i);
            self.not_negative(item, "its element count", &buffer.elements);
            match &buffer.place {
                Place::Input(index) => {
                    if plan
                        .inputs
                        .get(*index)
                        .is_none_or(|input| input.buffer.0 as usize != i)
                    {
                        self.error(item, format!("input {index} does not lie in it"));
                    }
                }
                Place::Constant(data) => {
                    let ty = TensorType::new(buffer.dtype, [buffer.elements.clone()]);
                    self.same_content(item, &TensorType::of(&data.0), &ty);
                }
                Place::Arena { .. } => {}
            }
        }
        let mut names = BTreeSet::new();
        for (i, output) in plan.outputs.iter().enumerate() {
            if !names.insert(&output.name) {
                self.error(PlanItem::Output(i), "another output has this name");
            }
        }
    }

    fn check_type(&mut self, item: PlanItem, ty: &TensorType) {
        if let Err(e) = ty.check() {
            self.error(item, e.to_string());
        }
    }

    /// The same dtype and as many elements.
    fn same_content(&mut self, item: PlanItem, ty: &TensorType, buffer: &TensorType) {
        let differs = self.sizes.differ(&ty.shape.numel(), &buffer.shape[0]);
        if ty.dtype != buffer.dtype || differs.is_some() {
            self.error(
                item,
                format!(
                    "expected a buffer for {ty}, found {buffer}{}",
                    differs.unwrap_or_default()
                ),
            );
        }
    }

    fn not_negative(&mut self, item: PlanItem, what: &str, dim: &Dim) {
        if let Some(values) = self.sizes.negative(dim) {
            self.error(item, format!("{what}, {dim}, can be negative{values}"));
        }
    }
}
