//! Inputs of a session: matching names, binding symbols, and the state that donated inputs leave.
#![allow(unsafe_code)]

use gabion_plan::{InputRef, Plan, PlanInput, RunError};
use gabion_tensor::{Bindings, DType, HostTensor, TensorType};
use smallvec::SmallVec;

use super::CpuSession;
use crate::pack::Arena;

/// What stands for a donated input.
pub(super) struct State {
    pub(super) memory: Arena,
    pub(super) shape: SmallVec<[usize; 4]>,
    pub(super) bytes: usize,
}

impl State {
    /// Zeros of the input's size, if it is donated.
    pub(super) fn new(input: &PlanInput, sizes: &Bindings) -> Result<Option<State>, RunError> {
        if !input.donated {
            return Ok(None);
        }
        let wrong = |problem: String| RunError::Input {
            name: input.name.clone(),
            problem,
        };
        let shape = input
            .ty
            .shape
            .eval(sizes)
            .map_err(|e| wrong(format!("its size has to be given with the session: {e}")))?;
        let bytes = input
            .ty
            .dtype
            .bytes_for(&shape)
            .ok_or_else(|| wrong(format!("{} has no size", input.ty)))?;
        let memory = Arena::zeroed(bytes).map_err(|e| wrong(e.to_string()))?;
        Ok(Some(State {
            memory,
            shape,
            bytes,
        }))
    }
}

/// The address of an input's elements: its own, or that of an aligned copy.
///
/// # Errors
/// No memory.
pub(super) fn readable(
    input: &InputRef<'_>,
    copy: &mut Option<Arena>,
) -> Result<*mut u8, RunError> {
    let align = match input.dtype {
        // Blocks are read byte by byte.
        DType::Block(_) => 1,
        plain => plain.block_bytes(),
    };
    let at = input.bytes.as_ptr();
    if at.align_offset(align) == 0 {
        // Only read: plans that write inputs have them donated, which the session checked.
        return Ok(at.cast_mut());
    }
    if copy
        .as_ref()
        .is_none_or(|memory| memory.len() < input.bytes.len())
    {
        *copy =
            Some(Arena::zeroed(input.bytes.len()).map_err(|e| RunError::Executor(e.to_string()))?);
    }
    let to = copy
        .as_ref()
        .map_or(std::ptr::null_mut(), |memory| memory.as_mut_ptr());
    // SAFETY: the copy is at least as long, and this session's own.
    unsafe { std::ptr::copy_nonoverlapping(at, to, input.bytes.len()) };
    Ok(to)
}

fn input_error(name: &str, problem: String) -> RunError {
    RunError::Input {
        name: name.to_owned(),
        problem,
    }
}

/// The number of an input, or what names there are.
fn input_named(plan: &Plan, name: &str) -> Result<usize, String> {
    let names = || plan.inputs.iter().map(|input| input.name.as_str());
    names().position(|known| known == name).ok_or_else(|| {
        let known: Vec<&str> = names().collect();
        format!("the plan has no such input; it has {}", known.join(", "))
    })
}

/// Dtype, rank and bytes of what is given; sizes come later.
fn check(given: &InputRef<'_>, expected: &TensorType) -> Result<(), String> {
    let found = || format!("{}{:?}", given.dtype, given.shape);
    if given.dtype != expected.dtype || given.shape.len() != expected.rank() {
        return Err(format!("expected {expected}, found {}", found()));
    }
    if given.dtype.bytes_for(given.shape) != Some(given.bytes.len()) {
        return Err(format!("{} bytes for {}", given.bytes.len(), found()));
    }
    if given.dtype.is_bool() && given.bytes.iter().any(|&byte| byte > 1) {
        return Err("a bool that is neither 0 nor 1".to_owned());
    }
    Ok(())
}

impl CpuSession {
    /// Matches what is given with the plan's inputs and makes the key of their sizes. Allocates
    /// nothing that it did not before.
    pub(super) fn accept(&mut self, inputs: &[InputRef<'_>]) -> Result<(), RunError> {
        let plan = &self.model.plan;
        self.given.fill(None);
        for (index, given) in inputs.iter().enumerate() {
            let wrong = |problem: String| input_error(given.name, problem);
            let input = input_named(plan, given.name).map_err(wrong)?;
            if self.given[input].replace(index).is_some() {
                return Err(wrong("it is given twice".to_owned()));
            }
            check(given, &plan.inputs[input].ty).map_err(wrong)?;
        }
        self.key.clear();
        for ((input, given), state) in plan.inputs.iter().zip(&self.given).zip(&self.states) {
            let shape = match (given, state) {
                (Some(index), _) => inputs[*index].shape,
                (None, Some(state)) => &state.shape,
                (None, None) => {
                    return Err(input_error(
                        &input.name,
                        format!("it is missing; expected {}", input.ty),
                    ));
                }
            };
            if let Some(state) = state
                && shape != &state.shape[..]
            {
                let problem = format!(
                    "the session's state is {}{:?}, found {shape:?}",
                    input.ty.dtype, state.shape
                );
                return Err(input_error(&input.name, problem));
            }
            self.key.push(shape.len());
            self.key.extend_from_slice(shape);
        }
        Ok(())
    }

    /// The values of symbols that the inputs' sizes mean; relations and guards hold for them.
    pub(super) fn bind(&self, inputs: &[InputRef<'_>]) -> Result<Bindings, RunError> {
        let plan = &self.model.plan;
        let mut bindings = self.sizes.clone();
        // A size may be an expression of symbols that a later input binds: such inputs wait.
        let mut waiting: Vec<usize> = (0..plan.inputs.len()).collect();
        loop {
            let before = waiting.len();
            let mut error = None;
            waiting.retain(|&index| {
                let result = accept_type(
                    &plan.inputs[index],
                    self.shape_of(index, inputs),
                    &mut bindings,
                );
                let failed = result.is_err();
                error = error.take().or(result.err());
                failed
            });
            match error {
                None => break,
                Some(error) if waiting.len() == before => return Err(error),
                Some(_) => {}
            }
        }
        for constraint in plan.relations.iter() {
            let guard = gabion_tensor::Guard::new(constraint.clone(), "declared by the graph");
            guard.check(&bindings)?;
        }
        for guard in &plan.guards {
            guard.check(&bindings)?;
        }
        Ok(bindings)
    }

    fn shape_of<'a>(&'a self, input: usize, inputs: &'a [InputRef<'_>]) -> &'a [usize] {
        match (self.given[input], &self.states[input]) {
            (Some(index), _) => inputs[index].shape,
            (None, Some(state)) => &state.shape,
            (None, None) => &[],
        }
    }

    /// Copies donated inputs that are given over their state.
    pub(super) fn replace_states(&mut self, inputs: &[InputRef<'_>]) {
        for (state, given) in self.states.iter().zip(&self.given) {
            if let (Some(state), Some(index)) = (state, given) {
                let bytes = inputs[*index].bytes;
                debug_assert_eq!(bytes.len(), state.bytes);
                // SAFETY: the state has as many bytes, as `accept` made sure by its shape, and it
                // is this session's own.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        bytes.as_ptr(),
                        state.memory.as_mut_ptr(),
                        bytes.len(),
                    )
                };
            }
        }
    }
}

/// Binds the symbols of one input's type.
fn accept_type(
    input: &PlanInput,
    shape: &[usize],
    bindings: &mut Bindings,
) -> Result<(), RunError> {
    // Untouched zero pages: what counts is the shape, and this is once for each set of sizes.
    let stand_in = HostTensor::zeros(input.ty.dtype, shape)?;
    let ty: &TensorType = &input.ty;
    ty.accepts(&stand_in, bindings)
        .map_err(|e| input_error(&input.name, e.to_string()))
}
